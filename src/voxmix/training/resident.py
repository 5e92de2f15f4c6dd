"""Volumes that stay in the memory of the device, where crops are cut from them: the bits of the files, and no reading.

A volume of 1.5 mm takes about 24 MB, so that one GPU holds a few thousand. Of a plan only the volumes that are drawn
are kept.
"""

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from voxmix._io import size_text
from voxmix._memory import installed_bytes
from voxmix.compute import Resident
from voxmix.errors import InputError
from voxmix.training.crops import CropReader

_BYTES_PER_VOXEL = 2
_SHARE = 0.5  # of what is free once weights are there: the rest is for moments, gradients and a batch


def stay_resident(reader: CropReader, *, resident: Resident, device: torch.device) -> bool:
    """Return whether the volumes of a plan stay on the device: with ``auto`` on a GPU of which they take half at most.

    Raises:
        InputError: ``on``, and they take more than there is.
    """
    if resident == "off" or (resident == "auto" and device.type != "cuda"):
        return False
    needed, free = resident_bytes(reader), free_bytes(device)
    if resident == "auto":
        return free is not None and needed <= _SHARE * free
    if free is not None and needed > free:
        raise InputError(
            f"compute.resident is on, and the volumes take {size_text(needed)} where {size_text(free)} are free on "
            f"{device.type}; set compute.resident to auto, or prepare coarser volumes"
        )
    return True


def resident_bytes(reader: CropReader) -> int:
    """Return what the volumes take that a plan draws from."""
    return sum(_BYTES_PER_VOXEL * int(np.prod(reader.shape_of(k))) for k in reader.drawn())


def free_bytes(device: torch.device) -> int | None:
    """Return the free memory of a GPU, what PyTorch holds ready counted; else that of the machine, if the system tells."""
    if device.type != "cuda":
        return installed_bytes()
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class ResidentVolumes:
    """The volumes that a plan draws from, one after the other in one tensor, and crops of them.

    Raises:
        VoxmixError: a file is gone or damaged.
    """

    def __init__(self, reader: CropReader, *, device: torch.device) -> None:
        self._reader, crop = reader, reader.crop
        drawn = reader.drawn()
        sizes = [int(np.prod(reader.shape_of(k))) for k in drawn]
        self._begin = np.zeros(max(drawn, default=0) + 1, dtype=np.int64)
        self._begin[drawn] = np.cumsum([0, *sizes])[:-1]
        values = torch.empty(max(sum(sizes), crop[-1]), dtype=torch.float16, device=device)
        for k, size in zip(drawn, sizes, strict=True):
            whole = torch.from_numpy(np.array(reader.whole(k)).reshape(-1))
            values[self._begin[k] : self._begin[k] + size].copy_(whole)
        # Every row of a crop is a window of the one tensor: rows are found by their first voxel alone.
        self._windows = values.as_strided((len(values) - crop[-1] + 1, crop[-1]), (1, 1))
        self._steps = [torch.arange(edge, device=device) for edge in crop[:-1]]

    def places(self, start: int, corner: Float[np.ndarray, "draw axis"]) -> Int64[np.ndarray, "draw axis"]:
        """Return of each draw the first voxel of its crop in the tensor, and the steps along all axes but the last."""
        which, corners = self._reader.which(start, len(corner)), self._reader.corners(start, corner)
        shapes = np.array([self._reader.shape_of(k) for k in which.tolist()], dtype=np.int64)
        shapes = shapes.reshape(len(corner), -1)
        step = np.cumprod(shapes[:, :0:-1], axis=1)[:, ::-1]  # of x: height * depth; of y: depth
        step = np.concatenate([step, np.ones((len(step), 1), dtype=np.int64)], axis=1)
        first = self._begin[which] + (corners * step).sum(axis=1)
        return np.concatenate([first[:, None], step[:, :-1]], axis=1)

    def crops(self, places: Int[Tensor, "draw axis"]) -> Float[Tensor, "draw *edge"]:
        """Return the crops of :meth:`places`, which are on the device."""
        axes = len(self._steps)
        row = places[:, 0].view(-1, *(1,) * axes)
        for axis, steps in enumerate(self._steps):
            along = steps.view(-1, *(1,) * (axes - 1 - axis))
            row = row + along * places[:, 1 + axis].view(-1, *(1,) * axes)
        cut: Tensor = self._windows[row]
        return cut.float()
