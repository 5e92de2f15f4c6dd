"""What many volumes consist of, as columns: see :class:`voxmix.volumes.auditing.fill.Fill`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.volumes.auditing.fill import Fill

_SHARES = ("padding", "commonest", "value", "at_low", "at_high")
_PREFIX = "fill_"
_NOTHING = Fill(size=(0, 0, 0), padding=0, commonest=0, value=0, at_low=0, at_high=0)
_UNKNOWN = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FillColumns:
    """Fills of volumes, one row each; ``known`` says of which there is one. What a fill does not know is NaN.

    ``shares`` are padding, commonest, value, at_low and at_high.
    """

    known: Bool[np.ndarray, " row"]
    size: Int[np.ndarray, "row 3"]
    shares: Float[np.ndarray, "row 5"]
    percentiles: Float[np.ndarray, "row 3"]
    voxel_mm: Float[np.ndarray, "row 3"]
    offset: Float[np.ndarray, " row"]

    @classmethod
    def of(cls, fills: Sequence[Fill | None]) -> "FillColumns":
        """Return fills as columns."""
        some = [fill or _NOTHING for fill in fills]
        return cls(
            known=np.array([fill is not None for fill in fills], dtype=bool),
            size=np.array([f.size for f in some], dtype=np.int32).reshape(-1, 3),
            shares=np.array([[getattr(f, name) for name in _SHARES] for f in some], dtype=np.float64).reshape(
                -1, 5
            ),
            percentiles=np.array([f.percentiles or _UNKNOWN for f in some], dtype=np.float64).reshape(-1, 3),
            voxel_mm=np.array([f.voxel_mm or _UNKNOWN for f in some], dtype=np.float64).reshape(-1, 3),
            offset=np.array([np.nan if f.offset is None else f.offset for f in some], dtype=np.float64),
        )

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FillColumns":
        """Return what :meth:`as_arrays` gave, among other arrays."""
        return cls(**{field.name: arrays[_PREFIX + field.name] for field in fields(cls)})

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Return the columns by names of their own."""
        return {_PREFIX + field.name: getattr(self, field.name) for field in fields(self)}

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: np.ndarray) -> "FillColumns":
        """Return some of the rows, by their places or by a mask."""
        return FillColumns(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def share(self, name: str) -> Float[np.ndarray, " row"]:
        """Return one of the shares."""
        return np.asarray(self.shares[:, _SHARES.index(name)])

    def fills(self) -> list[Fill | None]:
        """Return the fills, None where there is none."""
        columns = (self.known, self.size, self.shares, self.percentiles, self.voxel_mm, self.offset)
        return [
            Fill(
                size=tuple(size),
                padding=shares[0],
                commonest=shares[1],
                value=shares[2],
                at_low=shares[3],
                at_high=shares[4],
                percentiles=_three(percentiles),
                voxel_mm=_three(voxel_mm),
                offset=None if offset != offset else offset,
            )
            if known
            else None
            for known, size, shares, percentiles, voxel_mm, offset in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]


def _three(row: Sequence[float]) -> tuple[float, float, float] | None:
    x, y, z = row
    return None if x != x else (x, y, z)
