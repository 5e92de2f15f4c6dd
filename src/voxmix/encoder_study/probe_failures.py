"""Probes that could not be made, and why: one small file each, so that no worker tries them again by itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import digest, read_mapping, write_json
from voxmix.encoder_study.candidates import Candidate
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.errors import InputError
from voxmix.runs.unfinished import WORK_FOLDER

if TYPE_CHECKING:
    from voxmix.probes.data import ProbeData


def failure_mark(study: EncoderStudy, data: ProbeData, candidate: Candidate) -> str:
    """Return a digest of a probe: of its task, its settings and its encoder's files. After a change of any it may be tried again."""
    return digest([data.digest, study.probe_settings.digest_of(data.task.kind), candidate.key])


def keep_failure(study: EncoderStudy, mark: str, *, reason: str) -> None:
    """Remember why a probe could not be made; places on this machine are left out."""
    root = str(study.root.resolve())
    plain = reason.replace(f"{root}/", "").replace(root, "the study").replace(f"{study.root}/", "")
    write_json(_folder(study) / f"{mark}.json", {"reason": plain})


def read_failures(study: EncoderStudy) -> Mapping[str, str]:
    """Return why probes could not be made, by their marks."""
    found: dict[str, str] = {}
    for path in sorted(_folder(study).glob("[!.]*.json")):
        with suppress(InputError, KeyError):
            found[path.stem] = str(read_mapping(path)["reason"])
    return found


def forget_failures(study: EncoderStudy) -> None:
    """Let every probe be tried again."""
    folder = _folder(study)
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _folder(study: EncoderStudy) -> Path:
    return study.probes_dir / WORK_FOLDER
