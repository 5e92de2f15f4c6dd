"""How the slices of a DICOM series lie: on one grid, at which places, evenly and on one line or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from voxmix.volumes.reading.dicom.headers import Slice
from voxmix.volumes.volume import UnreadableVolumeError

_UNEVEN = 0.1
_SAME_PLACE_MM, _ROUNDED_MM, _APART_MM = 0.01, 0.1, 0.4
_MOST_STEPS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stack:
    """Slices on one grid: their directions (columns, rows, normal; LPS), heights in mm, and places by height."""

    axes: Float[np.ndarray, "3 3"]
    heights: Float[np.ndarray, "slice"]
    places: Int[np.ndarray, "slice"]

    @property
    def count(self) -> int:
        return int(self.places.max()) + 1


def stack_of(slices: Sequence[Slice]) -> Stack:
    """Return how slices lie.

    Raises:
        UnreadableVolumeError: they are not on one grid: other sizes, pixel spacings or orientations.
    """
    first = slices[0]
    for other in slices:
        if other.size != first.size or not np.allclose(other.spacing, first.spacing, rtol=1e-3):
            raise UnreadableVolumeError("DICOM slices of different size or pixel spacing in one series")
        if not np.allclose(other.orientation, first.orientation, atol=1e-2):
            raise UnreadableVolumeError(
                "DICOM slices of different orientation in one series, as localizers have"
            )
    along, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    if abs(along @ down) > 1e-2 or not np.allclose([along @ along, down @ down], 1, atol=1e-2):
        raise UnreadableVolumeError("DICOM orientation that is not two perpendicular directions")
    axes = np.stack([along, down, np.cross(along, down)], axis=1)
    heights = np.array([np.array(part.position) @ axes[:, 2] for part in slices])
    order = np.argsort(heights, kind="stable")
    places = np.empty(len(slices), dtype=np.int64)
    gaps = np.diff(heights[order], prepend=heights[order[0]])
    # Positions of one place that were rounded in another way: where no two places are so near each other.
    rounded = not np.any((gaps > _ROUNDED_MM) & (gaps < _APART_MM)) and np.sum(gaps >= _APART_MM) > 1
    places[order] = np.cumsum(gaps > (_ROUNDED_MM if rounded else _SAME_PLACE_MM))
    return Stack(axes=axes, heights=heights, places=places)


def check_even(heights: Float[np.ndarray, "place"]) -> None:
    """Refuse slices at ``heights`` (mm) that are not evenly spaced, and say how."""
    gaps = np.diff(heights)
    if not len(gaps):
        return
    limit = _UNEVEN * float(np.median(gaps))
    if np.abs(gaps - np.median(gaps)).max() <= limit:
        return
    turns = np.flatnonzero(np.abs(np.diff(gaps)) > limit) + 1
    runs = np.split(gaps, turns)
    if 1 < len(runs) <= _MOST_STEPS and min(len(run) for run in runs) > 1:
        steps = " to ".join(f"{float(np.median(run)):.4g}" for run in runs)
        raise UnreadableVolumeError(
            f"the distance of DICOM slices changes from {steps} mm at slice {turns[0] + 1} of {len(heights)}; give "
            "each part a folder of its own"
        )
    whole = gaps / gaps.min()
    missing = np.abs(whole - np.rint(whole)).max() <= _UNEVEN * 2
    how = "some are missing" if missing else "they are not evenly spaced"
    raise UnreadableVolumeError(f"DICOM slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart: {how}")


def check_straight(slices: Sequence[Slice], axes: Float[np.ndarray, "3 3"]) -> None:
    """Refuse slices that do not lie on one line, as those of different fields of view."""
    corners = np.array([part.position for part in slices]) @ axes[:, :2]
    line = np.linspace(corners[0], corners[-1], len(corners))
    shift = float(np.abs(corners - line).max())
    if shift > max(slices[0].spacing):
        raise UnreadableVolumeError(
            f"DICOM slices are shifted in their plane by up to {shift:.4g} mm against each other"
        )
