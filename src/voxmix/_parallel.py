"""Processes that work for this one: as many as asked for, gone when this one is gone."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any

from voxmix.errors import VoxmixError

_WATCH_SECONDS = 0.5


def _live_with_parent(
    parent: int, initializer: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> None:
    """Start in a worker: leave Ctrl-C to the parent, and end when the parent is gone (even by kill -9).

    The parent gives its number: one that died while the worker started is gone from the first look on.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while _is_parent(parent):
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    if not _is_parent(parent):
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()
    if initializer is not None:
        initializer(*arguments)


def _is_parent(pid: int) -> bool:
    """Return whether the process that started this one still runs. On Windows its number outlives it."""
    started_by = parent_process()
    return os.getppid() == pid and (started_by is None or started_by.is_alive())


@contextmanager
def worker_pool(
    workers: int, *, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of spawned processes; whatever ends the block early also ends their work.

    ``initializer(*arguments)`` runs once in each process.

    Raises:
        VoxmixError: a process was killed from outside.
    """
    pool = ProcessPoolExecutor(
        max_workers=workers,
        mp_context=get_context("spawn"),
        initializer=_live_with_parent,
        initargs=(os.getpid(), initializer, arguments),
    )
    try:
        yield pool
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise VoxmixError(
                "a worker process was killed, probably for lack of memory; use fewer workers and give the "
                "same command again: what is finished is kept"
            ) from error
        raise
    pool.shutdown(wait=True)
