"""Reports to be labelled: of a table with a column of them, or of a folder of text files, with all that its rows hold."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix._io import name_fault, write_text
from voxmix.errors import InputError
from voxmix.images.known_of_files import FILMS
from voxmix.images.table_columns import OF_NAMES, SPELLINGS, column_of, plain_name
from voxmix.volumes.file_names import is_junk

GIVE = "a table (CSV) with a column report, or findings and impression, or a folder of .txt files"
"""What reports come from, for messages."""

FILE_COLUMN = "report_file"
_SECTIONS = ("indication", "findings", "impression")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRow:
    """One row: its cells by column, its report ("" where there is none), and names of its person as the table has them.

    ``place`` is where it stands, without a name: a line of the table, or the number of a file.
    """

    place: str
    cells: Mapping[str, str] = field(repr=False)
    report: str = field(repr=False)
    names: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRows:
    """Rows with reports, in their order; the names of their columns; and what was assumed."""

    rows: tuple[ReportRow, ...]
    columns: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def different(self) -> tuple[str, ...]:
        """The reports that have words, each once, in their first order."""
        return tuple(dict.fromkeys(row.report for row in self.rows if row.report.strip()))


def report_of(cells: Mapping[str, str]) -> str:
    """Return the report of a row by its roles: its own column, else what its sections say, under their headings."""
    if cells["report"]:
        return cells["report"]
    parts = [(role, cells[role]) for role in _SECTIONS if cells[role]]
    return "\n".join(f"{role.upper()}: {text}" for role, text in parts)


def read_reports(source: Path, *, column: str | None = None) -> ReportRows:
    """Return the reports of a table or a folder.

    Args:
        source: A table (CSV, TSV), or a folder of .txt files; an image of the same name beside a text is its image.
        column: The table's column of reports; found by its spelling if left out.

    Raises:
        InputError: nothing there, no column of reports, or no report.
    """
    if source.is_dir():
        if column is not None:
            raise InputError(f"a column of reports is for a table, and {source} is a folder; leave it out")
        found = _of_folder(source)
    else:
        found = _of_table(source, column)
    if not found.different:
        raise InputError(f"{source} has {len(found.rows)} reports and all are empty; give {GIVE}")
    return found


def _of_table(path: Path, column: str | None) -> ReportRows:
    table = read_csv_rows(path, columns=(column,) if column else (), give=GIVE)
    columns = tuple(table.rows[0])
    roles = {role: column_of(columns, role) for role in ("report", *_SECTIONS, "person")}
    if column is not None:
        roles["report"] = column
    if not any(roles[role] for role in ("report", "findings", "impression")):
        raise InputError(
            f"{path} has no column of reports: none is called {', '.join(SPELLINGS['report'][:3])}, findings or impression; "
            f"name it with --report; found {list(columns)}"
        )
    naming = [name for name in columns if plain_name(name) in OF_NAMES or name == roles["person"]]
    rows = [
        ReportRow(
            place=f"line {line}",
            cells=row,
            report=report_of({role: row.get(name, "") if name else "" for role, name in roles.items()}),
            names=tuple(row[name] for name in naming if row.get(name)),
        )
        for line, row in zip(table.lines, table.rows, strict=True)
    ]
    read = roles["report"] or " and ".join(roles[role] or "" for role in _SECTIONS if roles[role])
    said = () if read == "report" else (f"reports are read from the column {read}",)
    return ReportRows(rows=tuple(rows), columns=columns, notes=(*table.notes, *said))


def _of_folder(root: Path) -> ReportRows:
    files = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(root)
        for name in names
        if name.lower().endswith(".txt") and not is_junk(name)
    )
    if not files:
        raise InputError(f"there is no .txt file below {root}; give {GIVE}")
    rows, other, bad = [], [], []
    for number, file in enumerate(files, 1):
        name = file.relative_to(root).as_posix()
        text = _text(file)
        if text is None or name_fault(name):
            bad.append(number)
            continue
        if not text[1]:
            other.append(name)
        images = (file.with_suffix(end) for suffix in FILMS for end in (suffix, suffix.upper()))
        image = next((str(i.relative_to(root).as_posix()) for i in images if i.is_file()), "")
        cells = {FILE_COLUMN: name, "image": image, "report": text[0].strip()}
        rows.append(ReportRow(place=f"file {number}", cells=cells, report=text[0].strip()))
    notes = []
    if other:
        notes.append(f"{len(other)} files are not UTF-8 and were read as Windows-1252: {_few(other)}")
    if bad:
        numbers = _few([str(n) for n in bad])
        notes.append(
            f"set aside {len(bad)} files that are no text, or whose names are none: in sorted order number {numbers}"
        )
    if not rows:
        raise InputError(f"none of the {len(files)} .txt files below {root} is text; save them as UTF-8")
    with_image = any(row.cells["image"] for row in rows)
    columns = (FILE_COLUMN, "image", "report") if with_image else (FILE_COLUMN, "report")
    return ReportRows(rows=tuple(rows), columns=columns, notes=tuple(notes))


def _text(path: Path) -> tuple[str, bool] | None:
    """Return a file's text and whether it is UTF-8; None where it is no text or cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8-sig"), True
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), False


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def check_columns(columns: Sequence[str]) -> None:
    """Refuse a table to be written that would have two columns of one name.

    Raises:
        InputError: there are such columns.
    """
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise InputError(
            f"the new table would have the columns {twice} twice; give --prefix, e.g. --prefix report_"
        )


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table, apart by tabs where the file's name ends in .tsv, else by commas.

    Raises:
        InputError: two columns of one name.
    """
    check_columns(columns)
    text = io.StringIO()
    writer = csv.DictWriter(
        text, columns, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", lineterminator="\n", extrasaction="ignore"
    )  # fmt: skip
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
