"""States of a run, written in a thread beside training, and how often."""

import contextlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from voxmix._stopping import WRITING
from voxmix.training.checkpoint import save_state

_SHARE = 0.02
"""Of the time, at most so much goes into states, as long as they are not too far apart."""
_LONGER = 10
"""The time between states grows to at most so many times what was asked for."""
_LAST_SECONDS = 5.0
"""Training that may be lost while the finished network is measured, which can take minutes."""


class _Left(Exception):
    """Another process has the run."""


class StateWriter:
    """Writes states one after the other, and says when the next one is due.

    One is in memory and one on its way to the disk at most. What went wrong in the thread is raised by whatever is called
    next.

    Args:
        every: seconds between states, where that is at most a fiftieth of what one costs; else more, up to ten times.
        competes: whether the thread takes time from training: on a CPU, where both need the same cores.
    """

    def __init__(self, folder: Path, *, every: float, competes: bool) -> None:
        self._folder, self._every, self._competes = folder, every, competes
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._writing: Future[float] | None = None
        self._left = False
        self._saved, self._stall, self._wrote = time.monotonic(), 0.0, 0.0

    @property
    def interval(self) -> float:
        """Seconds between states, by what the last one has cost."""
        cost = self._stall + (self._wrote if self._competes else 0.0)
        return min(max(self._every, cost / _SHARE), _LONGER * self._every)

    def due(self, *, last: bool = False) -> bool:
        """Return whether it is time for a state; after the ``last`` step that is earlier.

        Raises:
            VoxmixError: the one before could not be written.
        """
        if self._writing is not None and self._writing.done():
            self.wait()
        interval = min(self._every, _LAST_SECONDS) if last else self.interval
        return time.monotonic() - self._saved >= interval

    def give(self, state: dict[str, Any]) -> None:
        """Begin to write a state, which nothing changes any more."""
        self.wait()
        self._writing = self._pool.submit(self._write, state)

    def stalled(self, seconds: float) -> None:
        """Take down how long training has stood still for the state that was just given."""
        self._left = False
        self._saved, self._stall = time.monotonic(), seconds

    def wait(self) -> None:
        """Return when everything given is on the disk.

        Raises:
            VoxmixError: it could not be written.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            self._wrote = writing.result()

    def leave(self) -> None:
        """Publish nothing more, not even what is being written: another process has the run."""
        self._left = True

    def close(self) -> None:
        """Let what is being written come to its end; what went wrong with it is not told."""
        with contextlib.suppress(Exception):
            self.wait()
        self._pool.shutdown()

    def _write(self, state: dict[str, Any]) -> float:
        began = time.monotonic()
        with WRITING, contextlib.suppress(_Left):
            save_state(self._folder, state, ready=self._check)
        return time.monotonic() - began

    def _check(self) -> None:
        if self._left:
            raise _Left
