"""Finetuning inside a study: its cases, its plan of runs, and the runs that are pending, several at a time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from voxmix._io import digest, naming_full_disk
from voxmix._parallel import worker_pool
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import Device
from voxmix.datasets.task import Task
from voxmix.downstream.build_cases import build_cases
from voxmix.downstream.cases import CASES_FILE, CaseSet, open_cases
from voxmix.downstream.finetune import FinetuneSpec, finetune
from voxmix.downstream.inits import checkpoint_id, init_name, read_checkpoint
from voxmix.downstream.networks import Control
from voxmix.downstream.predictions import PredictionKeeper
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.downstream.task_file import TASKS_FILE, find_task
from voxmix.encoders.interchange import load_encoder
from voxmix.errors import InputError, VoxmixError
from voxmix.runs import cores, is_finished
from voxmix.runs.files import RESULT_FILE
from voxmix.scores.result import read_result
from voxmix.settings import checked
from voxmix.study import Study
from voxmix.training.devices import gpu_count
from voxmix.volumes.manifest import SetAside
from voxmix.volumes.preparing.cache import PreparedCache
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.recipe import Recipe

_POLL_SECONDS = 0.2


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


def downstream_dir(study: Study, task: str) -> Path:
    """Return the folder of a task: ``cases/`` and ``<init>/seed-<s>/``."""
    return study.root / "downstream" / task


def study_task(study: Study, name: str) -> Task:
    """Return a task by name: of the paper's table or of the study's ``tasks.yaml``."""
    return find_task(name, study.root / TASKS_FILE)


def study_cases(
    study: Study,
    task: Task,
    *,
    data: Path | None,
    cache: PreparedCache,
    names: Names | None = None,
    progress: ProgressCallback = silent,
) -> tuple[CaseSet, tuple[SetAside, ...]]:
    """Return the cases of a task, prepared once for the study's recipe and split by subject.

    ``data`` stands in for the task's own; without either, cases prepared before are used. ``names`` is where the map of
    the study's subjects lies.

    Raises:
        InputError: no data given and none prepared; or what :func:`voxmix.downstream.build_cases.build_cases` refuses.
    """
    root = downstream_dir(study, task.name) / "cases"
    place = data or (Path(task.data) if task.data else None)
    if place is None:
        if (root / CASES_FILE).exists():
            return open_cases(task, root), ()
        raise InputError(
            f"task {task.name} needs the data set's folder; give --data DIR, or add to {study.root / TASKS_FILE}: "
            f"{task.name}: {{like: {task.name}, data: DIR}}"
        )
    crop = study.config.model.crop
    inputs = digest([task.as_dict(), str(place.resolve()), cache.digest, cache.recipe.digest, crop])
    step = f"cases of {task.name}"
    if study.is_made(step, inputs) and (root / CASES_FILE).exists():
        found = open_cases(task, root)
        progress(len(found.cases), len(found.cases))
        return found, ()
    with naming_full_disk(root):
        found, asides = build_cases(
            task,
            place,
            root=root,
            recipe=cache.recipe,
            crop=crop,
            pretrained=cache,
            pretrained_source=study.source,
            pretrained_names=names,
            workers=study.config.workers or cores(),
            progress=progress,
        )
    study.mark_made(step, inputs)
    return found, asides


def study_protocol(study: Study, task: Task, cases: CaseSet) -> Protocol:
    """Return the one protocol of a task in a study.

    Raises:
        InputError: a setting of the task's row that is unknown or cannot be used.
    """
    settings = checked(FinetuneSettings, task.settings, where=f"settings of task {task.name}")
    return Protocol(task=task, model=study.config.model, cases=cases.digest, settings=settings)


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
                    folder=downstream_dir(study, protocol.task.name) / name / f"seed-{seed}",
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
        if is_finished(run.folder) and read_result(run.folder / RESULT_FILE).run_id != run.spec.run_id:
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
    progress: ProgressCallback = silent,
) -> tuple[FailedFinetuning, ...]:
    """Finetune every run that has no result, several at a time; return those that failed.

    ``predictions`` and ``pictures`` are kept as :class:`voxmix.downstream.predictions.PredictionKeeper` says.
    ``progress`` counts draws over all ``runs``. A run that fails does not stop the others; interrupted ones go
    on from their last state next time.
    """
    pending = pending_runs(runs)
    total = sum(run.spec.protocol.settings.draws for run in runs)
    finished = total - sum(run.spec.protocol.settings.draws for run in pending)
    progress(finished, total)
    if not pending:
        return ()
    compute = study.config.compute
    # From all runs, not those that are left: threads change the rounding, and a resumed run must end the same.
    workers = 1 if gpu_count(compute.device) else min(study.config.workers or cores(), len(runs))
    root = downstream_dir(study, pending[0].spec.protocol.task.name) / "cases"
    shared = _Shared(
        cases=open_cases(pending[0].spec.protocol.task, root),
        threads=compute.threads_of_each(workers, cores=cores()),
        device=compute.device,
        checkpoint_seconds=compute.checkpoint_seconds,
        surface=surface,
        predictions=predictions,
        pictures=pictures,
    )

    def told(done: int) -> None:
        progress(min(total, finished + done), total)

    failures = (_one_by_one if workers == 1 else _side_by_side)(pending, shared, workers, told)
    progress(total - sum(f.run.spec.protocol.settings.draws for f in failures), total)
    return failures


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What all runs of a task share."""

    cases: CaseSet
    threads: int
    device: Device
    checkpoint_seconds: float
    surface: bool
    predictions: bool
    pictures: bool

    def finetune(self, run: PlannedRun, *, progress: ProgressCallback) -> FailedFinetuning | None:
        """Finetune one run; return the sentence that says why it failed, if it did."""
        keeper = PredictionKeeper(
            folder=run.folder, protocol=run.spec.protocol, nifti=self.predictions, pictures=self.pictures
        )
        try:
            finetune(
                run.spec,
                cases=self.cases,
                encoder=load_encoder(run.encoder) if run.encoder else None,
                folder=run.folder,
                threads=self.threads,
                device=self.device,
                checkpoint_seconds=self.checkpoint_seconds,
                surface=self.surface,
                save_prediction=keeper,
                progress=progress,
            )
        except VoxmixError as error:
            return FailedFinetuning(run=run, reason=str(error))
        return None


