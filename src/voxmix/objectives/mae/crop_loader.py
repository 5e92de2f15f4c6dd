"""Crops of draws, read ahead into batches that are used again and again."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from voxmix.objectives.mae.parameters import DrawParameters
from voxmix.training.crops import CropReader
from voxmix.training.loader import ReadAhead

Drawn = tuple[DrawParameters, Float[Tensor, "draw *edge"]]


def crops_ahead(
    reader: CropReader,
    parameters: Callable[[int, int], DrawParameters],
    *,
    rows: int,
    workers: int = 0,
    dtype: torch.dtype = torch.float16,
    pinned: bool = False,
) -> ReadAhead[Tensor, Drawn]:
    """Return what reads parameters and crops of draws into ``workers + 1`` batches.

    Args:
        reader: reads the files.
        parameters: gives the parameters of the draws ``start`` to ``stop``.
        rows: most draws read at once.
        workers: threads.
        dtype: float16, as the files are, or float32.
        pinned: page-locked memory, for copies to a GPU.
    """

    def read(start: int, stop: int, batch: Tensor) -> Drawn:
        drawn = parameters(start, stop)
        return drawn, reader.read(start, drawn.corner, batch)

    shape = (rows, *reader.crop)
    memory = [torch.empty(shape, dtype=dtype, pin_memory=pinned) for _ in range(workers + 1)]
    return ReadAhead(read, memory=memory)
