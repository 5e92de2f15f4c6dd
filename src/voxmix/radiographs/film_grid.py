"""The plane of a film in patient millimeters, and how round things are projected onto it.

x runs to the patient's left (to the right of the film), y downward; (0, 0) is the midline at the top of the lungs.
What a beam crosses is counted in millimeters of water, so that shadows add up (Beer and Lambert).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Path = Sequence[Any] | np.ndarray
"""Points (x, y) in mm; a line through them."""


@dataclass(frozen=True, slots=True, eq=False)
class FilmGrid:
    """Pixels of a film: ``shape`` rows and columns of ``pixel`` mm, pixel (0, 0) at ``corner``, turned by ``tilt``.

    Attributes:
        shape: Rows and columns.
        pixel: Millimeters from pixel to pixel.
        middle: Patient coordinates (x, y) of the film's middle, mm.
        tilt: How far the patient leans, in radians.
    """

    shape: tuple[int, int]
    pixel: float
    middle: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0

    def coordinates(self) -> tuple[Float[np.ndarray, "row col"], Float[np.ndarray, "row col"]]:
        """Return x and y of every pixel, mm."""
        rows, columns = self.shape
        down = ((np.arange(rows) - (rows - 1) / 2) * self.pixel).astype(np.float32)[:, None]
        across = ((np.arange(columns) - (columns - 1) / 2) * self.pixel).astype(np.float32)[None, :]
        c, s = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        x = c * across + s * down + np.float32(self.middle[0])
        y = c * down - s * across + np.float32(self.middle[1])
        return x, y

    def pixels(self, points: Path) -> Float[np.ndarray, "point 2"]:
        """Return (row, column) of points in mm; pixel centers have whole numbers."""
        given = np.asarray(points, dtype=np.float64).reshape(-1, 2) - np.asarray(self.middle)
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        across, down = c * given[:, 0] - s * given[:, 1], s * given[:, 0] + c * given[:, 1]
        rows, columns = self.shape
        return np.stack([down / self.pixel + (rows - 1) / 2, across / self.pixel + (columns - 1) / 2], axis=1)

    def nearest(
        self, paths: Sequence[Path], *, reach: float, layers: Sequence[int], count: int
    ) -> tuple[Float[np.ndarray, "layer row col"], Float[np.ndarray, "layer row col"]]:
        """Return for each layer the distance in mm to its nearest path, and the share of that path's length there.

        The distance is ``reach`` and a pixel where no path is near.
        """
        far = reach + self.pixel
        touched = self._touched(paths, far, layers, count)
        # One whole number holds the distance and, in its last 8 bits, the share: the least one wins.
        keys = np.full(touched.size, int(far * 2**12) << 8, dtype=np.int32)
        near = (np.sqrt(touched.squared) * np.float32(2**12)).astype(np.int32) << 8
        near |= np.minimum(touched.share * 256, 255).astype(np.int32)[:, None]
        np.minimum.at(keys, touched.flat.reshape(-1), near.reshape(-1))
        found = touched.crop(keys)
        distance = (found >> 8).astype(np.float32) * np.float32(2.0**-12)
        return distance, (found & 255).astype(np.float32) / np.float32(255)

    def thickest(self, paths: Sequence[Path], radii: Sequence[Any]) -> Float[np.ndarray, "row col"]:
        """Return how thick round rods are along the beam, mm: the thickest at each pixel.

        ``radii`` holds for each path a radius in mm, or one at its start and one at its end. A rod thinner than a
        pixel is drawn as wide as a pixel and as much fainter, so that its shadow weighs the same.
        """
        ends = np.array([np.broadcast_to(np.asarray(r, dtype=float), 2) for r in radii])
        least = 0.6 * self.pixel
        touched = self._touched(paths, max(float(ends.max()), least), None, 1)
        thick = np.zeros(touched.size, dtype=np.float32)
        which, share = touched.path, touched.share
        radius = (ends[which, 0] * (1 - share) + ends[which, 1] * share).astype(np.float32)[:, None]
        drawn = np.maximum(radius, np.float32(least))
        depth = 2 * np.sqrt(np.maximum(drawn * drawn - touched.squared, 0)) * (radius / drawn) ** 2
        np.maximum.at(thick, touched.flat.reshape(-1), depth.reshape(-1))
        return np.asarray(touched.crop(thick)[0])

    def _touched(
        self, paths: Sequence[Path], reach: float, layers: Sequence[int] | None, count: int
    ) -> "_Touched":
        """Return the pixels within ``reach`` of samples along the paths."""
        counts = np.array([len(path) for path in paths])
        points = self.pixels(np.concatenate([np.asarray(path, dtype=np.float64) for path in paths]))
        ends = np.cumsum(counts)
        step = np.hypot(*np.diff(points, axis=0, prepend=points[:1]).T)
        step[ends[:-1]] = 0.0
        along = np.cumsum(step)
        first, last = along[ends - counts], along[ends - 1]
        steps = np.maximum(2, np.ceil((last - first) / 0.6).astype(np.int64) + 1)
        path_of = np.repeat(np.arange(len(paths)), steps)
        number = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
        share = number / (steps[path_of] - 1)
        # Paths are laid one after the other, a pixel apart, so that one interpolation serves them all.
        lifted = along + np.repeat(np.arange(len(paths)), counts)
        at = (first + np.arange(len(paths)))[path_of] + share * (last - first)[path_of]
        place = np.stack([np.interp(at, lifted, points[:, k]) for k in (0, 1)], axis=1)
        wide = int(np.ceil(reach / self.pixel)) + 1
        rows, columns = self.shape
        inside = (place > -wide).all(axis=1) & (place < np.array([rows + wide - 1, columns + wide - 1])).all(
            axis=1
        )
        place, path_of, share = place[inside], path_of[inside], share[inside]
        offsets = np.arange(-wide, wide + 1)
        base = np.rint(place)
        left = (base - place).astype(np.float32) * np.float32(self.pixel)
        mm = offsets.astype(np.float32) * np.float32(self.pixel)
        down, across = (left[:, :1] + mm) ** 2, (left[:, 1:] + mm) ** 2
        near = np.add.outer(offsets**2, offsets**2).reshape(-1) <= wide * wide
        squared = (down[:, :, None] + across[:, None, :]).reshape(len(place), -1)[:, near]
        broad = columns + 4 * wide
        start = (base[:, 0].astype(np.int64) + 2 * wide) * broad + base[:, 1].astype(np.int64) + 2 * wide
        if layers is not None:
            start += np.asarray(layers)[path_of] * ((rows + 4 * wide) * broad)
        flat = start[:, None] + np.add.outer(offsets * broad, offsets).reshape(-1)[near]
        return _Touched(
            flat=flat, squared=squared, path=path_of, share=share, pad=2 * wide,
            shape=(count, rows + 4 * wide, broad),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Touched:
    """Pixels near samples of paths, on a film with a margin of ``pad`` pixels: places, squared mm, whose sample."""

    flat: Int[np.ndarray, "sample near"]
    squared: Float[np.ndarray, "sample near"]
    path: Int[np.ndarray, " sample"]
    share: Float[np.ndarray, " sample"]
    pad: int
    shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def crop(self, flat: np.ndarray) -> np.ndarray:
        """Return the film without its margin."""
        return np.asarray(flat.reshape(self.shape)[:, self.pad : -self.pad, self.pad : -self.pad])


def chord(distance: np.ndarray, radius: float) -> np.ndarray:
    """Return how thick a round rod is along the beam, at a distance from its axis."""
    return np.asarray(2 * np.sqrt(np.maximum(np.float32(radius) ** 2 - distance * distance, 0)))


def dome(share: np.ndarray) -> np.ndarray:
    """Return 0 at the edge (share 0) rising steeply to 1 (share 1 and more): the profile of what is round."""
    inward = 1 - np.clip(share, 0, 1)
    return np.asarray(np.sqrt(1 - inward * inward))


def ellipsoid(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], radii: tuple[float, float], turn: float = 0.0
) -> np.ndarray:
    """Return the share of its full depth that an ellipsoid has at each pixel; ``turn`` in radians."""
    dx, dy = x - np.float32(center[0]), y - np.float32(center[1])
    c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    level = ((c * dx + s * dy) / np.float32(radii[0])) ** 2 + ((c * dy - s * dx) / np.float32(radii[1])) ** 2
    return np.asarray(np.sqrt(np.maximum(1 - level, 0)))


def bend(points: Path, count: int = 8) -> Float[np.ndarray, "point 2"]:
    """Return a smooth line through the points (Catmull-Rom, ``count`` points for each piece)."""
    given = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if len(given) < 3:
        return given
    padded = np.concatenate([2 * given[:1] - given[1:2], given, 2 * given[-1:] - given[-2:-1]])
    windows = np.stack([padded[k : len(padded) - 3 + k] for k in range(4)], axis=1)
    line = np.einsum("tk,pkc->ptc", _catmull_rom(count), windows).reshape(-1, 2)
    return np.concatenate([line, given[-1:]])


@lru_cache(maxsize=8)
def _catmull_rom(count: int) -> Float[np.ndarray, "time 4"]:
    t = np.linspace(0, 1, count, endpoint=False)
    return 0.5 * np.stack(
        [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], axis=1
    )


def smooth_noise(
    shape: tuple[int, int], rng: np.random.Generator, wavelength: float
) -> Float[np.ndarray, "row col"]:
    """Return a smooth random field, mean about 0 and standard deviation about 1; ``wavelength`` in pixels."""
    nodes = [max(4, int(np.ceil(n / max(wavelength / 2, 1.0))) + 3) for n in shape]
    down, across = (_spline(size, count) for size, count in zip(shape, nodes, strict=True))
    return np.asarray(down @ rng.standard_normal(nodes).astype(np.float32) @ across.T)


@lru_cache(maxsize=64)
def _spline(size: int, nodes: int) -> Float[np.ndarray, "size nodes"]:
    """Return the weights of cubic B-splines at ``nodes`` knots, for ``size`` places between the inner ones."""
    away = np.abs(np.linspace(1, nodes - 2, size)[:, None] - np.arange(nodes)[None])
    near = 2 / 3 - away**2 + away**3 / 2
    weights = 1.45 * np.where(away < 1, near, np.clip(2 - away, 0, None) ** 3 / 6)  # deviates by about 1
    return weights.astype(np.float32)
