"""From a data set's folder to labeled cases: which image, which class, whose person, which official part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix.datasets.lists import below
from voxmix.datasets.sources import read_labeled
from voxmix.datasets.task import ClassTable, Part, Task
from voxmix.errors import InputError
from voxmix.volumes.file_names import split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.persons.proposals import propose_persons
from voxmix.volumes.persons.rules import join


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledImages:
    """The labeled images of a task, in the order of their paths.

    ``records`` carry the task's domain, and the class as ``category`` in classification. ``parts`` gives the
    official part by subject; empty where the data set has none. ``notes`` say who was taken for one person.
    """

    records: tuple[VolumeRecord, ...]
    parts: Mapping[str, Part]
    set_aside: tuple[SetAside, ...]
    notes: tuple[str, ...] = ()


def read_labeled_images(task: Task, data: Path) -> LabeledImages:
    """Return the images of a task that have a label; the others are set aside, and counted.

    Raises:
        InputError: no such folder, an unknown layout, no image of the task's domain, or none with a label.
    """
    labeled = read_labeled(task, data)
    manifest, parts = labeled.manifest, labeled.parts
    source = task.source or task.domain
    if source not in manifest.domains:
        raise InputError(
            f"the data of task {task.name} has no domain {source}, but {', '.join(manifest.domains)}; name the one "
            "to take in the task's row, as in `source: " + manifest.domains[0] + "`"
        )
    records = list(manifest.select([source]).records)
    lost = [aside for aside in manifest.set_aside if aside.domain == source]
    notes = manifest.notes
    if task.table is not None:
        records, more, told = _join(task, records, task.table, data if data.is_dir() else data.parent)
        lost += more
        notes = (*notes, *told)
    if task.kind == "segmentation":
        lost += [_aside(task, r.path, "no label map") for r in records if r.label is None]
        records = [
            replace(r, label_volume=task.label_volume if r.label_volume is None else r.label_volume)
            for r in records
            if r.label is not None
        ]
    else:
        lost += [_aside(task, r.path, "no class is given") for r in records if not r.category]
        records = [replace(r, label=None) for r in records if r.category]
    if not records:
        why = f"; {len(lost)} files set aside, first because: {lost[0].reason}" if lost else ""
        raise InputError(f"task {task.name} has no labeled image in {data}{why}")
    found = Manifest(records=tuple(replace(r, domain=task.domain, split="") for r in records), notes=notes)
    if task.subject_pattern and parts:
        raise InputError(
            f"task {task.name} has a subject_pattern and its data set an official split; leave subject_pattern out"
        )
    if task.subject_pattern:
        found = join(found, task.subject_pattern)
    proposal = None if parts else propose_persons(found)
    words = () if proposal is None else (proposal.words(remedy="subject_pattern: {rule} in the task's row"),)
    return LabeledImages(
        records=found.records,
        parts=parts,
        set_aside=(*lost, *found.set_aside),
        notes=(*found.notes, *words),
    )


def _aside(task: Task, path: Path, reason: str) -> SetAside:
    return SetAside(path=path, domain=task.domain, reason=reason)


def _join(
    task: Task, records: list[VolumeRecord], table: ClassTable, folder: Path
) -> tuple[list[VolumeRecord], list[SetAside], tuple[str, ...]]:
    """Return the records with their class from the table, what is set aside as it matches none, and notes on the table.

    A row names its case by the file's path below the folder, the file's name with or without its suffix, a
    folder on the way to it, or the subject, in this order.
    """
    classes, notes = _classes(below(folder, table.file), table)
    joined: list[VolumeRecord] = []
    lost: list[SetAside] = []
    used: set[str] = set()
    for record in records:
        name = next((name for name in _names(record, folder) if name in classes), None)
        if name is None:
            lost.append(_aside(task, record.path, f"no row in {table.file}"))
            continue
        used.add(name)
        if not classes[name]:
            lost.append(_aside(task, record.path, f"no {table.value} in {table.file}"))
            continue
        joined.append(replace(record, category=classes[name]))
    lost += [
        _aside(task, folder / name, f"{table.file} has a row for a file that is not there")
        for name in classes
        if name not in used
    ]
    return joined, lost, notes


def _names(record: VolumeRecord, folder: Path) -> Iterator[str]:
    path = record.path
    try:
        inside = path.resolve().relative_to(folder.resolve())
    except ValueError:
        inside = Path(path.name)
    yield inside.as_posix()
    yield path.name
    yield split_suffix(path.name)[0]
    yield from reversed(inside.parts[:-1])
    yield record.subject


def _classes(path: Path, table: ClassTable) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return name to class as the rows of a table have it, and what was assumed of the table."""
    give = f"a CSV with the columns {table.id} and {table.value}, which give the class of every case"
    seen: dict[str, str] = {}
    found = read_csv_rows(path, columns=(table.id, table.value), give=give)
    for row in found.rows:
        name, value = row[table.id], row[table.value]
        if seen.setdefault(name, value) != value:
            raise InputError(f"{path} gives {name} two classes: {seen[name]!r} and {value!r}; keep one row")
    return {name: value for name, value in seen.items() if name}, found.notes
