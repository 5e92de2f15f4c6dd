"""Signals that end a process, as exceptions: every block is left in order, and what it holds is kept."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if name in signal.Signals.__members__  # Windows has the first two
)
"""What people, schedulers and closed terminals send. SIGUSR1 and SIGUSR2 are the early warnings of ``sbatch --signal``."""

WRITING = threading.Lock()
"""Held while a state is being written: a process is not ended in the middle of it."""

_follows_parent, _working, _told = threading.Event(), threading.Event(), threading.Event()


class EndedBySignal(SystemExit):
    """This process was told to end by a signal; its exit code is 128 + the number, as of a shell."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.number).name}; give the same command again to continue"


def obey(number: int) -> NoReturn:
    """End as a signal asks: KeyboardInterrupt for Ctrl-C, :class:`EndedBySignal` for the others."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise EndedBySignal(number)


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let signals that would kill this process end it by an exception instead, inside the block.

    What somebody else handles, or has set to be ignored (``nohup``), is left so; Ctrl-C raises KeyboardInterrupt anyway.
    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = [number for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, _raise)
    _shield_tracker()
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def _shield_tracker() -> None:
    """Keep these signals, which may come to all processes of a job, from the process by which multiprocessing tidies up.

    It shields itself from Ctrl-C and SIGTERM alone, and its death makes the others print tracebacks.
    """
    from multiprocessing import resource_tracker

    if hasattr(resource_tracker, "_IGNORED_SIGNALS"):
        resource_tracker._IGNORED_SIGNALS = STOP_SIGNALS  # blocked while it is started, and so in it


def run_to_end(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """End this process with the exit code of its ``main``; where a signal ends it, say how it goes on."""
    try:
        with signals_raise():
            code = main(sys.argv[1:])
    except EndedBySignal as ended:
        sys.stderr.write(f"{ended}\n")
        code = 128 + ended.number
    except KeyboardInterrupt:
        sys.stderr.write("stopped; give the same command again to continue\n")
        code = 128 + signal.SIGINT
    sys.exit(code)


def follow_parent() -> None:
    """Be a worker: its parent alone says when it ends, by SIGTERM; what terminals and schedulers send to all is not counted.

    Inside :func:`working` the first one raises and further ones are ignored, since Python may miss a signal that comes
    just before it begins to wait for something, and the parent repeats it. Elsewhere the process ends at once.
    """
    _follows_parent.set()
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_worker)


@contextmanager
def working() -> Iterator[None]:
    """Do a piece of work in a worker: end the process, with what the block holds kept, once it is told to."""
    try:
        _working.set()
        yield
    except SystemExit as told:  # the pool would catch it and go on with the next piece
        os._exit(told.code if isinstance(told.code, int) else 1)
    finally:
        _working.clear()


def follows_parent() -> bool:
    """Return whether this process is a worker, see :func:`follow_parent`."""
    return _follows_parent.is_set()


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    obey(number)


def _end_worker(number: int, frame: FrameType | None) -> None:
    if not _working.is_set():
        os._exit(128 + number)
    if not _told.is_set():
        _told.set()
        obey(number)
