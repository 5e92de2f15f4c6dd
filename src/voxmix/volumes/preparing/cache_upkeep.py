"""Upkeep of a cache: what it holds, whether it is whole, what is no longer needed, what it will need."""

import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxmix._io import read_json
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.volumes.grids.geometry import resampled_shape
from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.preparing.cache import INDEX, PreparedCache, PreparedVolume
from voxmix.volumes.preparing.index_file import former_columns
from voxmix.volumes.preparing.outcomes import Row
from voxmix.volumes.preparing.storage import SUFFIXES, stored_digest
from voxmix.volumes.reading.headers import claimed_grid
from voxmix.volumes.recipe import Recipe

_BYTES_PER_VOXEL = 2
_SAMPLE = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one domain takes: volumes and bytes, label maps included."""

    domain: str
    volumes: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """Files that no volume of the index needs, and their bytes."""

    files: tuple[str, ...]
    bytes: int


def usage(cache: PreparedCache) -> tuple[Usage, ...]:
    """Return what every domain of the cache takes on disk.

    As written down when its files were made; the files of caches of an earlier voxmix are looked at one by one.
    """
    columns, counts = cache.columns, cache.counts()
    sizes = columns.columns["bytes"].copy()
    unknown = np.flatnonzero(sizes < 0)
    sizes[unknown] = [_size(cache.root, volume) for volume in columns.take(unknown)]
    return tuple(
        Usage(domain=name, volumes=counts[name], bytes=int(sizes[columns.rows(name)].sum()))
        for name in cache.domains
    )


def _size(root: Path, volume: PreparedVolume) -> int:
    return sum((root / file).stat().st_size for file in _files(volume) if (root / file).exists())


def verify(cache: PreparedCache, *, progress: ProgressCallback = silent) -> tuple[tuple[str, str], ...]:
    """Return (file, what is wrong) for every file that is missing or whose bytes changed since it was made.

    Preparing again makes what is missing; :func:`remove_files` takes the rest out of the way.
    """
    wrong: list[tuple[str, str]] = []
    progress(0, len(cache.volumes))
    pairs = zip(cache.columns.texts("file"), cache.columns.texts("label"), strict=True)
    for done, pair in enumerate(pairs, start=1):
        wrong.extend(
            (array, reason) for array in pair if array and (reason := file_problem(cache.root, array))
        )
        progress(done, len(cache.volumes))
    return tuple(wrong)


def file_problem(root: Path, array: str) -> str:
    """Return what is wrong with an array of a cache by the checksum in its side file, "" if nothing is."""
    side = (root / array).with_suffix(".json")
    if not (root / array).exists():
        return "missing"
    try:
        stored = read_json(side)["checksum"]
    except (InputError, KeyError, TypeError):
        return "its checksum is missing"
    return "" if stored_digest(root / array) == stored else "its bytes changed"


def remove_files(root: Path, files: Iterable[str]) -> None:
    """Remove arrays of the cache in a folder with their side files, side files first: without one an array is unfinished."""
    for file in files:
        (root / file).with_suffix(".json").unlink(missing_ok=True)
        (root / file).unlink(missing_ok=True)


def prune(cache: PreparedCache, *, dry_run: bool = False) -> Pruned:
    """Remove what the index does not name: volumes of other recipes, of files that left the manifest, a former index.

    With ``dry_run`` nothing is removed.
    """
    found = (
        Path(entry.path)
        for folder in ("volumes", "labels")
        for entry in _entries(cache.root / folder)
        if entry.name[0] != "." and entry.name.endswith((".json", *SUFFIXES.values()))
    )
    arrays = (array for name in ("file", "label") for array in cache.columns.texts(name) if array)
    needed = {file for array in arrays for file in with_side_file(array)}
    return prune_files(cache.root, (*found, *former_columns(cache.root)), needed=needed, dry_run=dry_run)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def prune_files(root: Path, found: Iterable[Path], *, needed: Collection[str], dry_run: bool) -> Pruned:
    """Remove the files among ``found`` that are not ``needed`` (relative to ``root``); with ``dry_run`` nothing is removed."""
    unneeded = [path for path in found if path.relative_to(root).as_posix() not in needed]
    size = sum(path.stat().st_size for path in unneeded)
    if not dry_run:
        # Side files first: an array without one is unfinished, never wrong.
        for path in sorted(unneeded, key=lambda path: path.suffix != ".json"):
            path.unlink(missing_ok=True)
    return Pruned(files=tuple(path.relative_to(root).as_posix() for path in unneeded), bytes=size)


def _files(volume: PreparedVolume) -> Iterator[str]:
    for array in (volume.file, volume.label):
        if array is not None:
            yield from with_side_file(array)


def with_side_file(array: str) -> tuple[str, str]:
    """Return an array of a cache, relative to it, and the file beside it that says what it is."""
    return array, f"{array.rpartition('.')[0]}.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """What preparing needs on the disk, at most, and what is free there, in bytes."""

    needed: int
    free: int


def space_needed(
    manifest: Manifest, *, recipe: Recipe, root: Path, rows: Sequence[Row | None] | None = None
) -> Space:
    """Return about what preparing into ``root`` will still take, at most, and what is free on its disk.

    ``rows`` is what is known of the records (:mod:`voxmix.volumes.preparing.outcomes`): of those nothing is made.
    """
    known = [row.outcome for row in rows or () if row is not None]
    records = [
        record
        for record, row in zip(manifest.records, rows or [None] * len(manifest.records), strict=True)
        if row is None
    ]
    needed = 0
    if records:
        named = {
            file
            for outcome in known
            for array in (outcome.file, outcome.label)
            if array
            for file in with_side_file(array)
        }
        there = sum(
            path.stat().st_size
            for folder in ("volumes", "labels")
            for path in (root / folder).glob("*")
            if f"{folder}/{path.name}" not in named
        )
        if (root / INDEX).exists():
            cache = PreparedCache.open(root)
            if cache.recipe.digest != recipe.digest:  # Arrays of another recipe take no part in this one.
                there -= sum(item.bytes for item in usage(cache))
        needed = _estimate(records, recipe=recipe) - there
    return Space(needed=max(0, needed), free=shutil.disk_usage(_existing(root)).free)


def _existing(path: Path) -> Path:
    """Return the nearest folder that exists, from a path upwards."""
    return next(folder for folder in (path.resolve(), *path.resolve().parents) if folder.exists())


def estimate_bytes(manifest: Manifest, *, recipe: Recipe) -> int:
    """Return about how many bytes the prepared images and their label maps will take, at most.

    From the headers of up to ten files per domain, before the foreground is cut out; DICOM folders and files
    whose header cannot be read count like the mean of the others.
    """
    return _estimate(manifest.records, recipe=recipe)


def _estimate(records: Sequence[VolumeRecord], *, recipe: Recipe) -> int:
    by_domain: dict[str, list[VolumeRecord]] = defaultdict(list)
    for record in records:
        by_domain[record.domain].append(record)
    total = 0.0
    for mine in by_domain.values():
        chosen = mine[:: max(1, len(mine) // _SAMPLE)][:_SAMPLE]
        sizes = [size for record in chosen if (size := _prepared_voxels(record, recipe)) is not None]
        mean = float(np.mean(sizes)) if sizes else float(np.prod(recipe.min_shape))
        labels = sum(record.label is not None for record in mine)
        total += mean * (len(mine) * _BYTES_PER_VOXEL + labels)
    return int(total)


def _prepared_voxels(record: VolumeRecord, recipe: Recipe) -> int | None:
    """Return the voxels of a prepared volume by its file's header, or None where that cannot be read."""
    grid = claimed_grid(record.path)
    if grid is None or len(grid[0]) < 3 or min(grid[0][:3]) < 1 or not np.all(np.isfinite(grid[1])):
        return None
    x, y, z = grid[0][:3]
    size = resampled_shape((x, y, z), np.array(grid[1], dtype=np.float64), spacing_mm=recipe.spacing_mm)
    voxels = [max(n, least) for n, least in zip(size, recipe.min_shape, strict=True)]
    return min(int(np.prod(voxels, dtype=np.int64)), recipe.max_voxels)
