"""Which voxels of a crop exist: those that come from the volume's file, not from its padding.

Small volumes are padded to the least shape of the recipe. Padding is predicted for free, so losses leave it out. Crops
are placed where they hold as many voxels that exist as they can: inside them along every axis that is long enough, else
around all of them. Where nothing is padded, all of this is what it was without.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from voxmix.encoders.patches import patchify, take
from voxmix.grid import Grid
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


def existing_voxels(span: Int[Tensor, "draw 2 axis"], grid: Grid) -> Bool[Tensor, "draw *edge"]:
    """Return which voxels of each crop exist."""
    return _reached(span, cells=grid.crop, size=(1,) * grid.axes)


def existing_in_patches(
    span: Int[Tensor, "draw 2 axis"], patches: Int[Tensor, "draw patch"], grid: Grid
) -> Float[Tensor, "draw patch voxel"]:
    """Return 1 for the voxels of the ``patches`` of each crop that exist, else 0."""
    return take(patchify(existing_voxels(span, grid).float(), grid), patches)


def _reached(
    span: Int[Tensor, "draw 2 axis"], *, cells: tuple[int, ...], size: tuple[int, ...]
) -> Bool[Tensor, "draw *cell"]:
    """Return which cells, each of ``size`` voxels, hold a voxel of the span."""
    axes = range(len(cells))
    found = torch.ones((len(span), *(1 for _ in axes)), dtype=torch.bool, device=span.device)
    for axis in axes:
        places = torch.arange(cells[axis], device=span.device) * size[axis]
        first, end = span[:, 0, axis, None], span[:, 1, axis, None]
        held = (places + size[axis] > first) & (places < end)
        found = found & held.view(len(span), *(cells[axis] if axis == other else 1 for other in axes))
    return found


def mean_square_of_existing(
    predicted: Float[Tensor, "draw patch voxel"],
    truth: Float[Tensor, "draw patch voxel"],
    exists: Float[Tensor, "draw patch voxel"],
) -> Float[Tensor, " draw"]:
    """Return every crop's mean squared error over the voxels that exist.

    The mean is taken crop by crop, because the weights of a mixture are shares of draws: a draw of a small field of view
    counts as much as any other.
    """
    squared = (predicted.to(truth.dtype) - truth).square() * exists
    result: Tensor = squared.sum(dim=(1, 2)) / exists.sum(dim=(1, 2))
    return result


def settled_masks(
    order: Int[np.ndarray, "draw token"],
    seen: int,
    span: Int[np.ndarray, "draw 2 axis"],
    grid: Grid,
) -> Int[np.ndarray, "draw token"]:
    """Return masks of which something that exists is hidden, and, where two patches exist or more, something is seen.

    ``order`` holds the patches of every crop, the first ``seen`` of which are seen. Where all patches that exist lie on
    one side, the one nearest to the other side changes places with a patch of padding there; all other masks stay.
    """
    exists = _reached(torch.from_numpy(span), cells=grid.cells, size=grid.patch).flatten(1).numpy()
    result = order.copy()
    for row in np.flatnonzero(~exists.all(axis=1)):
        mask = result[row]
        real = np.flatnonzero(exists[row][mask])  # places in the order
        if real[-1] < seen:
            a, b = real[-1], seen
        elif real[0] >= seen and len(real) > 1:
            a, b = real[0], seen - 1
        else:
            continue
        mask[a], mask[b] = mask[b], mask[a]
    return result
