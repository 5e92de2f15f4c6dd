"""Manifests as files: a CSV that people edit, a JSON that also keeps what was set aside."""

import csv
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from voxmix._csv import read_csv_rows
from voxmix._io import atomic_path, naming_full_disk, read_versioned, write_json
from voxmix.errors import InputError
from voxmix.volumes.manifest import SPLITS, Manifest, SetAside, Split, VolumeRecord

KIND = "manifest"
FORMAT = 1
_COLUMNS = (
    "path",
    "domain",
    "subject",
    "split",
    "label",
    "label_volume",
    "volume",
    "series",
    "affine",
    "category",
)
_GIVE = f"a CSV whose first line names {', '.join(_COLUMNS[:3])} (and, if wanted, {', '.join(_COLUMNS[3:])})"


def read_csv(path: Path) -> Manifest:
    """Return the volumes of a table with columns path, domain, subject and, if wanted, the others.

    The others are ``split``, ``label``, ``label_volume`` and ``volume`` (which one of a 4D file, from 0),
    ``series`` (which one of a DICOM folder, as ``voxmix manifest`` names it), ``affine`` (16 numbers in place of a
    wrong header's) and ``category`` (the class of the subject).

    Relative paths start at the table's folder and must stay below it; absolute paths are taken as
    they are. Files that do not exist are set aside and counted.

    Raises:
        InputError: no such file, columns missing, a cell empty, a relative path that leaves the
            folder, an unknown split, or not one file that exists.
    """
    table = read_csv_rows(path, columns=_COLUMNS[:3], give=_GIVE, any_case=True)
    found = _from_rows(table.rows, path, places=[f"line {line}" for line in table.lines])
    return replace(found, notes=(*table.notes, *found.notes))


def _from_rows(rows: Sequence[dict[str, str]], path: Path, *, places: Sequence[str]) -> Manifest:
    records: list[VolumeRecord] = []
    set_aside: list[SetAside] = []
    seen: dict[tuple[Path, str, str], str] = {}
    slashed = 0
    for place, row in zip(places, rows, strict=True):
        for column in ("path", "domain", "subject"):
            if not row[column]:
                raise InputError(f"{place} of {path} has no {column}; fill it or remove it")
        image = file_named(row["path"], table=path, line=place)
        label = file_named(row["label"], table=path, line=place) if row.get("label") else None
        if not os.path.exists(image):  # False, not an error, for names that no disk can hold.
            reason = NOT_HERE if of_windows(row["path"]) else "no such file"
            set_aside.append(SetAside(path=image, domain=row["domain"], reason=reason))
            continue
        slashed += "\\" in row["path"] and "\\" not in str(image)
        what = (image, row.get("series", ""), row.get("volume", ""))
        if seen.setdefault(what, place) != place:
            raise InputError(
                f"{image} occurs 2 times, in {seen[what]} and {place} of {path}; list every volume once"
            )
        if label is not None and not os.path.exists(label):
            set_aside.append(SetAside(path=label, domain=row["domain"], reason="no such label file"))
            label = None
        split = _split(row.get("split", ""), table=path, line=place)
        records.append(
            VolumeRecord(
                path=image,
                domain=row["domain"],
                subject=row["subject"],
                split=split,
                label=label,
                label_volume=_volume(row, "label_volume", table=path, line=place),
                volume=_volume(row, "volume", table=path, line=place),
                affine=_affine(row.get("affine", ""), table=path, line=place),
                series=row.get("series", ""),
                category=row.get("category", ""),
            )
        )
    if not records:
        here = f"relative paths start at {path.parent}"
        if all(aside.reason == NOT_HERE for aside in set_aside):
            here = f"each is {NOT_HERE}: give them as they are here, or relative to {path.parent}"
        raise InputError(f"none of the {len(rows)} files of {path} exists; {here}")
    notes = (f"{slashed} paths of {path.name} were read with / in place of \\",) if slashed else ()
    return Manifest(records=tuple(records), set_aside=tuple(set_aside), notes=notes)


NOT_HERE = "a path of Windows, not of this machine"


def of_windows(cell: str) -> bool:
    """Return whether a cell holds a path of another machine, with a drive of Windows."""
    return os.name != "nt" and PureWindowsPath(cell).drive != ""


def file_named(cell: str, *, table: Path, line: str) -> Path:
    """Return the file that a cell of a table names: relative to the table's folder and below it, or as it is.

    Raises:
        InputError: a relative path that leaves the folder.
    """
    given = Path(cell)
    if given.is_absolute() or of_windows(cell):
        return given
    folder = Path(os.path.abspath(table.parent))
    target = Path(os.path.normpath(folder / given))
    if not target.is_relative_to(folder):
        raise InputError(
            f"{line} of {table} points outside the table's folder: {cell}; give the full path instead"
        )
    if "\\" in cell and not os.path.exists(target):  # As Windows writes it; a name here may hold a backslash.
        return file_named(cell.replace("\\", "/"), table=table, line=line)
    # A name is spelled with composed letters or not, as the system that wrote it likes.
    spelled = (Path(unicodedata.normalize(form, str(target))) for form in ("NFC", "NFD"))
    return target if os.path.exists(target) else next(filter(os.path.exists, spelled), target)


