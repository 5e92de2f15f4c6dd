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

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Int, UInt

from voxmix._io import canonical_json, digest, naming_damage, read_versioned, with_remedy, write_text
from voxmix.encoder_runs import Item
from voxmix.errors import InputError, VoxmixError
from voxmix.images.cached_image import (
    NPY_HEADER,
    CachedImage,
    array_bytes,
    array_file,
    columns_of,
    items_of,
    label_string,
    mask_file,
    token_files,
    tokenizer_file,
    views_of,
)
from voxmix.images.recipe import ImageRecipe, as_unit
from voxmix.texts.report_text import TextRecipe
from voxmix.texts.tokenizer import TextTokenizer, read_tokenizer
from voxmix.volumes.manifest import Split

INDEX = "index.json"
KIND = "prepared images"
FORMAT = 1
REMEDY = "delete it and prepare again: finished images are kept"
"""What to do with an index that is damaged."""


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
                items=tuple(items_of(value)),
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
        """Return the index as JSON-like data."""
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
            "domains": list(self.domains),
            "views": views_of(self.items),
            "images": columns_of(self.items, self.label_names),
            "set_aside": [dict(item) for item in self.set_aside],
        }

    @cached_property
    def digest(self) -> str:
        """Digest of the images' content, their recipe, split, labels and tokens.

        The same on every machine, wherever the files lie and whatever the salt. Masks are no part of it: nothing learns from
        them, and :attr:`mask_digest` is theirs.
        """
        images = sorted(
            [item.domain, item.key, item.split, label_string(item, self.label_names), item.text]
            for item in self.items
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
        return np.frombuffer(data, dtype=dtype, offset=NPY_HEADER).reshape(rows, columns)

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


def tokens_digest(tokens: Sequence[Int[np.ndarray, " _"]], tokenizer: str) -> str:
    """Return the digest of all tokens and of the tokenizer that made them."""
    return digest([tokenizer, [one.tolist() for one in tokens]])
