"""The finetuning runs of a study: which there are, which are pending, and making these, several at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.downstream.inits import checkpoint_id, init_name, read_checkpoint
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.engines.base import Engine
from voxmix.engines.job_file import Job
from voxmix.engines.work import FinetuningWork
from voxmix.errors import InputError
from voxmix.runs import is_finished
from voxmix.runs.files import JOB_FILE, RESULT_FILE
from voxmix.runs.unfinished import WORK_FOLDER, run_of
from voxmix.scores.result import Control, read_result
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import at_once, finish_jobs, threads_of_each
from voxmix.study.step import StepRuns
from voxmix.study.task_cases import task_dir
from voxmix.study.view import StudyView
from voxmix.volumes.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A finetuning run, where its encoder lies (None: from scratch) and where its result goes."""

    spec: FinetuneSpec
    encoder: Path | None
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedFinetuning:
    """A run that could not be finished, and why."""

    run: PlannedRun
    reason: str


def plan_runs(
    study: Study,
    protocol: Protocol,
    encoders: Mapping[str, Sequence[Path | None]],
    *,
    seeds: int,
    control: Control | None,
    recipe: Recipe,
) -> tuple[PlannedRun, ...]:
    """Return one run per initialization and seed, all under one protocol.

    ``encoders`` gives folders of pretraining runs by initialization; seed s starts from the (s modulo their
    number)th, so that the seeds of pretraining vary along. None is from scratch.

    Raises:
        InputError: a checkpoint that does not fit; a control without an encoder to act on.
    """
    runs = []
    for init, folders in encoders.items():
        for seed in range(seeds):
            folder = folders[seed % len(folders)]
            if folder is None and control in ("frozen", "permuted"):
                raise InputError(f"control {control} needs pretrained weights; leave {init} out of it")
            run_id = found = None
            if folder is not None:
                found = read_checkpoint(
                    folder, recipe=recipe, domain=protocol.task.domain, model=protocol.model
                )
                run_id = checkpoint_id(found)
            label = init_name(init, found)
            name = label if control is None else f"{label}-{control}"
            runs.append(
                PlannedRun(
                    spec=FinetuneSpec(
                        protocol=protocol, init=label, seed=seed, control=control, checkpoint=run_id
                    ),
                    encoder=folder,
                    folder=task_dir(study, protocol.task.name) / name / f"seed-{seed}",
                )
            )
    return tuple(runs)


def pending_runs(runs: Sequence[PlannedRun]) -> tuple[PlannedRun, ...]:
    """Return the runs without a result.

    Raises:
        InputError: a finished run is of another protocol, so it cannot be compared with the others; or its result is
            damaged.
    """
    for run in runs:
        if not is_finished(run.folder):
            continue
        if read_result(run.folder / RESULT_FILE).run_id not in (run.spec.run_id, run.spec.former_id):
            raise InputError(
                f"{run.folder} was finetuned with other settings, cases or weights than asked for now; delete it to "
                "make it again, or give the changed task a name of its own (like: does that)"
            )
    return tuple(run for run in runs if not is_finished(run.folder))


def finetune_pending(
    study: Study,
    runs: Sequence[PlannedRun],
    *,
    surface: bool = False,
    predictions: bool = False,
    pictures: bool = True,
    engine: Engine | str | None = None,
    progress: ProgressCallback = silent,
) -> tuple[FailedFinetuning, ...]:
    """Finetune every run that has no result, several at a time; return those that failed.

    ``predictions`` and ``pictures`` are kept as :class:`voxmix.downstream.predictions.PredictionKeeper` says.
    ``progress`` counts draws over all ``runs``. A run that fails does not stop the others; interrupted ones go
    on from their last state next time. ``engine`` is where the runs are executed (:mod:`voxmix.engines.base`).
    """
    pending_runs(runs)  # refuses finished ones of another protocol
    compute = study.config.compute
    # From all runs, not those that are left: threads change the rounding, and a resumed run must end the same.
    together = at_once(compute, workers=study.config.workers, most=len(runs))
    jobs = [
        Job(
            folder=run.folder,
            work=FinetuningWork(
                spec=run.spec,
                cases=task_dir(study, run.spec.protocol.task.name) / "cases",
                encoder=run.encoder,
                compute=compute,
                threads=threads_of_each(compute, together=together),
                surface=surface,
                predictions=predictions,
                pictures=pictures,
            ),
        )
        for run in runs
    ]
    failed = finish_jobs(jobs, engine=engine, together=together, progress=progress)
    planned = {run.folder: run for run in runs}
    return tuple(FailedFinetuning(run=planned[item.job.folder], reason=item.reason) for item in failed)


def asked_runs(view: StudyView, hear: Listener = QUIET, *, together: int = 1) -> StepRuns:
    """Return the finetuning runs that voxmix finetune has asked for and that are not finished: each left its job behind."""
    from voxmix.engines.job_file import read_job

    desks = sorted(view.study.downstream_dir.glob(f"*/*/{WORK_FOLDER}/*/{JOB_FILE}"))
    runs = [run_of(path.parent) for path in desks]
    return StepRuns(jobs=[read_job(run) for run in runs if not is_finished(run)], words=_words)


def _words(spec: FinetuneSpec) -> str:
    return f"{spec.protocol.task.name} from {spec.init}, seed {spec.seed}"
