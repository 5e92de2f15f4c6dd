"""What came of every record of a manifest, kept between calls: a source that has not changed is not read again.

    <names>/outcomes/<name>.json    what came of some records: by one process, in one piece, never changed afterwards

``<names>`` is the folder of the private lists (:mod:`voxmix.volumes.preparing.private_lists`), for what is asked of a record is
known by a digest of its path. A row counts while its source has the same size and time of change, and its arrays are
there. No file is appended to, and none has two writers: any number of processes on any number of machines prepare one data
set, each writing its own, and whoever joins them reads these files alone.
"""

import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from voxmix import __version__
from voxmix._io import atomic_path, canonical_json, digest, naming_damage, read_versioned
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes.auditing.fill import Fill
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.manifest_files import relative_name
from voxmix.volumes.preparing.prepare_record import LABELS_VERSION, Outcome
from voxmix.volumes.preparing.private_lists import Names
from voxmix.volumes.preparing.storage import SUFFIXES, Codec
from voxmix.volumes.reading.source_state import SourceStates, Stamp, parts_hold, parts_of
from voxmix.volumes.recipe import Recipe

KIND = "outcomes of preparing"
FORMAT = 1
_ROWS = 2048
_RACE_SECONDS = 10.0
"""A file that changed so lately may change once more within the same tick of its disk's clock."""
_FIELDS = tuple(field.name for field in fields(Outcome) if field.name != "made")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is asked of one record, as digests: which record and what is done to it, and the state of its files.

    ``state`` is "" where they cannot be looked at; ``sure`` says that any later change of them would change it.
    """

    record: VolumeRecord
    what: str
    state: str
    sure: bool


def ask_all(records: Sequence[VolumeRecord], *, recipe: Recipe, source: Path | None) -> tuple[Asked, ...]:
    """Return what is asked of every record, in order; files are looked at and not read.

    Names count as seen from ``source``, the folder or table that the records came from.
    """
    base = None if source is None else source if source.is_dir() else source.parent
    states, now = SourceStates(), time.time()
    how = {
        domain: digest(
            [
                __version__,
                LABELS_VERSION,
                recipe.volume_digest(domain),
                domain in recipe.masks,
                recipe.max_voxels,
            ]
        )
        for domain in {record.domain for record in records}
    }

    def name(path: Path | None) -> str | None:
        return None if path is None else str(path) if base is None else relative_name(path, base)

    def ask(record: VolumeRecord) -> Asked:
        state, changed = states.of(record)
        part = [record.volume, record.series, record.affine, record.label_volume]
        what = digest([name(record.path), name(record.label), record.domain, part, how[record.domain]])
        return Asked(record=record, what=what, state=state, sure=changed < now - _RACE_SECONDS)

    return tuple(ask(record) for record in records)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What came of a record: ``parts`` are the files that its header names (:func:`voxmix.volumes.reading.source_state.parts_of`)."""

    outcome: Outcome
    sure: bool
    parts: tuple[Stamp, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether nothing would change if the record were looked at again."""
        return self.sure and not (self.outcome.reason or self.outcome.label_reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What came of records before, by what was asked and in which state; and the files that say so."""

    rows: Mapping[tuple[str, str], Row]
    files: tuple[Path, ...] = ()

    def of(self, asked: Asked, *, arrays: "Arrays", codec: Codec, again: bool) -> Row | None:
        """Return what came of a record; None where it is not known, or its arrays are gone or stored in another form.

        With ``again``, neither what went wrong is known nor what is not sure.
        """
        row = self.rows.get((asked.what, asked.state))
        if row is None or (again and not row.is_good) or not parts_hold(row.parts, asked.record.path.parent):
            return None
        outcome = row.outcome
        files = [] if outcome.reason else [outcome.file, *([outcome.label] if outcome.label else [])]
        return row if all(arrays.holds(file, codec) for file in files) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrays:
    """The names of what lies in a cache, from one look at its folders."""

    names: frozenset[str]

    @classmethod
    def in_cache(cls, root: Path) -> "Arrays":
        """Look at the folders of a cache."""
        folders = [folder for folder in ("volumes", "labels") if (root / folder).is_dir()]
        return cls(
            names=frozenset(f"{folder}/{name}" for folder in folders for name in os.listdir(root / folder))
        )

    def holds(self, file: str, codec: Codec) -> bool:
        """Return whether an array, stored by ``codec``, is there with the file beside it."""
        stem = file.rpartition(".")[0]
        return file == stem + SUFFIXES[codec] and file in self.names and f"{stem}.json" in self.names


def outcomes_folder(names: Names) -> Path:
    """Return where outcomes are kept."""
    return names.folder / f"{names.key}outcomes"


def read_outcomes(folder: Path) -> Known:
    """Return every outcome in a folder; of several for the same, a good one.

    Warns:
        VoxmixWarning: a file is damaged: it is put aside as ``<name>.damaged``, and its records are looked at again.
    """
    rows: dict[tuple[str, str], Row] = {}
    files: list[Path] = []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found = list(_rows_of(path))
        except InputError as error:
            if path.exists():  # not put together with others meanwhile
                _put_aside(path, error)
            continue
        files.append(path)
        for key, row in found:
            if key not in rows or not rows[key].is_good:
                rows[key] = row
    return Known(rows=rows, files=tuple(files))


def _rows_of(path: Path) -> Iterator[tuple[tuple[str, str], Row]]:
    value = read_versioned(path, kind=KIND, version=FORMAT)
    with naming_damage(path, remedy="prepare again: finished volumes are kept"):
        names = [str(name) for name in value["fields"]]
        for what, state, sure, parts, *cells in value["rows"]:
            given = dict(zip(names, cells, strict=True))
            (x, y, z), box = given["shape"], given["box"]
            plain = {
                "shape": (x, y, z),
                "notes": tuple(given["notes"]),
                "fill": Fill.from_dict(given["fill"]),
                "box": None if box is None else (tuple(box[0]), tuple(box[1])),
            }
            outcome = Outcome(**{**given, **plain})
            stamps = tuple((str(name), int(size), int(time)) for name, size, time in parts)
            yield (str(what), str(state)), Row(outcome=outcome, sure=bool(sure), parts=stamps)


def _put_aside(path: Path, error: InputError) -> None:
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
        done = f"it is now {aside.name}"
    except OSError:
        done = "it is left out"
    warnings.warn(f"{error}; {done}, and its records are looked at again", VoxmixWarning, stacklevel=3)


def row_of(asked: Asked, outcome: Outcome) -> Row:
    """Return what is kept of what came of a record just now."""
    return Row(outcome=outcome, sure=asked.sure, parts=parts_of(asked.record))


def write_outcomes(folder: Path, name: str, rows: Sequence[tuple[Asked, Row]]) -> Path:
    """Write what came of some records as one file, in one step."""
    cells = [[asked.what, asked.state, row.sure, row.parts, *_cells(row.outcome)] for asked, row in rows]
    path = folder / f"{name}.json"
    text = canonical_json({"kind": KIND, "format": FORMAT, "fields": _FIELDS, "rows": cells})
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _cells(outcome: Outcome) -> list[Any]:
    fill = None if outcome.fill is None else outcome.fill.as_dict()
    return [fill if name == "fill" else getattr(outcome, name) for name in _FIELDS]


def name_of(asked: Iterable[Asked]) -> str:
    """Return the name of the file of some records."""
    return digest([[one.what, one.state] for one in asked])


def compact(folder: Path, files: Iterable[Path], rows: Sequence[tuple[Asked, Row]]) -> None:
    """Write what is known of all records in place of many small ``files``; what others wrote meanwhile stays."""
    old = set(files)
    if len(old) <= 1 + 2 * math.ceil(len(rows) / _ROWS):
        return
    parts = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    kept = {write_outcomes(folder, name_of(asked for asked, _ in part), part) for part in parts}
    for path in old - kept:
        path.unlink(missing_ok=True)
