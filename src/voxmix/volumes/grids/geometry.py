"""Geometry: RAS axes, cubic voxels, foreground box, padding; and the way back.

Axes are permuted and flipped to the nearest RAS order, never rotated: an oblique acquisition stays on its
own grid, as in MONAI's Orientation and Spacing, and its affine says so. Resampling is then separable, one
axis at a time, which for trilinear interpolation equals the usual 8-neighbor formula.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from voxmix.errors import InputError
from voxmix.volumes.volume import MIN_SLICES

Shape = tuple[int, int, int]
Box = tuple[Shape, Shape]
_DENSE = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """What was done to a volume's grid, exactly: enough to carry prepared voxels back.

    ``axes[k]`` is the stored axis that became RAS axis k and ``flipped[k]`` whether it was turned around;
    ``shape`` and ``affine`` are those of the stored grid, or, when that was sheared, of the straight grid
    put in its place, and ``source`` is the sheared one (shape, 16 numbers of its affine). ``resampled`` is
    the shape at the recipe's spacing; ``start`` and ``size`` the foreground box in it; ``before`` the
    voxels of padding before the box.
    """

    shape: Shape
    affine: tuple[tuple[float, ...], ...]
    axes: Shape
    flipped: tuple[bool, bool, bool]
    spacing_mm: float
    resampled: Shape
    start: Shape
    size: Shape
    before: Shape
    padded: Shape
    source: tuple[Shape, tuple[float, ...]] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the geometry as JSON-like data; :meth:`from_dict` is its inverse."""
        fields = self.__slots__
        return {name: _plain(getattr(self, name)) for name in fields}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Geometry":
        """Return the geometry written by :meth:`as_dict`."""
        plain: dict[str, Any] = {
            name: tuple(item) if isinstance(item, list) else item for name, item in value.items()
        }
        source = value.get("source")
        return cls(
            **{
                **plain,
                "affine": tuple(tuple(row) for row in value["affine"]),
                "source": None if source is None else (tuple(source[0]), tuple(source[1])),
            }
        )

    @property
    def box(self) -> Box | None:
        """Return (first voxel, size) of the prepared voxels that come from the file; None where all do."""
        return None if self.padded == self.size else (self.before, self.size)

    @property
    def file_grid(self) -> tuple[Shape, Float[np.ndarray, "4 4"]]:
        """Shape and affine of the file."""
        if self.source is None:
            return self.shape, np.array(self.affine)
        return self.source[0], np.array(self.source[1]).reshape(4, 4)

    @property
    def ras_shape(self) -> Shape:
        """Shape of the stored voxels after reordering the axes."""
        x, y, z = (self.shape[axis] for axis in self.axes)
        return x, y, z

    @property
    def ras_affine(self) -> Float[np.ndarray, "4 4"]:
        """Affine of the stored voxels after reordering and flipping the axes."""
        stored = np.array(self.affine)
        result = stored.copy()
        for axis, (source, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            column = stored[:, source]
            result[:, axis] = -column if flip else column
            if flip:
                result[:, 3] += column * (self.shape[source] - 1)
        return result

    @property
    def step(self) -> tuple[float, float, float]:
        """Stored voxels per prepared voxel, along the RAS axes."""
        x, y, z = (self.spacing_mm / np.linalg.norm(self.ras_affine[:3, :3], axis=0)).tolist()
        return x, y, z

    @property
    def prepared_affine(self) -> Float[np.ndarray, "4 4"]:
        """Affine from the index of a prepared voxel to RAS+ millimeters."""
        ras = self.ras_affine
        step = np.array(self.step)
        first = (np.array(self.ras_shape) - 1) / 2 - step * (np.array(self.resampled) - 1) / 2
        first = first + step * (np.array(self.start) - np.array(self.before))
        result = ras.copy()
        result[:, :3] = ras[:, :3] * step
        result[:, 3] = ras @ np.append(first, 1.0)
        return result

    @property
    def notes(self) -> tuple[str, ...]:
        """What resampling left too little of to be a volume: axes of one or two slices."""
        mm = np.linalg.norm(self.ras_affine[:3, :3], axis=0)
        return tuple(
            f"{held} slices of {edge:.3g} mm become {kept} of {self.spacing_mm:g} mm"
            + ("; the rest of the array is padding" if padded > kept else "")
            for held, edge, kept, padded in zip(self.ras_shape, mm, self.resampled, self.padded, strict=True)
            if kept < MIN_SLICES
        )


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def nearest_ras(affine: Float[np.ndarray, "4 4"]) -> tuple[Shape, tuple[bool, bool, bool]]:
    """Return (axes, flipped) that bring stored axes nearest to right, anterior, superior.

    Of the 6 ways to match axes the one with the largest sum of absolute cosines is taken, so that each
    stored axis is used once, however oblique the scan.
    """
    from itertools import permutations

    cosines = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    best = max(permutations(range(3)), key=lambda axes: sum(abs(cosines[k, axes[k]]) for k in range(3)))
    flipped = tuple(bool(cosines[k, best[k]] < 0) for k in range(3))
    return (best[0], best[1], best[2]), (flipped[0], flipped[1], flipped[2])


def reorder(data: Shaped[np.ndarray, "..."], geometry: Geometry) -> Shaped[np.ndarray, "..."]:
    """Return a view of stored voxels with RAS axes."""
    steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in geometry.flipped)
    return data.transpose(geometry.axes)[steps]


