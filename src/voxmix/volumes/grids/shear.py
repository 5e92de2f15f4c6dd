"""Sheared grids, as a tilted gantry leaves them: found, and resampled onto perpendicular axes."""

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

Shape = tuple[int, int, int]


def is_sheared(shape: Shape, affine: Float[np.ndarray, "4 4"]) -> bool:
    """Return whether the axes drift against each other by more than half a voxel over the volume."""
    return bool(_drift(shape, affine).max() > 0.5)


def _drift(shape: Shape, affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    """Return how many voxels of axis j one walks aside when one walks all of axis i."""
    size = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = (affine[:3, :3] / size).T @ (affine[:3, :3] / size)
    walk = np.array(shape) * size
    return np.asarray(np.abs(cosines - np.diag(np.diag(cosines))) * walk[:, None] / size[None, :])


def straight_grid(shape: Shape, affine: Float[np.ndarray, "4 4"]) -> tuple[Shape, Float[np.ndarray, "4 4"]]:
    """Return shape and affine of a perpendicular grid that holds the sheared one.

    The axis that leans most (of two that lean against each other, the one with the larger step: the
    slices) becomes the normal of the other two, with the distance between its planes as its step.
    """
    size = np.linalg.norm(affine[:3, :3], axis=0)
    unit = affine[:3, :3] / size
    cosines = np.abs(unit.T @ unit)
    tilted = max(range(3), key=lambda k: (round(float(cosines[k].sum()), 3), size[k], k))
    first, second = (tilted + 1) % 3, (tilted + 2) % 3
    axes = np.empty((3, 3))
    axes[:, first] = unit[:, first]
    across = unit[:, second] - (unit[:, second] @ unit[:, first]) * unit[:, first]
    axes[:, second] = across / np.linalg.norm(across)
    normal = np.cross(axes[:, first], axes[:, second])
    axes[:, tilted] = normal * np.sign(normal @ unit[:, tilted])
    step = size.copy()
    step[tilted] = abs(unit[:, tilted] @ axes[:, tilted]) * size[tilted]
    corners = np.array(
        [[n * bit - 0.5 for n, bit in zip(shape, bits, strict=True)] for bits in np.ndindex(2, 2, 2)]
    )
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    along = world @ axes / step
    low, high = along.min(axis=0), along.max(axis=0)
    x, y, z = (int(n) for n in np.ceil(high - low - 1e-6))
    result = np.eye(4)
    result[:3, :3] = axes * step
    result[:3, 3] = axes @ ((low + 0.5) * step)
    return (x, y, z), result


def move(
    data: Shaped[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    shape: Shape,
    target: Float[np.ndarray, "4 4"],
    *,
    fill: Any = 0,
) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return the data on another grid: linear for floating point, nearest for whole numbers."""
    whole = data.dtype.kind in "iub"
    matrix = np.linalg.inv(affine) @ target
    # A voxel reaches half an edge beyond its center: "constant" alone would cut labels off at the centers.
    moved = ndimage.affine_transform(
        data,
        matrix,
        output_shape=shape,
        order=0 if whole else 1,
        mode="grid-constant" if whole else "constant",
        cval=fill,
    )
    return np.asarray(moved)