def _split(cell: str, *, table: Path, line: str) -> Split:
    names: dict[str, Split] = {
        "": "",
        "train": "train",
        "training": "train",
        "validation": "validation",
        "val": "validation",
        "valid": "validation",
    }
    if cell.lower() not in names:
        raise InputError(
            f"{line} of {table} has split {cell!r}; use one of {list(SPLITS)} or none, and leave out what is kept for a "
            "test"
        )
    return names[cell.lower()]


def _volume(row: dict[str, str], column: str, *, table: Path, line: str) -> int | None:
    cell = row.get(column, "")
    if not cell:
        return None
    if not (cell.isdecimal() and len(cell) < 10):
        raise InputError(f"{line} of {table} has {column} {cell!r}; give which one of a 4D file, from 0")
    return int(cell)


def _affine(cell: str, *, table: Path, line: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(number) for number in cell.split()) or None
    except ValueError:
        raise InputError(f"{line} of {table} has an affine that is not 16 numbers: {cell!r}") from None


def write_csv(manifest: Manifest, path: Path) -> None:
    """Write a manifest as the table that :func:`read_csv` reads.

    Files below the table's folder are named relative to it, so that folder and table can move together. Columns
    that no volume needs are left out.
    """
    rows = [_row(record, path.parent) for record in manifest.records]
    used = [name for name in _COLUMNS if name in _COLUMNS[:4] or any(row[name] for row in rows)]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, used, extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def relative_name(file: Path, folder: Path) -> str:
    """Return the name of a file in a table that lies in ``folder``: relative below it, else the full path."""
    base, full = Path(os.path.abspath(folder)), Path(os.path.abspath(file))
    return str(full.relative_to(base) if full.is_relative_to(base) else full)


def _row(record: VolumeRecord, folder: Path) -> dict[str, str]:
    return {
        "path": relative_name(record.path, folder),
        "domain": record.domain,
        "subject": record.subject,
        "split": record.split,
        "label": "" if record.label is None else relative_name(record.label, folder),
        "label_volume": "" if record.label_volume is None else str(record.label_volume),
        "volume": "" if record.volume is None else str(record.volume),
        "series": record.series,
        "affine": " ".join(f"{number:.12g}" for number in record.affine or ()),
        "category": record.category,
    }


def write_manifest_json(manifest: Manifest, path: Path) -> None:
    """Write a manifest, with the files that were set aside and why, as JSON."""
    records = [
        {name: text for name, text in _row(record, path.parent).items() if text}
        for record in manifest.records
    ]
    aside = [
        {"path": relative_name(s.path, path.parent), "domain": s.domain, "reason": s.reason}
        for s in manifest.set_aside
    ]
    write_json(path, {"kind": KIND, "format": FORMAT, "volumes": records, "set_aside": aside})


def read_manifest_json(path: Path) -> Manifest:
    """Return the manifest of a JSON file that :func:`write_manifest_json` wrote.

    Raises:
        InputError: another file, or a row that :func:`read_csv` would refuse.
    """
    value = read_versioned(path, kind=KIND, version=FORMAT)
    rows = [_text_row(row, path) for row in _list(value, "volumes", path)]
    manifest = _from_rows(rows, path, places=[f"volume {number}" for number in range(1, len(rows) + 1)])
    aside = tuple(
        SetAside(
            path=file_named(row.get("path", ""), table=path, line=f"set_aside {number}"),
            domain=row.get("domain", ""),
            reason=row.get("reason", ""),
        )
        for number, row in enumerate(
            (_text_row(row, path) for row in _list(value, "set_aside", path)), start=1
        )
    )
    return replace(manifest, set_aside=(*aside, *manifest.set_aside))


def _list(value: dict[str, Any], key: str, path: Path) -> list[Any]:
    found = value.get(key, [])
    if not isinstance(found, list):
        raise InputError(f"{key} of {path} should be a list, found {type(found).__name__}")
    return found


def _text_row(row: Any, path: Path) -> dict[str, str]:
    if not isinstance(row, dict) or not all(isinstance(item, str) for item in row.values()):
        raise InputError(f"{path} should list objects of texts; write it with voxmix manifest")
    return {"path": "", "domain": "", "subject": "", **row}


def read_table(path: Path) -> Manifest:
    """Return the manifest of a CSV or JSON file.

    Raises:
        InputError: as :func:`read_csv` and :func:`read_manifest_json`.
    """
    return read_manifest_json(path) if path.suffix.lower() == ".json" else read_csv(path)


def write_table(manifest: Manifest, path: Path) -> None:
    """Write a manifest as CSV or JSON, by the name's ending.

    Raises:
        InputError: another ending.
        VoxmixError: the disk is full or cannot be written.
    """
    if path.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"{path} should end in .csv or .json")
    with naming_full_disk(path.parent):
        if path.suffix.lower() == ".json":
            write_manifest_json(manifest, path)
        else:
            write_csv(manifest, path)
