"""Preparing images in pieces that any process on any machine may take, and what came of each until one joins them.

    <names>/image-outcomes/<name>.json    what came of some images: by one process, in one piece, never changed afterwards

``<names>`` is the folder of the private lists. What is asked of an image is known by a digest of its name, of the sizes and times of
its files and of the recipe: the same in every process. The files are gone once the images are joined.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from voxmix import __version__
from voxmix._io import atomic_path, canonical_json, digest, naming_damage, naming_full_disk, read_versioned
from voxmix._parallel import KILLED, alone
from voxmix.errors import InputError
from voxmix.images.cached_image import MaskFile, array_file, mask_file
from voxmix.images.prepare_file import Outcome
from voxmix.images.prepare_masks import ImageFiles, MaskOutcome, prepare_image_with_masks
from voxmix.images.recipe import ImageRecipe
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.volumes.preparing.private_lists import Names, relative_to_source
from voxmix.volumes.preparing.units import open_outcomes

IMAGES_A_UNIT = 32
"""Few enough that a unit is seconds to minutes of work, many enough that 100,000 images leave few files."""
KIND = "outcomes of preparing images"
FORMAT = 1

Found = tuple[Outcome, MaskOutcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageUnit:
    """Some images that are prepared by one process; ``asked`` is the digest of what is asked of each."""

    name: str
    records: tuple[ImageRecord, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePlan:
    """A table of images to be prepared into one cache.

    Attributes:
        folder: of the cache.
        names: where its private lists are kept, and what came of each image.
    """

    table: ImageTable
    folder: Path
    recipe: ImageRecipe
    names: Names

    @property
    def outcomes(self) -> Path:
        """Where what came of images is kept until it is joined."""
        return outcomes_folder(self.names)

    def units(self) -> tuple[ImageUnit, ...]:
        """Return all of it in pieces, in order; files are looked at and not read."""
        records, units = self.table.records, []
        for start in range(0, len(records), IMAGES_A_UNIT):
            few = records[start : start + IMAGES_A_UNIT]
            asked = tuple(self._asked(record) for record in few)
            units.append(ImageUnit(name=digest(list(asked)), records=few, asked=asked))
        return tuple(units)

    def is_done(self, unit: ImageUnit) -> bool:
        """Return whether some process has prepared a unit."""
        return (self.outcomes / f"{unit.name}.json").exists()

    def make(self, unit: ImageUnit, *, careful: bool = False, stop: Callable[[], bool] | None = None) -> bool:
        """Prepare a unit in this process and publish what came of it, in one small file; return whether all of it is done.

        Two processes that make the same unit write the same arrays under the same names, and equal files.

        Args:
            careful: read every file in a process of its own, so that one that kills its reader is set aside alone.
            stop: asked before each image; once it says so, finished arrays stay, and the unit is left.

        Raises:
            VoxmixError: the folder of the outcomes cannot be written, or the disk is full.
        """
        make = partial(prepare_image_with_masks, recipe=self.recipe, root=self.folder)
        rows: dict[str, Any] = {}
        with naming_full_disk(self.folder):
            (self.folder / "images").mkdir(parents=True, exist_ok=True)
            open_outcomes(self.outcomes, self.names)
            for record, asked in zip(unit.records, unit.asked, strict=True):
                if stop is not None and stop():
                    return False
                files = ImageFiles(image=record.path, masks=record.masks)
                found = (
                    alone(make, files, killed=(Outcome(reason=KILLED), MaskOutcome()))
                    if careful
                    else make(files)
                )
                rows[asked] = _as_row(record, found)
            with atomic_path(self.outcomes / f"{unit.name}.json") as temporary:
                text = canonical_json({"kind": KIND, "format": FORMAT, "rows": rows})
                temporary.write_text(text, encoding="utf-8")
        return True

    def known(self) -> dict[Path, Found]:
        """Return what came of images, by file, where their files have not changed since and their arrays are there.

        A file of outcomes that is damaged says nothing: its images are looked at again.
        """
        rows: dict[str, Any] = {}
        for path in sorted(self.outcomes.glob("[!.]*.json")):
            try:
                rows |= read_versioned(path, kind=KIND, version=FORMAT)["rows"]
            except (InputError, KeyError, TypeError):
                continue
        found: dict[Path, Found] = {}
        for record in self.table.records if rows else ():
            row = rows.get(self._asked(record))
            if row is None:
                continue
            with naming_damage(self.outcomes, remedy="delete it and prepare again"):
                one = _from_row(record, row)
            if all((self.folder / name).with_suffix(".json").exists() for name in _arrays(one)):
                found[record.path] = one
        return found

    def _asked(self, record: ImageRecord) -> str:
        files = {"": record.path, **record.masks}
        states = {
            column: [relative_to_source(path, self.table.source), *_state(path)]
            for column, path in files.items()
        }
        return digest([__version__, self.recipe.digest, states])


def outcomes_folder(names: Names) -> Path:
    """Return where what came of the images of one cache is kept."""
    return names.folder / f"{names.key}image-outcomes"


def forget_outcomes(names: Names) -> None:
    """Remove what came of the images of one cache: it is joined."""
    shutil.rmtree(outcomes_folder(names), ignore_errors=True)


def _state(path: Path) -> list[int]:
    """Return size and time of change of a file; [] where it cannot be looked at."""
    try:
        found = os.stat(path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _arrays(found: Found) -> Iterator[str]:
    outcome, masks = found
    if outcome.key:
        yield array_file(outcome.key)
    for file in masks.files:
        yield mask_file(file.key)


def _as_row(record: ImageRecord, found: Found) -> dict[str, Any]:
    outcome, masks = found
    columns = {path: column for column, path in record.masks.items()}
    return {
        "image": asdict(outcome),
        "masks": [[file.key, *file.names] for file in masks.files],
        "filled": sorted(masks.filled),
        "aside": [[columns[path], reason] for path, reason in masks.aside],
    }


def _from_row(record: ImageRecord, row: Mapping[str, Any]) -> Found:
    image = dict(row["image"])
    rows, columns = image["shape"]
    plain = {
        "shape": (rows, columns),
        "notes": tuple(image["notes"]),
        "risks": tuple(image["risks"]),
    }
    masks = MaskOutcome(
        files=tuple(MaskFile(key=key, names=tuple(names)) for key, *names in row["masks"]),
        filled=frozenset(row["filled"]),
        aside=tuple((record.masks[column], reason) for column, reason in row["aside"]),
    )
    return Outcome(**{**image, **plain}), masks
