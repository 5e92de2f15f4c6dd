"""Processes that work for this one: as many as asked for, gone when this one is gone."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from voxmix._progress import ProgressCallback, silent
from voxmix._stopping import WRITING, follow_parent, signals_raise, working
from voxmix.errors import VoxmixError

_WATCH_SECONDS = 0.5
_AHEAD = 4
"""Pieces of work that wait for each process: enough to keep it busy, few of many in memory."""
_END_SECONDS = 60.0
"""What a worker that is told to end may take for it: its step, and its state on disk."""
_HURRY_SECONDS = 10.0
"""The same after a second signal."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerKilledError(VoxmixError):
    """A worker process was killed from outside."""


def _live_with_parent(
    parent: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    """Start in a worker: leave signals to the parent, and end when the parent is gone (even by kill -9).

    The parent gives its number: one that died while the worker started is gone from the first look on. A worker ends as
    its parent would end it: what it holds is kept, if it does not take too long.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while _is_parent(parent):
            time.sleep(_WATCH_SECONDS)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(_WATCH_SECONDS)
        with WRITING:
            os._exit(1)

    if not _is_parent(parent):
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)
    follow_parent()


def _call(work: Callable[..., Result], arguments: tuple[Any, ...], named: dict[str, Any]) -> Result:
    with working():
        return work(*arguments, **named)


class WorkerPool(ProcessPoolExecutor):
    """Processes that end when they are told to."""

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        """Let a process do ``fn(*args, **kwargs)``."""
        return super().submit(_call, fn, args, kwargs)

    @property
    def workers(self) -> list[BaseProcess]:
        """Processes that have been started."""
        return list((self._processes or {}).values())

    def kill(self) -> None:
        """Kill every process: none holds anything that could be kept."""
        for worker in self.workers:
            worker.kill()


def _end(workers: list[BaseProcess]) -> None:
    """Tell workers to end and wait until they have; kill those that take too long."""
    deadline = time.monotonic() + _END_SECONDS
    left = {worker.sentinel: worker for worker in workers}
    while left and time.monotonic() < deadline:
        for worker in left.values():
            worker.terminate()
        try:
            for gone in connection.wait(list(left), timeout=_WATCH_SECONDS):
                del left[gone]  # type: ignore[arg-type]
        except (KeyboardInterrupt, SystemExit):
            deadline = min(deadline, time.monotonic() + _HURRY_SECONDS)
    for worker in left.values():
        worker.kill()


def _is_parent(pid: int) -> bool:
    """Return whether the process that started this one still runs. On Windows its number outlives it."""
    started_by = parent_process()
    return os.getppid() == pid and (started_by is None or started_by.is_alive())


@contextmanager
def worker_pool(
    workers: int, *, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[WorkerPool]:
    """Yield a pool of spawned processes; whatever ends the block early also ends their work.

    A signal to this process is one to all of them: they keep what they hold, and this one waits for them, a minute at most.

    ``initializer(*arguments)`` runs once in each process.

    Raises:
        WorkerKilledError: a process was killed from outside.
    """
    with signals_raise():
        pool = WorkerPool(
            max_workers=workers,
            mp_context=get_context("spawn"),
            initializer=_live_with_parent,
            initargs=(os.getpid(), initializer, arguments),
        )
        try:
            yield pool
        except BaseException as error:
            _end(pool.workers)
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise WorkerKilledError(
                    "a worker process was killed, probably for lack of memory; use fewer workers and give the "
                    "same command again: what is finished is kept"
                ) from error
            raise
        pool.shutdown(wait=True)


def work_through(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int,
    chunk: int = 1,
    progress: ProgressCallback = silent,
    after_a_death: Callable[[Item], Result] | None = None,
    keep: Callable[[int, Result], Result] | None = None,
) -> list[Result]:
    """Return the result of every item, in order: made by ``workers`` processes as they come free, or here by one.

    ``chunk`` items travel to a process together, and few wait there at a time. ``keep`` gets every result as it
    comes, after the place of its item, and returns what is kept of it. ``after_a_death`` makes what is left, one by one, once a process was
    killed; without it that is an error.

    Raises:
        WorkerKilledError: a process was killed, and there is no ``after_a_death``.
    """
    total = len(items)
    results: dict[int, Result] = {}

    def take(start: int, made: Sequence[Result]) -> None:
        for place, result in enumerate(made, start=start):
            results[place] = result if keep is None else keep(place, result)
        progress(len(results), total)

    progress(0, total)
    starts = range(0, total, chunk)
    if workers <= 1 or not total:
        for place, item in enumerate(items):
            take(place, [work(item)])
    else:
        try:
            with worker_pool(min(workers, len(starts))) as pool:
                waiting: dict[Future[list[Result]], int] = {}
                left = iter(starts)
                while True:
                    for start in islice(left, _AHEAD * workers - len(waiting)):
                        waiting[pool.submit(_each, work, items[start : start + chunk])] = start
                    if not waiting:
                        break
                    for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                        take(waiting.pop(future), future.result())
        except WorkerKilledError:
            if after_a_death is None:
                raise
            for place, item in enumerate(items):
                if place not in results:
                    take(place, [after_a_death(item)])
    return [results[place] for place in range(total)]


KILLED = "the process that read it was killed: damaged, or too large for the memory"


def alone(work: Callable[[Item], Result], item: Item, *, killed: Result) -> Result:
    """Return the result of one item, made in a process of its own; ``killed`` if that is killed.

    Raises:
        VoxmixError: no worker process can start here.
    """
    try:
        return work_through(work, [item], workers=2)[0]  # With one worker it would be this process.
    except WorkerKilledError:
        _check_workers_start()
        return killed


def _check_workers_start() -> None:
    """Check that it is the item that ends a worker, not the way in which voxmix was called."""
    try:
        work_through(abs, [0], workers=2)
    except WorkerKilledError as error:
        raise VoxmixError(
            "worker processes cannot start here; a script that prepares with several workers must do so below "
            '`if __name__ == "__main__":`, or with workers=1'
        ) from error


def _each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [work(item) for item in items]
