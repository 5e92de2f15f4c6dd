"""Many runs: several at a time, or several processes to one run; what fails does not stop the others."""

import os
import socket
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import torch

from voxmix._parallel import worker_pool
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.train import train
from voxmix.volumes.preparing.cache import PreparedCache

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A run to train: its spec, its folder, and the folder of the trunk it shares with others."""

    spec: RunSpec
    folder: Path
    trunk: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRun:
    """A run that could not be finished, and why."""

    spec: RunSpec
    reason: str


def train_many(
    tasks: Sequence[Task],
    *,
    cache_dir: Path,
    evaluation_path: Path,
    compute: ComputeSettings,
    workers: int,
    threads: int,
    progress: ProgressCallback = silent,
) -> tuple[FailedRun, ...]:
    """Train every task, ``workers`` at a time with so many ``threads`` each; return those that failed.

    Runs of one trunk follow each other, the shortest first, so that each goes on where the one before left the
    trunk. ``progress`` counts budgets, in their own unit.

    Raises:
        InputError: several machines are asked for, which must be started from outside.
        VoxmixError: a worker process was killed.
    """
    if compute.nodes > 1:
        raise InputError(
            f"compute.nodes is {compute.nodes}, a study trains on one machine; train such runs from a script of "
            "yours under srun or torchrun (docs/how-to/training.md)"
        )
    total = sum(task.spec.budget for task in tasks)
    counter = get_context("spawn").Value("q", 0)
    shared = (cache_dir, evaluation_path, compute, threads, counter)
    groups = trunk_groups(tasks)
    failures: list[FailedRun] = []
    if compute.processes > 1:
        for task in (task for group in groups for task in group):
            failures += _train_together(task, shared, devices=compute.devices, total=total, progress=progress)
        return tuple(failures)
    numbers = get_context("spawn").Value("i", 0)
    with worker_pool(workers, initializer=_start_worker, arguments=(*shared, numbers)) as pool:
        futures = [pool.submit(_train_group, group) for group in groups]
        failures += _collect(futures, counter, total, progress)
    return tuple(failures)


def _train_together(
    task: Task, shared: tuple[Any, ...], *, devices: int, total: int, progress: ProgressCallback
) -> list[FailedRun]:
    """Train one run by several processes; when one of them fails the others, who wait for it, are ended."""
    port, counter = _free_port(), shared[-1]
    try:
        with worker_pool(devices, initializer=_start_worker, arguments=(*shared, None)) as pool:
            waiting = {pool.submit(_train_rank, task, rank, port) for rank in range(devices)}
            while waiting:
                done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                failures = _collect(done, counter, total, progress)
                if failures:
                    raise _ProcessFailed(failures[0])
                progress(min(total, counter.value), total)
    except _ProcessFailed as failed:
        return [failed.run]
    return []


class _ProcessFailed(Exception):
    """One of the processes that share a run has failed."""

    def __init__(self, run: FailedRun) -> None:
        super().__init__(run.reason)
        self.run = run


def trunk_groups(tasks: Sequence[Task]) -> list[list[Task]]:
    """Return tasks that share a trunk together, shortest first, and the others alone; the longest groups first."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.spec.run_id if task.trunk is None else task.spec.trunk_id].append(task)
    ordered = [sorted(group, key=lambda task: task.spec.budget) for group in groups.values()]
    return sorted(ordered, key=lambda group: -group[-1].spec.budget)


def _collect(
    futures: Iterable["Future[tuple[list[FailedRun], list[str]]]"],
    counter: "Synchronized[int]",
    total: int,
    progress: ProgressCallback,
) -> list[FailedRun]:
    """Wait for the workers; show how far they are and what they warned of."""
    failures: list[FailedRun] = []
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        progress(min(total, counter.value), total)
        for future in done:
            failed, notes = future.result()
            failures += failed
            for note in notes:
                warnings.warn(note, VoxmixWarning, stacklevel=3)
    return failures


_worker: dict[str, Any] = {}


def _start_worker(
    cache_dir: Path,
    evaluation_path: Path,
    compute: ComputeSettings,
    threads: int,
    counter: "Synchronized[int]",
    numbers: "Synchronized[int] | None",
) -> None:
    """Load in each process, once, what all of its runs share; count the processes, so that each has its GPU."""
    number = None
    if numbers is not None:
        with numbers.get_lock():
            number, numbers.value = numbers.value, numbers.value + 1
    _worker.update(
        cache=PreparedCache.open(cache_dir),
        evaluation=EvaluationSet.load(evaluation_path),
        compute=compute,
        threads=threads,
        counter=counter,
        number=number,
    )


def _train_rank(task: Task, rank: int, port: int) -> tuple[list[FailedRun], list[str]]:
    """Be one of the processes that share a run: lightning-fabric reads these variables, as of torchrun."""
    world = str(_worker["compute"].devices)
    os.environ.update(
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        WORLD_SIZE=world,
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        NODE_RANK="0",
    )
    return _train_group([task])


def _train_group(group: list[Task]) -> tuple[list[FailedRun], list[str]]:
    """Train runs one after another; return those that failed and what was warned of."""
    failures: list[FailedRun] = []
    notes: list[str] = []
    for task in group:
        with _noting(notes):
            try:
                train(
                    task.spec,
                    cache=_worker["cache"],
                    evaluation=_worker["evaluation"],
                    folder=task.folder,
                    trunk=task.trunk,
                    compute=_worker["compute"],
                    threads=_worker["threads"],
                    device_index=_device_of(_worker["number"]),
                    progress=_counting(task.spec.budget),
                )
            except VoxmixError as error:
                failures.append(FailedRun(spec=task.spec, reason=str(error)))
    return failures, notes


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Collect our own warnings instead of showing them in the middle of a progress bar."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VoxmixWarning)
        yield
    notes += [str(warning.message) for warning in caught if issubclass(warning.category, VoxmixWarning)]


def _counting(budget: int) -> ProgressCallback:
    """Return a callback that adds a run's share of its budget to the common counter."""
    counter, seen = _worker["counter"], 0

    def progress(done: int, total: int) -> None:
        nonlocal seen
        now = budget * done // total
        with counter.get_lock():
            counter.value += now - seen
        seen = now

    return progress


def _device_of(number: int | None) -> int | None:
    """Return the GPU of a worker, in turn; None without GPUs."""
    count = torch.cuda.device_count()
    return None if number is None or not count else number % count


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port
