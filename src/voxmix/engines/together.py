"""Processes of this machine that share one run, each with a device: started, watched and ended by the process that has its claim."""

import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

from voxmix._parallel import worker_pool
from voxmix.engines.job_file import Job
from voxmix.engines.one_run import ClaimLost, Ended, Lost, work_in
from voxmix.training.launchers import free_port

_POLL_SECONDS = 0.2


def start_together(
    job: Job, folder: Path, progress_path: Path, lost: Lost, *, stopped: Callable[[], bool] = lambda: False
) -> Ended:
    """Let processes of this machine share a run, each with a device; when one fails the others, who wait for it, are ended.

    Raises:
        ClaimLost: another process has taken the run over.
        WorkerKilledError: one of the processes was killed.
    """
    devices, port = job.work.compute.devices, free_port()
    try:
        with worker_pool(devices) as pool:
            ranks = [
                pool.submit(_be_rank, job, folder, None if rank else progress_path, rank, devices, port)
                for rank in range(devices)
            ]
            waiting = set(ranks)
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    if future.result()[0] is not None:
                        pool.kill()  # the others wait for it, deaf to signals
                        raise _ProcessFailed(*future.result())
                if lost():
                    raise ClaimLost
                if stopped():
                    raise KeyboardInterrupt
            return ranks[0].result()
    except _ProcessFailed as failed:
        reason, notes = failed.args
        return reason, notes


class _ProcessFailed(Exception):
    """One of the processes that share a run has failed."""


def _be_rank(job: Job, folder: Path, progress_path: Path | None, rank: int, devices: int, port: int) -> Ended:
    """Be one of the processes that share a run: lightning-fabric reads these variables, as of torchrun."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(devices),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
    )
    return work_in(job, folder, progress_path=progress_path)
