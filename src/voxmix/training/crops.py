"""Crops of prepared volumes, copied into a batch that is reused; threads may read the next ones meanwhile."""

import math
import threading
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

from voxmix._memory import installed_bytes
from voxmix.errors import InputError
from voxmix.grid import edges_in_words
from voxmix.training.crop_places import box_of, corner_of, span_of
from voxmix.training.draws import DrawPlan
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.preparing.storage import Scratch, StoredArray

_BYTES_PER_VOXEL = 2
_CACHED_SHARE = 0.5  # of the memory: files that take more are not counted on to stay in the page cache


def check_fits(volumes: Iterable[PreparedVolume], crop: tuple[int, ...]) -> None:
    """Check that every volume can hold a crop.

    Raises:
        InputError: names the smallest volume that cannot, or volumes and a crop of different axes.
    """
    volumes = tuple(volumes)
    other = next((v for v in volumes if len(v.shape) != len(crop)), None)
    if other is not None:
        raise InputError(
            f"a crop has {len(crop)} axes, {other.key} of {other.domain} has {len(other.shape)}; set model.axes to "
            f"{len(other.shape)}"
        )
    small = [v for v in volumes if any(long < edge for long, edge in zip(v.shape, crop, strict=True))]
    if small:
        worst = min(small, key=lambda v: min(v.shape))
        raise InputError(
            f"crop is {edges_in_words(crop)} voxels, but {len(small)} prepared volumes are smaller, the smallest being "
            f"{worst.key} of {worst.domain} with shape {tuple(worst.shape)}; set crop to at most "
            f"{min(worst.shape)}, or prepare again with min_shape {edges_in_words(crop)}"
        )


class _ThreadMemory(threading.local):
    """What each thread reads into: bytes of a file, and one crop on its way to float32."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.crop = torch.empty(0, dtype=torch.float16)


class CropReader:
    """Reads the crops of a plan's draws; several threads may share one reader.

    A volume's file is looked at when it is first drawn. Nothing of a file is held between crops, so the memory of a
    reader does not grow with the data.

    Args:
        cache: the prepared volumes.
        plan: domain and volume of every draw.
        crop: edges in voxels.
        mapped: whether files are read through memory maps, and come from the disk in pages of up to 2 MB: faster
            where they stay in the page cache, slower where every crop comes from the disk. By default, whether the
            plan's files take less than half of the memory.

    Raises:
        InputError: a volume is smaller than a crop.
    """

    def __init__(
        self, cache: PreparedCache, plan: DrawPlan, *, crop: tuple[int, ...], mapped: bool | None = None
    ) -> None:
        self.plan = plan
        self.crop = crop
        self._cache = cache
        self._volumes = tuple(
            tuple(cache.select(name, "train")) if draws else () for name, draws in plan.draws().items()
        )
        for volumes in self._volumes:
            check_fits(volumes, crop)
        everything = [volume for volumes in self._volumes for volume in volumes]
        self.padded = any(volume.box for volume in everything)
        boxes = [(*box_of(volume), volume.shape) for volume in everything]
        # First, end and shape of every volume.
        self._boxes = np.array(boxes, dtype=np.int64).reshape(-1, 3, len(crop))
        self._begin = np.cumsum([0, *(len(volumes) for volumes in self._volumes)])[:-1]  # of every domain
        self.mapped = _stay_in_memory(self._volumes) if mapped is None else mapped
        self._files: dict[tuple[int, int], StoredArray] = {}
        self._memory = _ThreadMemory()

    def read(
        self, start: int, corner: Float[np.ndarray, "draw axis"], batch: Float[Tensor, "batch *edge"]
    ) -> Float[Tensor, "draw *edge"]:
        """Fill the first rows of ``batch`` with the draws from ``start`` on; return those rows.

        ``corner`` are the places of their crops, as shares of the room that each volume leaves. ``batch`` lies in the memory of the CPU and is float16, as the files are (half the bytes on the way to a
        GPU), or float32.

        Raises:
            VoxmixError: a file is gone or damaged.
        """
        count = len(corner)
        memory = self._memory
        if memory.crop.shape != self.crop:
            memory.crop = torch.empty(self.crop, dtype=torch.float16)
        plan, rows = self.plan, batch[:count]
        drawn = zip(
            *(which[start : start + count].tolist() for which in (plan.domain, plan.volume)), strict=True
        )
        files = [self._file(domain, volume) for domain, volume in drawn]
        corners = self.corners(start, corner).tolist()
        for file, place, row in zip(files, corners, rows.unbind(), strict=True):
            window = torch.from_numpy(file.window(tuple(place), self.crop, memory.scratch))
            if batch.dtype is torch.float16:
                row.copy_(window)
            else:  # Rows first, in two bytes, then the cast of one piece: a third faster than both at once.
                row.copy_(memory.crop.copy_(window))
        return rows

    def span(
        self, start: int, corner: Float[np.ndarray, "draw axis"]
    ) -> Int[np.ndarray, "draw 2 axis"] | None:
        """Return (first, end) of the voxels of each crop that exist; None where all do, of every crop."""
        if not self.padded:
            return None
        first, end, _ = self._boxes_of(start, len(corner))
        span = span_of(self.corners(start, corner), self.crop, first=first, end=end)
        return None if (span[:, 0] == 0).all() and (span[:, 1] == self.crop).all() else span

    def corners(self, start: int, corner: Float[np.ndarray, "draw axis"]) -> Int[np.ndarray, "draw axis"]:
        """Return the first voxel of the crops of the draws from ``start`` on."""
        first, end, shape = self._boxes_of(start, len(corner))
        return corner_of(corner, shape, self.crop, first=first, end=end)

    def _boxes_of(self, start: int, count: int) -> Int[np.ndarray, "3 draw axis"]:
        """Return of every draw's volume where what exists begins and ends, and its shape."""
        return np.moveaxis(self._boxes[self.which(start, count)], 1, 0)

    def which(self, start: int, count: int) -> Int[np.ndarray, " draw"]:
        """Return the volume of each of the draws from ``start`` on, counted over all domains."""
        part = slice(start, start + count)
        which: np.ndarray = self._begin[self.plan.domain[part]] + self.plan.volume[part]
        return which

    def drawn(self) -> list[int]:
        """Return the volumes that the plan draws from, counted over all domains."""
        found: list[int] = np.unique(self.which(0, len(self.plan.domain))).tolist()
        return found

    def shape_of(self, volume: int) -> tuple[int, ...]:
        """Return the voxels of a volume along each axis."""
        return tuple(self._boxes[volume, 2].tolist())

    def whole(self, volume: int) -> Float16[np.ndarray, "*edge"]:
        """Return all voxels of a volume.

        Raises:
            VoxmixError: its file is gone or damaged.
        """
        return self._cache.array([v for domain in self._volumes for v in domain][volume])

    def _file(self, domain: int, volume: int) -> StoredArray:
        file = self._files.get((domain, volume))
        if file is None:
            file = self._cache.stored(self._volumes[domain][volume], mapped=self.mapped)
            self._files[domain, volume] = file
        return file

    def domains(self, start: int, stop: int) -> Int[np.ndarray, " draw"]:
        """Return the adapter index of the draws ``start`` to ``stop``."""
        return self.plan.domain[start:stop]


def _stay_in_memory(volumes: Iterable[Iterable[PreparedVolume]]) -> bool:
    size = sum(_BYTES_PER_VOXEL * math.prod(v.shape) for domain in volumes for v in domain)
    return size < _CACHED_SHARE * (installed_bytes() or 0)
