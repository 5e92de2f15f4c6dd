"""Fields of view by headers alone, and the spacing and crop that fit the fields of all domains of a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.reading.headers import claimed_grid

Edges = tuple[float, float, float]
"""Edges of a field in mm, rising."""

GOOD_PADDING = 0.5
"""At most half of a volume as large as a crop may be padding, for the median volume of every domain."""

SPACINGS_MM = (
    *(0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
    *(1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0),
)
_LEAST_PATCHES = 3
"""Per edge of a crop: 27 patches, of which the encoder sees 6 or 7."""

_SAMPLE = 12
_SAMPLE_DICOM = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Fields:
    """What headers say of one domain: the edges of ``len(edges)`` fields of view and the median voxel edge, in mm.

    ``edges`` is empty where no header could be read.
    """

    domain: str
    edges: tuple[Edges, ...] = ()
    voxel_mm: float = 0.0

    @property
    def median(self) -> Edges:
        """The median field."""
        x, y, z = np.median(self.edges, axis=0).tolist()
        return x, y, z

    def padding(self, *, spacing_mm: float, least: int) -> float:
        """Return the median share of padding at a spacing, when every axis gets at least ``least`` voxels."""
        return float(np.median([padded_share(e, spacing_mm=spacing_mm, least=least) for e in self.edges]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A spacing, crop and least shape for all domains of a study.

    ``padding`` is the median share of padding by domain, of those whose headers say their field; ``misfits`` the
    domains for which no choice was good: their fields are too small beside the others'. ``changed`` says whether it
    differs from what it began with, ``floor_mm`` is the finest spacing that was thought of.
    """

    spacing_mm: float
    crop: int
    min_shape: int
    padding: Mapping[str, float]
    misfits: tuple[str, ...]
    changed: bool
    floor_mm: float

    @property
    def reason(self) -> str:
        """Why these, in a clause."""
        if not self.changed:
            return "the preset's: at least half of the median field of every domain fills a volume"
        if self.misfits and set(self.misfits) >= set(self.padding):
            return (
                f"the finest and smallest that make sense ({self.floor_mm:g} mm, {_LEAST_PATCHES} patches per edge): the "
                "median field of no domain fills half a crop; a smaller model.patch would allow smaller crops"
            )
        others = f", but for {', '.join(self.misfits)}" if self.misfits else ""
        return (
            f"the coarsest at which the median field of every domain fills half a crop{others}; not finer than "
            f"{self.floor_mm:g} mm, about the median of the domains' own voxels"
        )


def padded_share(edges: Edges, *, spacing_mm: float, least: int) -> float:
    """Return the share of padding of a field in cubic voxels, with at least ``least`` per axis."""
    size = np.maximum(1, np.rint(np.asarray(edges) / spacing_mm))
    return float(1 - np.prod(size) / np.prod(np.maximum(size, least)))


def smaller_spacing(sizes: Sequence[Edges], *, crop: int, below: float, floor: float = 0.0) -> float | None:
    """Return the coarsest usual spacing at which the median field fills half a crop; None where none does.

    It lies under ``below`` and not under ``floor``, both in mm.
    """
    fitting = [
        s
        for s in SPACINGS_MM
        if floor <= s < below
        and float(np.median([padded_share(e, spacing_mm=s, least=crop) for e in sizes])) <= GOOD_PADDING
    ]
    return max(fitting, default=None)


def see_fields(manifest: Manifest) -> tuple[Fields, ...]:
    """Return the fields of view of every domain, from the headers of up to 12 files (3 DICOM series) of each."""
    return tuple(
        _see(domain, [record for record in manifest.records if record.domain == domain])
        for domain in manifest.domains
    )


def _see(domain: str, records: Sequence[VolumeRecord]) -> Fields:
    chosen = _spread(records, _SAMPLE)
    if any(record.path.is_dir() for record in chosen):
        chosen = _spread(records, _SAMPLE_DICOM)
    grids = [grid for record in chosen if (grid := _grid(record)) is not None]
    if not grids:
        return Fields(domain=domain)
    edges = tuple(sorted_edges(shape, voxel_mm) for shape, voxel_mm in grids)
    voxel = float(np.median([np.prod(voxel_mm) ** (1 / 3) for _, voxel_mm in grids]))
    return Fields(domain=domain, edges=edges, voxel_mm=voxel)


def _spread(records: Sequence[VolumeRecord], most: int) -> list[VolumeRecord]:
    """Return up to ``most`` records, evenly spread over the list."""
    places = np.unique(np.linspace(0, len(records) - 1, min(most, len(records))).round().astype(int))
    return [records[place] for place in places]


