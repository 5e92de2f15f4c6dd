"""One image of a cache: what its index says of it, as columns of a file, and in which files it lies.

Files are named relative to the cache; :mod:`voxmix.images.cache` lists them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voxmix.volumes.manifest import Split

NPY_HEADER = 128
"""Bytes before the values of an array of two axes, as NumPy writes it."""
_UNKNOWN = "?"


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskFile:
    """Masks that one file gave, in the order in which they are stored; ``key`` is a digest of the file and of the image's key."""

    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedImage:
    """One prepared image: an :class:`~voxmix.encoder_runs.Item`.

    ``shape`` is (rows, columns), ``person`` a salted digest, ``text`` and ``label_text`` the numbers of its report's text and
    of the text of its labels, -1 for none; ``pixel_mm`` the edge of a prepared pixel, None where the file does not say.
    ``mask_files`` are its stored masks; ``empty_masks`` are known to be empty, since the label of their name says no.
    """

    key: str
    domain: str
    person: str
    split: Split
    shape: tuple[int, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    text: int = -1
    label_text: int = -1
    view: str = ""
    pixel_mm: float | None = None
    mask_files: tuple[MaskFile, ...] = ()
    empty_masks: tuple[str, ...] = ()

    @property
    def masks(self) -> tuple[str, ...]:
        """Names of the masks that are known, sorted."""
        return tuple(sorted({*self.empty_masks, *(name for file in self.mask_files for name in file.names)}))

    @property
    def has_text(self) -> bool:
        """Whether it has a report of at least one word."""
        return self.text >= 0

    @property
    def file(self) -> str:
        """Its array, relative to the cache."""
        return array_file(self.key)


def array_file(key: str) -> str:
    """Return the file of an array, relative to the cache: few enough lie in each folder."""
    return f"images/{key[:2]}/{key}.npy"


def array_bytes(shape: Sequence[int], dtype: np.dtype) -> int:
    """Return the size of the file of an array that is whole."""
    return NPY_HEADER + math.prod(shape) * dtype.itemsize


def mask_file(key: str) -> str:
    """Return the file of masks, relative to the cache."""
    return f"masks/{key[:2]}/{key}.npy"


def tokenizer_file(tokenizer: str) -> str:
    """Return the file of a tokenizer, relative to the cache."""
    return f"texts/tokenizer-{tokenizer}.json"


def token_files(texts: str) -> tuple[str, str]:
    """Return the files of the tokens and of where texts begin, relative to the cache."""
    return f"texts/{texts}.tokens.npy", f"texts/{texts}.starts.npy"


def label_string(item: CachedImage, names: Sequence[str]) -> str:
    """Return a character for each label of ``names``: 1 present, 0 absent, ? not known."""
    return "".join(str(item.labels.get(name, _UNKNOWN)) for name in names)


def views_of(items: Sequence[CachedImage]) -> list[str]:
    """Return the views that images have, sorted: the column of views holds places in it."""
    return sorted({item.view for item in items})


def columns_of(items: Sequence[CachedImage], label_names: Sequence[str]) -> dict[str, list[Any]]:
    """Return a column for each field of images, for JSON: millions of images fit. :func:`items_of` is its inverse."""
    views = {view: number for number, view in enumerate(views_of(items))}
    domains = {domain: number for number, domain in enumerate(sorted({item.domain for item in items}))}
    return {
        "key": [item.key for item in items],
        "domain": [domains[item.domain] for item in items],
        "person": [item.person for item in items],
        "split": [item.split for item in items],
        "shape": [list(item.shape) for item in items],
        "labels": [label_string(item, label_names) for item in items],
        "text": [item.text for item in items],
        "label_text": [item.label_text for item in items],
        "view": [views[item.view] for item in items],
        "pixel_mm": [item.pixel_mm for item in items],
        **_mask_columns(items),
    }


def _mask_columns(items: Sequence[CachedImage]) -> dict[str, list[Any]]:
    """Return the columns of masks; none without masks, so that an index of before is the same."""
    if not any(item.masks for item in items):
        return {}
    return {
        "masks": [[[file.key, list(file.names)] for file in item.mask_files] for item in items],
        "empty_masks": [list(item.empty_masks) for item in items],
    }


def items_of(value: Mapping[str, Any]) -> Iterator[CachedImage]:
    """Yield the images of an index that was read.

    Raises:
        KeyError, TypeError, ValueError, IndexError: it is damaged.
    """
    columns, names = value["images"], value["label_names"]
    none: list[list[Any]] = [[]] * len(columns["key"])
    masks, empty = columns.get("masks", none), columns.get("empty_masks", none)
    for key, domain, person, split, shape, labels, text, label_text, view, pixel_mm, files, no in zip(
        *(
            columns[name]
            for name in (
                "key",
                "domain",
                "person",
                "split",
                "shape",
                "labels",
                "text",
                "label_text",
                "view",
                "pixel_mm",
            )
        ),
        masks,
        empty,
        strict=True,
    ):
        if not (isinstance(key, str) and isinstance(person, str) and len(labels) == len(names)):
            raise TypeError("an image whose key and person are no texts, or whose labels do not fit")
        rows, width = shape
        yield CachedImage(
            key=key,
            domain=value["domains"][domain],
            person=person,
            split=split,
            shape=(int(rows), int(width)),
            labels={name: int(c) for name, c in zip(names, labels, strict=True) if c != _UNKNOWN},
            text=int(text),
            label_text=int(label_text),
            view=value["views"][view],
            pixel_mm=pixel_mm,
            mask_files=tuple(MaskFile(key=str(own), names=tuple(known)) for own, known in files),
            empty_masks=tuple(no),
        )
