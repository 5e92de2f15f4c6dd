"""From a data set's folder to labeled cases: which image, which class, whose person, which official part."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from voxmix.downstream.tasks import ClassTable, Task
from voxmix.errors import InputError
from voxmix.volumes.archives import below
from voxmix.volumes.layouts import split_suffix
from voxmix.volumes.manifest import Manifest, SetAside, VolumeRecord
from voxmix.volumes.public_sets import read_layout
from voxmix.volumes.tables import read_csv

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_MEDMNIST: dict[str, Part] = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The labeled images of a task, in the order of their paths.

    ``records`` carry the task's domain, and the class as ``category`` in classification. ``parts`` gives the
    official part by subject; empty where the data set has none.
    """

    records: tuple[VolumeRecord, ...]
    parts: Mapping[str, Part]
    set_aside: tuple[SetAside, ...]


def read_sources(task: Task, data: Path) -> Sources:
    """Return the images of a task that have a label; the others are set aside, and counted.

    Raises:
        InputError: no such folder, an unknown layout, no image of the task's domain, or none with a label.
    """
    if task.layout == "medmnist":
        records, parts, lost = _medmnist(task, data)
    elif task.layout == "class-folders":
        records, parts, lost = _class_folders(task, data), {}, []
    else:
        manifest = read_csv(data) if task.layout == "csv" else read_layout(task.layout, data)
        source = task.source or task.domain
        records, parts = list(manifest.select([source]).records), {}
        lost = [aside for aside in manifest.set_aside if aside.domain == source]
    if task.kind == "segmentation":
        lost += [_aside(task, r.path, "no label map") for r in records if r.label is None]
        records = [r for r in records if r.label is not None]
    else:
        records = [replace(r, label=None) for r in records]
        if task.table is not None:
            folder = data if data.is_dir() else data.parent
            records, more = _join(task, records, task.table, folder)
            lost += more
    if not records:
        why = f"; {len(lost)} files set aside, first because: {lost[0].reason}" if lost else ""
        raise InputError(f"task {task.name} has no labeled image in {data}{why}")
    return Sources(
        records=tuple(replace(record, domain=task.domain, split="") for record in records),
        parts=parts,
        set_aside=tuple(lost),
    )


def _aside(task: Task, path: Path, reason: str) -> SetAside:
    return SetAside(path=path, domain=task.domain, reason=reason)


def _class_folders(task: Task, data: Path) -> list[VolumeRecord]:
    """Return ``<class>/<subject>/...`` or ``<class>/<subject>.<suffix>``: the folder layout with classes."""
    manifest: Manifest = read_layout("folder", data)
    return [replace(record, category=record.domain) for record in manifest.records]


def _medmnist(task: Task, data: Path) -> tuple[list[VolumeRecord], dict[str, Part], list[SetAside]]:
    """Return every volume of a MedMNIST file with its label and the publisher's part."""
    from voxmix.volumes.stacks import part_sizes

    found = sorted(data.glob("*mnist3d*.npz")) if data.is_dir() else [data]
    if len(found) != 1 or not part_sizes(found[0]):
        raise InputError(f"{data} holds {len(found)} MedMNIST files; give the one file (organmnist3d.npz)")
    path = found[0]
    stem = split_suffix(path.name)[0]
    records: list[VolumeRecord] = []
    parts: dict[str, Part] = {}
    index = 0
    for name, count in part_sizes(path).items():
        part = _MEDMNIST[name.removesuffix("_images")]
        labels = _stack_labels(path, name.replace("_images", "_labels"), count)
        for label in labels:
            subject = f"{stem}/{index}"
            records.append(
                VolumeRecord(path=path, domain=task.domain, subject=subject, volume=index, category=label)
            )
            parts[subject] = part
            index += 1
    return records, parts, []


def _stack_labels(path: Path, name: str, count: int) -> list[str]:
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        if name not in archive.files:
            raise InputError(f"{path} has no array {name}; give the publisher's file as it is")
        labels = archive[name].reshape(-1)
    if len(labels) != count:
        raise InputError(f"{path}: {name} has {len(labels)} labels for {count} volumes; download it again")
    return [str(int(label)) for label in labels]


def _join(
    task: Task, records: list[VolumeRecord], table: ClassTable, folder: Path
) -> tuple[list[VolumeRecord], list[SetAside]]:
    """Return the records with their class from the table; both kinds of mismatch are set aside.

    A row names its case by the file's path below the folder, the file's name with or without its suffix, a
    folder on the way to it, or the subject, in this order.
    """
    classes = dict(_rows(below(folder, table.file), table))
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
    return joined, lost


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


def _rows(path: Path, table: ClassTable) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; it should give the class of every case") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the table as CSV (UTF-8)") from None
    header = text.split("\n", 1)[0]
    reader = csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=header.count), skipinitialspace=True)
    missing = [name for name in (table.id, table.value) if name not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"{path} lacks the columns {missing}; it has {list(reader.fieldnames or ())}")
    seen: dict[str, str] = {}
    for row in reader:
        name, value = (row[table.id] or "").strip(), (row[table.value] or "").strip()
        if seen.setdefault(name, value) != value:
            raise InputError(f"{path} gives {name} two classes: {seen[name]!r} and {value!r}; keep one row")
        if name:
            yield name, value
