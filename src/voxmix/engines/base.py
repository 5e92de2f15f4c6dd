"""Where runs are executed is a part: an :class:`Engine` takes jobs, and this module watches them by their files.

A new engine is a function and a row: in :data:`ENGINES`, or as an entry point of the group ``voxmix.engines``.
"""

import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from voxmix._progress import ProgressCallback, silent
from voxmix._stopping import signals_raise
from voxmix._table import Table
from voxmix.engines.job_file import Chain, Job, chains_of, write_job
from voxmix.engines.local import local
from voxmix.engines.progress import clear, forgive, read_failure, read_notes, read_progress
from voxmix.engines.slurm import slurm
from voxmix.errors import VoxmixError, VoxmixWarning
from voxmix.runs import is_finished


@runtime_checkable
class Engine(Protocol):
    """Runs jobs somewhere: a generator, so that one function says how they are started, watched and stopped.

    It starts processes for ``chains`` of jobs that lie on the desks of their runs, at most ``workers`` at the same time where
    that is its own to decide; yields now and then, at least every few seconds, while any may still be worked on; and
    returns when none is. Being closed before, it ends what it started, unless it has an attribute ``outlives`` that is
    true. Its processes call :func:`voxmix.engines.pull.pull` with the folders of the chains and take what no other has; or,
    one for each job, :func:`voxmix.engines.job.run_job`, or ``python -m voxmix.engines.job``. They leave progress, warnings
    and failures on the desk of each run; for a process that was killed, the engine may say why by
    :func:`voxmix.engines.progress.write_failure`.
    """

    def __call__(self, chains: Sequence[Chain], *, workers: int) -> Generator[None, None, None]: ...


ENGINES: Table[Engine] = Table("engines", {"local": local, "slurm": slurm})


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedJob:
    """A job that could not be finished, and why."""

    job: Job
    reason: str


def run_jobs(
    jobs: Sequence[Job],
    *,
    engine: Engine | str = "local",
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> tuple[FailedJob, ...]:
    """Run every job by an engine; return those that failed, in the order of ``jobs``. One that fails stops no other.

    Jobs of one trunk follow each other, the shortest first. ``progress`` counts what the jobs' budgets count. What other
    processes work on, also of other machines, is theirs, and waited for. What is begun can be gone on with; why a run
    failed stays on its desk until it is tried again, which this does.

    Raises:
        InputError: an unknown engine, or jobs that it cannot run.
        VoxmixError: the engine was stopped from outside, such as a worker process that was killed.
    """
    chosen = ENGINES[engine] if isinstance(engine, str) else engine
    watched = [_Watched(job) for job in jobs]
    taken = [item for item in watched if item.take_on()]
    total = sum(job.work.size for job in jobs)
    places = {id(item.job): item for item in taken}
    chains = chains_of([item.job for item in taken])
    try:
        with signals_raise(), closing(chosen(chains, workers=workers)) as working:
            for _ in working:
                for chain in chains:
                    _look_along([places[id(job)] for job in chain])
                progress(min(total, sum(item.done for item in watched)), total)
        for item in taken:
            item.look(over=True)
    finally:
        if not getattr(chosen, "outlives", False):  # else its processes go on, and need what lies there
            for item in taken:
                clear(item.job.folder)
    return tuple(FailedJob(job=item.job, reason=item.reason) for item in watched if item.reason is not None)


def _look_along(chain: "Sequence[_Watched]") -> None:
    """Look at the job of a chain that is worked on; those behind it have not begun."""
    for item in chain:
        item.look()
        if not item.is_settled:
            return


@dataclass(kw_only=False, slots=True)
class _Watched:
    """A job and what its folder said last."""

    job: Job
    done: int = 0
    is_settled: bool = False
    reason: str | None = None

    def take_on(self) -> bool:
        """Write the job for the engine; return whether that was possible."""
        try:
            forgive(self.job.folder)
            write_job(self.job)
        except VoxmixError as error:
            self.is_settled, self.reason = True, str(error)
        return not self.is_settled

    def look(self, *, over: bool = False) -> None:
        """See how far the job is; ``over`` says that no process can be working on it any more."""
        if self.is_settled:
            return
        folder, size = self.job.folder, self.job.work.size
        found, reason = read_progress(folder), read_failure(folder)
        if found is not None:
            self.done = max(self.done, min(found.done, size))
        if reason is None and not over and (found is not None or not is_finished(folder)):
            return
        if reason is None and not is_finished(folder):
            reason = "its process ended without a result and without a reason; give the same command again"
        self.is_settled, self.reason = True, reason
        self.done = size if reason is None else self.done
        for note in read_notes(folder):
            warnings.warn(note, VoxmixWarning, stacklevel=4)
