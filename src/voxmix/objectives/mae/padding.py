"""Padding in masked reconstruction: no mask hides nothing but padding, and no loss counts it."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from voxmix.encoders.patches import patchify, take
from voxmix.grid import Grid


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
