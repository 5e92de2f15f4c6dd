"""Preparing texts: reports and names of labels to the tokens of a cache, by a tokenizer that it keeps."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from voxmix._io import atomic_path
from voxmix._parallel import work_through
from voxmix.errors import InputError
from voxmix.images.cache import INDEX, ImageCache, tokens_digest
from voxmix.images.cached_image import token_files, tokenizer_file
from voxmix.images.table import ImageRecord
from voxmix.texts.report_text import ReportText, TextCounts, TextRecipe, count_texts, report_text
from voxmix.texts.tokenizer import TextTokenizer, fit_tokenizer

_TEXTS_AT_ONCE = 128


def known_tokenizer(
    earlier: ImageCache | None,
    texts: TextRecipe | None,
    vocabulary: int,
    given: TextTokenizer | None,
    folder: Path,
) -> TextTokenizer | None:
    """Return the tokenizer to use, None where one has to be fitted.

    Raises:
        InputError: the cache has another than the one given.
    """
    if earlier is None or not earlier.tokenizer or texts is None:
        return given
    if given is not None:
        if given.digest != earlier.tokenizer:
            raise InputError(
                f"the tokenizer changed: {folder} was prepared with {earlier.tokenizer}, the one given is {given.digest}; runs of "
                "that cache could not go on. Give the same tokenizer, or prepare into another folder"
            )
        return given
    asked_anew = earlier.fitted is not None and (earlier.fitted, earlier.text_recipe) != (vocabulary, texts)
    return None if asked_anew else earlier.text_tokenizer


def with_texts(
    cache: ImageCache,
    records: Sequence[ImageRecord],
    recipe: TextRecipe,
    vocabulary: int,
    tokenizer: TextTokenizer | None,
    workers: int,
) -> tuple[ImageCache, TextCounts]:
    """Return the cache with the tokens of its reports, and what came of them."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        names[record.person].update(record.names)
    asked = [(record.report, tuple(sorted(names[record.person]))) for record in records]
    reports = sorted(set(asked))
    made = work_through(
        partial(_text_of, recipe=recipe),
        reports,
        workers=workers if len(reports) > 1000 else 1,
        chunk=_TEXTS_AT_ONCE,
    )
    by_report = dict(zip(reports, made, strict=True))
    texts = [by_report[pair] for pair in asked]
    counts = count_texts(texts)
    labels = [label_text(record.labels) for record in records]
    if not counts.texts and not any(labels):
        return replace(cache, text_recipe=recipe, replaced=counts.replaced), counts
    fitted = None
    if tokenizer is None:
        both = zip(texts, labels, records, strict=True)
        training = [
            part for text, label, record in both if record.split == "train" for part in (text.text, label)
        ]
        tokenizer, fitted = fit_tokenizer(training, vocabulary=vocabulary), vocabulary
    elif cache.root.joinpath(INDEX).exists():
        fitted = ImageCache.open(cache.root).fitted
    different = sorted({text.text for text in texts if text.text} | {label for label in labels if label})
    tokens = tokenizer.encode(different)
    digest = tokens_digest(tokens, tokenizer.digest)
    _save_tokens(cache.root, digest, tokens, tokenizer)
    place = {text: number for number, text in enumerate(different)}
    items = tuple(
        replace(item, text=place.get(text.text, -1), label_text=place.get(label, -1))
        for item, text, label in zip(cache.items, texts, labels, strict=True)
    )
    found = replace(
        cache,
        items=items,
        text_recipe=recipe,
        texts=digest,
        tokenizer=tokenizer.digest,
        fitted=fitted,
        replaced=counts.replaced,
    )
    return found, counts


def _text_of(report: tuple[str, tuple[str, ...]], *, recipe: TextRecipe) -> ReportText:
    text, known = report
    return report_text(text, recipe, known=known)


def label_text(labels: Mapping[str, int]) -> str:
    """Return the names of the labels that are present as a text, "no finding" where none is, "" where none is known."""
    present = sorted(name.replace("_", " ") for name, value in labels.items() if value)
    return ", ".join(present) if present or not labels else "no finding"


def _save_tokens(
    root: Path, digest: str, tokens: Sequence[Int[np.ndarray, " _"]], tokenizer: TextTokenizer
) -> None:
    small = np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.uint32
    starts = np.cumsum([0, *(len(one) for one in tokens)])
    arrays = np.concatenate(tokens).astype(small), starts.astype(np.int64)
    for name, array in zip(token_files(digest), arrays, strict=True):
        with atomic_path(root / name) as temporary, temporary.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
    tokenizer.save(root / tokenizer_file(tokenizer.digest))
