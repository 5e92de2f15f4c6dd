"""Patches of a crop: how many are seen, and the change between voxels and rows of patches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxmix.design import ModelSettings


def token_count(settings: ModelSettings) -> int:
    """Return the number of patches of one crop."""
    return (settings.crop // settings.patch) ** 3


def visible_count(settings: ModelSettings) -> int:
    """Return the number of patches that the encoder sees: at least one, and at least one is hidden."""
    tokens = token_count(settings)
    return min(max(round(tokens * (1 - settings.mask_ratio)), 1), tokens - 1)


def patchify(crops: Float[Tensor, "batch x y z"], patch: int) -> Float[Tensor, "batch token voxel"]:
    """Return one row per patch, patches and voxels both in C order of (x, y, z).

    The order of voxels is that of a convolution's kernel, so that MONAI's convolutional patch embedding
    is one matrix product on these rows.
    """
    batch, *shape = crops.shape
    x, y, z = (edge // patch for edge in shape)
    blocks = crops.reshape(batch, x, patch, y, patch, z, patch).permute(0, 1, 3, 5, 2, 4, 6)
    return blocks.reshape(batch, x * y * z, patch**3)


def unpatchify(rows: Float[Tensor, "batch token voxel"], patch: int) -> Float[Tensor, "batch x y z"]:
    """Return the cubes whose rows :func:`patchify` gave."""
    batch, tokens, _ = rows.shape
    n = round(tokens ** (1 / 3))
    blocks = rows.reshape(batch, n, n, n, patch, patch, patch).permute(0, 1, 4, 2, 5, 3, 6)
    return blocks.reshape(batch, n * patch, n * patch, n * patch)


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
