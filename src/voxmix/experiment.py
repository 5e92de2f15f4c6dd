"""What a study does with volumes and torch: prepare them, and train the runs that are pending."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._parallel import worker_pool
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import InputError, VoxmixError
from voxmix.store import DataSettings, PhantomSettings, Study, checked, cores, presets

if TYPE_CHECKING:
    from voxmix.pretraining import EvaluationSet
    from voxmix.volumes import Manifest, Preparation, PreparedCache, Recipe
    from voxmix.volumes.upkeep import Space

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRun:
    """A run that could not be finished, and why."""

    spec: RunSpec
    reason: str


def start_study(
    root: Path, *, data: Path | None, phantoms: bool, preset: str, domains: Sequence[str] | None
) -> tuple[Study, Manifest | None]:
    """Look at the volumes, write the study file with every setting in it, and return both.

    Raises:
        InputError: no or two sources of volumes, a domain that cannot be split, an unknown preset, or
            a folder that is in use.
    """
    from voxmix.volumes import Recipe

    if phantoms == (data is not None):
        raise InputError("give either --data DIR (your volumes) or --phantoms (made ones)")
    start = presets.preset(preset)
    manifest = None
    if data is None:
        counts = presets.phantom_counts(domains or ())
        settings = DataSettings(phantoms=PhantomSettings(counts=counts))
        names = tuple(counts)
    else:
        settings = DataSettings(
            path=os.path.relpath(data.resolve(), root.resolve()), domains=tuple(domains or ())
        )
        manifest = read_manifest(data, settings)
        names = manifest.domains
    if len(names) < 2:
        raise InputError(f"only one domain given ({names[0]}): a mixture needs two or more domains")
    recipe = Recipe(**start.recipe).resolved(names)
    config = start.study(name=root.resolve().name, data=settings)
    config = dataclasses.replace(config, recipe=dataclasses.asdict(recipe))
    return Study.create(root, config), manifest


def read_manifest(path: Path, settings: DataSettings) -> Manifest:
    """Return the volumes of a folder in any known layout or of a table, of the wanted domains, split by subject."""
    from voxmix.volumes.sources import read_source

    manifest, _ = read_source(path)
    if settings.domains:
        manifest = manifest.select(settings.domains)
    return manifest.split(seed=settings.split_seed, fraction=settings.validation_fraction)


def make_phantoms(study: Study, *, progress: ProgressCallback = silent) -> None:
    """Write the phantom volumes that the study asks for and that are not there yet."""
    require("nibabel", extra="imaging")
    from voxmix.volumes import write_phantoms

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


def study_source(study: Study) -> Path:
    """Return where the study's volumes lie.

    Raises:
        InputError: they are not there.
    """
    settings = study.config.data
    source = study.phantoms_dir if settings.path is None else (study.root / settings.path).resolve()
    if not source.exists():
        raise InputError(
            f"the study's volumes are not at {source}; mend data.path in {study.root / 'study.yaml'}"
        )
    return source


def prepare_study(
    study: Study,
    *,
    progress: ProgressCallback = silent,
    tell: Callable[[Space], None] | None = None,
) -> Preparation:
    """Prepare every volume of the study that is not in the cache yet; ``tell`` hears what the disk needs first."""
    require("nibabel", extra="imaging")
    from voxmix.volumes.prepare import prepare

    source = study_source(study)
    preparation = prepare(
        read_manifest(source, study.config.data),
        recipe=study_recipe(study),
        root=study.cache_dir,
        source=source,
        workers=workers_of(study),
        progress=progress,
        tell=tell,
    )
    study.mark_made("prepare", study.preparation_inputs)
    return preparation


def workers_of(study: Study) -> int:
    """Return how many runs go on at the same time: the study's setting, or every core."""
    return study.config.workers or cores()


def evaluation_set(study: Study, cache: PreparedCache) -> EvaluationSet:
    """Return the study's fixed crops and masks; made and stored once for these volumes and settings."""
    require("torch", extra="train")
    from voxmix.pretraining import EvaluationSet

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

    unique = {spec.run_id: spec for spec in specs}
    pending = study.pending(tuple(unique.values()))
    total = sum(spec.budget for spec in unique.values())
    finished = total - sum(spec.budget for spec in pending)
    progress(finished, total)
    if not pending:
        return ()
    cache = PreparedCache.open(study.cache_dir)
    evaluation_set(study, cache)
    workers = min(workers_of(study), len(pending))
    counter = get_context("spawn").Value("q", 0)
    failures = []
    longest_first = sorted(pending, key=lambda spec: -spec.budget)
    with worker_pool(
        workers,
        initializer=_start_training_worker,
        arguments=(study.cache_dir, study.evaluation_path, max(1, cores() // workers), counter),
    ) as pool:
        waiting = {pool.submit(_train_in_worker, spec, study.run_dir(spec)): spec for spec in longest_first}
        while waiting:
            done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            progress(min(total, finished + counter.value), total)
            for future in done:
                spec = waiting.pop(future)
                reason = future.result()
                if reason is not None:
                    failures.append(FailedRun(spec=spec, reason=reason))
    progress(total - sum(failed.spec.budget for failed in failures), total)
    return tuple(failures)


_worker: dict[str, Any] = {}


def _start_training_worker(
    cache_dir: Path, evaluation_path: Path, threads: int, counter: Synchronized[int]
) -> None:
    """Load in each process, once, what all of its runs share."""
    from voxmix.pretraining import EvaluationSet
    from voxmix.volumes import PreparedCache

    _worker.update(
        cache=PreparedCache.open(cache_dir),
        evaluation=EvaluationSet.load(evaluation_path),
        threads=threads,
        counter=counter,
    )


def _train_in_worker(spec: RunSpec, folder: Path) -> str | None:
    """Train one run; return None, or the sentence that says why it failed."""
    from voxmix.pretraining import train

    counter = _worker["counter"]
    seen = 0

    def progress(done: int, total: int) -> None:
        nonlocal seen
        with counter.get_lock():
            counter.value += done - seen
        seen = done

    try:
        train(
            spec,
            cache=_worker["cache"],
            evaluation=_worker["evaluation"],
            folder=folder,
            threads=_worker["threads"],
            progress=progress,
        )
    except VoxmixError as error:
        return str(error)
    return None
