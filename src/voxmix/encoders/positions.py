"""Position embeddings of images of another size: each axis is resized by a matrix, in any number of axes."""

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

Resize = Literal["cubic", "cubic-antialias", "linear-corners"]
"""cubic: bicubic as DINOv2's and CLIP's weights are used. cubic-antialias: DINOv2 with registers. linear-corners: the ends
stay where they are, as :func:`voxmix.encoders.interchange.for_crop`."""


def resized_positions(
    codes: Float[Tensor, "token width"],
    cells: tuple[int, ...],
    wanted: tuple[int, ...],
    *,
    how: Resize,
) -> Float[Tensor, "wanted width"]:
    """Return position embeddings of ``cells`` patches per axis as those of ``wanted``.

    Interpolation is linear in the embeddings and separate for each axis: with one matrix per axis it gives what
    :func:`torch.nn.functional.interpolate` gives (a test compares), has a gradient that is the same every time on every
    device, and there is a cubic one in 3D.
    """
    if cells == wanted:
        return codes
    width = codes.shape[1]
    # In float32 whatever the precision of the run: rounded positions would differ from those that are not resized.
    table = codes.float().reshape(*cells, width)
    kind = codes.device.type
    with torch.autocast("cpu" if kind == "meta" else kind, enabled=False):
        for axis, (old, new) in enumerate(zip(cells, wanted, strict=True)):
            if old != new:
                matrix = _matrix(old, new, how, codes.device)
                table = torch.tensordot(matrix, table, dims=([1], [axis])).movedim(0, axis)
    return table.reshape(-1, width).to(codes.dtype)


@lru_cache(maxsize=256)
def _matrix(old: int, new: int, how: Resize, device: torch.device) -> Float[Tensor, "new old"]:
    """Return what turns ``old`` values along a line into ``new``; it stays on the device."""
    # Not on the device, nor in the mode, that a caller may have set.
    with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
        # One row each: with antialias, torch 2.13 mistakes a single column of many channels for another layout.
        eye = torch.eye(old).view(old, 1, 1, old)
        if how == "linear-corners":
            made = interpolate(eye, size=(1, new), mode="bilinear", align_corners=True)
        else:
            made = interpolate(
                eye, size=(1, new), mode="bicubic", align_corners=False, antialias=how == "cubic-antialias"
            )
        return made[:, 0, 0].T.contiguous().to(device)
