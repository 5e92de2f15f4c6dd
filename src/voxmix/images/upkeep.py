"""Upkeep of what prepare made, images or volumes: whether its files are those that were written, and what no longer belongs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._progress import ProgressCallback, silent
from voxmix.errors import VoxmixError
from voxmix.images.cache import KIND as IMAGES
from voxmix.images.cache import ImageCache, tokens_digest
from voxmix.images.cached_image import CachedImage, mask_file, token_files, tokenizer_file
from voxmix.images.sources import kind_of_folder
from voxmix.volumes.preparing.cache import KIND as VOLUMES
from voxmix.volumes.preparing.cache import PreparedCache
from voxmix.volumes.preparing.cache_upkeep import (
    Pruned,
    file_problem,
    prune,
    prune_files,
    verify,
    with_side_file,
)


def verify_images(cache: ImageCache, *, progress: ProgressCallback = silent) -> tuple[tuple[str, str], ...]:
    """Return (file, what is wrong) for every file that is missing or whose bytes changed since it was made.

    Preparing again makes what is missing or was removed.
    """
    wrong: list[tuple[str, str]] = []
    for done, item in enumerate(cache.items, start=1):
        wrong.extend((file, reason) for file in _arrays(item) if (reason := file_problem(cache.root, file)))
        progress(done, len(cache.items))
    if cache.texts:
        name = token_files(cache.texts)[0]
        try:
            flat, starts = cache.all_tokens
            read = [flat[a:b].astype(np.int64) for a, b in pairwise(starts)]
            if tokens_digest(read, cache.tokenizer) != cache.texts:
                wrong.append((name, "its bytes changed"))
        except VoxmixError:
            wrong.append((name, "missing or damaged"))
    return tuple(wrong)


def prune_images(cache: ImageCache, *, dry_run: bool = False) -> Pruned:
    """Remove what the index does not name: arrays and masks of other recipes and of files that left the table, and former texts.

    With ``dry_run`` nothing is removed. The tokenizer stays, so that runs that were made with it stay comparable.
    """
    root = cache.root
    found = (
        path
        for pattern in ("images/*/[!.]*", "masks/*/[!.]*", "texts/[!.]*")
        for path in sorted(root.glob(pattern))
        if path.suffix in (".json", ".npy")
    )
    needed = {file for item in cache.items for array in _arrays(item) for file in with_side_file(array)}
    needed.update(token_files(cache.texts) if cache.texts else ())
    needed.update((tokenizer_file(cache.tokenizer),) if cache.tokenizer else ())
    return prune_files(root, found, needed=needed, dry_run=dry_run)


def _arrays(item: CachedImage) -> Iterator[str]:
    """Yield the arrays of an image, relative to its cache: its own and those of its masks."""
    yield item.file
    for masks in item.mask_files:
        yield mask_file(masks.key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upkeep:
    """How a folder that prepare made is kept in order, by what its index says that it holds.

    Attributes:
        what: what it holds, in the plural.
        open: gives the cache of the folder.
        count: how many of them the cache names.
        verify: (file, what is wrong) for each file that is not as it was written.
        prune: removes the files that the cache does not name.
    """

    what: str
    open: Callable[[Path], Any]
    count: Callable[[Any], int]
    verify: Callable[..., tuple[tuple[str, str], ...]]
    prune: Callable[..., Pruned]


UPKEEP: Mapping[object, Upkeep] = {
    VOLUMES: Upkeep(
        what="volumes",
        open=PreparedCache.open,
        count=lambda cache: len(cache.volumes),
        verify=verify,
        prune=prune,
    ),
    IMAGES: Upkeep(
        what="images",
        open=ImageCache.open,
        count=lambda cache: len(cache.items),
        verify=verify_images,
        prune=prune_images,
    ),
}
"""What an index holds to its upkeep."""


def upkeep_of(root: Path) -> Upkeep:
    """Return the upkeep of a folder that prepare made; that of volumes where no index is, or one of neither: opening says so.

    Raises:
        InputError: its index is damaged.
    """
    return UPKEEP.get(kind_of_folder(root), UPKEEP[VOLUMES])
