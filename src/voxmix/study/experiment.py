"""What a study does with volumes and torch: prepare them, and train the runs that are pending."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import InputError, did_you_mean
from voxmix.runs import cores
from voxmix.settings import checked
from voxmix.study import DataSettings, PhantomSettings, Study, presets

if TYPE_CHECKING:
    from voxmix.engines.local import FailedRun
    from voxmix.objectives.mae import EvaluationSet
    from voxmix.volumes import Manifest, Preparation, PreparedCache, Recipe
    from voxmix.volumes.auditing.fields import Fields, Proposal
    from voxmix.volumes.preparing.cache_upkeep import Space
    from voxmix.volumes.preparing.private_lists import Names


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StartedStudy:
    """A study that was begun, and what was seen for it: nothing of made volumes.

    ``fields`` are the fields of view by header, ``proposal`` the spacing and crop that fit them; the study has these
    where its preset was not asked for by name.
    """

    study: Study
    manifest: Manifest | None = None
    fields: tuple[Fields, ...] = ()
    proposal: Proposal | None = None
    adapted: bool = False


def start_study(
    root: Path,
    *,
    data: Path | None,
    phantoms: bool,
    preset: str | None = None,
    domains: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    subject_pattern: str | None = None,
) -> StartedStudy:
    """Look at the volumes and write the study file with every setting in it.

    Without a ``preset``, made volumes get that of the demo, and yours the small one, with the spacing and crop that fit
    their fields of view (:func:`voxmix.volumes.auditing.fields.propose`). A preset that is named is kept as it is.

    Raises:
        InputError: no or two sources of volumes, a domain that cannot be split, an unknown preset, or
            a folder that is in use.
    """
    from voxmix.volumes import Recipe
    from voxmix.volumes.auditing.fields import fields_text

    if phantoms == (data is not None):
        raise InputError("give either --data DIR (your volumes) or --phantoms (made ones)")
    start = presets.preset(preset or ("demo" if phantoms else "small"))
    manifest: Manifest | None = None
    seen: tuple[Fields, ...] = ()
    proposal: Proposal | None = None
    if data is None:
        if subject_pattern:
            raise InputError(
                "--subject-pattern is for volumes of yours; every phantom is a person of its own"
            )
        if exclude:
            raise InputError("--exclude is for volumes of yours; of phantoms name those to make: --domain")
        counts = presets.phantom_counts(domains or ())
        settings = DataSettings(phantoms=PhantomSettings(counts=counts))
        names = tuple(counts)
    else:
        settings = DataSettings(
            path=os.path.relpath(data.resolve(), root.resolve()),
            domains=tuple(domains or ()),
            exclude=tuple(exclude or ()),
            subject_pattern=subject_pattern or "",
        )
        manifest = _readable_manifest(data, settings)
        names = manifest.domains
        seen, proposal = propose_for(manifest, start)
        if preset is None:
            start = start.adapted(
                spacing_mm=proposal.spacing_mm, crop=proposal.crop, min_shape=proposal.min_shape
            )
    if len(names) < 2:
        raise InputError(f"only one domain given ({names[0]}): a mixture needs two or more domains")
    recipe = checked(Recipe, start.recipe, where="the preset").resolved(names)
    config = start.study(name=root.resolve().name, data=settings)
    config = dataclasses.replace(config, recipe=dataclasses.asdict(recipe))
    notes = {}
    if proposal is not None:
        notes["recipe"] = f"Fields of view in mm (median by domain, by header): {fields_text(seen)}."
        if preset is None:
            notes["recipe"] += f" Spacing, min_shape and model.crop are {proposal.reason}."
    return StartedStudy(
        study=Study.create(root, config, notes),
        manifest=manifest,
        fields=seen,
        proposal=proposal,
        adapted=proposal is not None and proposal.changed and preset is None,
    )


def _readable_manifest(data: Path, settings: DataSettings) -> Manifest:
    """Return the volumes of the user; domains that cannot be split are told with the flags that leave them out."""
    found = _read_wanted(data, settings)
    single = [name for name in found.domains if len(found.subjects(name)) < 2]
    try:
        return found.split(seed=settings.split_seed, fraction=settings.validation_fraction)
    except InputError as error:
        if not single:
            raise
        flags = " ".join(f"--exclude {shlex.quote(name)}" for name in single)
        raise InputError(f"{error}: {flags}") from None


def propose_for(manifest: Manifest, start: presets.Preset) -> tuple[tuple[Fields, ...], Proposal]:
    """Return the fields of view of a manifest, by headers alone, and what fits them, nearest to a preset."""
    from voxmix.volumes.auditing.fields import propose, see_fields

    seen = see_fields(manifest)
    proposal = propose(
        seen,
        spacing_mm=start.recipe["spacing_mm"],
        crop=start.model.crop,
        min_shape=min(start.recipe["min_shape"]),
        patch=start.model.patch,
    )
    return seen, proposal


def read_manifest(path: Path, settings: DataSettings, *, rules: Iterable[str] = ()) -> Manifest:
    """Return the volumes of a folder in any known layout or of a table, of the wanted domains, split by subject.

    Raises:
        InputError: ``rules``, the domains that a recipe names, hold one that is not there.
    """
    found = _read_wanted(path, settings, rules)
    return found.split(seed=settings.split_seed, fraction=settings.validation_fraction)


def _read_wanted(path: Path, settings: DataSettings, rules: Iterable[str] = ()) -> Manifest:
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
        raise InputError(
            f"the study's volumes are not at {source}; fix data.path in {study.root / 'study.yaml'}"
        )
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


def runs_at_once(study: Study, specs: Sequence[RunSpec]) -> int:
    """Return how many of all ``specs`` go on at the same time: the study's setting, every GPU, or every core.

    From all runs, not from those that are left: a run's rounding must not depend on when it is resumed.
    """
    import torch

    compute = study.config.compute
    if compute.processes > 1:
        return 1
    gpus = torch.cuda.device_count() if compute.device in ("auto", "cuda") else 0
    chains = {spec.trunk_id if study.trunk_dir(spec) else spec.run_id for spec in specs}
    return min(study.config.workers or gpus or cores(), len(chains))


def check_fitness(study: Study) -> None:
    """Refuse to train where nearly nothing of a domain was prepared, unless the study accepts it.

    Raises:
        InputError: names the domains, what is wrong and the lines of the study file that fix it.
    """
    from voxmix.volumes import PreparedCache
    from voxmix.volumes.auditing.fitness import refuse_hopeless

    if not study.config.data.accept_blank:
        refuse_hopeless(PreparedCache.open(study.cache_dir).fitness(crop=study.config.model.crop))


def evaluation_set(study: Study, cache: PreparedCache) -> EvaluationSet:
    """Return the study's fixed crops and masks; made and stored once for these volumes and settings."""
    require("torch", extra="train")
    from voxmix.objectives.mae import EvaluationSet

    config = study.config
    made = EvaluationSet.build(cache, model=config.model, evaluation=config.evaluation)
    if not study.evaluation_path.exists() or EvaluationSet.load(study.evaluation_path).digest != made.digest:
        with naming_full_disk(study.root):
            made.save(study.evaluation_path)
    return made


