"""The engine of this machine: several runs at a time in processes of their own, or several processes to one run."""

import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from voxmix._parallel import WorkerKilledError, worker_pool
from voxmix.engines.job_file import Chain
from voxmix.engines.pull import is_settled, pull_jobs
from voxmix.engines.started import joined_launch, started
from voxmix.engines.together import start_together
from voxmix.engines.work import Opened
from voxmix.errors import InputError
from voxmix.runs.unfinished import attempts_at

_POLL_SECONDS = 0.2


def local(chains: Sequence[Chain], *, workers: int, wait: bool = True) -> Generator[None, None, None]:
    """Run chains of jobs, ``workers`` at a time; processes go on from job to job, since loading torch takes seconds.

    A run that several devices share has the machine for itself, with a process for each device. What other processes, also
    of other machines, work on is left to them.

    Where ``srun`` or ``torchrun`` has started several processes with the same command, this one shares the runs with them.

    Args:
        wait: for runs that others work on, as long as it takes.

    Raises:
        InputError: several machines are asked for, and nobody has started processes there.
        VoxmixError: worker processes are killed before they begin.
    """
    launch = joined_launch()
    if launch is not None:
        yield from started(chains, launch=launch)
        return
    for job in (job for chain in chains for job in chain):
        if job.work.compute.nodes > 1:
            raise InputError(
                f"compute.nodes is {job.work.compute.nodes}, and runs of a study are made on one machine each; leave it out. The "
                "one large run over several machines: srun or torchrun, and voxmix pretrain --nodes (docs/how-to/training.md)"
            )
    alone = [chain for chain in chains if chain[0].work.compute.processes == 1]
    if alone:
        yield from _side_by_side(alone, min(workers, len(alone)), wait)
    several = [chain for chain in chains if chain[0].work.compute.processes > 1]
    if several:
        yield from _one_by_one(several, wait)


def _side_by_side(chains: Sequence[Chain], workers: int, wait_long: bool) -> Generator[None, None, None]:
    """Let processes pull; where one of them is killed others take its place, as long as attempts are begun."""
    while True:
        before = _begun(chains)
        numbers = get_context("spawn").Value("i", 0)
        try:
            with worker_pool(workers, initializer=_start_worker, arguments=(numbers,)) as pool:
                waiting: set[Future[None]] = {pool.submit(_pull, chains, wait_long) for _ in range(workers)}
                while waiting:
                    done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                    yield
            return
        except WorkerKilledError:
            if _begun(chains) == before:
                raise
            yield


def _begun(chains: Sequence[Chain]) -> set[str]:
    """Return what changes whenever an attempt is begun or a run is settled."""
    jobs = [job for chain in chains for job in chain]
    attempts = {path.name for job in jobs for path in attempts_at(job.folder)}
    return attempts | {f"{job.folder} is settled" for job in jobs if is_settled(job)}


def _one_by_one(chains: Sequence[Chain], wait_long: bool) -> Generator[None, None, None]:
    """Make runs that several processes share, one run at a time, in a thread that is stopped when this one is closed."""
    over = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            pull_jobs(
                chains,
                shared=partial(start_together, stopped=over.is_set),
                wait=wait_long,
                stopped=over.is_set,
            )
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL_SECONDS)
            yield
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]


_worker: dict[str, Any] = {}


def _start_worker(numbers: Any) -> None:  # a Synchronized[int], which takes no [] at run time
    """Count the processes, so that each has its GPU."""
    with numbers.get_lock():
        number, numbers.value = numbers.value, numbers.value + 1
    _worker.update(number=number, opened=Opened())


def _pull(chains: Sequence[Chain], wait_long: bool) -> None:
    pull_jobs(chains, opened=_worker["opened"], device_index=_device_of(_worker["number"]), wait=wait_long)


def _device_of(number: int) -> int | None:
    """Return the GPU of a worker, in turn; None without GPUs."""
    count = torch.cuda.device_count()
    return number % count if count else None
