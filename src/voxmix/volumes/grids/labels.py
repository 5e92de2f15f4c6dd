"""Label maps on the prepared grid of their image, also those that were drawn on another grid."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Shaped

from voxmix.volumes.grids.geometry import Geometry, Shape, crop_and_pad, reorder, resample_labels
from voxmix.volumes.grids.shear import move
from voxmix.volumes.volume import UnreadableVolumeError, Volume

MIN_INSIDE = 0.95
"""Least share of the labeled voxels that must lie inside the image, for a label map on another grid."""

_SAME_MM = 1e-2
_SAME_VOXELS = 0.5


def prepare_labels(labels: Volume, geometry: Geometry) -> tuple[Shaped[np.ndarray, "x y z"], tuple[str, ...]]:
    """Return a label map on the prepared grid of its image, by nearest neighbor, and what to say about it.

    A map on the grid of the image's file takes the image's own way. A map on another grid (tumors drawn on
    the CT, wanted for the PET; a map cropped to an organ; the same box with other axes) is sampled where the
    image's voxels lie in the patient, and a note says so; outside of it the label is 0.

    Raises:
        UnreadableVolumeError: more than 5% of the labeled voxels lie outside the image; or the map has the
            image's shape and lies elsewhere by more than half a voxel, as when a program dropped the header.
    """
    same, notes = compare_grids(labels, *geometry.file_grid)
    if same:
        return _along(labels.data, geometry), notes
    whole = replace(
        geometry, start=(0, 0, 0), size=geometry.resampled, before=(0, 0, 0), padded=geometry.resampled
    )
    data = move(labels.data, labels.affine, whole.padded, whole.prepared_affine)
    return crop_and_pad(data, geometry, fill=0), notes


def compare_grids(
    labels: Volume, shape: Shape, affine: Float[np.ndarray, "4 4"]
) -> tuple[bool, tuple[str, ...]]:
    """Return whether a label map lies on its image's grid, and what to say where it does not quite.

    Raises:
        UnreadableVolumeError: it does not belong to the image, as :func:`prepare_labels` says.
    """
    if labels.data.shape == shape:
        if np.allclose(labels.affine, affine, atol=_SAME_MM):
            return True, ()
        apart = _corner_distance(shape, labels.affine, affine)
        if apart <= _SAME_VOXELS:
            return True, (f"label map: {apart:.2f} voxels off its image; moved onto it",)
        if not _same_box(shape, labels.affine, affine):
            raise UnreadableVolumeError(
                f"it has the shape of its image but lies up to {apart:.3g} voxels away: was its header lost?"
            )
    inside = _share_inside(labels, shape, affine)
    if inside < MIN_INSIDE:
        raise UnreadableVolumeError(
            f"{1 - inside:.0%} of its labeled voxels lie outside its image: it belongs to another one, or one of "
            "the two headers is wrong"
        )
    return False, (
        "label map: on another grid than its image; resampled by nearest neighbor, 0 outside its field",
    )


def _along(data: Shaped[np.ndarray, "x y z"], geometry: Geometry) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return labels of the file's grid after the steps that the image took."""
    if geometry.source is not None:
        data = move(data, geometry.file_grid[1], geometry.shape, np.array(geometry.affine))
    grid = resample_labels(reorder(data, geometry), geometry.resampled, step=geometry.step)
    return crop_and_pad(grid, geometry, fill=0)


def _corners(shape: Shape, affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "8 3"]:
    """Return the outer corners of a grid in mm."""
    index = np.array(
        [[n * bit - 0.5 for n, bit in zip(shape, bits, strict=True)] for bits in np.ndindex(2, 2, 2)]
    )
    return np.asarray(index @ affine[:3, :3].T + affine[:3, 3])


def _corner_distance(shape: Shape, one: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"]) -> float:
    """Return how far apart equal corners of two grids of one shape lie, in voxels of the smallest edge."""
    apart = np.linalg.norm(_corners(shape, one) - _corners(shape, other), axis=1).max()
    return float(apart / np.linalg.norm(other[:3, :3], axis=0).min())


def _same_box(shape: Shape, one: Float[np.ndarray, "4 4"], other: Float[np.ndarray, "4 4"]) -> bool:
    """Return whether two grids fill the same box, whatever their axes are called: each corner meets one."""
    gaps = np.linalg.norm(_corners(shape, one)[:, None] - _corners(shape, other)[None], axis=-1)
    return bool(gaps.min(axis=1).max() <= _SAME_VOXELS * np.linalg.norm(other[:3, :3], axis=0).min())


def _share_inside(labels: Volume, shape: Shape, affine: Float[np.ndarray, "4 4"]) -> float:
    """Return the share of labeled voxels whose centers lie in the box of a grid; 1 for an empty map."""
    moved = np.linalg.inv(affine) @ labels.affine
    count = inside = 0
    for z in range(labels.data.shape[2]):  # Slice by slice: the places of all voxels would need much memory.
        x, y = np.nonzero(labels.data[:, :, z])
        places = np.stack([x, y, np.full(len(x), z)], axis=1) @ moved[:3, :3].T + moved[:3, 3]
        inside += int(np.all((places >= -0.5) & (places <= np.array(shape) - 0.5), axis=1).sum())
        count += len(x)
    return inside / count if count else 1.0
