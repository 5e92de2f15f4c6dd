"""Tables of texts as people and spreadsheets write them: CSV with any of the usual separators and encodings."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxmix.errors import InputError

_SEPARATORS = ",;\t|"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OTHERS = (
    (b"PK\x03\x04", "a spreadsheet or zip"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet (xls)"),
    (b"\x1f\x8b", "packed (gzip)"),
    (b"PAR1", "a Parquet file"),
)
_LONGEST_CELL = 1 << 24
"""Characters; a report of 50,000 words has about 350,000, more than Python's own limit."""
_SEP_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvTable:
    """Rows of a table as texts by column, the line of the file in which each begins, and what was assumed."""

    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvCells:
    """The header and the rows below it, blank ones too, each with its line of the file; and what was assumed."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str
    notes: tuple[str, ...] = ()


def _read_text(path: Path, *, give: str) -> tuple[str, tuple[str, ...]]:
    """Return a file's text, lines ended by a line feed, and what was assumed: UTF-8, UTF-16, or else Windows-1252."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; give {give}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give {give}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give {give}") from None
    other = next((what for start, what in _OTHERS if data.startswith(start)), None)
    if other is not None:
        raise InputError(f"{path} is {other}, no text; save the table as CSV (UTF-8)")
    notes: tuple[str, ...] = ()
    try:
        text = data.decode(next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8"))
    except UnicodeDecodeError:
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            text = "\0"
        notes = (
            f"{path.name} is not UTF-8 text: it was read as Windows-1252, so look at names with accents",
        )
    if "\0" in text:
        raise InputError(f"{path} is not UTF-8 text; save the table as CSV (UTF-8)")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def read_csv_rows(path: Path, *, columns: Sequence[str], give: str, any_case: bool = False) -> CsvTable:
    """Return the rows of a table (comma, semicolon, tab or bar) as texts without spaces around them.

    ``columns`` must be there, ``give`` says in errors what the file should be; with ``any_case`` the names of columns
    are read in lower case. Lines without a word are passed over, and so are lines that begin with # and stand before
    the header or have one cell.

    Raises:
        InputError: no such file, unreadable, no text, no table, a column missing or there twice, a row with more
            cells than the header, or no row.
    """
    found = read_csv_cells(path, give=give)
    names = [name.lower() if any_case else name for name in found.names]
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(f"{path} lacks the columns {missing}; give {give}; found {[n for n in names if n]}")
    check_once(names, path=path)
    for line, cells in found.rows:
        if any(cells[len(names) :]):
            raise InputError(
                f"line {line} of {path} has {len(cells)} cells, its header {len(names)}; put quotes around a cell that "
                f"holds {found.separator!r}"
            )
    kept = [
        (line, cells)
        for line, cells in found.rows
        if any(cells) and not (cells[0].startswith("#") and not any(cells[1:]))
    ]
    if not kept:
        raise InputError(f"{path} has no rows; add lines below its header")
    return CsvTable(
        rows=tuple(
            {name: cells[n] if n < len(cells) else "" for n, name in enumerate(names) if name}
            for _, cells in kept
        ),
        lines=tuple(line for line, _ in kept),
        notes=found.notes,
    )


def read_csv_cells(path: Path, *, give: str) -> CsvCells:
    """Return the cells of a table (comma, semicolon, tab or bar) as texts without spaces around them.

    The header is the first line that holds a word and is no comment; an empty file has none. ``give`` says in errors
    what the file should be.

    Raises:
        InputError: no such file, unreadable, no text, or quotes that do not end.
    """
    text, notes = _read_text(path, give=give)
    lines = text.split("\n")
    start = next((n for n, line in enumerate(lines) if _is_header(line)), len(lines))
    named = next((m[1] for line in lines[:start] if (m := _SEP_LINE.fullmatch(line.strip(" ")))), None)
    header = lines[start] if start < len(lines) else ""
    separator = named or max(_SEPARATORS, key=header.count)
    try:
        found = list(_cells("\n".join(lines[start:]), separator, first=start + 1))
    except csv.Error as error:
        raise InputError(f"{path} is not a table: {error}; save it as CSV (UTF-8)") from None
    names = found[0][1] if found else ()
    return CsvCells(names=names, rows=tuple(found[1:]), separator=separator, notes=notes)


def check_once(names: Sequence[str], *, path: Path) -> None:
    """Check that no column of a table has the name of another.

    Raises:
        InputError: names the first that has.
    """
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path} has the column {twice!r} twice; keep one")


def _is_header(line: str) -> bool:
    """Return whether a line holds a word, and is neither a comment nor a spreadsheet's ``sep=;``."""
    bare = line.strip().strip(_SEPARATORS + '" ')
    return bool(bare) and not bare.startswith("#") and not _SEP_LINE.fullmatch(line.strip(" "))


def _cells(text: str, separator: str, *, first: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the line in which each row begins, from ``first``, and its cells."""
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    before, words = 0, dict[str, str]()  # a word that stands in many cells is kept once
    for cells in reader:
        line, before = first + before, reader.line_num
        yield line, tuple([words.setdefault(word, word) for word in map(str.strip, cells)])
