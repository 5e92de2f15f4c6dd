"""The volumes of a study: its manifest, its phantoms, its recipe, and preparing them into its cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    from voxmix.volumes.preparing.units import Unit


def prepare_volumes(study: Study | StudyView, hear: Listener = QUIET, *, again: bool = True) -> Preparation:
    """Make the phantoms of a study that has them, prepare its volumes, and tell what was odd.

    ``again`` is that of :func:`voxmix.volumes.preparing.prepare.prepare`.
    """
    from voxmix.volumes.preparing.sentences import preparation_lines, space_line

    study = StudyView.of(study).study
    study_recipe(study)
    if study.config.data.phantoms is not None:
        with hear.bar("making phantoms", unit="volumes") as progress:
            make_phantoms(study, progress=progress)
    with hear.bar("preparing", unit="volumes") as progress:
        preparation = prepare_study(
            study,
            again=again,
            progress=progress,
            tell=lambda space: hear.inform(space_line(space)) if space.needed else None,
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
    again: bool = True,
    progress: ProgressCallback = silent,
    tell: Callable[[Space], None] | None = None,
) -> Preparation:
    """Prepare every volume of the study that is not in the cache yet; ``tell`` hears what the disk needs first."""
    from voxmix.volumes.preparing.prepare import prepare

    manifest, recipe = _asked(study)
    preparation = prepare(
        manifest,
        recipe=recipe,
        root=study.cache_dir,
        source=study.source,
        names=names_of(study),
        workers=workers_of(study),
        codec=study.config.data.codec,
        again=again,
        progress=progress,
        tell=tell,
    )
    study.mark_made("prepare", study.preparation_inputs)
    return preparation


def _asked(study: Study) -> tuple[Manifest, Recipe]:
    """Return the volumes of a study and what is to be done to them."""
    require("nibabel", extra="imaging")
    source = study.source
    if not source.exists():
        raise InputError(f"the study's volumes are not at {source}; fix data.path in {study.path}")
    recipe = study_recipe(study)
    return read_manifest(source, study.config.data, rules=recipe.intensity), recipe


class PreparationPass:
    """The volumes of a study as units of work, as they are left now: any process that sees its folder may make one.

    Processes share no file that two of them write. One joins what they made, once every unit is done.
    """

    def __init__(self, study: Study) -> None:
        """Look at what is left; no source is read.

        Raises:
            InputError: the volumes are not there, or cannot be used.
        """
        from voxmix.volumes.preparing.storage import check_codec
        from voxmix.volumes.preparing.units import plan, units_of

        manifest, recipe = _asked(study)
        self._study, self._names = study, names_of(study)
        self._names.check_apart(study.cache_dir)
        self._plan = plan(
            manifest,
            recipe=recipe.resolved(manifest.domains),
            root=study.cache_dir,
            codec=check_codec(study.config.data.codec),
            source=study.source,
            names=self._names,
            again=False,
        )
        self.units: tuple[Unit, ...] = units_of(self._plan)

    def is_done(self, unit: Unit) -> bool:
        """Return whether some process has made a unit meanwhile."""
        from voxmix.volumes.preparing.units import is_done

        return is_done(self._plan, unit)

    def make(self, unit: Unit, *, careful: bool = False, stop: Callable[[], bool] | None = None) -> bool:
        """Make a unit in this process, see :func:`voxmix.volumes.preparing.units.make_unit`."""
        from voxmix.volumes.preparing.units import make_unit

        return make_unit(self._plan, unit, names=self._names, careful=careful, stop=stop)

    def failed(self) -> Mapping[str, str]:
        """Return nothing: a volume that cannot be prepared is set aside, and says why."""
        return {}

    def join(self, hear: Listener = QUIET) -> Preparation:
        """Put together what all processes have made: by the one that holds the study. What is missing is made here."""
        return prepare_volumes(self._study, hear, again=False)


def preparation_units(
    view: StudyView, hear: Listener = QUIET, *, together: int = 1
) -> PreparationPass | None:
    """Return the volumes of a study as units of work; None of phantoms, which one process makes and prepares."""
    return None if view.config.data.phantoms is not None else PreparationPass(view.study)


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
