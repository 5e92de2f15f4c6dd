"""Training what a study asks for: how many runs at a time, on which fixed crops, and the runs that are pending."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix._io import naming_full_disk
from voxmix._optional import require
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.runs import cores
from voxmix.study import Study

if TYPE_CHECKING:
    from voxmix.engines.base import Engine
    from voxmix.objectives.mae import EvaluationSet
    from voxmix.volumes import PreparedCache


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRun:
    """A run that could not be finished, and why."""

    spec: RunSpec
    reason: str


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
    study: Study,
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
    from voxmix.volumes import PreparedCache

    unique = tuple({spec.run_id: spec for spec in specs}.values())
    pending = study.pending(unique)
    total = sum(spec.budget for spec in unique)
    finished = total - sum(spec.budget for spec in pending)
    progress(finished, total)
    if not pending:
        return ()
    check_fitness(study)
    from voxmix.engines.base import run_jobs
    from voxmix.engines.job_file import Job
    from voxmix.engines.work import PretrainingWork

    evaluation_set(study, PreparedCache.open(study.cache_dir))
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
