"""Whether the labels of a task's images can be used: what cannot is named and counted."""

import numpy as np
from jaxtyping import Shaped

from voxmix.datasets.task import IGNORED, MAX_LABEL, Part, Task
from voxmix.downstream.cases import Case, label_table
from voxmix.errors import InputError
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume


def class_names(task: Task, records: tuple[VolumeRecord, ...]) -> tuple[str, ...]:
    """Return the names of a task's classes: its own, or those that the images have.

    Raises:
        InputError: fewer than two, or another number than the task's.
    """
    if task.classes:
        return task.class_names
    found = tuple(sorted({record.category for record in records}))
    if len(found) < 2 or (task.class_count and len(found) != task.class_count):
        wanted = task.class_count or "two or more"
        raise InputError(f"task {task.name} needs {wanted} classes, found {len(found)}: {list(found)}")
    return found


def _target(task: Task, category: str, classes: tuple[str, ...]) -> int | None:
    """Return the number of a class; values are compared as numbers where both are."""
    if not task.classes:
        return classes.index(category)
    for number, (name, values) in enumerate(task.classes.items()):
        if category == name or any(_same(category, value) for value in values):
            return number
    return None


def _same(text: str, value: int | float | str) -> bool:
    if text == str(value):
        return True
    try:
        return float(text) == float(value)
    except ValueError:
        return False


def checked_cases(
    task: Task,
    cache: PreparedCache,
    parts: dict[str, Part],
    classes: tuple[str, ...],
) -> tuple[list[Case], list[str], list[str]]:
    """Return the cases that can be used, notes, and the reasons why the others cannot."""
    cases: list[Case] = []
    reasons: list[str] = []
    empty = older = 0
    voxels = np.zeros(MAX_LABEL + 1, dtype=np.int64)
    table = label_table(task) if task.kind == "segmentation" else np.zeros(0, dtype=np.uint8)
    for volume in cache.volumes:
        part = parts[volume.subject]
        if task.kind == "classification":
            target = _target(task, volume.category, classes)
            if target is None:
                reasons.append(f"class {volume.category!r} is none of {list(classes)}")
                continue
            cases.append(Case(volume=volume, part=part, target=target))
            continue
        values, counts, reason = _label_values(task, cache, volume)
        if reason:
            reasons.append(reason)
            continue
        empty += not np.any(np.isin(table[values], (0, IGNORED), invert=True))
        older += any(int(value) in task.older_labels for value in values)
        if part == "train":
            voxels[values] += counts
        cases.append(Case(volume=volume, part=part))
    notes = _label_notes(task, empty=empty, older=older, training_voxels=voxels, cases=cases)
    return cases, notes, reasons


def _label_values(
    task: Task, cache: PreparedCache, volume: PreparedVolume
) -> tuple[Shaped[np.ndarray, " value"], Shaped[np.ndarray, " value"], str]:
    """Return the values of a label map, how many voxels have each, and why it cannot be used."""
    stored = cache.labels(volume)
    nothing = np.zeros(0, dtype=np.int64)
    if stored is None:
        return nothing, nothing, "its label map cannot be used"
    values, counts = np.unique(np.asarray(stored), return_counts=True)
    known = {0, *task.ignore, *task.older_labels, *(int(v) for group in task.classes.values() for v in group)}
    unknown = sorted(int(v) for v in values if int(v) not in known)
    if unknown and task.unlisted == "refuse":
        return nothing, nothing, f"label map with values of no class: {unknown}"
    for old, new in task.older_labels.items():
        if old in values and new in values:
            return nothing, nothing, f"label map with {new} and {old}, which is {new} in older editions"
    return values.astype(np.int64), counts, ""


def _label_notes(
    task: Task, *, empty: int, older: int, training_voxels: Shaped[np.ndarray, " value"], cases: list[Case]
) -> list[str]:
    notes = []
    if older:
        renamed = ", ".join(f"{old} for {new}" for old, new in task.older_labels.items())
        notes.append(f"{older} label maps are of an older edition of the data set: taken {renamed}")
    if empty:
        notes.append(f"{empty} label maps are empty: kept, as images with nothing to find")
    if not any(case.part == "train" for case in cases):
        return notes
    for old, new in task.older_labels.items():
        training_voxels[new] += training_voxels[old]
    if task.kind == "segmentation":
        lacking = [
            name
            for name, values in task.classes.items()
            if not any(training_voxels[int(v)] for v in values) and 0 not in values
        ]
    else:
        present = {case.target for case in cases if case.part == "train"}
        lacking = [name for number, name in enumerate(task.classes) if number not in present]
    if lacking and len(lacking) >= len(task.classes) - (0 if task.regions else 1):
        raise InputError(
            f"task {task.name}: no training case shows any of {lacking}; do the values of `classes` fit its labels?"
        )
    notes += [f"no training case shows {name}: it cannot be learned" for name in lacking]
    return notes
