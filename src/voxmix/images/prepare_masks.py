"""Preparing the masks of one image: its files to packed arrays of the cache, or the reason why one is left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from voxmix._io import atomic_path, digest, file_digest, read_json, write_json
from voxmix.errors import InputError
from voxmix.images.cached_image import MaskFile, mask_file
from voxmix.images.image import Image
from voxmix.images.masks import ASIDE, fitted, read_masks
from voxmix.images.pictures import TURNED
from voxmix.images.prepare_file import Outcome, prepared_and_read
from voxmix.images.reading import read_image
from voxmix.images.recipe import ImageRecipe
from voxmix.volumes.reading.read import reasons_in_words
from voxmix.volumes.volume import UnreadableVolumeError

_VERSION = 1
"""Raised whenever the same files give other masks than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskOutcome:
    """What came of the masks of one image: those stored, the names of those with a pixel inside, and files left out with why."""

    files: tuple[MaskFile, ...] = ()
    filled: frozenset[str] = frozenset()
    aside: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageFiles:
    """One image and the files of its masks, by column."""

    image: Path
    masks: Mapping[str, Path]


def prepare_image_with_masks(
    files: ImageFiles, *, recipe: ImageRecipe, root: Path
) -> tuple[Outcome, MaskOutcome]:
    """Return what came of one image and of its masks, making what is not finished below ``root``."""
    outcome, image = prepared_and_read(files.image, recipe=recipe, root=root)
    if outcome.reason or not files.masks:
        return outcome, MaskOutcome()
    kept: list[MaskFile] = []
    filled: set[str] = set()
    aside: list[tuple[Path, str]] = []
    for column, path in sorted(files.masks.items()):
        try:
            with reasons_in_words():
                content = file_digest(path) if path.is_file() else ""
            key = digest([outcome.key, content, column, _VERSION])
            known = _finished(root / mask_file(key)) if content else None
            if known is None:
                masks = read_masks(path, column, max_pixels=recipe.max_pixels)
                image = image or read_image(files.image, max_pixels=recipe.max_pixels)
                known = _write(_on_grid(masks, image, outcome.shape), root / mask_file(key))
        except UnreadableVolumeError as error:
            aside.append((path, f"{ASIDE}{error}"))
            continue
        except MemoryError:
            aside.append((path, f"{ASIDE}does not fit into memory"))
            continue
        names, inside = known
        if {*names} & {name for file in kept for name in file.names}:
            aside.append((path, f"{ASIDE}another file of its image holds a mask of the same name"))
            continue
        kept.append(MaskFile(key=key, names=names))
        filled |= inside
    return outcome, MaskOutcome(files=tuple(kept), filled=frozenset(filled), aside=tuple(aside))


def _on_grid(
    masks: Mapping[str, Bool[np.ndarray, "row column"]], image: Image, shape: tuple[int, int]
) -> dict[str, Bool[np.ndarray, "height width"]]:
    if TURNED in image.notes:
        raise UnreadableVolumeError(
            "its image is turned as the camera noted (EXIF), and which way the mask lies is not known; save the image turned"
        )
    rows, columns = image.pixels.shape
    return {name: fitted(mask, (rows, columns), shape) for name, mask in masks.items()}


def _write(
    masks: Mapping[str, Bool[np.ndarray, "height width"]], target: Path
) -> tuple[tuple[str, ...], frozenset[str]]:
    names = tuple(sorted(masks))
    packed = np.packbits(np.stack([masks[name].ravel() for name in names]), axis=1)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, packed, allow_pickle=False)
        checksum = file_digest(temporary)
    filled = [name for name in names if masks[name].any()]
    write_json(target.with_suffix(".json"), {"names": list(names), "filled": filled, "checksum": checksum})
    return names, frozenset(filled)


def _finished(target: Path) -> tuple[tuple[str, ...], frozenset[str]] | None:
    """Return the names of masks that are whole, and of those with a pixel inside; None where there are none, or other bytes."""
    try:
        value = read_json(target.with_suffix(".json"))
        known = tuple(str(name) for name in value["names"]), frozenset(str(name) for name in value["filled"])
        whole = target.exists() and file_digest(target) == value["checksum"]
    except (InputError, KeyError, TypeError):
        return None
    return known if whole else None
