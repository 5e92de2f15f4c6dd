"""Whether the files of prepared images are those that were written."""

from itertools import pairwise

import numpy as np

from voxmix._progress import ProgressCallback, silent
from voxmix.errors import VoxmixError
from voxmix.images.cache import ImageCache, mask_file, token_files, tokens_digest
from voxmix.volumes.preparing.cache_upkeep import file_problem


def verify_images(cache: ImageCache, *, progress: ProgressCallback = silent) -> tuple[tuple[str, str], ...]:
    """Return (file, what is wrong) for every file that is missing or whose bytes changed since it was made.

    Preparing again makes what is missing or was removed.
    """
    wrong: list[tuple[str, str]] = []
    for done, item in enumerate(cache.items, start=1):
        files = (item.file, *(mask_file(masks.key) for masks in item.mask_files))
        wrong.extend((file, reason) for file in files if (reason := file_problem(cache.root, file)))
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
