"""What goes on in a study now: which runs are worked on, by whom and how fast, which failed, and which wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from voxmix._claims import Claims, Holder
from voxmix._io import read_mapping
from voxmix.engines.attempts import last_attempt
from voxmix.engines.progress import Progress, read_failure, read_progress
from voxmix.errors import InputError
from voxmix.runs import is_finished
from voxmix.runs.files import FAILURE_FILE
from voxmix.runs.unfinished import CLAIMS_FOLDER, WORK_FOLDER, attempts_at, desk_of, run_of
from voxmix.study.files import DOWNSTREAM_FOLDER, RUNS_FOLDER
from voxmix.study.marks import holder_of
from voxmix.study.status import StepState

RunWork = Literal["running", "failed", "stopped"]
"""Of a run that was begun: a process works on it, it failed and said why, or nobody works on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BegunRun:
    """A run that was begun and is not finished.

    Attributes:
        run: where it will be, relative to the study.
        holder: the process that works on it, or on its chain; None where none does.
        progress: how far it was when it last said so.
        reason, attempts, job: of a failed one, and in which job of a scheduler it failed.
    """

    run: str
    state: RunWork
    holder: Holder | None = None
    progress: Progress | None = None
    reason: str = ""
    attempts: int = 0
    job: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-like data."""
        holder, progress = self.holder, self.progress
        return {
            "run": self.run,
            "state": self.state,
            "worker": None if holder is None else _worker(holder),
            "done": None if progress is None else progress.done,
            "total": None if progress is None else progress.total,
            "rate": None if progress is None else progress.rate,
            "seconds_left": None if progress is None else progress.seconds_left,
            "reason": self.reason or None,
            "attempts": self.attempts,
            "job": self.job or None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class GoingOn:
    """What goes on in a study.

    Attributes:
        holder: the process that holds the study; None where none does.
        begun: runs that were begun and are not finished.
        waiting: runs of the first step that is not done which nobody has begun; None where that is not known.
    """

    holder: Holder | None
    begun: tuple[BegunRun, ...]
    waiting: int | None

    def of(self, state: RunWork) -> tuple[BegunRun, ...]:
        """Return the begun runs in one state."""
        return tuple(run for run in self.begun if run.state == state)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-like data."""
        return {
            "held_by": None if self.holder is None else _worker(self.holder),
            "runs": [run.as_dict() for run in self.begun],
            "waiting": self.waiting,
        }


def _worker(holder: Holder) -> dict[str, Any]:
    return {
        "process": holder.process,
        "machine": holder.label,
        "job": holder.job or None,
        "since": holder.since,
    }


def going_on(root: Path, steps: Sequence[StepState] = ()) -> GoingOn:
    """Return what goes on in the study in a folder; its ``steps`` say how many runs wait."""
    begun = tuple(_begun(root))
    first = next((step for step in steps if not step.done), None)
    waiting = None
    if first is not None and first.left is not None:
        own = sum(run.run.startswith(RUNS_FOLDER) for run in begun)
        waiting = max(first.left - own, 0)
    return GoingOn(holder=holder_of(root), begun=begun, waiting=waiting)


def _begun(root: Path) -> Iterator[BegunRun]:
    downstream = sorted((root / DOWNSTREAM_FOLDER).glob(f"*/*/{WORK_FOLDER}"))
    for work in [root / RUNS_FOLDER / WORK_FOLDER, *downstream]:
        holders = Claims(work / CLAIMS_FOLDER).holders()
        for desk in sorted(work.iterdir()) if work.is_dir() else ():
            run = run_of(desk)
            if is_finished(run) or not (attempts_at(run) or read_failure(run)):
                continue
            attempts, claim = last_attempt(run)
            yield _state(run, run.relative_to(root).as_posix(), holders.get(claim), attempts)


def _state(run: Path, name: str, holder: Holder | None, attempts: int) -> BegunRun:
    if (reason := read_failure(run)) is not None:
        said: dict[str, Any] = {}
        with suppress(InputError):
            said = read_mapping(desk_of(run) / FAILURE_FILE)
        return BegunRun(
            run=name,
            state="failed",
            reason=reason,
            attempts=int(said.get("attempts") or attempts),
            job=str(said.get("job") or ""),
        )
    progress = read_progress(run)
    if holder is None or holder.has_ended or progress is None:
        return BegunRun(run=name, state="stopped", progress=progress, attempts=attempts)
    return BegunRun(run=name, state="running", holder=holder, progress=progress, attempts=attempts)
