"""Survey: what an audit knows of one file after reading it once."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8

from voxmix._parallel import work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.volumes.auditing.fill import Fill, measure_volume, percentiles_of, sampled
from voxmix.volumes.auditing.stored_pictures import PictureFile, StoredPicture
from voxmix.volumes.grids.geometry import nearest_ras, resample
from voxmix.volumes.grids.labels import compare_grids
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.masks import is_label_map
from voxmix.volumes.reading.content_digest import record_digest
from voxmix.volumes.reading.read import read_labels, read_record
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError, Volume

TILE = 96
"""Edge in pixels of one view."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """What an audit knows of one file.

    ``digest`` is that of its bytes, ``voxels`` that of its voxels in RAS order, the same for an image that was only
    converted or compressed anew. ``low``, ``middle``, ``high`` are the 1st, 50th and 99th percentile of the voxels
    that are not 0, in the image's own unit. ``views`` are its middle slices: axial, coronal, sagittal. ``reason``
    says why a file cannot be read, ``label_reason`` why its label map cannot be used or what is odd about it. ``fill``
    is what it consists of after a recipe and ``rule`` that recipe's rule for it, None where none was given.
    ``label_map`` says that the file is a label map itself, no scan, and the recipe does not want it.
    """

    record: VolumeRecord
    digest: str = ""
    voxels: str = ""
    reason: str = ""
    label_reason: str = ""
    label_map: bool = False
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    low: float = 0.0
    middle: float = 0.0
    high: float = 0.0
    views: UInt8[np.ndarray, "row column"] | StoredPicture | None = None
    fill: Fill | None = None
    rule: IntensityRule | None = None

    @property
    def name(self) -> str:
        """A short name that tells no path: the first 8 digits of the digest of its bytes."""
        return self.digest[:8] or "missing"


def survey_all(
    records: tuple[VolumeRecord, ...],
    *,
    recipes: Sequence[Recipe | None] | None = None,
    pictures: bool = True,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> tuple[Survey, ...]:
    """Return the survey of every record, in order; ``pictures`` asks for views too.

    A record with a recipe in ``recipes`` is also taken through it, which says what preparing would make of it. Views lie in
    a file meanwhile, not in memory.
    """
    kept = PictureFile()

    def keep(_: int, survey: Survey) -> Survey:
        views = survey.views
        return replace(survey, views=kept.store(views)) if isinstance(views, np.ndarray) else survey

    pairs = list(zip(records, recipes or [None] * len(records), strict=True))
    look = partial(_survey_pair, pictures=pictures)
    return tuple(work_through(look, pairs, workers=min(workers, len(pairs)), progress=progress, keep=keep))


def _survey_pair(pair: tuple[VolumeRecord, Recipe | None], *, pictures: bool) -> Survey:
    return survey_file(pair[0], recipe=pair[1], pictures=pictures)


def survey_file(record: VolumeRecord, *, recipe: Recipe | None = None, pictures: bool = True) -> Survey:
    """Return the survey of one file; what cannot be read has a reason instead of values."""
    digest = ""
    try:
        digest = record_digest(record)
        volume = read_record(record)
        told = recipe is not None and record.domain in recipe.masks
        label_map = not told and is_label_map(volume.data)
        fill = None if recipe is None or label_map else _fill(volume, recipe, record.domain)
    except UnreadableVolumeError as error:
        return Survey(record=record, digest=digest, reason=str(error))
    except MemoryError:
        return Survey(record=record, digest=digest, reason="does not fit into memory")
    data, spacing_mm = _in_ras(volume)
    low, middle, high = percentiles_of(sampled(data), data)
    return Survey(
        record=record,
        digest=digest,
        voxels=_voxel_digest(data),
        label_reason=_label_reason(record, volume),
        label_map=label_map,
        spacing_mm=spacing_mm,
        low=low,
        middle=middle,
        high=high,
        views=_views(data, spacing_mm, low, high) if pictures else None,
        fill=fill,
        rule=None if recipe is None else recipe.rule(record.domain),
    )


def _fill(volume: Volume, recipe: Recipe, domain: str) -> Fill:
    array, geometry = prepare_volume(volume, recipe=recipe, domain=domain)
    return measure_volume(array, geometry, volume=volume, rule=recipe.rule(domain))


def _in_ras(volume: Volume) -> tuple[Float[np.ndarray, "x y z"], tuple[float, float, float]]:
    """Return the voxels with axes nearest to right, anterior, superior, and the voxel size in mm along them."""
    axes, flipped = nearest_ras(volume.affine)
    steps = tuple(slice(None, None, -1) if flip else slice(None) for flip in flipped)
    x, y, z = np.linalg.norm(volume.affine[:3, :3], axis=0)[list(axes)].tolist()
    return np.ascontiguousarray(volume.data.transpose(axes)[steps], dtype=np.float32), (x, y, z)


def _voxel_digest(data: Float[np.ndarray, "x y z"]) -> str:
    found = hashlib.sha256(repr(data.shape).encode())
    found.update((data + np.float32(0)).data)  # -0 is 0.
    return found.hexdigest()[:16]


def _label_reason(record: VolumeRecord, volume: Volume) -> str:
    if record.label is None:
        return ""
    x, y, z = volume.data.shape
    try:
        labels = read_labels(record.label, volume=record.label_volume)
        return "; ".join(compare_grids(labels, (x, y, z), volume.affine)[1])
    except UnreadableVolumeError as error:
        return f"label map: {error}"


def _views(
    data: Float[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], low: float, high: float
) -> UInt8[np.ndarray, "row column"]:
    """Return the middle slices side by side, each in a square tile: axial, coronal, sagittal."""
    longest = max(n * s for n, s in zip(data.shape, spacing_mm, strict=True))
    tiles = []
    for axis in (2, 1, 0):
        shape = [max(1, round(TILE * n * s / longest)) for n, s in zip(data.shape, spacing_mm, strict=True)]
        middle = data.shape[axis] // 2
        slab = np.take(data, [middle], axis=axis)
        shape[axis] = 1
        step = tuple(n / m for n, m in zip(slab.shape, shape, strict=True))
        flat = np.squeeze(
            resample(slab, (shape[0], shape[1], shape[2]), step=(step[0], step[1], step[2])), axis
        )
        gray = np.clip((flat - low) / max(high - low, 1e-6), 0, 1) * 255
        tile = np.zeros((TILE, TILE), dtype=np.uint8)
        shown = gray.T[::-1]
        top, left = (TILE - shown.shape[0]) // 2, (TILE - shown.shape[1]) // 2
        tile[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
        tiles.append(tile)
    return np.hstack(tiles)
