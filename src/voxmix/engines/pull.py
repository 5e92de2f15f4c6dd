"""Pulling: a process takes runs one after another, as they come free, until none is left. Any number may do so at once.

``python -m voxmix.engines.pull FOLDER [FOLDER ...]`` makes the runs in these folders, each with a job on its desk.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxmix._claims import PATIENCE_LEASES, Claim, Claims
from voxmix._io import naming_full_disk, printable
from voxmix._stopping import run_to_end
from voxmix.engines.job_file import Chain, Job, chains_of, read_job
from voxmix.engines.one_run import ClaimLost, Shared, make_run
from voxmix.engines.progress import read_failure, read_notes, write_failure
from voxmix.engines.together import start_together
from voxmix.engines.work import Opened
from voxmix.errors import InputError, VoxmixError
from voxmix.runs import is_finished
from voxmix.runs.files import JOB_FILE
from voxmix.runs.unfinished import claims_beside, desk_of

STOPPED = 75
"""Exit code of a worker that was stopped with work left: EX_TEMPFAIL, try again."""
MOST_FAILED = 3
"""Runs that may fail one after the other on a worker, before it takes no other: it may be the machine."""
_LEAST_WAIT, _MOST_WAIT = 0.05, 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """How runs stand when a process has taken all that it could.

    Attributes:
        made: runs that this process has finished, in order.
        failed: runs that failed, here or elsewhere, and why.
        left: runs that are not finished; nobody may be working on them.
        gave_up: whether too many failed here in a row.
        others: whether the runs that are left are in the hands of others, to whom this process has left them.
    """

    made: tuple[Path, ...]
    failed: dict[Path, str]
    left: tuple[Path, ...]
    gave_up: bool = False
    others: bool = False

    @property
    def exit_code(self) -> int:
        """What a worker ends with: 0 where nothing is left for it, 1 where runs failed, 75 where it was stopped before."""
        if self.left and not (self.gave_up or self.others):
            return STOPPED
        return 1 if self.failed else 0


def pull(
    folders: Sequence[Sequence[Path]],
    *,
    lease_seconds: float | None = None,
    device_index: int | None = None,
    wait: bool = True,
    stopped: Callable[[], bool] = lambda: False,
) -> Pulled:
    """Make the runs in these folders that no other process makes; return when each has a result or a reason.

    They are made in this process, but for runs that several devices share, which have a process for each.

    Args:
        folders: runs, each with a job (:func:`voxmix.engines.job_file.write_job`) or finished; chains are found anew.
        lease_seconds: without a sign of life, after which another process takes over; None: as the jobs say.
        device_index: of the GPU; None where the runs may choose.
        wait: for runs that others work on, as long as it takes; else for :data:`voxmix._claims.PATIENCE_LEASES`.
        stopped: whether to begin no other run.

    Raises:
        InputError: a run is not finished and has no job, or one that cannot be read.
        VoxmixError: a disk that does not take why a run failed.
    """
    jobs = [job for chain in folders for folder in chain if (job := _job_of(folder)) is not None]
    return pull_jobs(
        chains_of(jobs),
        lease_seconds=lease_seconds,
        device_index=device_index,
        shared=start_together,
        most_failed=MOST_FAILED,
        wait=wait,
        stopped=stopped,
    )


def _job_of(folder: Path) -> Job | None:
    """Return the job of a run that is not finished; None of one that is, or whose job cannot be read, which it then says."""
    try:
        return read_job(folder)
    except InputError as error:
        if is_finished(folder):
            return None
        if (desk_of(folder) / JOB_FILE).is_file():
            write_failure(folder, str(error))
            return None
        raise


def pull_jobs(
    chains: Sequence[Chain],
    *,
    lease_seconds: float | None = None,
    device_index: int | None = None,
    opened: Opened | None = None,
    shared: Shared | None = None,
    launch: str = "",
    most_failed: int | None = None,
    wait: bool = True,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[Job, str | None], None] = lambda job, reason: None,
) -> Pulled:
    """As :func:`pull`, of jobs: a chain is made by one process, in its order.

    A run that said why it failed is left alone from then on; one whose process ends without a word is tried again by the next
    process, a few times.

    Args:
        most_failed: runs that may fail here one after the other before this process takes no other; None: all.
        shared: how several processes are started that share a run; None where they were started from outside.
        tell: hears of every run that ended here, with the reason of its failure.
    """
    puller = _Puller(
        opened=opened or Opened(),
        device_index=device_index,
        shared=shared,
        launch=launch,
        most_failed=most_failed,
        lease_seconds=lease_seconds,
        tell=tell,
    )
    waiting = list(chains)
    pause, idle_since, others = _LEAST_WAIT, time.monotonic(), False
    while waiting and not stopped() and not puller.is_unlucky:
        moved = False
        for chain in list(waiting):
            if all(is_settled(job) for job in chain):
                waiting.remove(chain)
            elif (claim := puller.claim(chain)) is not None:
                moved = True
                puller.make(chain, claim, stopped)
            if stopped() or puller.is_unlucky:
                break
        if moved:
            pause, idle_since = _LEAST_WAIT, time.monotonic()
        elif waiting and not wait and time.monotonic() - idle_since > puller.patience:
            others = True
            break
        elif waiting:
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(1.5 * pause, puller.longest_wait)
    jobs = [job for chain in chains for job in chain]
    failed = {job.folder: reason for job in jobs if (reason := _reason(job)) is not None}
    left = tuple(job.folder for job in jobs if not is_settled(job))
    return Pulled(
        made=tuple(puller.made),
        failed=failed,
        left=left,
        gave_up=puller.is_unlucky,
        others=others and bool(left),
    )


def is_settled(job: Job) -> bool:
    """Return whether a run needs no process any more: it is finished, or failed and said so."""
    return is_finished(job.folder) or read_failure(job.folder) is not None


def _reason(job: Job) -> str | None:
    return None if is_finished(job.folder) else read_failure(job.folder)


class _Puller:
    """What a process keeps while it pulls."""

    def __init__(
        self,
        *,
        opened: Opened,
        device_index: int | None,
        shared: Shared | None,
        launch: str,
        most_failed: int | None,
        lease_seconds: float | None,
        tell: Callable[[Job, str | None], None],
    ) -> None:
        self.made: list[Path] = []
        self._opened = opened
        self._device_index = device_index
        self._shared = shared
        self._launch = launch
        self._most_failed = most_failed
        self._lease_seconds = lease_seconds
        self._tell = tell
        self._claims: dict[Path, Claims] = {}
        self._failed_in_a_row = 0

    @property
    def longest_wait(self) -> float:
        """Seconds between two looks at what others hold: several in each lease."""
        return min([_MOST_WAIT, *(claims.lease_seconds / 8 for claims in self._claims.values())])

    @property
    def patience(self) -> float:
        """Seconds in which a process that is gone is told from one that works."""
        return PATIENCE_LEASES * max(claims.lease_seconds for claims in self._claims.values())

    @property
    def is_unlucky(self) -> bool:
        """Whether too many runs failed here, one after the other."""
        return self._most_failed is not None and self._failed_in_a_row >= self._most_failed

    def claim(self, chain: Chain) -> Claim | None:
        """Return the claim of a chain; None while another process has it."""
        place = claims_beside(chain[0].folder)
        if place not in self._claims:
            lease = self._lease_seconds or chain[0].work.compute.lease_seconds
            self._claims[place] = Claims(place, lease_seconds=lease)
        claims = self._claims[place]
        with naming_full_disk(place):
            return claims.take(chain[0].work.chain.replace("/", "-"))

    def make(self, chain: Chain, claim: Claim, stopped: Callable[[], bool]) -> None:
        """Make the runs of a chain that are left, unless another process takes over."""
        with claim:
            for job in chain:
                if stopped() or self.is_unlucky:
                    break
                if _reason(job) is not None:
                    continue
                was_finished = is_finished(job.folder)
                try:
                    reason = make_run(
                        job,
                        claim,
                        opened=self._opened,
                        device_index=self._device_index,
                        shared=self._shared if job.work.compute.processes > 1 else None,
                        launch=self._launch,
                    )
                except ClaimLost:
                    break
                if was_finished:
                    continue
                self._failed_in_a_row = 0 if reason is None else self._failed_in_a_row + 1
                if reason is None:
                    self.made.append(job.folder)
                self._tell(job, reason)
        with suppress(OSError):
            claims_beside(chain[0].folder).parent.rmdir()  # where nothing is left


def main(arguments: Sequence[str]) -> int:
    """Pull the runs in these folders; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m voxmix.engines.pull", description=main.__doc__)
    parser.add_argument("--lease", type=float, metavar="SECONDS", help="as the jobs say, if left out")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    try:
        found = pull([given.folders], lease_seconds=given.lease, wait=False)
    except VoxmixError as error:
        _say(f"error: {error}")
        return 1
    for folder in found.made:
        for note in read_notes(folder):
            _say(f"{folder.name}: {note}")
    for folder, reason in found.failed.items():
        _say(f"error: {folder.name}: {reason}")
    if found.others:
        _say(f"{len(found.left)} runs are left to other workers, who have them")
    return found.exit_code


def _say(text: str) -> None:
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    run_to_end(main)
