"""Training what a study asks for: its proxies and its mixtures, several runs at a time, on the same fixed crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import InputError
from voxmix.runs.unfinished import WORK_FOLDER
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import FailedRun, at_once, finish_specs, tell_failures, threads_of_each
from voxmix.study.marks import waited_for
from voxmix.study.step import StepRuns
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.engines.base import Engine
    from voxmix.engines.work import PretrainingWork
    from voxmix.measurement import MeasurementTable
    from voxmix.runs import RunResult
    from voxmix.volumes import PreparedCache


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxies:
    """The proxy runs of a study, all finished, how many there are of each kind, and what they measured."""

    specs: tuple[RunSpec, ...]
    kinds: Mapping[str, int]
    table: MeasurementTable


def train_proxies(study: Study | StudyView, hear: Listener = QUIET) -> Proxies:
    """Train the proxy runs that are pending and write ``measurements.csv``.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    view = StudyView.of(study)
    train_runs(view, view.proxies, "training proxies", hear)
    view.table.to_csv(view.study.measurements_path)
    kinds = {kind: len(specs) for kind, specs in view.proxies_by_kind.items() if specs}
    return Proxies(specs=view.proxies, kinds=kinds, table=view.table)


def train_mixtures(study: Study | StudyView, hear: Listener = QUIET) -> tuple[RunResult, ...]:
    """Train every strategy's mixture at the allocated budget, where that is pending; return these runs.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    view = StudyView.of(study)
    for name in view.strategies_pending:
        hear.tell(view.pending_words(name))
    train_runs(view, view.checks, "training mixtures", hear)
    return view.results(view.checks)


def train_runs(view: StudyView, specs: tuple[RunSpec, ...], label: str, hear: Listener) -> None:
    """Train the runs that are pending and tell which failed, and which begun ones no longer belong to the study.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    study = view.study
    pending = study.pending(specs)
    if pending:
        check_fitness(view)
    left = study.left_behind()
    if left:
        hear.tell(
            f"{len(left)} run(s) were begun with settings that {study.path} no longer has "
            f"({', '.join(path.name for path in left[:3])}{', ...' if len(left) > 3 else ''}); they are kept: "
            f"restore the settings to continue them, or delete their folders (there, or in {WORK_FOLDER} beside)"
        )
    if not pending:
        return
    for remark in view.run_remarks:
        hear.tell(remark)
    finish_runs(view, specs, label, hear)


def finish_runs(view: StudyView, specs: tuple[RunSpec, ...], label: str, hear: Listener) -> None:
    """Train the runs that are pending and tell which failed.

    Raises:
        VoxmixError: a run failed; the others are kept.
    """
    pending = view.study.pending(specs)
    if not pending:
        return
    with hear.bar(label, unit=pending[0].budget_unit) as progress:
        failed = train_pending(view, specs, progress=progress)
    tell_failures(failed, of=len(pending), words=_words, hear=hear)


def _words(spec: RunSpec) -> str:
    return f"{spec.mixture.label}, {spec.budget:,} {spec.budget_unit}"


def runs_at_once(study: Study, specs: Sequence[RunSpec]) -> int:
    """Return how many of all ``specs`` go on at the same time: the study's setting, every GPU, or every core.

    From all runs, not from those that are left: a run's rounding must not depend on when it is resumed.
    """
    chains = {spec.trunk_id if study.trunk_dir(spec) else spec.run_id for spec in specs}
    return at_once(study.config.compute, workers=study.config.workers, most=len(chains))


def check_fitness(view: StudyView) -> None:
    """Refuse to train where nearly nothing of a domain was prepared, unless the study accepts it.

    Raises:
        InputError: names the domains, what is wrong and the lines of the study file that fix it.
    """
    from voxmix.volumes.auditing.fitness import refuse_hopeless

    if not view.config.data.accept_blank:
        refuse_hopeless(view.fitness)


def keep_evaluation_set(study: Study, cache: PreparedCache) -> None:
    """Make and store the study's fixed crops and masks, unless those of these volumes and settings are stored.

    Which they are says the file's header: no volume is read to find out.
    """
    require("torch", extra="train")
    from voxmix.objectives.mae import EvaluationSet
    from voxmix.objectives.mae.held_out_crops import made_from, stored_made_from

    model, evaluation, path = study.config.model, study.config.evaluation, study.evaluation_path
    wanted = made_from(cache, model=model, evaluation=evaluation)

    def is_stored() -> bool:
        with suppress(InputError):  # absent or damaged: it is made again
            return stored_made_from(path) == wanted
        return False

    if is_stored():
        return
    lease = study.config.compute.lease_seconds
    with waited_for(study.root, "evaluation", lease_seconds=lease):  # of several workers one makes it
        if is_stored():
            return
        made = EvaluationSet.build(cache, model=model, evaluation=evaluation)
        with naming_full_disk(study.root):
            made.save(path)


def train_pending(
    study: Study | StudyView,
    specs: Sequence[RunSpec],
    *,
    engine: Engine | str | None = None,
    progress: ProgressCallback = silent,
) -> tuple[FailedRun, ...]:
    """Train every spec that has no finished run, several at a time; return those that failed.

    ``progress`` counts volume draws over all ``specs``, finished ones included. A run that fails does
    not stop the others. Interrupted runs go on from their last checkpoint next time. ``engine`` is where the runs are
    executed (:mod:`voxmix.engines.base`); None: as ``compute.engine`` says.
    """
    require("torch", extra="train")
    view = StudyView.of(study)
    study = view.study
    if study.pending(tuple(specs)):
        check_fitness(view)
        keep_evaluation_set(study, view.cache)
    together = runs_at_once(study, specs)
    return finish_specs(
        specs,
        work_of=lambda spec: work_of(study, spec, together=together),
        folder_of=study.run_dir,
        engine=engine,
        together=together,
        progress=progress,
    )


def work_of(study: Study, spec: RunSpec, *, together: int) -> PretrainingWork:
    """Return how the run of a spec is made, where so many go on at the same time."""
    from voxmix.engines.work import PretrainingWork

    compute = study.config.compute
    return PretrainingWork(
        spec=spec,
        cache=study.cache_dir,
        evaluation=study.evaluation_path,
        trunk=study.trunk_dir(spec),
        compute=compute,
        threads=threads_of_each(compute, together=together),
    )


def proxy_runs(view: StudyView, hear: Listener = QUIET, *, together: int = 1) -> StepRuns:
    """Return the proxy runs of a study, for workers of which so many go on at the same time on this machine."""
    found = _step_runs(view, view.proxies, together=together)
    return replace(found, table=lambda now: now.table.to_csv(now.study.measurements_path))


def mixture_runs(view: StudyView, hear: Listener = QUIET, *, together: int = 1) -> StepRuns:
    """Return the runs of every strategy's mixture, for workers."""
    for name in view.strategies_pending:
        hear.tell(view.pending_words(name))
    return _step_runs(view, view.checks, together=together)


def _step_runs(view: StudyView, specs: Sequence[RunSpec], *, together: int) -> StepRuns:
    from voxmix.engines.job_file import Job

    study = view.study
    if study.pending(tuple(specs)):
        check_fitness(view)
        keep_evaluation_set(study, view.cache)
    unique = {spec.run_id: spec for spec in specs}.values()
    jobs = [Job(folder=study.run_dir(spec), work=work_of(study, spec, together=together)) for spec in unique]
    return StepRuns(jobs=jobs, words=_words)