def sorted_edges(shape: Sequence[int], voxel_mm: Sequence[float]) -> Edges:
    """Return the edges of a grid in mm, rising."""
    x, y, z = sorted(float(n) * float(mm) for n, mm in zip(shape, voxel_mm, strict=True))
    return x, y, z


def _grid(record: VolumeRecord) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Return (shape, voxel size in mm) of a record's volume, or None where that is not said or makes no sense."""
    grid = _dicom_grid(record) if record.path.is_dir() else claimed_grid(record.path)
    if grid is None or len(grid[0]) < 3:
        return None
    shape, voxel_mm = grid[0][:3], tuple(grid[1][:3])
    if record.affine is not None:
        voxel_mm = tuple(np.linalg.norm(np.array(record.affine).reshape(4, 4)[:3, :3], axis=0).tolist())
    usable = len(voxel_mm) == 3 and min(shape) >= 1 and all(0 < mm < np.inf for mm in voxel_mm)
    return (shape, voxel_mm) if usable else None


def _dicom_grid(record: VolumeRecord) -> tuple[tuple[int, ...], tuple[float, ...]] | None:
    """Return the grid of a folder's largest DICOM series, or of the one that the record names."""
    from voxmix.volumes.reading.dicom.headers import read_headers, slices_of
    from voxmix.volumes.reading.dicom.series import series_name

    try:
        series = {
            uid: parts
            for uid, parts in read_headers(record.path).items()
            if record.series in ("", series_name(uid))
        }
        parts = max(series.values(), key=len)
        slices = [part for file, header in parts for part in slices_of(file, header)]
        first = slices[0]
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        heights = np.unique(np.round([np.array(s.position) @ normal for s in slices], 2))
        step = float(np.median(np.diff(heights))) if len(heights) > 1 else 1.0
        return (*first.size, len(heights)), (first.spacing[1], first.spacing[0], step)
    except (InputError, ValueError, TypeError, AttributeError, KeyError, IndexError, OSError):
        return None  # Preparing says in its turn what is wrong.


def propose(
    fields: Sequence[Fields], *, spacing_mm: float, crop: int, min_shape: int, patch: int
) -> Proposal:
    """Return the spacing, crop and least shape that fit the fields of all domains, nearest to those given.

    What is given stays where it leaves at most half of the median volume of every domain to padding. Else the
    spacing becomes finer, down to about the median of the domains' own voxels (beyond it most would be interpolated),
    and then the crop smaller, down to 3 patches per edge; the least shape becomes the crop. Where nothing fits, the
    domain of the smallest field is left out of the choice, and so on: a misfit.
    """
    seen = [item for item in fields if item.edges]
    voxels = [item.voxel_mm for item in seen]
    own = 1.01 * float(np.median(voxels)) if voxels else spacing_mm
    floor = min(spacing_mm, max((s for s in SPACINGS_MM if s <= own), default=SPACINGS_MM[0]))
    crops = range(crop, min(crop, _LEAST_PATCHES * patch) - 1, -patch)
    finer = sorted({s for s in SPACINGS_MM if floor <= s < spacing_mm} | {spacing_mm}, reverse=True)
    choices = [(spacing_mm, crop, min_shape), *((s, c, c) for c in crops for s in finer)]
    left = sorted(seen, key=lambda item: float(np.prod(item.median)), reverse=True)
    misfits: list[str] = []
    found = choices[-1]  # where no domain fits: the finest and smallest there is
    while left:
        fitting = [choice for choice in choices if all(_fits(item, choice) for item in left)]
        if fitting:
            found = fitting[0]
            break
        misfits.append(left.pop().domain)
    if not seen:
        found = choices[0]
    chosen_mm, chosen_crop, least = found
    return Proposal(
        spacing_mm=chosen_mm,
        crop=chosen_crop,
        min_shape=least,
        padding={item.domain: item.padding(spacing_mm=chosen_mm, least=least) for item in seen},
        misfits=tuple(misfits),
        changed=found != choices[0],
        floor_mm=floor,
    )


def fields_text(fields: Sequence[Fields]) -> str:
    """Return the median field of every domain in mm: "ABD-CT 140 x 320 x 366, BRAIN-T1 212 x 254 x 270"."""
    return ", ".join(
        f"{item.domain} " + (edges_text(item.median) if item.edges else "unknown") for item in fields
    )


def edges_text(edges: Edges) -> str:
    """Return the edges of a field: "140 x 320 x 366", "1.3 x 8 x 12"."""
    return " x ".join(f"{edge:.0f}" if edge > 9.5 else f"{edge:.2g}" for edge in edges)


def _fits(fields: Fields, choice: tuple[float, int, int]) -> bool:
    spacing_mm, _, least = choice
    return fields.padding(spacing_mm=spacing_mm, least=least) <= GOOD_PADDING
