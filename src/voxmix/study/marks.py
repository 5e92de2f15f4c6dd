"""What a study's folder remembers of itself, whatever kind of study it is: which steps are made, and who works on it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxmix._io import naming_full_disk, read_mapping, with_remedy, write_json
from voxmix.errors import InputError, StudyBusyError
from voxmix.study.files import STEPS_FILE


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
def held(root: Path) -> Iterator[None]:
    """Hold a study's folder for this process; the lock goes with the process, even when it is killed.

    Raises:
        StudyBusyError: another process holds it; names the process.
    """
    from filelock import FileLock, Timeout

    holder = root / ".lock-holder.json"
    lock = FileLock(root / ".lock")
    with naming_full_disk(root):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise StudyBusyError(
                f"another voxmix process ({_holder(holder)}) is working on {root}; "
                "wait for it or stop it, then give the same command again"
            ) from None
        holder.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        return f"pid {json.loads(path.read_text(encoding='utf-8'))['pid']}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "pid unknown"
