"""Preparing one image: its array in the cache, or the reason why it has none."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voxmix._io import atomic_path, file_digest, read_json, write_json
from voxmix.errors import InputError
from voxmix.images.cached_image import array_bytes, array_file
from voxmix.images.image import Image
from voxmix.images.reading import read_image
from voxmix.images.recipe import ImageRecipe, prepare_pixels
from voxmix.volumes.preparing.cache import volume_key
from voxmix.volumes.reading.read import reasons_in_words
from voxmix.volumes.volume import UnreadableVolumeError


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one file: its array, or the reason why it has none. ``checksum`` is that of the array."""

    digest: str = ""
    key: str = ""
    shape: tuple[int, int] = (0, 0)
    pixel_mm: float | None = None
    notes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    checksum: str = ""
    reason: str = ""
    made: bool = False


def prepare_image(path: Path, *, recipe: ImageRecipe, root: Path) -> Outcome:
    """Return what came of one file, making its array below ``root`` unless it is finished for this recipe."""
    return prepared_and_read(path, recipe=recipe, root=root)[0]


def prepared_and_read(path: Path, *, recipe: ImageRecipe, root: Path) -> tuple[Outcome, Image | None]:
    """Return what :func:`prepare_image` does, and the image, None where it was not read."""
    content = ""
    try:
        with reasons_in_words():
            content = file_digest(path) if path.is_file() else ""
        key = volume_key(content, recipe.digest)
        target = root / array_file(key)
        known = _finished(target, np.dtype(recipe.dtype))
        if known is not None and content:
            return replace(known, digest=content, key=key), None
        image = read_image(path, max_pixels=recipe.max_pixels)
        array = prepare_pixels(image, recipe)
    except UnreadableVolumeError as error:
        return Outcome(digest=content, reason=str(error)), None
    except MemoryError:
        return Outcome(digest=content, reason="does not fit into memory"), None
    target.parent.mkdir(exist_ok=True)
    with atomic_path(target) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        checksum = file_digest(temporary)
    rows, columns = array.shape
    pixel = None if image.spacing_mm is None else image.pixels.shape[0] * image.spacing_mm[0] / rows
    made = Outcome(
        shape=(rows, columns), pixel_mm=pixel, notes=image.notes, risks=image.risks, checksum=checksum
    )
    about = {
        "shape": [rows, columns],
        "pixel_mm": pixel,
        "notes": list(image.notes),
        "risks": list(image.risks),
        "checksum": checksum,
    }
    write_json(target.with_suffix(".json"), about)  # It alone says that the array is whole.
    return replace(made, digest=content, key=key, made=True), image


def _finished(target: Path, dtype: np.dtype) -> Outcome | None:
    """Return what is known of an array that is whole, None where there is none; digest and key are not in it."""
    try:
        value = read_json(target.with_suffix(".json"))
        rows, columns = value["shape"]
        known = Outcome(
            shape=(int(rows), int(columns)),
            pixel_mm=value["pixel_mm"],
            notes=tuple(value["notes"]),
            risks=tuple(value["risks"]),
            checksum=str(value["checksum"]),
        )
    except (InputError, KeyError, TypeError, ValueError):
        return None
    whole = target.exists() and target.stat().st_size == array_bytes(known.shape, dtype)
    return known if whole else None