def resampled_shape(shape: Shape, voxel_mm: Float[np.ndarray, "3"], *, spacing_mm: float) -> Shape:
    """Return the number of cubic voxels per axis that covers the same box, to the nearest voxel."""
    x, y, z = (max(1, int(size)) for size in np.rint(np.array(shape) * voxel_mm / spacing_mm))
    return x, y, z


def resample(
    data: Shaped[np.ndarray, "x y z"], shape: Shape, *, step: tuple[float, float, float]
) -> Float[np.ndarray, "x2 y2 z2"]:
    """Return float32 values at ``shape`` points, ``step`` voxels apart, about the same center; trilinear.

    Points up to half a new voxel beyond the outermost centers take the outermost value.
    """
    # Work in the order of memory: the grid is symmetric about its center, so turning an axis around before or
    # after is the same, and copies of whole planes are many times faster than picking single voxels.
    order = tuple(sorted(range(3), key=lambda k: -abs(data.strides[k])))
    turned = tuple(slice(None, None, -1) if stride < 0 else slice(None) for stride in data.strides)
    result: np.ndarray = np.ascontiguousarray(data[turned].transpose(order), dtype=np.float32)
    for place in sorted(range(3), key=lambda k: shape[order[k]] / data.shape[order[k]]):
        result = _linear(result, place, shape[order[place]], step[order[place]])
    back: np.ndarray = result.transpose(np.argsort(order))[turned]
    return back


def _positions(size: int, new: int, step: float) -> Float[np.ndarray, " new"]:
    places: np.ndarray = (size - 1) / 2 + (np.arange(new) - (new - 1) / 2) * step
    return np.asarray(places.clip(0, size - 1))


