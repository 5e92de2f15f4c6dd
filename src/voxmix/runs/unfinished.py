"""Where runs lie that are not finished: beside the finished ones, out of sight.

``runs/<id>`` is there when the run is finished, and never before: it is the folder of an attempt, renamed. Until then
everything lies in ``runs/.work/<id>``, the run's desk. An older voxmix made runs in ``runs/<id>`` itself; where such a
one is not finished, the next attempt goes on with it.
"""

from collections.abc import Iterator
from pathlib import Path

from voxmix.runs.files import SPEC_FILE
from voxmix.runs.results import is_finished

WORK_FOLDER = ".work"
"""Beside the runs of one kind: a desk for each that is not finished, and who works on which."""
CLAIMS_FOLDER = "claims"
ATTEMPTS_FOLDER = "attempts"


def desk_of(run: Path) -> Path:
    """Return where the attempts at a run lie, and what engines leave for each other, until it is finished."""
    return run.parent / WORK_FOLDER / run.name


def run_of(desk: Path) -> Path:
    """Return the folder of the run that a desk belongs to."""
    return desk.parent.parent / desk.name


def claims_beside(run: Path) -> Path:
    """Return where processes claim the runs of a folder."""
    return run.parent / WORK_FOLDER / CLAIMS_FOLDER


def attempts_at(run: Path) -> list[Path]:
    """Return the folders of the attempts at a run, the last one last."""
    folder = desk_of(run) / ATTEMPTS_FOLDER
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def begun_specs(runs: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of each run in ``runs`` that was begun and is not finished, and the file of its spec."""
    found = {path.parent: path for path in runs.glob(f"*/{SPEC_FILE}") if not is_finished(path.parent)}
    for path in sorted(runs.glob(f"{WORK_FOLDER}/*/{ATTEMPTS_FOLDER}/*/{SPEC_FILE}")):
        run = run_of(path.parents[2])
        if not is_finished(run):
            found[run] = path
    yield from sorted(found.items())


def finetuning_runs(downstream: Path) -> list[Path]:
    """Return the folders ``<task>/<init>[+control]/seed-<s>`` of runs that are finished or were begun."""
    found = {path for path in downstream.glob("*/*/seed-*") if path.is_dir()}
    found |= {run_of(desk) for desk in downstream.glob(f"*/*/{WORK_FOLDER}/seed-*")}
    return sorted(found)
