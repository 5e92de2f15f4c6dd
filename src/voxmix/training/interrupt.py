"""Stop signals that wait until a step is whole."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_deferred() -> Iterator[Callable[[], bool]]:
    """Hold back Ctrl-C and SIGTERM inside the block; the function given says whether one has come.

    At the end of the block a signal that came is obeyed: KeyboardInterrupt for Ctrl-C, exit code 143 for
    SIGTERM, as schedulers expect. A second Ctrl-C is obeyed at once; a second SIGTERM says nothing new, since schedulers
    send it to a process and to its parent, which hands it on. Outside the main thread, where Python
    delivers no signals, nothing is held back.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def remember(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if received.count(signal.SIGINT) > 1:
            _obey(number)

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        _obey(received[0])


def _obey(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
