"""The prepared images on disk: one array per film, the tokens of all reports, one index, shared by all processes.

    <root>/index.json                what belongs to the cache, its recipes, what was set aside; written last
    <root>/images/<ab>/<key>.npy     whole numbers of 8 or 16 bits (row, column), for [0, 1]; key = digest of the file's
                                     bytes and the recipe, ab its first two digits
    <root>/images/<ab>/<key>.json    what was found when it was made; an array without this file is not finished
    <root>/masks/<ab>/<key>.npy      masks of an image on its own grid, eight pixels to a byte (mask, byte), beside a .json
    <root>/texts/<digest>.tokens.npy   tokens of all texts, one text after the other, without padding
    <root>/texts/<digest>.starts.npy   where each text begins, and the end of the last
    <root>/texts/tokenizer-<digest>.json

Nothing in it holds a path, a header's text or the words of a report before names were taken out of them. Persons stand in
the index as salted digests, as in a cache of volumes (:mod:`voxmix.volumes.preparing.private_lists`). The tokens can be turned
into the texts again: what the rules of :mod:`voxmix.texts.privacy` miss is in them.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Int, UInt

from voxmix._io import canonical_json, digest, naming_damage, read_versioned, with_remedy, write_text
from voxmix.encoder_runs import Item
from voxmix.errors import InputError, VoxmixError
from voxmix.images.recipe import ImageRecipe, as_unit
from voxmix.texts.report_text import TextRecipe
from voxmix.texts.tokenizer import TextTokenizer, read_tokenizer
from voxmix.volumes.manifest import Split

INDEX = "index.json"
KIND = "prepared images"
FORMAT = 1
REMEDY = "delete it and prepare again: finished images are kept"
"""What to do with an index that is damaged."""
_NPY_HEADER = 128
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
    return _NPY_HEADER + math.prod(shape) * dtype.itemsize


def mask_file(key: str) -> str:
    """Return the file of masks, relative to the cache."""
    return f"masks/{key[:2]}/{key}.npy"


@dataclass(frozen=True, kw_only=True)  # no slots: what is computed is kept
class ImageCache:
    """The films of one study, prepared: a :class:`~voxmix.encoder_runs.Source` of two axes.

    ``texts`` is the digest of the tokens, ``tokenizer`` that of the tokenizer that made them; both "" without texts.
    """

    root: Path
    items: tuple[CachedImage, ...]
    recipe: ImageRecipe
    text_recipe: TextRecipe | None = None
    label_names: tuple[str, ...] = ()
    texts: str = ""
    tokenizer: str = ""
    fitted: int | None = None
    """Vocabulary that was asked of the tokenizer; None where it was given."""
    set_aside: tuple[Mapping[str, Any], ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict)
    axes: int = 2

    def __repr__(self) -> str:
        """Say what is in it: the images themselves would fill pages."""
        counts = ", ".join(f"{domain} {count}" for domain, count in self.counts().items())
        return f"ImageCache({self.root}: {len(self.items)} images of {self.recipe.pixels} px: {counts})"

    @classmethod
    def open(cls, root: Path) -> "ImageCache":
        """Return the cache that :func:`voxmix.images.prepare.prepare_images` left in ``root``.

        Raises:
            InputError: no finished cache there, or a tokenizer that changed since.
        """
        if not (root / INDEX).exists():
            raise InputError(f"no prepared images in {root}; run prepare first")
        with with_remedy(REMEDY):
            value = read_versioned(root / INDEX, kind=KIND, version=FORMAT)
        with naming_damage(root / INDEX, remedy=REMEDY):
            texts = value["text_recipe"]
            cache = cls(
                root=root,
                items=tuple(_items_of(value)),
                recipe=ImageRecipe.from_dict(value["recipe"]),
                text_recipe=None if texts is None else TextRecipe.from_dict(texts),
                label_names=tuple(value["label_names"]),
                texts=str(value["texts"]),
                tokenizer=str(value["tokenizer"]),
                fitted=value["fitted"],
                set_aside=tuple(value["set_aside"]),
                replaced=dict(value["replaced"]),
            )
        if cache.tokenizer:
            _ = cache.text_tokenizer
        return cache

    def save(self) -> None:
        """Write the index."""
        write_text(self.root / INDEX, canonical_json(self.as_dict()) + "\n")

    def as_dict(self) -> dict[str, Any]:
        """Return the index as JSON-like data, a column for each field: millions of images fit."""
        views = sorted({item.view for item in self.items})
        place = {view: number for number, view in enumerate(views)}
        domains = {domain: number for number, domain in enumerate(self.domains)}
        return {
            "kind": KIND,
            "format": FORMAT,
            "digest": self.digest,
            "recipe": self.recipe.as_dict(),
            "text_recipe": None if self.text_recipe is None else self.text_recipe.as_dict(),
            "label_names": list(self.label_names),
            "texts": self.texts,
            "tokenizer": self.tokenizer,
            "fitted": self.fitted,
            "replaced": dict(self.replaced),
            "domains": list(domains),
            "views": views,
            "images": {
                "key": [item.key for item in self.items],
                "domain": [domains[item.domain] for item in self.items],
                "person": [item.person for item in self.items],
                "split": [item.split for item in self.items],
                "shape": [list(item.shape) for item in self.items],
                "labels": [self._label_string(item) for item in self.items],
                "text": [item.text for item in self.items],
                "label_text": [item.label_text for item in self.items],
                "view": [place[item.view] for item in self.items],
                "pixel_mm": [item.pixel_mm for item in self.items],
                **self._mask_columns(),
            },
            "set_aside": [dict(item) for item in self.set_aside],
        }

    def _mask_columns(self) -> dict[str, list[Any]]:
        """Return the columns of masks; none without masks, so that an index of before is the same."""
        if not self.mask_names:
            return {}
        return {
            "masks": [[[file.key, list(file.names)] for file in item.mask_files] for item in self.items],
            "empty_masks": [list(item.empty_masks) for item in self.items],
        }

    def _label_string(self, item: CachedImage) -> str:
        return "".join(str(item.labels.get(name, _UNKNOWN)) for name in self.label_names)

    @cached_property
    def digest(self) -> str:
        """Digest of the images' content, their recipe, split, labels and tokens.

        The same on every machine, wherever the files lie and whatever the salt. Masks are no part of it: nothing learns from
        them, and :attr:`mask_digest` is theirs.
        """
        images = sorted(
            [item.domain, item.key, item.split, self._label_string(item), item.text] for item in self.items
        )
        return digest({"images": images, "labels": list(self.label_names), "texts": self.texts})

    @cached_property
    def pictures(self) -> str:
        """Digest of the images' content, their recipe, domain and split: without labels and texts."""
        return digest(sorted([item.domain, item.key, item.split] for item in self.items))

    @cached_property
    def mask_names(self) -> tuple[str, ...]:
        """Every mask that any image has, sorted."""
        return tuple(sorted({name for item in self.items for name in item.masks}))

    @cached_property
    def mask_digest(self) -> str:
        """Digest of the masks and of which are known; "" where there are none."""
        if not self.mask_names:
            return ""
        files = {item.key: [[file.key, *file.names] for file in item.mask_files] for item in self.items}
        return digest(sorted([item.key, files[item.key], list(item.empty_masks)] for item in self.items))

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(sorted({item.domain for item in self.items}))

    def counts(self, split: Split | None = None) -> dict[str, int]:
        """Return domain to number of images, of one side or (None) of all."""
        chosen = Counter(item.domain for item in self.items if split is None or item.split == split)
        return {domain: chosen[domain] for domain in self.domains}

    def array(self, item: Item) -> Float16[np.ndarray, "row column"]:
        """Return the pixels of an item in [0, 1].

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        stored = self.stored(item)
        return _UNIT_OF_BYTE[stored] if stored.dtype == np.uint8 else as_unit(stored)

    def stored(self, item: Item) -> UInt[np.ndarray, "row column"]:
        """Return the whole numbers of an item as they are stored, read-only.

        Raises:
            VoxmixError: as :meth:`array`.
        """
        rows, columns = item.shape
        dtype = np.dtype(self.recipe.dtype)
        try:
            data = (self.root / array_file(item.key)).read_bytes()
        except OSError:
            raise self._damaged(array_file(item.key)) from None
        if len(data) != array_bytes(item.shape, dtype) or not data.startswith(b"\x93NUMPY"):
            raise self._damaged(array_file(item.key))
        return np.frombuffer(data, dtype=dtype, offset=_NPY_HEADER).reshape(rows, columns)

    def masks(self, item: Item) -> dict[str, Bool[np.ndarray, "row column"]]:
        """Return the masks of an item that are known, by name, on the grid of :meth:`array`; True inside.

        Raises:
            VoxmixError: as :meth:`array`.
        """
        own = self._own(item)
        rows, columns = own.shape
        found = {name: np.zeros((rows, columns), dtype=np.bool_) for name in own.empty_masks}
        for file in own.mask_files:
            name = mask_file(file.key)
            try:
                packed = np.load(self.root / name, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                raise self._damaged(name) from None
            if packed.dtype != np.uint8 or packed.shape != (len(file.names), -(-rows * columns // 8)):
                raise self._damaged(name)
            flat = np.unpackbits(packed, axis=1, count=rows * columns).astype(np.bool_)
            found |= dict(zip(file.names, flat.reshape(-1, rows, columns), strict=True))
        return {name: found[name] for name in own.masks}

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of an item's report as int64, begin and end included; none where it has no report.

        :func:`voxmix.texts.tokenizer.cut_tokens` makes them fit into a context.

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        return self._tokens_of(self._own(item).text)

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Return the tokens of the names of the labels that are present, sorted, or of "no finding" where none is.

        None where no label is known, or there are no texts.

        Raises:
            VoxmixError: as :meth:`tokens`.
        """
        return self._tokens_of(self._own(item).label_text)

    def _tokens_of(self, text: int) -> Int[np.ndarray, " token"]:
        if text < 0:
            return np.zeros(0, dtype=np.int64)
        flat, starts = self.all_tokens
        found: np.ndarray = flat[starts[text] : starts[text + 1]].astype(np.int64)
        return found

    def _own(self, item: Item) -> CachedImage:
        return item if isinstance(item, CachedImage) else self._by_key[item.key]

    @cached_property
    def _by_key(self) -> dict[str, CachedImage]:
        return {item.key: item for item in self.items}

    @cached_property
    def text_tokenizer(self) -> TextTokenizer:
        """The tokenizer that made the tokens.

        Raises:
            InputError: there are no texts, its file is gone, or it changed.
        """
        if not self.tokenizer:
            raise InputError(
                f"{self.root} has no texts, and so no tokenizer; prepare images that have reports"
            )
        path = self.root / tokenizer_file(self.tokenizer)
        remedy = f"remove {self.root / 'texts'} and {INDEX} and prepare again"
        with with_remedy(remedy):
            found = read_tokenizer(path)
        if found.digest != self.tokenizer:
            raise InputError(
                f"the tokenizer in {path} changed since the texts were made with it (digest {found.digest}, expected "
                f"{self.tokenizer}); restore it, or {remedy}"
            )
        return found

    @cached_property
    def all_tokens(self) -> tuple[np.ndarray, np.ndarray]:
        flat, starts = (self.root / name for name in token_files(self.texts))
        try:
            found = np.load(flat, mmap_mode="r", allow_pickle=False), np.load(starts, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise self._damaged(str(flat.relative_to(self.root))) from None
        if found[1][-1] != len(found[0]):
            raise self._damaged(str(flat.relative_to(self.root)))
        return found

    def _damaged(self, file: str) -> VoxmixError:
        return VoxmixError(f"{file} is missing or damaged in {self.root}; prepare again to make it")


_UNIT_OF_BYTE = as_unit(np.arange(256, dtype=np.uint8).reshape(1, 256))[0]


def tokenizer_file(tokenizer: str) -> str:
    """Return the file of a tokenizer, relative to the cache."""
    return f"texts/tokenizer-{tokenizer}.json"


def token_files(texts: str) -> tuple[str, str]:
    """Return the files of the tokens and of where texts begin, relative to the cache."""
    return f"texts/{texts}.tokens.npy", f"texts/{texts}.starts.npy"


def tokens_digest(tokens: Sequence[Int[np.ndarray, " _"]], tokenizer: str) -> str:
    """Return the digest of all tokens and of the tokenizer that made them."""
    return digest([tokenizer, [one.tolist() for one in tokens]])


def _items_of(value: Mapping[str, Any]) -> Iterator[CachedImage]:
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
