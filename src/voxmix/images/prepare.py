"""Preparing images: every film of a table to one array of the cache, every report to tokens; resumable at any moment."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from voxmix._io import (
    naming_full_disk,
    remove_leftovers,
)
from voxmix._parallel import KILLED, alone, work_through
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError
from voxmix.images.cache import INDEX, ImageCache
from voxmix.images.cached_image import CachedImage
from voxmix.images.prepare_file import Outcome
from voxmix.images.prepare_masks import ImageFiles, MaskOutcome, prepare_image_with_masks
from voxmix.images.prepare_texts import known_tokenizer, with_texts
from voxmix.images.recipe import ImageRecipe
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.texts.report_text import TextCounts, TextRecipe
from voxmix.texts.tokenizer import TextTokenizer
from voxmix.volumes.manifest import SPLITS, SetAside
from voxmix.volumes.preparing.cache import subject_digest
from voxmix.volumes.preparing.private_lists import (
    Names,
    SubjectMap,
    claim_salt,
    keep_map,
    relative_to_source,
    write_set_aside,
)

_CHUNK = 32


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
    known: Mapping[Path, tuple[Outcome, MaskOutcome]] | None = None,
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
    Pass another cache's ``salt`` to give a person the same pseudonym in both. What is ``known`` of a file is not looked at again
    (:mod:`voxmix.images.units`).

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
    kept_tokenizer = known_tokenizer(earlier, wanted, vocabulary, tokenizer, folder)
    with naming_full_disk(folder):
        for name in ("images", "texts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        remove_leftovers(
            (folder, folder / "texts", *(folder / "images").glob("*/"), *(folder / "masks").glob("*/"))
        )
        secret = salt or claim_salt(folder, names, table.source)
        make = partial(prepare_image_with_masks, recipe=recipe, root=folder)
        known = known or {}
        left = [record for record in table.records if record.path not in known]
        new = work_through(
            make,
            [ImageFiles(image=record.path, masks=record.masks) for record in left],
            workers=workers,
            chunk=_CHUNK if len(left) > _CHUNK * workers * 4 else 1,
            progress=progress,
            after_a_death=partial(
                alone, make, killed=(Outcome(reason=KILLED), MaskOutcome())
            ),  # The file that killed it is then known.
        )
        found = {**known, **dict(zip((record.path for record in left), new, strict=True))}
        made = [found[record.path] for record in table.records]
        outcomes = [outcome for outcome, _ in made]
        kept, without = _choose(table, outcomes)
        masks = {record.path: found for record, (_, found) in zip(table.records, made, strict=True)}
        set_aside = (*without, *_masks_aside(kept, masks))
        if names is not None:
            write_set_aside(set_aside, names, table.source)
        _check_sides(kept, without)
        cache = ImageCache(
            root=folder,
            items=_with_masks(tuple(_item(record, outcome, secret) for record, outcome in kept), kept, masks),
            recipe=recipe,
            label_names=tuple(sorted({name for record, _ in kept for name in record.labels})),
            set_aside=_counted(set_aside),
        )
        counts, remarks = None, [*table.notes, *_mask_remarks(kept, masks)]
        if wanted is not None:
            cache, counts = with_texts(
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


def _masks_aside(
    kept: Iterable[tuple[ImageRecord, Outcome]], masks: Mapping[Path, MaskOutcome]
) -> Iterator[SetAside]:
    """Yield the masks of kept images that are left out."""
    for record, _ in kept:
        for path, reason in masks[record.path].aside:
            yield SetAside(path=path, domain=record.domain, reason=reason)


def _with_masks(
    items: tuple[CachedImage, ...],
    kept: Sequence[tuple[ImageRecord, Outcome]],
    masks: Mapping[Path, MaskOutcome],
) -> tuple[CachedImage, ...]:
    """Return items with their masks. A mask that an image lacks is empty where its label of that name says no."""
    own = [masks[record.path] for record, _ in kept]
    names = {name for found in own for file in found.files for name in file.names}
    return tuple(
        replace(
            item,
            mask_files=found.files,
            empty_masks=tuple(
                sorted(
                    name
                    for name in names
                    if item.labels.get(name) == 0 and not any(name in file.names for file in found.files)
                )
            ),
        )
        for item, found in zip(items, own, strict=True)
    )


def _mask_remarks(
    kept: Iterable[tuple[ImageRecord, Outcome]], masks: Mapping[Path, MaskOutcome]
) -> Iterator[str]:
    """Yield how many images have each mask, and where masks and labels of one name contradict each other."""
    counts: Counter[str] = Counter()
    against: Counter[str] = Counter()
    for record, _ in kept:
        found = masks[record.path]
        stored = {name for file in found.files for name in file.names}
        counts.update(stored)
        against.update(name for name in stored if record.labels.get(name) == int(name not in found.filled))
    for name in sorted(counts):
        yield f"mask {name}: {counts[name]:,} images"
    for name in sorted(against):
        yield f"mask {name}: the label of its name says otherwise on {against[name]:,} images; the mask is taken as it is"


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
