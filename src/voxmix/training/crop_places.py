"""Where the crop of a draw lies in its volume, and which of its voxels exist: come from the file, not from padding.

Small volumes are padded to the least shape of the recipe. Padding is predicted for free, so losses leave it out. Crops
are placed where they hold as many voxels that exist as they can: inside them along every axis that is long enough, else
around all of them. Where nothing is padded, all of this is what it was without.
"""

import numpy as np
from jaxtyping import Float, Int

from voxmix.volumes.preparing.cache import PreparedVolume


def box_of(volume: PreparedVolume) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (first, end) of the voxels of a prepared volume that exist."""
    if volume.box is None:
        return (0,) * len(volume.shape), volume.shape
    first, size = volume.box
    return first, tuple(a + n for a, n in zip(first, size, strict=True))


def corner_of(
    share: Float[np.ndarray, "*draw axis"],
    shape: Int[np.ndarray, "*draw axis"],
    crop: tuple[int, ...],
    *,
    first: Int[np.ndarray, "*draw axis"],
    end: Int[np.ndarray, "*draw axis"],
) -> Int[np.ndarray, "*draw axis"]:
    """Return the first voxel of crops whose places are shares in [0, 1) of the room there is.

    The room of an axis is where a crop lies inside ``first`` to ``end``, or, where these are less than a crop, holds them
    all.
    """
    a, b = first, end - crop
    low, high = np.maximum(np.minimum(a, b), 0), np.minimum(np.maximum(a, b), shape - crop)
    corner: np.ndarray = low + (share * (high - low + 1)).astype(np.int64)
    return corner


def span_of(
    corner: Int[np.ndarray, "*draw axis"],
    crop: tuple[int, ...],
    *,
    first: Int[np.ndarray, "*draw axis"],
    end: Int[np.ndarray, "*draw axis"],
) -> Int[np.ndarray, "*draw 2 axis"]:
    """Return (first, end) of the voxels that exist, counted from each crop's corner."""
    span: np.ndarray = np.clip(np.stack([first - corner, end - corner], axis=-2), 0, crop)
    return span
