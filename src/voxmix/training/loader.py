"""Crops read ahead by threads, while the network computes."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

from voxmix.training.crops import CropReader
from voxmix.training.draws import DrawParameters

Drawn = tuple[DrawParameters, Float[Tensor, "draw *edge"]]


class CropLoader:
    """Gives the crops of draws; those that were announced are read before they are asked for.

    Draw n is a pure function of (seed, n), so the crops are the same bits for any number of workers, and with or
    without announcing. ``workers`` threads read (0: the caller's), into ``workers + 1`` batches in turn that are
    used again and again; copying and reading let other threads run. More than one pays where files lie on
    a slow or distant disk, or where one core cannot feed the device. For example::

        with CropLoader(reader, parameters, rows=8, workers=2) as loader:
            for start in range(0, budget, 8):
                drawn, crops = loader.read(start, start + 8)
                loader.expect((s, s + 8) for s in range(start + 8, budget, 8))
                ...                     # crops stay as they are until the next read

    Args:
        reader: reads the files.
        parameters: gives the parameters of the draws ``start`` to ``stop``.
        rows: most draws read at once.
        workers: threads.
        dtype: float16, as the files are, or float32.
        pinned: page-locked memory, for copies to a GPU.
    """

    def __init__(
        self,
        reader: CropReader,
        parameters: Callable[[int, int], DrawParameters],
        *,
        rows: int,
        workers: int = 0,
        dtype: torch.dtype = torch.float16,
        pinned: bool = False,
    ) -> None:
        self._reader, self._parameters, self._workers = reader, parameters, workers
        shape = (rows, *reader.crop)
        self._free = deque(torch.empty(shape, dtype=dtype, pin_memory=pinned) for _ in range(workers + 1))
        self._given: Tensor | None = None
        self._ahead: dict[tuple[int, int], tuple[Future[Drawn], Tensor]] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="crops") if workers else None

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Start to read these draws, each (start, stop), in the order in which they will be asked for.

        As many as there is memory for; ranges that are being read already are left as they are.
        """
        for start, stop in ranges:
            if self._pool is None or not self._free or len(self._ahead) >= self._workers:
                return
            if (start, stop) not in self._ahead:
                batch = self._free.popleft()
                self._ahead[start, stop] = (self._pool.submit(self._read, start, stop, batch), batch)

    def read(self, start: int, stop: int) -> Drawn:
        """Return parameters and crops of the draws ``start`` to ``stop``; the crops are valid until the next call.

        Raises:
            VoxmixError: a file is gone or damaged.
        """
        if self._given is not None:
            self._free.append(self._given)
            self._given = None
        if (start, stop) in self._ahead:
            future, self._given = self._ahead.pop((start, stop))
            return future.result()
        if not self._free:  # Something else was announced: let go of what was to come first.
            future, batch = self._ahead.pop(next(iter(self._ahead)))
            if not future.cancel():
                future.exception()
            self._free.append(batch)
        self._given = self._free.popleft()
        return self._read(start, stop, self._given)

    def _read(self, start: int, stop: int, batch: Tensor) -> Drawn:
        drawn = self._parameters(start, stop)
        return drawn, self._reader.read(start, drawn, batch)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "CropLoader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
