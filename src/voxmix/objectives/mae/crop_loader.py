"""Crops of draws on the device: read ahead into batches that are used again and again, or cut from volumes that stay there."""

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxmix.objectives.mae.parameters import DrawParameters
from voxmix.training.crops import CropReader
from voxmix.training.loader import ReadAhead
from voxmix.training.resident import ResidentVolumes
from voxmix.training.transfer import Landing

Drawn = tuple[DrawParameters, Float[Tensor, "draw *edge"]]


def crops_ahead(
    reader: CropReader,
    parameters: Callable[[int, int], DrawParameters],
    *,
    rows: int,
    workers: int = 0,
    dtype: torch.dtype = torch.float16,
    pinned: bool = False,
    before: Callable[[Tensor], None] = lambda batch: None,
) -> ReadAhead[Tensor, Drawn]:
    """Return what reads parameters and crops of draws into ``workers + 1`` batches.

    Args:
        reader: reads the files.
        parameters: gives the parameters of the draws ``start`` to ``stop``.
        rows: most draws read at once.
        workers: threads.
        dtype: float16, as the files are, or float32.
        pinned: page-locked memory, for copies to a GPU.
        before: called with a batch that is about to be filled again.
    """

    def read(start: int, stop: int, batch: Tensor) -> Drawn:
        drawn = parameters(start, stop)
        before(batch)
        return drawn, reader.read(start, drawn.corner, batch)

    shape = (rows, *reader.crop)
    memory = [torch.empty(shape, dtype=dtype, pin_memory=pinned) for _ in range(workers + 1)]
    return ReadAhead(read, memory=memory)


class CropsOnDevice(Protocol):
    """Gives the crops of draws in two halves, so that what is small can go to the device between them, all at once."""

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Read these draws ahead, if anything reads ahead."""

    def ask(self, start: int, stop: int) -> tuple[DrawParameters, dict[str, Int[np.ndarray, "draw _"]]]:
        """Return the parameters of the draws ``start`` to ``stop``, and what :meth:`given` needs on the device."""

    def given(self, sent: dict[str, Tensor]) -> Float[Tensor, "draw *edge"]:
        """Return the crops that were asked for last, float32; valid until the next call."""

    def close(self) -> None:
        """Let go of what reads ahead."""


class CropsFromHost:
    """Crops that are read into the host's memory, and copied."""

    def __init__(
        self,
        reader: CropReader,
        parameters: Callable[[int, int], DrawParameters],
        *,
        device: torch.device,
        rows: int,
        loaders: int,
    ) -> None:
        self._landing = Landing(device, shape=(rows, *reader.crop))
        self._loader = crops_ahead(
            reader,
            parameters,
            rows=rows,
            workers=loaders,
            # A GPU gets two bytes a voxel; on a CPU the batch itself is augmented, without a further copy.
            dtype=torch.float32 if device.type == "cpu" else torch.float16,
            pinned=device.type == "cuda",
            before=self._landing.settle,
        )
        self._asked: Tensor

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._loader.expect(ranges)

    def ask(self, start: int, stop: int) -> tuple[DrawParameters, dict[str, Int[np.ndarray, "draw _"]]]:
        drawn, self._asked = self._loader.read(start, stop)
        return drawn, {}

    def given(self, sent: dict[str, Tensor]) -> Float[Tensor, "draw *edge"]:
        return self._landing.take(self._asked)

    def close(self) -> None:
        self._loader.close()


class CropsOfResident:
    """Crops that are cut from volumes on the device."""

    def __init__(
        self,
        reader: CropReader,
        parameters: Callable[[int, int], DrawParameters],
        *,
        device: torch.device,
    ) -> None:
        self._volumes, self._parameters = ResidentVolumes(reader, device=device), parameters

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Do nothing: all is there."""

    def ask(self, start: int, stop: int) -> tuple[DrawParameters, dict[str, Int[np.ndarray, "draw _"]]]:
        drawn = self._parameters(start, stop)
        return drawn, {"places": self._volumes.places(start, drawn.corner)}

    def given(self, sent: dict[str, Tensor]) -> Float[Tensor, "draw *edge"]:
        return self._volumes.crops(sent["places"])

    def close(self) -> None:
        """Do nothing: nothing reads."""
