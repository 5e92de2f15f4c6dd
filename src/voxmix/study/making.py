"""Making the runs of a study, whatever kind of study it is: which are left, how many at a time, and which failed, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from voxmix._limits import cores_are_of_a_task
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError
from voxmix.runs import cores, is_finished
from voxmix.settings import checked
from voxmix.study.listener import Listener

if TYPE_CHECKING:
    from voxmix.engines.base import Engine, FailedJob
    from voxmix.engines.job_file import Job
    from voxmix.engines.work import Work
    from voxmix.training.objective import Spec


@runtime_checkable
class Configured(Protocol):
    """A view of a study whose settings say how runs are computed."""

    @property
    def config(self) -> Any:
        """Settings: a dataclass with ``compute`` and ``workers``."""

    def configured(self, config: Any) -> Any:
        """Return the view with other settings of how runs are computed."""


C = TypeVar("C", bound=Configured)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRun:
    """A run that could not be finished, and why."""

    spec: Spec
    reason: str


def with_compute(
    view: C,
    given: Mapping[str, Any],
    *,
    workers: int | None = None,
    cluster: Mapping[str, Any] | None = None,
    where: str,
) -> C:
    """Return the study with other settings of how runs are computed; its file is left as it is.

    ``cluster`` is what jobs of a cluster ask for otherwise; ``where`` says in errors where all this was given.

    Raises:
        InputError: a value that cannot be used, or one for jobs where runs are made on this machine.
    """
    config = view.config
    values = asdict(config.compute) | dict(given)
    if cluster:
        if values["engine"] == "local":
            raise InputError(
                "--jobs, --partition, --submit-only and --dry-run are for jobs of a cluster, and runs are made on this machine; "
                "add --engine slurm, or set compute.engine"
            )
        values["cluster"] = (values["cluster"] or {}) | dict(cluster)
    compute = config.compute
    if given or cluster:
        compute = checked(ComputeSettings, values, where=where)
    found: C = view.configured(replace(config, compute=compute, workers=workers or config.workers))
    return found


def at_once(compute: ComputeSettings, *, workers: int | None, most: int) -> int:
    """Return how many runs go on at the same time, at most ``most``: one where devices share a run.

    Args:
        workers: the study's setting; None: every GPU, or every core.
        most: chains of runs of the study, finished ones too: a run's rounding must not depend on when it is resumed.
    """
    from voxmix.training.devices import gpu_count

    if compute.processes > 1:
        return 1
    return min(workers or gpu_count(compute.device) or cores(), most)


def threads_of_each(compute: ComputeSettings, *, together: int) -> int:
    """Return the CPU threads of each process, where so many runs go on at the same time."""
    here = 1 if cores_are_of_a_task() and compute.processes > 1 else compute.devices
    return compute.threads_of_each(together * here, cores=cores())


def finish_jobs(
    jobs: Sequence[Job],
    *,
    engine: Engine | str | None = None,
    together: int,
    progress: ProgressCallback = silent,
) -> tuple[FailedJob, ...]:
    """Finish every job that has no result, so many at the same time; return those that failed.

    ``progress`` counts what the jobs' budgets count, finished ones included. A job that fails does not stop the others;
    what was interrupted goes on from its last state next time. ``engine`` is where they are executed
    (:mod:`voxmix.engines.base`); None: as ``compute.engine`` says.
    """
    from voxmix.engines.base import run_jobs

    pending = [job for job in jobs if not is_finished(job.folder)]
    total = sum(job.work.size for job in jobs)
    finished = total - sum(job.work.size for job in pending)
    progress(finished, total)
    if not pending:
        return ()
    failed = run_jobs(
        pending,
        engine=pending[0].work.compute.engine if engine is None else engine,
        workers=together,
        progress=lambda done, _: progress(finished + done, total),
    )
    progress(total - sum(item.job.work.size for item in failed), total)
    return failed


def finish_specs(
    specs: Sequence[Spec],
    *,
    work_of: Callable[[Any], Work],
    folder_of: Callable[[Any], Path],
    engine: Engine | str | None = None,
    together: int,
    progress: ProgressCallback = silent,
) -> tuple[FailedRun, ...]:
    """Finish the run of every spec, each once; as :func:`finish_jobs`.

    Args:
        work_of: how the run of a spec is made.
        folder_of: where it is, or will be.
    """
    from voxmix.engines.job_file import Job

    unique = {spec.run_id: spec for spec in specs}.values()
    jobs = [Job(folder=folder_of(spec), work=work_of(spec)) for spec in unique]
    failed = finish_jobs(jobs, engine=engine, together=together, progress=progress)
    return tuple(FailedRun(spec=item.job.work.spec, reason=item.reason) for item in failed)


def tell_failures(
    failed: Sequence[FailedRun], *, of: int, words: Callable[[Any], str], hear: Listener
) -> None:
    """Tell which runs failed, those of one reason together; nothing where none did.

    Args:
        of: how many were to be made.
        words: what a spec is, in words.

    Raises:
        VoxmixError: any failed; the others are kept.
    """
    if not failed:
        return
    by_reason: dict[str, list[Spec]] = {}
    for failure in failed:
        by_reason.setdefault(failure.reason, []).append(failure.spec)
    for reason, concerned in by_reason.items():
        named = ", ".join(f"{spec.run_id} ({words(spec)})" for spec in concerned[:3])
        more = f" and {len(concerned) - 3} more" if len(concerned) > 3 else ""
        hear.tell(f"run {named}{more} failed: {reason}")
    raise VoxmixError(
        f"{len(failed)} of {of} runs failed (see above); the others are kept. "
        "Fix the cause and give the same command again"
    )
