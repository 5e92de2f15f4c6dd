"""One record of a manifest to its arrays in the cache, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from voxmix._io import atomic_path, digest, file_digest, read_json, write_json
from voxmix.errors import InputError, VoxmixError
from voxmix.volumes.auditing.fill import Fill, measure_fill, measure_volume
from voxmix.volumes.grids.geometry import Box, Geometry, Shape
from voxmix.volumes.grids.labels import prepare_labels
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.masks import NO_SCAN, is_label_map
from voxmix.volumes.preparing.cache import volume_key
from voxmix.volumes.preparing.storage import SUFFIXES, Codec, codec_of, read_array, write_array
from voxmix.volumes.reading.content_digest import content_digest, record_digest
from voxmix.volumes.reading.read import read_labels, read_record
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError

LABELS_VERSION = 2
"""Raised whenever the same label map and image give another prepared map than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one record: where its arrays lie, or the reason why it has none.

    ``checksum`` is that of its array: two files with the same voxels have the same, however they are stored. ``bytes`` is
    what its files take, those of its label map too.
    """

    digest: str = ""
    key: str = ""
    file: str = ""
    shape: Shape = (0, 0, 0)
    label: str | None = None
    reason: str = ""
    label_reason: str = ""
    notes: tuple[str, ...] = ()
    made: bool = False
    fill: Fill | None = None
    checksum: str = ""
    box: Box | None = None
    bytes: int | None = None


def prepare_record(record: VolumeRecord, *, recipe: Recipe, root: Path, codec: Codec) -> Outcome:
    """Return what came of one record, making its arrays below ``root`` unless they are finished for this recipe."""
    content = ""
    try:
        content = record_digest(record)
        key = volume_key(content, recipe.volume_digest(record.domain))
        target = root / "volumes" / f"{key}{SUFFIXES[codec]}"
        stored = _finished(target)
        if stored is None:
            volume = read_record(record, max_voxels=recipe.max_voxels)
            label_map = _check_scan(volume.data, record, recipe)
            array, geometry = prepare_volume(volume, recipe=recipe, domain=record.domain)
            notes = volume.notes
            made = measure_volume(array, geometry, volume=volume, rule=recipe.rule(record.domain))
            about = {
                "geometry": geometry.as_dict(),
                "notes": list(notes),
                "fill": made.as_dict(),
                "label_map": label_map,
            }
            fill: Fill | None = made
            checksum = _save(target, array, about, codec=codec)
        else:
            geometry, notes = Geometry.from_dict(stored["geometry"]), tuple(stored["notes"])
            _check_stored(stored, target, record, recipe)
            fill, checksum = _known_fill(target, stored, geometry), stored["checksum"]
    except UnreadableVolumeError as error:
        return Outcome(digest=content, reason=str(error))
    except MemoryError:
        return Outcome(digest=content, reason="does not fit into memory")
    label, label_reason, label_notes = _prepare_label(record, geometry, recipe=recipe, root=root, codec=codec)
    return Outcome(
        digest=content,
        key=key,
        file=f"volumes/{target.name}",
        shape=geometry.padded,
        label=label,
        label_reason=label_reason,
        notes=(*notes, *geometry.notes, *label_notes),
        made=stored is None,
        fill=fill,
        checksum=checksum,
        box=geometry.box,
        bytes=sum(map(_size, (target, *([root / label] if label else [])))),
    )


def _size(array: Path) -> int:
    """Return the bytes of an array and of the file beside it."""
    return array.stat().st_size + array.with_suffix(".json").stat().st_size


def _known_fill(path: Path, stored: dict[str, Any], geometry: Geometry) -> Fill | None:
    """Return the fill in a side file; one of an earlier voxmix gets it now, from the array alone."""
    known = Fill.from_dict(stored.get("fill"))
    if known is not None:
        return known
    try:
        fill = measure_fill(read_array(path), geometry)
    except VoxmixError:
        return None  # Damaged: not known. voxmix cache verify says so.
    write_json(path.with_suffix(".json"), {**stored, "fill": fill.as_dict()})
    return fill


def _check_scan(data: Shaped[np.ndarray, "x y z"], record: VolumeRecord, recipe: Recipe) -> bool:
    """Return whether a volume is a label map, in a domain where it may be.

    Raises:
        UnreadableVolumeError: it is one, and the recipe does not name its domain in ``masks``.
    """
    found = is_label_map(data)
    if found and record.domain not in recipe.masks:
        raise UnreadableVolumeError(NO_SCAN)
    return found


def _check_stored(stored: dict[str, Any], path: Path, record: VolumeRecord, recipe: Recipe) -> None:
    """Check a finished volume in the same way; one that was made before label maps were told is read once more."""
    if record.domain in recipe.masks:
        return
    if "label_map" not in stored:
        stored["label_map"] = is_label_map(read_record(record, max_voxels=recipe.max_voxels).data)
        write_json(path.with_suffix(".json"), stored)
    if stored["label_map"]:
        raise UnreadableVolumeError(NO_SCAN)


def _prepare_label(
    record: VolumeRecord, geometry: Geometry, *, recipe: Recipe, root: Path, codec: Codec
) -> tuple[str | None, str, tuple[str, ...]]:
    """Return (file below the root or None, reason if it could not be used, notes)."""
    if record.label is None:
        return None, "", ()
    chosen = () if record.label_volume is None else (record.label_volume,)
    try:
        key = volume_key(content_digest(record.label), digest([LABELS_VERSION, geometry.as_dict(), *chosen]))
        target = root / "labels" / f"{key}{SUFFIXES[codec]}"
        stored = _finished(target)
        if stored is None:
            labels = read_labels(record.label, volume=record.label_volume, max_voxels=recipe.max_voxels)
            array, notes = prepare_labels(labels, geometry)
            notes = (*(note for note in labels.notes if note.startswith("label map")), *notes)
            _save(target, array, {"notes": list(notes)}, codec=codec)
        else:
            notes = tuple(stored["notes"])
    except UnreadableVolumeError as error:
        return None, f"label map: {error}", ()
    return f"labels/{target.name}", "", notes


def _save(path: Path, array: Shaped[np.ndarray, "x y z"], about: dict[str, Any], *, codec: Codec) -> str:
    """Publish an array, then its side file: the side file alone says that both are whole. Return the checksum."""
    with atomic_path(path) as temporary:
        write_array(temporary, array, codec=codec)
        checksum = file_digest(temporary)
    write_json(path.with_suffix(".json"), {**about, "file": path.name, "checksum": checksum})
    return checksum


def _finished(path: Path) -> dict[str, Any] | None:
    """Return the side file of an array that is whole, else None; one stored in the other form is stored anew."""
    try:
        stored = read_json(path.with_suffix(".json"))
    except InputError:
        return None
    if not isinstance(stored, dict) or "checksum" not in stored:
        return None
    if path.exists() and stored.get("file", path.name) == path.name:
        return stored
    other = next(path.with_suffix(suffix) for suffix in SUFFIXES.values() if suffix != path.suffix)
    if stored.get("file") != other.name or not other.exists() or file_digest(other) != stored["checksum"]:
        return None
    checksum = _save(path, read_array(other), stored, codec=codec_of(path))
    return {**stored, "file": path.name, "checksum": checksum}
