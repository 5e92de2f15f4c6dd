"""A grid to draw anatomy on: ellipsoids and tubes in patient millimeters, bent by a smooth random warp."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from voxmix.phantoms.tissues import CODE

Point = Sequence[float] | np.ndarray


class Drawn(NamedTuple):
    """Part of the grid, and a level in it: at most 1 inside the shape, larger outside."""

    box: tuple[slice, slice, slice]
    level: Float[np.ndarray, "x y z"]


class Canvas:
    """Tissue codes and labels on a grid whose ``affine`` maps voxel index to RAS millimeters.

    Shapes are given in patient space and bent by a warp of ``warp_mm`` (standard deviation, per axis,
    wavelength about 90 mm) and a finer one, so that nothing is a perfect ellipsoid. ``shift`` moves
    all that is drawn.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        affine: Float[np.ndarray, "4 4"],
        *,
        rng: np.random.Generator,
        warp_mm: float = 3.0,
    ) -> None:
        self.tissue: UInt8[np.ndarray, "x y z"] = np.zeros(shape, dtype=np.uint8)
        self.label: UInt8[np.ndarray, "x y z"] = np.zeros(shape, dtype=np.uint8)
        self.shape = shape
        self.shift = np.zeros(3)
        self._rng = rng
        self._inverse = np.linalg.inv(affine)
        self._margin = 3.5 * (warp_mm + 1)
        self.spacing = np.linalg.norm(affine[:3, :3], axis=0)
        i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
        self.points = np.empty((3, *shape), dtype=np.float32)
        for axis in range(3):
            a, b, c, origin = affine[axis].astype(np.float32)
            self.points[axis] = a * i + b * j + (c * k + origin)
            self.points[axis] += np.float32(warp_mm) * self.noise(90.0)
            self.points[axis] += np.float32(warp_mm * 0.25) * self.noise(25.0)

    @property
    def xyz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Warped coordinates of every voxel, in mm, relative to ``shift``."""
        x, y, z = (self.points[k] - np.float32(self.shift[k]) for k in range(3))
        return x, y, z

    def noise(self, wavelength_mm: float) -> Float[np.ndarray, "x y z"]:
        """Return a smooth random field of mean about 0 and standard deviation about 1."""
        nodes = [
            max(2, int(np.ceil(n * s / (wavelength_mm / 2))) + 3)
            for n, s in zip(self.shape, self.spacing, strict=True)
        ]
        field = self._rng.standard_normal(nodes).astype(np.float32)
        first, second, third = (_spline(size, count) for size, count in zip(self.shape, nodes, strict=True))
        field = second @ (field @ third.T)
        return np.asarray((first @ field.reshape(nodes[0], -1)).reshape(self.shape))

    def ellipsoid(
        self, center: Point, radii: Point, *, turn: Point = (0.0, 0.0, 0.0), power: float = 2.0
    ) -> Drawn:
        """Return an ellipsoid (``power`` 2) or a boxier one; ``turn`` in degrees about x, y, z."""
        middle = np.asarray(center, dtype=float) + self.shift
        matrix = rotation(turn).T / np.asarray(radii, dtype=float)[:, None]
        reach = np.full(3, max(radii)) if any(turn) else np.asarray(radii, dtype=float)
        box = self._box(middle - reach, middle + reach)
        x, y, z = (self.points[k][box] - np.float32(middle[k]) for k in range(3))
        level = np.zeros_like(x)
        for a, b, c in matrix.astype(np.float32):
            across = (a * x + b * y + c * z) if any(turn) else (a * x if a else b * y if b else c * z)
            level += across * across if power == 2 else np.abs(across) ** np.float32(power)
        return Drawn(box, level)

    def tube(self, path: Sequence[Any], radius: float | Point) -> list[Drawn]:
        """Return the segments of a bent tube; ``radius`` in mm, one for all or one per point."""
        points = np.asarray(path, dtype=float) + self.shift
        radii = np.broadcast_to(np.asarray(radius, dtype=float), (len(points),))
        return [
            self._segment(*ends) for ends in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True)
        ]

    def _segment(self, start: np.ndarray, end: np.ndarray, first: float, last: float) -> Drawn:
        reach = max(first, last)
        box = self._box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        along = (end - start).astype(np.float32)
        offset = [self.points[k][box] - np.float32(start[k]) for k in range(3)]
        share = sum(o * a for o, a in zip(offset, along, strict=True)) / np.float32(max(along @ along, 1e-6))
        share = np.clip(share, 0, 1)
        squared = sum((o - share * a) ** 2 for o, a in zip(offset, along, strict=True))
        width = np.float32(first) + share * np.float32(last - first)
        return Drawn(box, np.asarray(squared / (width * width)))

    def paint(
        self,
        shapes: Drawn | Iterable[Drawn],
        tissue: str,
        *,
        label: int | None = None,
        on: Sequence[str] | None = None,
        where: Bool[np.ndarray, "x y z"] | None = None,
    ) -> None:
        """Set the tissue (and label, if given) inside the shapes, only ``on`` these tissues and ``where``."""
        for drawn in [shapes] if isinstance(shapes, Drawn) else shapes:
            inside = drawn.level <= 1
            if where is not None:
                inside &= where[drawn.box]
            if on is not None:
                allowed = np.zeros(256, dtype=bool)
                allowed[[CODE[name] for name in on]] = True
                inside &= allowed[self.tissue[drawn.box]]
            self.tissue[drawn.box][inside] = CODE[tissue]
            if label is not None:
                self.label[drawn.box][inside] = label

    def fill(self, where: Bool[np.ndarray, "x y z"], tissue: str, *, label: int | None = None) -> None:
        """Set the tissue (and label, if given) of the voxels of a mask over the whole grid."""
        self.tissue[where] = CODE[tissue]
        if label is not None:
            self.label[where] = label

    def _box(self, low: np.ndarray, high: np.ndarray) -> tuple[slice, slice, slice]:
        middle = self._inverse[:3, :3] @ ((low + high) / 2) + self._inverse[:3, 3]
        reach = np.abs(self._inverse[:3, :3]) @ ((high - low) / 2 + self._margin)
        first, last = (middle - reach).tolist(), (middle + reach).tolist()
        x, y, z = (
            slice(min(max(int(a), 0), n), min(max(int(b) + 2, 0), n))
            for a, b, n in zip(first, last, self.shape, strict=True)
        )
        return x, y, z


def boxy(ratio: np.ndarray) -> np.ndarray:
    """Return ``ratio ** 2.5``, four times as fast: the power of body outlines, between ellipse and box."""
    squared = ratio * ratio
    return np.asarray(squared * np.sqrt(np.sqrt(squared)))


def rotation(turn: Point) -> Float[np.ndarray, "3 3"]:
    """Return the rotation by ``turn`` degrees about x, then y, then z."""
    result = np.eye(3)
    for axis, degrees in enumerate(turn):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i], step[i, j], step[j, i], step[j, j] = c, -s, s, c
        result = step @ result
    return result


def _spline(size: int, nodes: int) -> Float[np.ndarray, "size nodes"]:
    """Return the weights of cubic B-splines at ``nodes`` knots, for ``size`` places between the inner ones."""
    place = np.linspace(1, nodes - 2, size) if nodes > 3 else np.full(size, (nodes - 1) / 2)
    distance = np.abs(place[:, None] - np.arange(nodes)[None])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = 1.45 * np.where(distance < 1, near, far)  # so that a field deviates by about 1
    return weights.astype(np.float32)
