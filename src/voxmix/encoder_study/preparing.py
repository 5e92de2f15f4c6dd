"""The images of an encoder study: its table, its made radiographs, its starts, and preparing all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix.encoder_study.config import ImageData
from voxmix.encoder_study.folder import EncoderStudy
from voxmix.encoder_study.starts import look_at_start, start_folders, write_facts
from voxmix.encoder_study.task_images import TaskImages, task_images
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError
from voxmix.runs import cores
from voxmix.study.listener import QUIET, Listener

if TYPE_CHECKING:
    from voxmix.encoder_runs import Source
    from voxmix.images.prepare import ImagePreparation
    from voxmix.images.table import ImageTable
    from voxmix.images.units import ImagePlan
    from voxmix.texts.tokenizer import TextTokenizer
    from voxmix.volumes.preparing.private_lists import Names


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedStudy:
    """What a study learns from, and what came of its files; None of volumes, which were prepared before."""

    source: Source
    images: ImagePreparation | None = None
    tasks: Mapping[str, ImagePreparation] = field(default_factory=dict)
    """Of the images that tasks have of their own, by the name of their folder."""


def prepare_study(view: EncoderView, hear: Listener = QUIET, *, joining: bool = False) -> PreparedStudy:
    """Make the radiographs of a study that has them, prepare its images and texts, and look at its starts.

    Args:
        joining: take what workers have made (:mod:`voxmix.images.units`), so that no image is read again.

    Raises:
        InputError: no images or prepared volumes where the study says, weights of another family, or two starts with different
            tokenizers.
    """
    from voxmix.images.sources import open_source
    from voxmix.images.units import forget_outcomes

    study = view.study
    config = study.config
    folders = start_folders(study.root, config)
    _ = view.table  # as it is now: an edit while preparing asks for it again
    facts = {
        name: look_at_start(folder, image=config.backbone.image, axes=config.backbone.axes)
        for name, folder in folders.items()
    }
    tokenizer = (
        start_tokenizer({name: folders[name] for name in facts if facts[name].text})
        if config.keeps_texts
        else None
    )
    preparation = (
        None if config.data.volumes is not None else _prepare_images(study, tokenizer, hear, joining=joining)
    )
    source = open_source(study.prepared_dir, axes=config.backbone.axes)
    tasks = {
        one.name: _prepare_task(study, one, source, tokenizer, hear, joining=joining)
        for one in task_images(config)
    }
    write_facts(study.starts_path, facts)
    view.mark_table()
    view.mark_made("prepare")
    for names in (names_of(study), *(_names_of_task(study, one) for one in task_images(config))):
        forget_outcomes(names)
    return PreparedStudy(source=source, images=preparation, tasks=tasks)


def image_plans(study: EncoderStudy) -> tuple[ImagePlan, ...]:
    """Return the tables of images that a study prepares, each into a cache: its own, and those that tasks have of their own.

    Raises:
        InputError: as :func:`read_table`.
    """
    own = [] if study.config.data.volumes is not None else [_own_plan(study)]
    return (*own, *(_task_plan(study, one) for one in task_images(study.config)))


def _own_plan(study: EncoderStudy) -> ImagePlan:
    from voxmix.images.units import ImagePlan

    return ImagePlan(
        table=read_table(study.source, study.config.data),
        folder=study.cache_dir,
        recipe=study.config.recipe,
        names=names_of(study),
    )


def _task_plan(study: EncoderStudy, wanted: TaskImages) -> ImagePlan:
    from voxmix.images.units import ImagePlan

    data = ImageData(path=wanted.place, domains=wanted.domains, classes=wanted.classes)
    return ImagePlan(
        table=read_table((study.root / wanted.place).resolve(), data),
        folder=study.task_cache(wanted),
        recipe=study.config.recipe,
        names=_names_of_task(study, wanted),
    )


def _names_of_task(study: EncoderStudy, wanted: TaskImages) -> Names:
    names = names_of(study)
    return replace(names, key=f"{names.key}{wanted.name}.")


def _prepare_images(
    study: EncoderStudy, tokenizer: TextTokenizer | None, hear: Listener, *, joining: bool
) -> ImagePreparation:
    from voxmix.images.prepare import prepare_images

    config = study.config
    if config.keeps_texts:
        require("tokenizers", extra="text")
    if config.data.radiographs is not None:
        make_study_radiographs(study, hear)
    plan = _own_plan(study)
    table = plan.table.split(seed=config.data.split_seed, fraction=config.data.validation_fraction)
    with hear.bar("preparing", unit="images") as progress:
        preparation = prepare_images(
            table,
            study.cache_dir,
            config.recipe,
            texts=config.texts if config.keeps_texts else None,
            vocabulary=config.text.vocabulary,
            tokenizer=tokenizer,
            names=plan.names,
            known=plan.known() if joining else None,
            workers=config.workers or cores(),
            progress=progress,
        )
    for line in preparation_lines(preparation):
        hear.tell(line)
    return preparation


def _prepare_task(
    study: EncoderStudy,
    wanted: TaskImages,
    source: Source,
    tokenizer: TextTokenizer | None,
    hear: Listener,
    *,
    joining: bool,
) -> ImagePreparation:
    """Prepare images that tasks have of their own, as the study's own are, with the same pseudonyms.

    Raises:
        InputError: images that cannot be read, or a person to judge on whom encoders learn from.
    """
    from voxmix.images.cache import ImageCache
    from voxmix.images.prepare import prepare_images
    from voxmix.volumes.preparing.private_lists import known_salt

    config, names, path = study.config, names_of(study), (study.root / wanted.place).resolve()
    if wanted.texts:
        require("tokenizers", extra="text")
    secret = known_salt(study.cache_dir, names, study.source)
    if secret is None:
        raise InputError(
            f"the secret behind the study's pseudonyms is gone ({names.map_path.name}), so a person whom encoders learn from "
            f"would not be found among those of {path.name}; restore it, or delete {study.cache_dir} and prepare again"
        )
    plan = _task_plan(study, wanted)
    table = plan.table.split(seed=config.data.split_seed, fraction=config.data.validation_fraction)
    if tokenizer is None and isinstance(source, ImageCache) and source.tokenizer:
        tokenizer = source.text_tokenizer
    with hear.bar(f"preparing images of {', '.join(wanted.tasks)}", unit="images") as progress:
        found = prepare_images(
            table,
            study.task_cache(wanted),
            config.recipe,
            texts=config.texts if wanted.texts else None,
            vocabulary=config.text.vocabulary,
            tokenizer=tokenizer if wanted.texts else None,
            names=plan.names,
            salt=secret,
            known=plan.known() if joining else None,
            workers=config.workers or cores(),
            progress=progress,
        )
    for line in preparation_lines(found):
        hear.tell(f"{path.name}: {line}")
    _check_persons(source, found.cache, wanted)
    return found


def _check_persons(source: Source, own: Source, wanted: TaskImages) -> None:
    """Refuse persons, and images, that a task would be judged on and that encoders learn from.

    Raises:
        InputError: says how many.
    """
    learned = [item for item in source.items if item.split == "train"]
    persons, keys = {item.person for item in learned}, {item.key for item in learned}
    both = [
        item
        for item in own.items
        if (wanted.carried or item.split != "train") and (item.person in persons or item.key in keys)
    ]
    if both:
        count = len({item.person for item in both})
        raise InputError(
            f"tasks.{wanted.tasks[0]}: {count:,} person{'s' * (count > 1)} ({len(both):,} image{'s' * (len(both) > 1)}) of "
            f"{Path(wanted.place).name} would be judged on, and encoders learn from the same; {_REMEDIES[wanted.carried]}"
        )


_REMEDIES = {
    False: "say train for them in a column split of the table, or take them out of it",
    True: "take them out of the table, as a carried head is judged on all of it",
}


def start_tokenizer(folders: Mapping[str, Path]) -> TextTokenizer | None:
    """Return the tokenizer of the starts that have a text transformer; None where none has.

    Raises:
        InputError: a start has none beside its weights, or two starts have different ones.
    """
    from voxmix.texts.tokenizer import read_tokenizer

    found = {name: read_tokenizer(folder) for name, folder in folders.items()}
    if len({one.digest for one in found.values()}) > 1:
        raise InputError(
            f"the starts {', '.join(found)} have different tokenizers, and a study has one; make a study for each"
        )
    return next(iter(found.values()), None)


def read_table(path: Path, data: ImageData) -> ImageTable:
    """Return the images of a folder or a table, of the wanted domains.

    Raises:
        InputError: as :func:`voxmix.images.finding.find_images`; a domain that is not there, or none left.
    """
    from voxmix.images.finding import find_images

    found = find_images(path, labels=data.labels or None, classes=data.classes)
    known = set(found.domains)
    if unknown := sorted({*data.domains, *data.exclude} - known):
        raise InputError(f"data names the domains {unknown}; these images have {list(found.domains)}")
    kept = [name for name in data.domains or found.domains if name not in data.exclude]
    if not kept:
        raise InputError(
            "data.exclude leaves out every domain that data.domains names, or that there is; keep at least one"
        )
    return found.select(tuple(kept))


def make_study_radiographs(study: EncoderStudy, hear: Listener = QUIET) -> None:
    """Draw the radiographs that the study asks for and that are not there yet."""
    from voxmix.radiographs import make_radiographs

    wanted = study.config.data.radiographs
    assert wanted is not None
    with hear.bar("drawing radiographs", unit="films") as progress, naming_full_disk(study.root):
        make_radiographs(
            study.radiographs_dir,
            count=wanted.count,
            seed=wanted.seed,
            edge=wanted.edge,
            planted=wanted.planted,
            workers=study.config.workers or cores(),
            progress=progress,
        )


def names_of(study: EncoderStudy) -> Names:
    """Return where the names behind the study's pseudonyms are kept: in the study, or where ``data.names`` says."""
    from voxmix.volumes.preparing.private_lists import Names

    told = study.config.data.names
    return (
        Names(folder=study.private_dir) if told is None else Names.shared(study.root / told, owner=study.root)
    )


_MOST_LINES = 5


def preparation_lines(preparation: ImagePreparation) -> Iterator[str]:
    """Yield what was set aside, assumed, risky and replaced, in sentences; files are named, for the terminal alone."""
    for reason, count in Counter(item.reason for item in preparation.set_aside).most_common():
        first = next(item for item in preparation.set_aside if item.reason == reason)
        yield f"set aside {count:,}: {reason} (e.g. {first.path.name})"
    for kind, found in (("mended", preparation.notes), ("risk", preparation.risks)):
        for what, count in Counter(what for _, what in found).most_common(_MOST_LINES):
            yield f"{kind}: {what} ({count:,} images)"
    yield from preparation.remarks
    texts = preparation.texts
    if texts is not None:
        yield from texts.lines()
