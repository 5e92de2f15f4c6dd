"""Crops of prepared volumes, copied into a batch that is reused."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxmix.errors import InputError
from voxmix.pretraining.sampling import DrawParameters, DrawPlan
from voxmix.volumes.cache import PreparedCache, PreparedVolume

_OPEN_VOLUMES = 400  # memory maps kept open: each holds a file descriptor, and 1,024 is a common limit


def check_fits(volumes: Iterable[PreparedVolume], crop: int) -> None:
    """Check that every volume can hold a crop.

    Raises:
        InputError: names the smallest volume that cannot.
    """
    small = [v for v in volumes if min(v.shape) < crop]
    if small:
        worst = min(small, key=lambda v: min(v.shape))
        raise InputError(
            f"crop is {crop} voxels, but {len(small)} prepared volumes are smaller, the smallest being "
            f"{worst.key} of {worst.domain} with shape {tuple(worst.shape)}; set crop to at most "
            f"{min(worst.shape)}, or prepare again with min_shape {crop}"
        )


def corner_of(share: Float[np.ndarray, "3"], shape: Sequence[int], crop: int) -> tuple[int, int, int]:
    """Return the first voxel of a crop whose place is a share in [0, 1) of the room there is."""
    x, y, z = (int(s * (edge - crop + 1)) for s, edge in zip(share, shape, strict=True))
    return x, y, z


class CropReader:
    """Reads the crops of a plan's draws; volumes are opened when first drawn and stay mapped."""

    def __init__(self, cache: PreparedCache, plan: DrawPlan, *, crop: int) -> None:
        self.plan = plan
        self.crop = crop
        self._volumes = tuple(
            tuple(cache.select(name, "train")) if draws else () for name, draws in plan.draws().items()
        )
        for volumes in self._volumes:
            check_fits(volumes, crop)
        self._array = lru_cache(maxsize=_OPEN_VOLUMES)(lambda d, v: cache.array(self._volumes[d][v]))

    def read(
        self, start: int, parameters: DrawParameters, batch: Float[Tensor, "batch x y z"]
    ) -> Float[Tensor, "draw x y z"]:
        """Fill the first rows of ``batch`` (CPU, float16) with the draws from ``start`` on; return those rows."""
        count = len(parameters.corner)
        rows = batch[:count].numpy()
        for row in range(count):
            draw = start + row
            array = self._array(int(self.plan.domain[draw]), int(self.plan.volume[draw]))
            x, y, z = corner_of(parameters.corner[row], array.shape, self.crop)
            rows[row] = array[x : x + self.crop, y : y + self.crop, z : z + self.crop]
        return batch[:count]

    def domains(self, start: int, stop: int) -> Int[Tensor, " draw"]:
        """Return the adapter index of the draws ``start`` to ``stop``."""
        return torch.from_numpy(self.plan.domain[start:stop])
