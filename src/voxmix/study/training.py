"""Training what a study asks for: its proxies and its mixtures, several runs at a time, on the same fixed crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.errors import VoxmixError
from voxmix.runs import cores
from voxmix.settings import checked
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.engines.base import Engine
    from voxmix.measurement import MeasurementTable
    from voxmix.objectives.mae import EvaluationSet
    from voxmix.runs import RunResult
    from voxmix.volumes import PreparedCache


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRun:
    """A run that could not be finished, and why."""

    spec: RunSpec
    reason: str


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
            "restore the settings to continue them, or delete their folders"
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
    if failed:
        by_reason: dict[str, list[RunSpec]] = {}
        for failure in failed:
            by_reason.setdefault(failure.reason, []).append(failure.spec)
        for reason, concerned in by_reason.items():
            named = ", ".join(f"{spec.run_id} ({_words(spec)})" for spec in concerned[:3])
            more = f" and {len(concerned) - 3} more" if len(concerned) > 3 else ""
            hear.tell(f"run {named}{more} failed: {reason}")
        raise VoxmixError(
            f"{len(failed)} of {len(pending)} runs failed (see above); the others are kept. "
            "Fix the cause and give the same command again"
        )


def _words(spec: RunSpec) -> str:
    return f"{spec.mixture.label}, {spec.budget:,} {spec.budget_unit}"


def with_compute(
    view: StudyView, given: Mapping[str, Any], *, workers: int | None = None, where: str
) -> StudyView:
    """Return the study with other settings of how runs are computed; its file is left as it is.

    ``where`` says in errors where they were given.

    Raises:
        InputError: a value that cannot be used.
    """
    config = view.config
    compute = config.compute
    if given:
        compute = checked(ComputeSettings, asdict(compute) | dict(given), where=where)
    return view.configured(replace(config, compute=compute, workers=workers or config.workers))


def runs_at_once(study: Study, specs: Sequence[RunSpec]) -> int:
    """Return how many of all ``specs`` go on at the same time: the study's setting, every GPU, or every core.

    From all runs, not from those that are left: a run's rounding must not depend on when it is resumed.
    """
    return at_once(study, len({spec.trunk_id if study.trunk_dir(spec) else spec.run_id for spec in specs}))


def at_once(study: Study, most: int) -> int:
    """Return how many runs go on at the same time, at most ``most``: one where devices share a run."""
    from voxmix.training.devices import gpu_count

    compute = study.config.compute
    if compute.processes > 1:
        return 1
    return min(study.config.workers or gpu_count(compute.device) or cores(), most)


def check_fitness(view: StudyView) -> None:
    """Refuse to train where nearly nothing of a domain was prepared, unless the study accepts it.

    Raises:
        InputError: names the domains, what is wrong and the lines of the study file that fix it.
    """
    from voxmix.volumes.auditing.fitness import refuse_hopeless

    if not view.config.data.accept_blank:
        refuse_hopeless(view.fitness)


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
    study: Study | StudyView,
    specs: Sequence[RunSpec],
    *,
    engine: Engine | str = "local",
    progress: ProgressCallback = silent,
) -> tuple[FailedRun, ...]:
    """Train every spec that has no finished run, several at a time; return those that failed.

    ``progress`` counts volume draws over all ``specs``, finished ones included. A run that fails does
    not stop the others. Interrupted runs go on from their last checkpoint next time. ``engine`` is where the runs are
    executed (:mod:`voxmix.engines.base`).
    """
    require("torch", extra="train")
    view = StudyView.of(study)
    study = view.study
    unique = tuple({spec.run_id: spec for spec in specs}.values())
    pending = study.pending(unique)
    total = sum(spec.budget for spec in unique)
    finished = total - sum(spec.budget for spec in pending)
    progress(finished, total)
    if not pending:
        return ()
    check_fitness(view)
    from voxmix.engines.base import run_jobs
    from voxmix.engines.job_file import Job
    from voxmix.engines.work import PretrainingWork

    evaluation_set(study, view.cache)
    at_once = runs_at_once(study, unique)
    compute = study.config.compute
    jobs = {
        spec.run_id: Job(
            folder=study.run_dir(spec),
            work=PretrainingWork(
                spec=spec,
                cache=study.cache_dir,
                evaluation=study.evaluation_path,
                trunk=study.trunk_dir(spec),
                compute=compute,
                threads=compute.threads_of_each(at_once * compute.devices, cores=cores()),
            ),
        )
        for spec in pending
    }
    failed = run_jobs(
        list(jobs.values()),
        engine=engine,
        workers=at_once,
        progress=lambda done, _: progress(finished + done, total),
    )
    reasons = {failure.job.folder: failure.reason for failure in failed}
    failures = tuple(
        FailedRun(spec=spec, reason=reasons[jobs[spec.run_id].folder])
        for spec in pending
        if jobs[spec.run_id].folder in reasons
    )
    progress(total - sum(failure.spec.budget for failure in failures), total)
    return failures
