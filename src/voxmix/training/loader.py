"""Draws that threads read ahead, while the network computes."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Memory = TypeVar("Memory")
Found = TypeVar("Found")


class ReadAhead(Generic[Memory, Found]):
    """Gives what ``read`` finds of draws; those that were announced are read before they are asked for.

    Draw n is a pure function of (seed, n), so the result is the same bits for any number of workers, and with or
    without announcing. One thread less than there is ``memory`` reads (with one piece of it the caller's), each into a piece
    that is used again and again; copying and reading let other threads run. More than one pays where files lie on
    a slow or distant disk, or where one core cannot feed the device. For example::

        with crops_ahead(reader, parameters, rows=8, workers=2) as loader:
            for start in range(0, budget, 8):
                drawn, crops = loader.read(start, start + 8)
                loader.expect((s, s + 8) for s in range(start + 8, budget, 8))
                ...                     # crops stay as they are until the next read

    Args:
        read: finds the draws (start, stop), in a piece of memory.
        memory: a piece for each thread, and one for the result in use.
    """

    def __init__(self, read: Callable[[int, int, Memory], Found], *, memory: Sequence[Memory]) -> None:
        workers = len(memory) - 1
        self._read, self._free, self._workers = read, deque(memory), workers
        self._given: list[Memory] = []
        self._ahead: dict[tuple[int, int], tuple[Future[Found], Memory]] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ahead") if workers else None

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Start to read these draws, each (start, stop), in the order in which they will be asked for.

        As many as there is memory for; ranges that are being read already are left as they are.
        """
        for start, stop in ranges:
            if self._pool is None or not self._free or len(self._ahead) >= self._workers:
                return
            if (start, stop) not in self._ahead:
                piece = self._free.popleft()
                self._ahead[start, stop] = (self._pool.submit(self._read, start, stop, piece), piece)

    def read(self, start: int, stop: int) -> Found:
        """Return the draws ``start`` to ``stop``; what lies in memory is valid until the next call.

        Raises:
            VoxmixError: a file is gone or damaged.
        """
        self._free.extend(self._given)
        self._given = []
        if (start, stop) in self._ahead:
            future, piece = self._ahead.pop((start, stop))
            self._given = [piece]
            return future.result()
        if not self._free:  # Something else was announced: let go of what was to come first.
            future, piece = self._ahead.pop(next(iter(self._ahead)))
            if not future.cancel():
                future.exception()
            self._free.append(piece)
        self._given = [self._free.popleft()]
        return self._read(start, stop, self._given[0])

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "ReadAhead[Memory, Found]":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
