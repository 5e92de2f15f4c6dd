"""The volumes of a study: its manifest, its phantoms, its recipe, and preparing them into its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError, did_you_mean
from voxmix.runs import cores
from voxmix.settings import checked
from voxmix.study.config import DataSettings
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.volumes import Manifest, Preparation, Recipe
    from voxmix.volumes.preparing.cache_upkeep import Space
    from voxmix.volumes.preparing.private_lists import Names


def prepare_volumes(study: Study | StudyView, hear: Listener = QUIET) -> Preparation:
    """Make the phantoms of a study that has them, prepare its volumes, and tell what was odd."""
    from voxmix.volumes.preparing.sentences import preparation_lines, space_line

    study = StudyView.of(study).study
    study_recipe(study)
    if study.config.data.phantoms is not None:
        with hear.bar("making phantoms", unit="volumes") as progress:
            make_phantoms(study, progress=progress)
    with hear.bar("preparing", unit="volumes") as progress:
        preparation = prepare_study(
            study, progress=progress, tell=lambda space: hear.inform(space_line(space))
        )
    for line in preparation_lines(preparation, crop=study.config.model.crop):
        hear.tell(line)
    return preparation


def read_manifest(path: Path, settings: DataSettings, *, rules: Iterable[str] = ()) -> Manifest:
    """Return the volumes of a folder in any known layout or of a table, of the wanted domains, split by subject.

    Raises:
        InputError: ``rules``, the domains that a recipe names, hold one that is not there.
    """
    found = read_wanted(path, settings, rules)
    return found.split(seed=settings.split_seed, fraction=settings.validation_fraction)


def read_wanted(path: Path, settings: DataSettings, rules: Iterable[str] = ()) -> Manifest:
    from voxmix.datasets.sources import read_source
    from voxmix.volumes.persons.rules import join

    manifest, _ = read_source(path, exclude=settings.exclude)
    there = {*manifest.domains, *(item.domain for item in manifest.set_aside), *settings.exclude}
    unknown = [name for name in rules if name not in there]
    if unknown:
        raise InputError(
            f"recipe.intensity names {unknown[0]!r}, which none of the volumes belongs to; "
            f"{did_you_mean(unknown[0], manifest.domains)}"
        )
    chosen = manifest.select(settings.domains) if settings.domains else manifest
    return join(chosen, settings.subject_pattern) if settings.subject_pattern else chosen


def make_phantoms(study: Study, *, progress: ProgressCallback = silent) -> None:
    """Write the phantom volumes that the study asks for and that are not there yet."""
    require("nibabel", extra="imaging")
    from voxmix.phantoms import write_phantoms

    wanted = study.config.data.phantoms
    if wanted is None:
        raise InputError(
            "this study has volumes of its own; phantoms are made only where data.phantoms is set"
        )
    with naming_full_disk(study.phantoms_dir):
        write_phantoms(
            study.phantoms_dir,
            counts=wanted.counts,
            seed=wanted.seed,
            workers=workers_of(study),
            progress=progress,
        )


def study_recipe(study: Study) -> Recipe:
    """Return the study's recipe.

    Raises:
        InputError: a key or value of ``recipe`` in the study file cannot be used.
    """
    from voxmix.volumes.recipe import Recipe, spell_out

    return checked(Recipe, spell_out(study.config.recipe), where="recipe")


def prepare_study(
    study: Study,
    *,
    progress: ProgressCallback = silent,
    tell: Callable[[Space], None] | None = None,
) -> Preparation:
    """Prepare every volume of the study that is not in the cache yet; ``tell`` hears what the disk needs first."""
    require("nibabel", extra="imaging")
    from voxmix.volumes.preparing.prepare import prepare

    source = study.source
    if not source.exists():
        raise InputError(f"the study's volumes are not at {source}; fix data.path in {study.path}")
    recipe = study_recipe(study)
    preparation = prepare(
        read_manifest(source, study.config.data, rules=recipe.intensity),
        recipe=recipe,
        root=study.cache_dir,
        source=source,
        names=names_of(study),
        workers=workers_of(study),
        codec=study.config.data.codec,
        progress=progress,
        tell=tell,
    )
    study.mark_made("prepare", study.preparation_inputs)
    return preparation


def names_of(study: Study) -> Names:
    """Return where the names behind the study's pseudonyms are kept: in the study, or where ``data.names`` says."""
    from voxmix.volumes.preparing.private_lists import Names

    told = study.config.data.names
    return (
        Names(folder=study.private_dir) if told is None else Names.shared(study.root / told, owner=study.root)
    )


def workers_of(study: Study) -> int:
    """Return how many processes prepare volumes: the study's setting, or every core."""
    return study.config.workers or cores()
