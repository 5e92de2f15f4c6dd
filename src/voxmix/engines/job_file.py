"""A job: the folder of a run, and on its desk, in ``job.json``, all that a fresh process needs to make the run.

Paths stand there relative to the folder, so that a study may lie elsewhere on another machine. Nothing names a person:
volumes and cases are known by digests.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from voxmix._io import naming_damage, naming_full_disk, read_versioned, write_json
from voxmix.compute import ComputeSettings
from voxmix.engines.attempts import check_place
from voxmix.engines.work import WORKS, Work
from voxmix.errors import InputError
from voxmix.runs.files import JOB_FILE, JOB_FORMAT
from voxmix.runs.unfinished import desk_of
from voxmix.settings import checked

_KIND = "job"
_OF_ENGINES = ("engine", "cluster")
"""Settings of who starts processes: a process does not need them, and an account is nobody's business."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A run to make: where, and what."""

    folder: Path
    work: Work


Chain = Sequence[Job]
"""Jobs that follow each other."""


def chains_of(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return jobs that share a trunk together, shortest first, and the others alone; the longest chains first."""
    chains: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        chains[job.work.chain].append(job)
    ordered = [sorted(chain, key=lambda job: job.work.size) for chain in chains.values()]
    return sorted(ordered, key=lambda chain: -chain[-1].work.size)


def write_job(job: Job) -> None:
    """Write a job onto the desk of its run.

    Raises:
        VoxmixError: the folder cannot be written to.
    """
    work: Any = job.work
    with naming_full_disk(job.folder):
        check_place(job.folder)
        values = {item.name: _plain(getattr(work, item.name), job.folder) for item in fields(work)}
        head = {"kind": _KIND, "format": JOB_FORMAT, "work": work.kind, "run_id": work.spec.run_id}
        write_json(desk_of(job.folder) / JOB_FILE, {**head, **values})


def _plain(value: Any, folder: Path) -> Any:
    """Return a part of a work as JSON-like data."""
    if isinstance(value, Path):
        return Path(os.path.relpath(value.resolve(), folder.resolve())).as_posix()
    if isinstance(value, ComputeSettings):
        return {name: item for name, item in asdict(value).items() if name not in _OF_ENGINES}
    return value.as_dict() if hasattr(value, "as_dict") else value


def read_job(folder: Path) -> Job:
    """Return the job of the run in a folder, every part of it checked.

    Raises:
        InputError: no job there, one of another version, damaged, or with a spec other than the one it was written for.
    """
    path = desk_of(folder) / JOB_FILE
    if not path.is_file():
        raise InputError(f"no {JOB_FILE} for {folder}; give the folder of a run that an engine has taken on")
    value = read_versioned(path, kind=_KIND, version=JOB_FORMAT)
    kind, run_id = (value.pop(name, None) for name in ("work", "run_id"))
    if not isinstance(kind, str) or kind not in WORKS:
        raise InputError(
            f"{path} asks for work {kind!r}, this voxmix knows {list(WORKS.names())}; use the voxmix that wrote it"
        )
    work: Any = WORKS[kind]
    with naming_damage(path, remedy="delete it and give the study's command again"):
        if not isinstance(value["spec"], dict):
            raise TypeError(f"spec is {value['spec']!r}")
        spec = work.read_spec(value["spec"])
        if spec.run_id != run_id:
            raise InputError(f"it was written for run {run_id}, its spec is that of {spec.run_id}")
        hints = get_type_hints(work)
        values = {
            name: _read(item, hints[name], folder, what=name)
            for name, item in value.items()
            if name not in ("kind", "format", "spec")
        }
        return Job(folder=folder, work=work(spec=spec, **values))


def _read(value: Any, hint: Any, folder: Path, *, what: str) -> Any:
    """Return a part of a work from JSON-like data, of the type that the work wants."""
    if hint is ComputeSettings:
        return checked(ComputeSettings, value, where=what)
    if hint in (int, bool):
        if type(value) is not hint:
            raise TypeError(f"{what} is {value!r}")
        return value
    if value is None and type(None) in get_args(hint):
        return None
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TypeError(f"{what} is {value!r}, no path")
    return Path(os.path.normpath(folder.resolve() / value))
