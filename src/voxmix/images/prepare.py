"""Preparing images: every film of a table to one array of the cache, every report to tokens; resumable at any moment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int

from voxmix._io import (
    atomic_path,
    file_digest,
    naming_full_disk,
    read_json,
    remove_leftovers,
    write_json,
)
from voxmix._parallel import KILLED, alone, work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.images.cache import (
    INDEX,
    CachedImage,
    ImageCache,
    array_file,
    token_files,
    tokenizer_file,
    tokens_digest,
)
from voxmix.images.reading import read_image
from voxmix.images.recipe import ImageRecipe, prepare_pixels
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.texts.report_text import TextCounts, TextRecipe, count_texts, report_text
from voxmix.texts.tokenizer import TextTokenizer, fit_tokenizer
from voxmix.volumes.manifest import SPLITS, SetAside
from voxmix.volumes.preparing.cache import subject_digest, volume_key
from voxmix.volumes.preparing.private_lists import (
    Names,
    SubjectMap,
    claim_salt,
    keep_map,
    relative_to_source,
    write_set_aside,
)
from voxmix.volumes.reading.read import reasons_in_words
from voxmix.volumes.volume import UnreadableVolumeError

_CHUNK = 32
_TEXTS_AT_ONCE = 128


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


@dataclass(frozen=True, kw_only=True, slots=True)
class ImagePreparation:
    """What preparing gave: the cache, what was set aside and why, and how much was done.

    ``made`` counts the arrays made now; the others were found finished. ``notes`` holds (file, what was assumed or mended)
    and ``risks`` (file, what may be a shortcut or a name); like the paths of ``set_aside`` they are for the terminal, not
    for files. ``remarks`` say what holds for all, without names. ``texts`` is None where no report is used.
    """

    cache: ImageCache
    set_aside: tuple[SetAside, ...]
    made: int
    notes: tuple[tuple[Path, str], ...] = ()
    risks: tuple[tuple[Path, str], ...] = ()
    remarks: tuple[str, ...] = ()
    texts: TextCounts | None = None


def prepare_images(
    table: ImageTable,
    folder: Path,
    recipe: ImageRecipe,
    *,
    texts: TextRecipe | None = None,
    vocabulary: int = 8192,
    tokenizer: TextTokenizer | None = None,
    names: Names | None = None,
    salt: str | None = None,
    workers: int = 1,
    progress: ProgressCallback = silent,
) -> ImagePreparation:
    """Return the cache of a table's images in ``folder``, making what is not there yet.

    Files are known by their bytes: what is finished for this recipe is never made again, wherever it lies, and killing the
    process at any moment costs at most the images in hand. What cannot be read is set aside and the job goes on; so is
    an image that was met before, by its bytes or by its prepared pixels: validation keeps it.

    ``texts`` says what of the reports is kept; without it, or without reports and labels, there are no texts. A tokenizer of
    ``vocabulary`` entries is fitted on the training side (its reports and names of labels), unless one is given. A cache keeps its tokenizer when it is prepared
    again, also with more reports: runs that were made with it stay comparable.

    ``names`` is where the map from pseudonyms to persons and the list of what was set aside are kept
    (:mod:`voxmix.volumes.preparing.private_lists`). Without it there is no map, and the secret of the pseudonyms stays in the cache.
    Pass another cache's ``salt`` to give a person the same pseudonym in both.

    Raises:
        InputError: the table is not split; one side keeps no image; a tokenizer other than that of the cache.
        VoxmixError: the disk is full or cannot be written.
    """
    if any(not record.split for record in table.records):
        raise InputError("the table of images is not split; use table.split(seed=...) before preparing")
    if names is not None:
        names.check_apart(folder)
    earlier = ImageCache.open(folder) if (folder / INDEX).exists() else None
    wanted = texts if table.reports or table.label_names else None
    kept_tokenizer = _known_tokenizer(earlier, wanted, vocabulary, tokenizer, folder)
    with naming_full_disk(folder):
        for name in ("images", "texts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        remove_leftovers((folder, folder / "texts", *(folder / "images").glob("*/")))
        secret = salt or claim_salt(folder, names, table.source)
        make = partial(prepare_image, recipe=recipe, root=folder)
        outcomes = work_through(
            make,
            [record.path for record in table.records],
            workers=workers,
            chunk=_CHUNK if len(table.records) > _CHUNK * workers * 4 else 1,
            progress=progress,
            after_a_death=partial(
                alone, make, killed=Outcome(reason=KILLED)
            ),  # The file that killed it is then known.
        )
        kept, set_aside = _choose(table, outcomes)
        if names is not None:
            write_set_aside(set_aside, names, table.source)
        _check_sides(kept, set_aside)
        cache = ImageCache(
            root=folder,
            items=tuple(_item(record, outcome, secret) for record, outcome in kept),
            recipe=recipe,
            label_names=tuple(sorted({name for record, _ in kept for name in record.labels})),
            set_aside=_counted(set_aside),
        )
        counts, remarks = None, list(table.notes)
        if wanted is not None:
            cache, counts = _with_texts(
                cache, [r for r, _ in kept], wanted, vocabulary, kept_tokenizer, workers
            )
            if kept_tokenizer is not None and tokenizer is None:
                remarks.append("the tokenizer of this cache is kept")
        if salt is None:
            keep_map(folder, names, _map(kept, secret, table.source))
        cache.save()
    return ImagePreparation(
        cache=cache,
        set_aside=set_aside,
        made=sum(outcome.made for outcome in outcomes if outcome.key),
        notes=tuple((record.path, note) for record, outcome in kept for note in outcome.notes),
        risks=tuple((record.path, risk) for record, outcome in kept for risk in outcome.risks),
        remarks=tuple(remarks),
        texts=counts,
    )


def _known_tokenizer(
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


def prepare_image(path: Path, *, recipe: ImageRecipe, root: Path) -> Outcome:
    """Return what came of one file, making its array below ``root`` unless it is finished for this recipe."""
    content = ""
    try:
        with reasons_in_words():
            content = file_digest(path) if path.is_file() else ""
        key = volume_key(content, recipe.digest)
        target = root / array_file(key)
        known = _finished(target)
        if known is not None and content:
            return replace(known, digest=content, key=key)
        image = read_image(path, max_pixels=recipe.max_pixels)
        array = prepare_pixels(image, recipe)
    except UnreadableVolumeError as error:
        return Outcome(digest=content, reason=str(error))
    except MemoryError:
        return Outcome(digest=content, reason="does not fit into memory")
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
    return replace(made, digest=content, key=key, made=True)


def _finished(target: Path) -> Outcome | None:
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
    return known if target.exists() else None


def _choose(
    table: ImageTable, outcomes: Sequence[Outcome]
) -> tuple[list[tuple[ImageRecord, Outcome]], tuple[SetAside, ...]]:
    """Return the images that are kept, ordered by domain and key, and what was set aside."""
    set_aside = list(table.set_aside)
    kept: list[tuple[ImageRecord, Outcome]] = []
    seen: dict[str, str] = {}
    # Validation first: of two equal images on both sides, training gives way. Then by person and content, so that which copy
    # stays does not depend on where the files lie.
    pairs = sorted(
        zip(table.records, outcomes, strict=True),
        key=lambda pair: (
            pair[0].split != "validation",
            pair[0].domain,
            pair[0].person,
            pair[1].digest,
            str(pair[0].path),
        ),
    )
    for record, outcome in pairs:
        reason = outcome.reason
        side = next((seen[mark] for mark in (outcome.digest, outcome.checksum) if mark in seen), None)
        if not reason and side is not None:
            reason = "the same image as another" + (
                " on the other side of the split" if side != record.split else ""
            )
        if reason:
            aside = SetAside(path=record.path, domain=record.domain, reason=reason, digest=outcome.digest)
            set_aside.append(aside)
            continue
        seen[outcome.digest] = seen[outcome.checksum] = record.split
        kept.append((record, outcome))
    return sorted(kept, key=lambda pair: (pair[0].domain, pair[1].key)), tuple(set_aside)


def _check_sides(kept: Sequence[tuple[ImageRecord, Outcome]], set_aside: Sequence[SetAside]) -> None:
    for side in SPLITS:
        if not any(record.split == side for record, _ in kept):
            why = (
                f"; {len(set_aside)} are set aside, the last because: {set_aside[-1].reason}"
                if set_aside
                else ""
            )
            raise InputError(
                f"no {side} image is left to prepare{why}; mend or add images, or change the split"
            )


def _item(record: ImageRecord, outcome: Outcome, secret: str) -> CachedImage:
    return CachedImage(
        key=outcome.key,
        domain=record.domain,
        person=subject_digest(secret, record.person),
        split=record.split,
        shape=outcome.shape,
        labels=dict(record.labels),
        view=record.view,
        pixel_mm=outcome.pixel_mm,
    )


def _map(kept: Iterable[tuple[ImageRecord, Outcome]], secret: str, source: Path | None) -> SubjectMap:
    pairs = list(kept)
    return SubjectMap(
        salt=secret,
        subjects={subject_digest(secret, record.person): record.person for record, _ in pairs},
        volumes={outcome.key: relative_to_source(record.path, source) for record, outcome in pairs},
    )


def _counted(set_aside: Iterable[SetAside]) -> tuple[Mapping[str, object], ...]:
    """Return what was set aside as it may stand in a file: domain, digest and reason."""
    return tuple({"domain": item.domain, "digest": item.digest, "reason": item.reason} for item in set_aside)


def _with_texts(
    cache: ImageCache,
    records: Sequence[ImageRecord],
    recipe: TextRecipe,
    vocabulary: int,
    tokenizer: TextTokenizer | None,
    workers: int,
) -> tuple[ImageCache, TextCounts]:
    """Return the cache with the tokens of its reports, and what came of them."""
    reports = sorted({record.report for record in records})
    made = work_through(
        partial(report_text, recipe=recipe),
        reports,
        workers=workers if len(reports) > 1000 else 1,
        chunk=_TEXTS_AT_ONCE,
    )
    by_report = dict(zip(reports, made, strict=True))
    texts = [by_report[record.report] for record in records]
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
