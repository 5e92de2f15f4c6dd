"""The engine of a cluster with Slurm: an array of jobs, each of which starts workers that take what is left of the runs.

A plain script of ``sbatch``, and no library that hands Python objects over: nothing has to be unpickled on a node, a person
can read, change and submit the script, and the workers of a job are the same processes that any other scheduler would start.
The jobs outlive the command that submitted them. A second command finds them by their numbers and watches them.
"""

import os
import time
import warnings
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from voxmix.compute import ClusterSettings, ComputeSettings
from voxmix.engines.job_file import Chain
from voxmix.engines.progress import read_failure
from voxmix.engines.slurm_commands import QueuedJob, queued, take_back
from voxmix.engines.slurm_submit import handed_over, submit_jobs
from voxmix.engines.submitted import forget, last_words, logs_of, place_of
from voxmix.errors import VoxmixError, VoxmixWarning
from voxmix.runs import is_finished

LOOK_SECONDS = 15.0
"""Time between two questions to Slurm: its controller answers those of everybody."""
_FIRST_LOOKS = (1.0, 2.0, 4.0, 8.0)
_YIELD_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
"""After which it is told that no job has started, even if nothing can be done about it."""
_GONE_LOOKS = 2
"""So many answers in a row without a job say that none lives: one that is queued again may be missing for a moment."""


def slurm(chains: Sequence[Chain], *, workers: int) -> Generator[None, None, None]:
    """Submit jobs that make the runs of ``chains``, unless such jobs live already, and watch them until none does.

    What is asked for stands in ``compute.cluster`` of the works; ``workers`` counts processes of this machine and says nothing
    here.

    Raises:
        InputError: no Slurm here, or it refuses what is asked for.
        HandedOver: the command shall not wait for its jobs, or only shows what it would submit.
        VoxmixError: the jobs have ended and runs are not finished; says what their logs say.
    """
    compute: ComputeSettings = chains[0][0].work.compute
    settings = compute.cluster or ClusterSettings()
    root = Path(os.path.abspath(os.path.commonpath([chain[0].folder.parent for chain in chains])))
    folders = [os.path.relpath(job.folder, root) for chain in chains for job in chain]
    command = ["-m", "voxmix.engines.pull", "--lease", f"{compute.lease_seconds:g}", *folders]
    arrays = submit_jobs(compute, command, runs=root, root=root, most=len(chains))
    place = place_of(root)
    if not settings.wait:
        raise handed_over(arrays, place)
    yield from _Watch(arrays=arrays, chains=chains, place=place).until_over()


slurm.outlives = True  # type: ignore[attr-defined]  # what it started goes on when the command ends


@dataclass(kw_only=True, slots=True)
class _Watch:
    """What is known of jobs while they live.

    Attributes:
        arrays: their numbers.
        chains: the runs that they make.
        place: the folder of their logs.
    """

    arrays: Sequence[str]
    chains: Sequence[Chain]
    place: Path
    _said: set[str] = field(default_factory=set)
    _jobs: tuple[QueuedJob, ...] = ()
    _began: float = field(default_factory=time.monotonic)

    def until_over(self) -> Generator[None, None, None]:
        """Yield until every run is finished or has failed, or no job lives.

        Raises:
            VoxmixError: no job lives and runs are not finished.
        """
        try:
            yield from self._watched()
        except (GeneratorExit, KeyboardInterrupt):
            waiting = sum(job.waits for job in self._jobs)
            self._say(
                f"the jobs go on without this command ({len(self._jobs) - waiting} running, {waiting} waiting); the same command "
                f"watches them again, scancel {' '.join(self.arrays)} cancels them (states are kept)"
            )
            raise
        if not self._is_settled():
            raise VoxmixError(self._why())
        take_back(self.arrays)
        for array in self.arrays:
            forget(self.place, array)

    def _watched(self) -> Generator[None, None, None]:
        gone, looks = 0, 0
        while gone < _GONE_LOOKS and not self._is_settled():
            with suppress(VoxmixError):  # a controller that is started again answers later
                self._jobs = queued(self.arrays)
                gone = 0 if self._jobs else gone + 1
                self._tell_reasons()
            seconds = _FIRST_LOOKS[looks] if looks < len(_FIRST_LOOKS) else LOOK_SECONDS
            looks += 1
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                yield
                time.sleep(_YIELD_SECONDS)
        yield

    def _is_settled(self) -> bool:
        return all(
            is_finished(job.folder) or read_failure(job.folder) is not None
            for chain in self.chains
            for job in chain
        )

    def _tell_reasons(self) -> None:
        """Say once why jobs wait: where something can be done about it, and where none has started for a while."""
        for job in self._jobs:
            if job.waits and job.advice:
                self._say(f"job {job.id} waits: {job.reason}; {job.advice}")
        if not all(job.waits for job in self._jobs):
            self._began = time.monotonic()
        elif self._jobs and time.monotonic() > self._began + _PATIENCE_SECONDS:
            reasons = ", ".join(sorted({job.reason for job in self._jobs}))
            self._say(
                f"all {len(self._jobs)} jobs wait ({reasons}); squeue --start -j {','.join(self.arrays)} says when Slurm thinks "
                "that they begin"
            )

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, VoxmixWarning, stacklevel=2)

    def _why(self) -> str:
        jobs = [job for chain in self.chains for job in chain]
        left = sum(not is_finished(job.folder) for job in jobs)
        head = (
            f"the jobs of {', '.join(self.arrays)} have ended and {left} of {len(jobs)} runs are not finished"
        )
        logs = logs_of(self.place, self.arrays)
        if not logs:
            return (
                f"{head}; they have not even begun a log in {self.place}: it lies on a disk that nodes do not see, or they were "
                "cancelled before they started. Put the study on a disk that all nodes share"
            )
        words = last_words(logs)
        said = f"; their logs say: {' / '.join(words)}" if words else ""
        return f"{head}{said}. The logs: {self.place}. What is done is kept; the same command submits jobs for the rest"
