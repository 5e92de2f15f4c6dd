"""The cases of a clinical task in a study: prepared once as the study's volumes are, and the one protocol for all."""

from pathlib import Path

from voxmix._io import digest, naming_full_disk
from voxmix._progress import ProgressCallback, silent
from voxmix.datasets.task import Task
from voxmix.downstream.build_cases import build_cases
from voxmix.downstream.cases import CASES_FILE, CaseSet, open_cases
from voxmix.downstream.protocol import FinetuneSettings, Protocol
from voxmix.downstream.task_file import TASKS_FILE, find_task
from voxmix.errors import InputError
from voxmix.runs import cores
from voxmix.settings import checked
from voxmix.study.folder import Study
from voxmix.volumes.manifest import SetAside
from voxmix.volumes.preparing.cache import PreparedCache
from voxmix.volumes.preparing.private_lists import Names


def task_dir(study: Study, task: str) -> Path:
    """Return the folder of a task: ``cases/`` and ``<init>/seed-<s>/``."""
    return study.downstream_dir / task


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
    root = task_dir(study, task.name) / "cases"
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
