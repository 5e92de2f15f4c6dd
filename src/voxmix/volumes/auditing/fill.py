"""Fill: what a prepared volume consists of, padding, one value, the ends of [0, 1], and what its file's values say."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, Int, Shaped

from voxmix.volumes.grids.geometry import Geometry, Shape
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.volume import Volume

OFFSET = 1024.0
"""What CT is stored with where negative numbers are not wanted: HU + 1024."""

_FAT = (-300.0, -50.0)
_TISSUE = (-150.0, 200.0)
_NO_FAT, _MUCH_TISSUE = 0.02, 0.03
_OUTSIDE = -1500.0
"""Of the voxels inside the field, CTs in HU have 7% to 49% between lung and water (fat, skin) and at most 0.8%
where soft tissue + 1024 would lie; 48 CTs with the offset have none and 51% to 84% (four sets and the phantoms)."""

_SLAB = 4_000_000  # voxels counted at once
_CODES = 1 << 16
_ONE = int(np.float16(1).view(np.uint16))
_SIGN = 1 << 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Fill:
    """What a prepared volume consists of; shares lie in [0, 1].

    ``size`` is the number of voxels per axis that exist, in the middle of the padding; ``padding`` the share of voxels
    that do not. Of the voxels that exist: ``commonest`` is the share of the commonest value, ``value`` that value in
    [0, 1], ``at_low`` and ``at_high`` the shares at 0 and at 1. ``percentiles`` are the 1st, 50th and 99th of the
    file's voxels that are not 0, in its unit, ``voxel_mm`` its voxel's edges (right, anterior, superior), ``offset``
    what was added to HU (0: nothing). These three are None where the file was not at hand when this was measured.
    """

    size: Shape
    padding: float
    commonest: float
    value: float
    at_low: float
    at_high: float
    percentiles: tuple[float, float, float] | None = None
    voxel_mm: tuple[float, float, float] | None = None
    offset: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fill as JSON-like data; :meth:`from_dict` is its inverse."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any] | None) -> "Fill | None":
        """Return the fill written by :meth:`as_dict`; None where there is none, or one that lacks a share."""
        if not isinstance(value, Mapping):
            return None
        known: dict[str, Any] = {
            name: tuple(value[name]) if isinstance(value[name], list) else value[name]
            for name in cls.__slots__
            if name in value
        }
        try:
            return cls(**known)
        except TypeError:
            return None


def measure_fill(array: Float16[np.ndarray, "x y z"], geometry: Geometry) -> Fill:
    """Return what a prepared array consists of; what its file says is not known."""
    box = tuple(slice(b, b + n) for b, n in zip(geometry.before, geometry.size, strict=True))
    counts = _counts(array[box])
    real = int(counts.sum())
    commonest = int(np.argmax(counts))
    return Fill(
        size=geometry.size,
        padding=_share(array.size - real, array.size),
        commonest=_share(int(counts[commonest]), real),
        value=float(np.array(commonest, dtype=np.uint16).view(np.float16)),
        at_low=_share(int(counts[0]), real),
        at_high=_share(int(counts[_ONE]), real),
    )


def measure_volume(
    array: Float16[np.ndarray, "x y z"], geometry: Geometry, *, volume: Volume, rule: IntensityRule
) -> Fill:
    """Return :func:`measure_fill` with what the file says: percentiles of its values, voxel size, offset of HU."""
    sample = sampled(volume.data)
    x, y, z = np.linalg.norm(geometry.ras_affine[:3, :3], axis=0).tolist()
    return replace(
        measure_fill(array, geometry),
        percentiles=percentiles_of(sample, volume.data),
        voxel_mm=(x, y, z),
        offset=find_offset(sample, rule),
    )


def sampled(data: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Return a regular sample of about a million voxels when there are more."""
    stride = max(1, round((data.size / 1e6) ** (1 / 3)))
    return data[::stride, ::stride, ::stride]


def percentiles_of(
    sample: Shaped[np.ndarray, "x y z"], whole: Shaped[np.ndarray, "x2 y2 z2"]
) -> tuple[float, float, float]:
    """Return the 1st, 50th and 99th percentile of the voxels that are not 0, of the sample or else of the whole."""
    inside = sample[sample != 0]
    if inside.size == 0:
        inside = whole[whole != 0]
    low, middle, high = (float(value) for value in np.percentile(inside, (1, 50, 99)))
    return low, middle, high


def find_offset(sample: Float[np.ndarray, "x y z"], rule: IntensityRule) -> float:
    """Return 1024 where values for which the rule expects HU are HU + 1024, else 0."""
    if not in_hu(rule):
        return 0.0
    inside = sample[(sample != 0) & (sample != sample.min()) & (sample > _OUTSIDE)]
    if inside.size == 0:
        return 0.0
    fat = np.mean((inside > _FAT[0]) & (inside < _FAT[1]))
    tissue = np.mean((inside > _TISSUE[0] + OFFSET) & (inside < _TISSUE[1] + OFFSET))
    return OFFSET if fat < _NO_FAT and tissue > _MUCH_TISSUE else 0.0


def in_hu(rule: IntensityRule) -> bool:
    """Return whether a rule expects HU: a window that holds soft tissue and does not reach soft tissue + 1024."""
    return rule.kind == "window" and rule.low < _TISSUE[1] and 0 < rule.high < _TISSUE[1] + OFFSET


def _counts(values: Float16[np.ndarray, "x y z"]) -> Int[np.ndarray, " code"]:
    """Return how often each float16 in [0, 1] stands there, by its bits, slab by slab: memory of one slab."""
    counts = np.zeros(_CODES, dtype=np.int64)
    step = max(1, _SLAB // max(1, values[0].size))
    for start in range(0, len(values), step):
        bits = np.ascontiguousarray(values[start : start + step]).view(np.uint16).ravel()
        counts += np.bincount(bits, minlength=_CODES)
    counts[0] += counts[_SIGN]  # -0 is 0
    counts[_SIGN] = 0
    return counts


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
