"""One volume through the recipe: prepared array and geometry."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float16, Shaped

from voxmix.volumes.grids.geometry import (
    Geometry,
    Shape,
    crop_and_pad,
    foreground_box,
    nearest_ras,
    reorder,
    resample,
    resampled_shape,
)
from voxmix.volumes.grids.shear import is_sheared, move, straight_grid
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError, Volume

_FOREGROUND = 0.1


def prepare_volume(
    volume: Volume, *, recipe: Recipe, domain: str
) -> tuple[Float16[np.ndarray, "x y z"], Geometry]:
    """Return the prepared array in [0, 1] and what was done to the grid.

    Order: straight axes, RAS axes, resampling, intensity rule, foreground box (above a tenth of the way
    from the lowest to the 99th percentile value), padding with the lowest value.

    Raises:
        UnreadableVolumeError: resampled it would be larger than the recipe allows, or it is constant.
    """
    rule = recipe.rule(domain)
    volume, source = _straighten(volume, max_voxels=recipe.max_voxels)
    axes, flipped = nearest_ras(volume.affine)
    stored = _triple(volume.data.shape)
    voxel_mm = np.linalg.norm(volume.affine[:3, :3], axis=0)[list(axes)]
    shape = resampled_shape(_triple(stored[k] for k in axes), voxel_mm, spacing_mm=recipe.spacing_mm)
    if int(np.prod(shape, dtype=np.int64)) > recipe.max_voxels:
        raise UnreadableVolumeError(
            f"at {recipe.spacing_mm} mm it has shape {shape}: more voxels than allowed"
        )
    geometry = Geometry(
        shape=stored,
        affine=tuple(tuple(row) for row in volume.affine.tolist()),
        axes=axes,
        flipped=flipped,
        spacing_mm=recipe.spacing_mm,
        resampled=shape,
        start=(0, 0, 0),
        size=shape,
        before=(0, 0, 0),
        padded=shape,
        source=source,
    )
    values = rule.apply(resample(reorder(volume.data, geometry), shape, step=geometry.step))
    low, high = float(values.min()), _high(values)
    if not float(values.max()) > low:
        raise UnreadableVolumeError(_why_constant(rule, low))
    start, size = (0, 0, 0), shape
    if recipe.crop_foreground:
        start, size = foreground_box(values, threshold=low + _FOREGROUND * (high - low))
    padded = _triple(max(n, least) for n, least in zip(size, recipe.min_shape, strict=True))
    geometry = replace(
        geometry,
        start=start,
        size=size,
        before=_triple((p - n) // 2 for p, n in zip(padded, size, strict=True)),
        padded=padded,
    )
    return crop_and_pad(values.astype(np.float16), geometry, fill=low), geometry


def _why_constant(rule: IntensityRule, value: float) -> str:
    """Return the reason against a volume that is one value after its rule."""
    if rule.kind != "window" or 0 < value < 1:
        return "constant after its intensity rule; does the rule fit the unit?"
    where = "above" if value >= 1 else "below"
    return (
        f"constant after its intensity rule: every voxel lies {where} the window {rule.low:g} to {rule.high:g}; does "
        "the window fit the unit (HU, or HU + 1024)?"
    )


def _high(values: Shaped[np.ndarray, "x y z"]) -> float:
    """Return the 99th percentile, of a regular sample of about a million voxels when there are more."""
    stride = max(1, round((values.size / 1e6) ** (1 / 3)))
    return float(np.percentile(values[::stride, ::stride, ::stride], 99))


def _straighten(volume: Volume, *, max_voxels: int) -> tuple[Volume, tuple[Shape, tuple[float, ...]] | None]:
    """Return the volume on perpendicular axes and, if it was sheared, the grid it had."""
    shape = _triple(volume.data.shape)
    if not is_sheared(shape, volume.affine):
        return volume, None
    straight, affine = straight_grid(shape, volume.affine)
    if int(np.prod(straight, dtype=np.int64)) > max_voxels:
        raise UnreadableVolumeError(f"without its shear it has shape {straight}: more voxels than allowed")
    data = move(volume.data, volume.affine, straight, affine, fill=volume.data.min())
    return Volume(data=data, affine=affine), (shape, tuple(volume.affine.ravel().tolist()))


def _triple(values: Iterable[int]) -> Shape:
    x, y, z = values
    return x, y, z