def _linear(data: Float[np.ndarray, "..."], axis: int, new: int, step: float) -> Float[np.ndarray, "..."]:
    """Return a C-ordered array interpolated along one axis, in the way that suits the axis."""
    size = data.shape[axis]
    place = _positions(size, new, step)
    if size == new and np.array_equal(place, np.arange(size)):
        return data
    low = np.minimum(place.astype(np.int64), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    weight = (place - low).astype(np.float32)
    if axis < 2:  # Whole planes or rows lie together: combine them two by two.
        result = np.empty((*data.shape[:axis], new, *data.shape[axis + 1 :]), dtype=np.float32)
        source, target = np.moveaxis(data, axis, 0), np.moveaxis(result, axis, 0)
        for k, (a, b, w) in enumerate(zip(low.tolist(), high.tolist(), weight, strict=True)):
            np.multiply(source[a], 1 - w, out=target[k])
            target[k] += source[b] * w
        return result
    if size <= _DENSE:  # Few voxels in a row: one matrix product, two weights per column.
        matrix = np.zeros((size, new), dtype=np.float32)
        matrix[low, np.arange(new)] = 1 - weight
        matrix[high, np.arange(new)] += weight
        return np.asarray(data @ matrix)
    picked: np.ndarray = data.take(low, axis=2)
    picked += (data.take(high, axis=2) - picked) * weight
    return picked


def resample_labels(
    data: Shaped[np.ndarray, "x y z"], shape: Shape, *, step: tuple[float, float, float]
) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return the nearest label at the points of :func:`resample`; never a value that was not there."""
    index = [
        np.rint(_positions(size, new, stride)).astype(np.int64)
        for size, new, stride in zip(data.shape, shape, step, strict=True)
    ]
    nearest: np.ndarray = data[np.ix_(*index)]
    return nearest


def foreground_box(data: Float[np.ndarray, "x y z"], *, threshold: float) -> tuple[Shape, Shape]:
    """Return (start, size) of the box that holds the voxels above ``threshold``.

    A slice counts when at least 0.1% of it is above, so that single noisy voxels do not widen the box.
    The whole grid is returned when nothing is above.
    """
    above = data > threshold
    start, size = [], []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        share = above.mean(axis=others)
        inside = np.flatnonzero(share >= 1e-3)
        if inside.size == 0:
            return (0, 0, 0), (data.shape[0], data.shape[1], data.shape[2])
        start.append(int(inside[0]))
        size.append(int(inside[-1] - inside[0] + 1))
    return (start[0], start[1], start[2]), (size[0], size[1], size[2])


def crop_and_pad(
    data: Shaped[np.ndarray, "x y z"], geometry: Geometry, *, fill: float
) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return the foreground box in the middle of an array of ``geometry.padded``, filled around it."""
    box = tuple(slice(a, a + n) for a, n in zip(geometry.start, geometry.size, strict=True))
    if geometry.padded == geometry.size:
        return np.ascontiguousarray(data[box])
    result = np.full(geometry.padded, fill, dtype=data.dtype)
    inner = tuple(slice(b, b + n) for b, n in zip(geometry.before, geometry.size, strict=True))
    result[inner] = data[box]
    return result


def restore(data: Shaped[np.ndarray, "x y z"], geometry: Geometry) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return prepared voxels on the grid of the file they came from: the way back of preparing.

    Whole numbers (a predicted label map) go by nearest neighbor, other types by linear interpolation.
    Outside the foreground box the result is 0.

    Raises:
        InputError: the array does not have the prepared shape.
    """
    if data.shape != geometry.padded:
        raise InputError(f"array of shape {data.shape} does not fit the prepared shape {geometry.padded}")
    inner = tuple(slice(b, b + n) for b, n in zip(geometry.before, geometry.size, strict=True))
    box = tuple(slice(a, a + n) for a, n in zip(geometry.start, geometry.size, strict=True))
    whole = np.zeros(geometry.resampled, dtype=data.dtype)
    whole[box] = data[inner]
    x, y, z = (1 / value for value in geometry.step)
    back = resample_labels if data.dtype.kind in "iub" else resample
    ras = back(whole, geometry.ras_shape, step=(x, y, z))
    steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in geometry.flipped)
    stored = np.ascontiguousarray(ras[steps].transpose(np.argsort(geometry.axes)))
    if geometry.source is None:
        return stored
    from voxmix.volumes.grids.shear import move

    shape, affine = geometry.file_grid
    return move(stored, np.array(geometry.affine), shape, affine)