def _one_by_one(
    pending: Sequence[PlannedRun], shared: _Shared, workers: int, told: Callable[[int], None]
) -> tuple[FailedFinetuning, ...]:
    """Finetune in this process: no other has to load torch first."""
    failures = []
    before = 0

    def progress(done: int, total: int) -> None:
        told(before + done)

    for run in pending:
        failed = shared.finetune(run, progress=progress)
        failures += [failed] if failed else []
        before += run.spec.protocol.settings.draws
    return tuple(failures)


def _side_by_side(
    pending: Sequence[PlannedRun], shared: _Shared, workers: int, told: Callable[[int], None]
) -> tuple[FailedFinetuning, ...]:
    """Finetune in so many processes."""
    counter = get_context("spawn").Value("q", 0)
    failures = []
    with worker_pool(workers, initializer=_start_worker, arguments=(shared, counter)) as pool:
        waiting = {pool.submit(_finetune_in_worker, run): run for run in pending}
        while waiting:
            done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            told(counter.value)
            for future in done:
                del waiting[future]
                failed = future.result()
                failures += [failed] if failed else []
    return tuple(failures)


_worker: dict[str, Any] = {}


def _start_worker(shared: _Shared, counter: "Synchronized[int]") -> None:
    """Keep in each process, once, what all of its runs share."""
    _worker.update(shared=shared, counter=counter)


def _finetune_in_worker(run: PlannedRun) -> FailedFinetuning | None:
    counter, seen = _worker["counter"], 0

    def progress(done: int, total: int) -> None:
        nonlocal seen
        with counter.get_lock():
            counter.value += done - seen
        seen = done

    failed: FailedFinetuning | None = _worker["shared"].finetune(run, progress=progress)
    return failed
