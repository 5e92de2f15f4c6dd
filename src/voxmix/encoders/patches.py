"""Patches of a crop: how many are seen, and the change between voxels and rows of patches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxmix.grid import Grid
from voxmix.run_settings import ModelSettings


def token_count(settings: ModelSettings) -> int:
    """Return the number of patches of one crop."""
    return settings.grid.patches


def visible_count(settings: ModelSettings) -> int:
    """Return the number of patches that the encoder sees: at least one, and at least one is hidden."""
    tokens = token_count(settings)
    return min(max(round(tokens * (1 - settings.mask_ratio)), 1), tokens - 1)


def patchify(crops: Float[Tensor, "batch *axis"], grid: Grid) -> Float[Tensor, "batch token voxel"]:
    """Return one row per patch, patches and voxels both in C order of (x, y, z), or (x, y).

    The order of voxels is that of a convolution's kernel, so that MONAI's convolutional patch embedding
    is one matrix product on these rows.
    """
    batch, axes = len(crops), grid.axes
    both = [size for pair in zip(grid.cells, grid.patch, strict=True) for size in pair]
    blocks = crops.reshape(batch, *both).permute(0, *range(1, 2 * axes, 2), *range(2, 2 * axes + 1, 2))
    return blocks.reshape(batch, grid.patches, grid.patch_voxels)


def unpatchify(rows: Float[Tensor, "batch token voxel"], grid: Grid) -> Float[Tensor, "batch *axis"]:
    """Return the crops whose rows :func:`patchify` gave."""
    batch, axes = len(rows), grid.axes
    pairs = [place for axis in range(1, axes + 1) for place in (axis, axis + axes)]
    return rows.reshape(batch, *grid.cells, *grid.patch).permute(0, *pairs).reshape(batch, *grid.crop)


def take(
    rows: Float[Tensor, "batch token feature"], index: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen feature"]:
    """Return the chosen rows of every sample (one row copy each, faster than ``gather``)."""
    batch, tokens, features = rows.shape
    offset = torch.arange(batch, device=rows.device).unsqueeze(1) * tokens
    return (
        rows.reshape(batch * tokens, features)
        .index_select(0, (index + offset).view(-1))
        .view(*index.shape, features)
    )
