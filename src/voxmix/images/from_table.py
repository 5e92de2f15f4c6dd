"""A table of films to one ImageTable: its roles by spelling, its labels by their cells, its rows one by one."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxmix._csv import CsvTable, read_csv_rows
from voxmix._io import name_fault
from voxmix.errors import InputError
from voxmix.images.class_values import add_classes, check_classes
from voxmix.images.known_of_files import IN_3D, VOLUMES, Headers, domain_of
from voxmix.images.label_values import LabelColumns, read_labels
from voxmix.images.masks import ASIDE, mask_columns
from voxmix.images.report_rows import report_of
from voxmix.images.table import ImageRecord, ImageTable
from voxmix.images.table_columns import GIVE, NO_LABELS, OF_NAMES, SPELLINGS, column_of, plain_name
from voxmix.volumes.manifest import SetAside, Split
from voxmix.volumes.manifest_files import NOT_HERE, file_named, of_windows

_SPLITS: dict[str, Split | None] = {
    "": "", "train": "train", "training": "train", "tr": "train", "val": "validation", "valid": "validation",
    "validate": "validation", "validation": "validation", "dev": "validation", "test": None, "testing": None, "holdout": None,
}  # fmt: skip
"""Sides by name; None is kept for a test, and set aside."""


def from_table(path: Path, *, labels: Sequence[str] | None, classes: Sequence[str] = ()) -> ImageTable:
    """Return the images of a table; raises as :func:`voxmix.images.finding.find_images`."""
    table = read_csv_rows(path, columns=(), give=GIVE)
    columns = list(table.rows[0])
    roles = {role: column_of(columns, role) for role in SPELLINGS}
    if roles["image"] is None:
        raise InputError(f"{path} has no column of images; give {GIVE}; found {columns}")
    check_classes(classes, columns, roles, path=path, labels=labels or ())
    masks = tuple(name for name in mask_columns(columns, table.rows) if name not in (labels or ()))
    told = {*classes, *masks, *(name for name in roles.values() if name is not None)}
    notes = list(table.notes)
    free = [name for name in columns if name not in told and plain_name(name) not in NO_LABELS]
    if labels is not None:
        lacking = [name for name in labels if name not in columns]
        if lacking:
            raise InputError(f"{path} lacks the label columns {lacking}; it has {columns}")
        free = list(labels)
    found = read_labels(table.rows, free)
    if labels is not None and set(found.columns) != set(free):
        odd = [name for name in free if name not in found.columns]
        raise InputError(
            f"the columns {odd} of {path} hold no labels: their cells should say yes, no, 1, 0, uncertain or nothing"
        )
    found, said = add_classes(found, table.rows, classes, path=path)
    records, set_aside, more = _records(table, path, roles, found, masks)
    notes += [*said, *_mask_notes(records, masks), *more, *_column_notes(roles, columns, told, found, labels)]
    if not records:
        if not set_aside:
            raise InputError(f"no image of {path} can be used: it has no rows; give {GIVE}")
        first = f"{set_aside[0].path}: {set_aside[0].reason}"
        raise InputError(
            f"no image of {path} can be used: {len(set_aside)} rows are set aside, the first is {first}; the cells of "
            f"column {roles['image']!r} must name image files, seen from the table's folder"
        )
    kept, torn = _whole_persons(records)
    return ImageTable(records=tuple(kept), set_aside=(*set_aside, *torn), notes=tuple(notes), source=path)


def _mask_notes(records: Sequence[ImageRecord], columns: Sequence[str]) -> Iterator[str]:
    for name in columns:
        yield f"masks in column {name}: {sum(name in record.masks for record in records)} images"


def _column_notes(
    roles: Mapping[str, str | None],
    columns: Sequence[str],
    told: set[str],
    found: LabelColumns,
    given: Sequence[str] | None,
) -> Iterator[str]:
    used = ", ".join(
        f"{role} is {name!r}" for role, name in roles.items() if name is not None and name != role
    )
    if used:
        yield f"columns: {used}"
    for name, count in found.uncertain.items():
        yield f"label {name}: {count} uncertain, taken as unknown"
    for name, count in found.unread.items():
        yield f"label {name}: {count} cells say neither yes nor no, taken as unknown"
    unused = [name for name in columns if name not in told and name not in found.columns]
    if unused and given is None:
        yield f"columns not used: {', '.join(unused)}"


def _records(
    table: CsvTable,
    path: Path,
    roles: Mapping[str, str | None],
    found: LabelColumns,
    masks: Sequence[str],
) -> tuple[list[ImageRecord], list[SetAside], list[str]]:
    """Return the rows that can be used, those that cannot with the reason, and notes."""
    records: list[ImageRecord] = []
    aside: list[SetAside] = []
    seen: dict[Path, tuple[object, ...]] = {}
    headers = Headers()
    named = [name for name in table.rows[0] if plain_name(name) in OF_NAMES]
    for line, row, labels in zip(table.lines, table.rows, found.rows, strict=True):
        get = {role: row.get(name, "") if name else "" for role, name in roles.items()}
        domain = domain_of(get["domain"])
        place = Path(f"line {line}")

        def leave(reason: str, where: Path, domain: str = domain) -> None:
            aside.append(SetAside(path=where, domain=domain, reason=reason))

        report = report_of(get)
        if not get["image"]:
            leave("a report without an image" if report else "a row without an image", place)
            continue
        image = file_named(get["image"], table=path, line=f"line {line}")
        if fault := name_fault(str(image)):
            leave(f"the name of its file {fault}; rename it", place)
            continue
        if not os.path.exists(image):
            leave(NOT_HERE if of_windows(get["image"]) else "no such file", image)
            continue
        if get["split"].lower() not in _SPLITS:
            leave("a side of the split that is neither train nor validation nor test", image)
            continue
        side = _SPLITS[get["split"].lower()]
        if side is None:
            leave("kept for a test by the table", image)
            continue
        if image.name.lower().endswith(VOLUMES):
            leave(IN_3D, image)
            continue
        known = headers.known(image, person=get["person"], view=get["view"], report=report)
        person, view = known.person, known.view
        if fault := name_fault(person):
            leave(f"the name of its person {fault}; give another", image)
            continue
        cells = {name: row[name] for name in masks if row.get(name)}
        what = (report, tuple(labels.items()), side, person, tuple(cells.items()))
        if image in seen:
            leave(
                "the same row twice" if seen[image] == what else "an image listed again, with other contents",
                image,
            )
            continue
        seen[image] = what
        files, lacking = _masks_named(cells, table=path, line=f"line {line}")
        aside.extend(SetAside(path=file, domain=domain, reason=reason) for file, reason in lacking)
        records.append(
            ImageRecord(
                path=image,
                domain=domain,
                person=person,
                report=report,
                labels=labels,
                split=side,
                view=view,
                names=(*known.names, *(row[name] for name in named if row.get(name))),
                masks=files,
            )
        )
    return records, aside, headers.notes(len(records), in_table=roles["person"] is not None)


def _masks_named(
    cells: Mapping[str, str], *, table: Path, line: str
) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """Return the files of masks by column, and those that are not there with the reason."""
    found: dict[str, Path] = {}
    lacking: list[tuple[Path, str]] = []
    for column, cell in cells.items():
        file = file_named(cell, table=table, line=line)
        if fault := name_fault(str(file)):
            lacking.append((Path(line), f"{ASIDE}the name of its file {fault}; rename it"))
        elif not os.path.exists(file):
            lacking.append((file, f"{ASIDE}{NOT_HERE if of_windows(cell) else 'no such file'}"))
        else:
            found[column] = file
    return found, lacking


def _whole_persons(records: Iterable[ImageRecord]) -> tuple[list[ImageRecord], list[SetAside]]:
    """Return the records whose persons are on one side, and training images of those who are on both, set aside.

    Validation keeps them: what judges must not have been trained on. Rows of a person without a side take the side that
    the person has elsewhere.
    """
    sides: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.split:
            sides[record.person].add(record.split)
    kept, aside = [], []
    for record in records:
        there = sides[record.person]
        if len(there) > 1 and record.split != "validation":
            reason = "its person is in training and in validation by the table: kept in validation alone"
            aside.append(SetAside(path=record.path, domain=record.domain, reason=reason))
        else:
            side: Split = record.split or ("train" if "train" in there else "validation" if there else "")
            kept.append(replace(record, split=side))
    return kept, aside
