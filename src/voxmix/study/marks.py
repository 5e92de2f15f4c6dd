"""What a study's folder remembers of itself, whatever kind of study it is: which steps are made, and who works on it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxmix._claims import LEASE_SECONDS, Claims, Holder
from voxmix._io import naming_full_disk, read_mapping, with_remedy, write_json
from voxmix.errors import InputError, StudyBusyError
from voxmix.study.files import CLAIMS_FOLDER, STEPS_FILE

STUDY_CLAIM = "study"
_POLL_SECONDS = 0.2


def mark(root: Path, step: str, inputs: str) -> None:
    """Remember that a step of the study in a folder is finished, and from which inputs (their digest)."""
    write_json(root / STEPS_FILE, {**made(root), step: inputs})


def made(root: Path) -> dict[str, str]:
    """Return the steps of the study in a folder that were finished, each with the digest of what it was made from.

    Raises:
        InputError: the file that says so is damaged.
    """
    path = root / STEPS_FILE
    if not path.exists():
        return {}
    remedy = "delete it: finished runs stay, and the steps are checked against them again"
    with with_remedy(remedy):
        found = read_mapping(path)
    if not all(isinstance(value, str) for value in found.values()):
        raise InputError(f"{path} is damaged (it should map steps to digests); {remedy}")
    return found


@contextmanager
def held(root: Path, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold a study's folder for this process, against all others on any machine.

    The claim of a process of this machine goes with the process, even when it is killed. That of another machine is taken
    over once it has not been renewed for its lease, which may take as long to find out.

    Raises:
        StudyBusyError: another process holds it; names the process.
    """
    claims = Claims(root / CLAIMS_FOLDER, lease_seconds=lease_seconds)
    with naming_full_disk(root):
        claim = claims.take(STUDY_CLAIM)
        while claim is None:
            holder = claims.holder(STUDY_CLAIM)
            if holder is not None and not _is_silent(claims, holder):
                raise StudyBusyError(
                    f"another voxmix process ({holder.words}) is working on {root}; "
                    "wait for it or stop it, then give the same command again"
                )
            time.sleep(_POLL_SECONDS)
            claim = claims.take(STUDY_CLAIM)
    with claim:
        yield


def holder_of(root: Path) -> Holder | None:
    """Return which process holds a study; None where none does."""
    return Claims(root / CLAIMS_FOLDER).holder(STUDY_CLAIM)


@contextmanager
def waited_for(root: Path, name: str, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold a claim of a study's folder for this process, as soon as no other holds it."""
    claims = Claims(root / CLAIMS_FOLDER, lease_seconds=lease_seconds)
    with naming_full_disk(root):
        while (claim := claims.take(name)) is None:
            time.sleep(_POLL_SECONDS)
    with claim:
        yield


def _is_silent(claims: Claims, holder: Holder) -> bool:
    """Return whether a holder may be gone: by its own clock it has not renewed for half a lease. Watching tells."""
    return abs(claims.wall() - holder.renewed) > holder.lease / 2