def train_pending(
    study: Study, specs: Sequence[RunSpec], *, progress: ProgressCallback = silent
) -> tuple[FailedRun, ...]:
    """Train every spec that has no finished run, several at a time; return those that failed.

    ``progress`` counts volume draws over all ``specs``, finished ones included. A run that fails does
    not stop the others. Interrupted runs go on from their last checkpoint next time.
    """
    require("torch", extra="train")
    from voxmix.volumes import PreparedCache

    unique = tuple({spec.run_id: spec for spec in specs}.values())
    pending = study.pending(unique)
    total = sum(spec.budget for spec in unique)
    finished = total - sum(spec.budget for spec in pending)
    progress(finished, total)
    if not pending:
        return ()
    check_fitness(study)
    from voxmix.engines.local import Task, train_many

    evaluation_set(study, PreparedCache.open(study.cache_dir))
    at_once = runs_at_once(study, unique)
    failures = train_many(
        [Task(spec=s, folder=study.run_dir(s), trunk=study.trunk_dir(s)) for s in pending],
        cache_dir=study.cache_dir,
        evaluation_path=study.evaluation_path,
        compute=study.config.compute,
        workers=at_once,
        threads=study.config.compute.threads_of_each(at_once * study.config.compute.devices, cores=cores()),
        progress=lambda done, _: progress(finished + done, total),
    )
    progress(total - sum(failed.spec.budget for failed in failures), total)
    return failures
