"""The engine of this machine: several runs at a time in processes of their own, or several processes to one run."""

import os
import socket
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from voxmix._parallel import worker_pool
from voxmix.engines.job import run_job
from voxmix.engines.job_file import Chain, Job
from voxmix.engines.work import Opened
from voxmix.errors import InputError

_POLL_SECONDS = 0.2


def local(chains: Sequence[Chain], *, workers: int) -> Generator[None, None, None]:
    """Run chains of jobs, ``workers`` at a time; processes go on from job to job, since loading torch takes seconds.

    A run that several devices share has the machine for itself, with a process for each device.

    Raises:
        InputError: several machines are asked for, which must be started from outside.
        VoxmixError: a worker process was killed.
    """
    for job in (job for chain in chains for job in chain):
        if job.work.compute.nodes > 1:
            raise InputError(
                f"compute.nodes is {job.work.compute.nodes}, a study trains on one machine; train such runs from a "
                "script of yours under srun or torchrun (docs/how-to/training.md)"
            )
    alone = [chain for chain in chains if chain[0].work.compute.processes == 1]
    if alone:
        yield from _side_by_side(alone, workers)
    for job in (job for chain in chains for job in chain if job.work.compute.processes > 1):
        yield from _together(job)


def _side_by_side(chains: Sequence[Chain], workers: int) -> Generator[None, None, None]:
    numbers = get_context("spawn").Value("i", 0)
    with worker_pool(workers, initializer=_start_worker, arguments=(numbers,)) as pool:
        waiting: set[Future[None]] = {
            pool.submit(_run_chain, [job.folder for job in chain]) for chain in chains
        }
        while waiting:
            done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            yield


def _together(job: Job) -> Generator[None, None, None]:
    """Run one job by several processes; when one of them fails the others, who wait for it, are ended."""
    devices, port = job.work.compute.devices, _free_port()
    try:
        with worker_pool(devices) as pool:
            waiting = {pool.submit(_run_rank, job.folder, rank, devices, port) for rank in range(devices)}
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                if not all(future.result() for future in done):
                    raise _ProcessFailed
                yield
    except _ProcessFailed:
        yield


class _ProcessFailed(Exception):
    """One of the processes that share a run has failed; why stands in the run's folder."""


_worker: dict[str, Any] = {}


def _start_worker(numbers: Any) -> None:  # a Synchronized[int], which takes no [] at run time
    """Count the processes, so that each has its GPU, and keep what the jobs of each have opened."""
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    _worker.update(number=number, opened=Opened())


def _run_chain(folders: Sequence[Path]) -> None:
    for folder in folders:
        run_job(folder, opened=_worker["opened"], device_index=_device_of(_worker["number"]), rank=0)


def _run_rank(folder: Path, rank: int, devices: int, port: int) -> bool:
    """Be one of the processes that share a run: lightning-fabric reads these variables, as of torchrun."""
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=str(devices),
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
    )
    return run_job(folder, rank=rank)


def _device_of(number: int) -> int | None:
    """Return the GPU of a worker, in turn; None without GPUs."""
    count = torch.cuda.device_count()
    return number % count if count else None


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port
