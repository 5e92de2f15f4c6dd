"""Where a run is told to stop: by a signal, or by whoever started it; either waits until a step is whole."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal, NoReturn

from voxmix._stopping import STOP_SIGNALS, WRITING, follows_parent, obey

Wish = Literal["save", "leave"]
"""``save``: write the state and stop. ``leave``: stop and write nothing more, another process has the run."""

SAVE, LEAVE = 1000, 1001
"""Wishes as numbers beside those of signals; of several the largest counts. 0: go on."""

_DOUBLE_SECONDS = 1.0
"""A scheduler tells every process and a launcher tells them again: within this time it is one signal."""

_questions: list[Callable[[], Wish | None]] = []


class Stopped(BaseException):
    """A run was stopped as :func:`stop_when` asked; this is no failure.

    Attributes:
        saved: whether its state was written.
    """

    def __init__(self, *, saved: bool) -> None:
        super().__init__(
            "stopped after a whole step, the state is kept" if saved else "left to another process"
        )
        self.saved = saved


@contextmanager
def stop_when(question: Callable[[], Wish | None]) -> Iterator[None]:
    """Ask after every step of a run inside the block, and ``leave`` once more before its result is published.

    Of processes that share a run it is enough that one asks. The run ends with :class:`Stopped`.
    """
    _questions.append(question)
    try:
        yield
    finally:
        _questions.remove(question)


def wished() -> int:
    """Return what :func:`stop_when` asks for: 0, :data:`SAVE` or :data:`LEAVE`."""
    wishes = {question() for question in tuple(_questions)}
    return LEAVE if "leave" in wishes else SAVE if "save" in wishes else 0


def stop(reason: int) -> NoReturn:
    """End a run that was told to stop, after its state is written.

    Raises:
        Stopped: whoever started it has asked for that.
        BaseException: KeyboardInterrupt or SystemExit, for a signal.
    """
    if reason in (SAVE, LEAVE):
        raise Stopped(saved=reason == SAVE)
    obey(reason)


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], int]]:
    """Hold signals back inside the block; the function given says why to stop: 0, a signal's number, or a wish.

    At the end of the block a signal that came is obeyed: by its handler of before, if there is one, and else by
    KeyboardInterrupt for Ctrl-C and exit code 128 + number for the others. A second Ctrl-C is obeyed at once, unless the
    state is being written, or the process is a worker, whose parent decides; a second signal of a scheduler says nothing
    new. A signal that is ignored stays ignored. Outside the main thread, where Python delivers no signals, nothing is
    held back.
    """
    received: list[tuple[int, float]] = []
    if threading.current_thread() is not threading.main_thread():
        yield wished
        return

    def remember(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        received.append((number, now))
        late = now - received[0][1] > _DOUBLE_SECONDS
        if number == signal.SIGINT and late and not (WRITING.locked() or follows_parent()):
            obey(number)

    before: dict[int, Any] = {
        number: handler
        for number in STOP_SIGNALS
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, remember)
    try:
        yield lambda: max(wished(), received[0][0] if received else 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:  # whatever else has happened in the block
            number = received[0][0]
            if callable(before[number]):
                signal.raise_signal(number)
            obey(number)
