"""Table: columns with a unit, rows of plain values; text, Markdown and CSV of it."""

import csv
import io
import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from voxmix.errors import InputError

Kind = Literal["text", "number", "percent", "fine", "change", "points", "count", "transfer"]
Cell = str | float | int | bool | None
MISSING = "–"
"""What a cell shows where nothing is known; never "nan", never 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A heading and how its values are written.

    ``number`` has 3 significant digits, ``percent`` is a share written with %, ``fine`` one with 2 significant digits
    however small, ``change`` a signed
    percentage, ``points`` a signed difference of shares in hundredths, ``count`` a whole number with thousands separators, ``transfer`` has 3 decimals. Two columns that follow each other with
    ``end`` "low" and "high" are the ends of one range: people read one column, "low to high". With a column of
    ``end`` "value" before them people read "value (low to high)".
    """

    name: str
    kind: Kind = "text"
    end: Literal["", "value", "low", "high"] = ""

    @property
    def full_name(self) -> str:
        """The heading where every column has its own, as in CSV."""
        return f"{self.name}, {self.end}" if self.end in ("low", "high") else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of plain values under named columns.

    Attributes:
        name: short identifier, used for the file name of the CSV.
        title: what the table shows, one line.
        columns: headings with the kind of their values.
        rows: one value per column; None where nothing is known.
        note: how to read it, or "".

    Raises:
        InputError: a row has another length than ``columns``, or a range lacks one of its ends.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows, start=1):
            if len(row) != len(self.columns):
                raise InputError(
                    f"table {self.name!r}: row {number} has {len(row)} cells, expected {len(self.columns)}"
                )
        ends = [column.end for column in self.columns]
        for place, end in enumerate(ends):
            if (end == "low") != (ends[place + 1 : place + 2] == ["high"]):
                raise InputError(f"table {self.name!r}: a range needs a low column and then a high one")
            if end == "value" and ends[place + 1 : place + 2] != ["low"]:
                raise InputError(f"table {self.name!r}: a value with a range needs its low column next")

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns that people read: a range is one, with its value if it has one."""
        before = ("", *(column.end for column in self.columns))
        return tuple(
            column
            for column, last in zip(self.columns, before, strict=False)
            if column.end != "high" and last != "value"
        )

    @property
    def headers(self) -> tuple[str, ...]:
        """The headings that people read, as long as the rows of :meth:`text_rows`."""
        return tuple(column.name for column in self.shown)

    @property
    def full_headers(self) -> tuple[str, ...]:
        """The headings of ``rows``, the ends of a range apart."""
        return tuple(column.full_name for column in self.columns)

    def records(self) -> list[dict[str, Cell]]:
        """The rows as JSON-like data at full precision; None where nothing is known."""
        return [
            {
                name: None if _unknown(cell) else cell
                for name, cell in zip(self.full_headers, row, strict=True)
            }
            for row in self.rows
        ]

    def text_rows(self, most: int | None = None) -> tuple[tuple[str, ...], ...]:
        """The rows, or the first of them, as people read them: rounded, with units, a dash where nothing is known."""
        return tuple(self._text_row(row) for row in self.rows[:most])

    def _text_row(self, row: tuple[Cell, ...]) -> tuple[str, ...]:
        texts: list[str] = []
        valued = False
        for cell, column in zip(row, self.columns, strict=True):
            text = cell_text(cell, column.kind)
            if column.end == "high":
                low = texts.pop()
                text = MISSING if low == text == MISSING else f"{low} to {text}"
                if valued:
                    value = texts.pop()
                    text = value if text == MISSING else f"{value} ({text.replace('%', '', 1)})"
            valued = column.end == "value" or (valued and column.end == "low")
            texts.append(text)
        return tuple(texts)


def columns_of(*pairs: tuple[str, Kind]) -> tuple[Column, ...]:
    """Return columns from names with kinds."""
    return tuple(Column(name=name, kind=kind) for name, kind in pairs)


def range_of(name: str, kind: Kind) -> tuple[Column, ...]:
    """Return the two columns of a range, low and high."""
    return (Column(name=name, kind=kind, end="low"), Column(name=name, kind=kind, end="high"))


def value_of(name: str, kind: Kind) -> tuple[Column, ...]:
    """Return the three columns of a value and its range."""
    return (Column(name=name, kind=kind, end="value"), *range_of(name, kind))


@runtime_checkable
class Ranged(Protocol):
    """A value with the ends of its interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


def ends_of(found: Ranged | None) -> tuple[float | None, float | None, float | None]:
    """Return the three cells of :func:`value_of`; empty ones where nothing was found."""
    return (None, None, None) if found is None else (found.value, found.low, found.high)


def relative(value: float, reference: float) -> float | None:
    """Return ``value / reference - 1``; None where that says nothing."""
    return float(value / reference - 1) if reference > 0 and math.isfinite(value) else None


def number_text(value: float) -> str:
    """Return a number with 3 significant digits, without exponent where that stays short.

    >>> number_text(0.026412), number_text(16000.0), number_text(1.5e-7)
    ('0.0264', '16,000', '1.50e-07')
    """
    if not math.isfinite(value):
        return MISSING if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    magnitude = math.floor(math.log10(abs(rounded)))
    if magnitude < -4 or magnitude > 8:
        return f"{value:.2e}"
    return f"{rounded:,.{max(0, 2 - magnitude)}f}"


def percent_text(share: float, *, signed: bool = False) -> str:
    """Return a share as a percentage with 3 significant digits, at most one of them after the point.

    >>> percent_text(0.2371), percent_text(-0.0413, signed=True)
    ('23.7%', '−4.1%')
    """
    if not math.isfinite(share):
        return MISSING
    value = share * 100
    text = f"{abs(value):.1f}" if abs(value) < 99.95 else f"{abs(value):,.0f}"
    sign = "−" if value < 0 and float(text.replace(",", "")) else ("+" if signed and value > 0 else "")
    return f"{sign}{text}%"


def fine_text(share: float) -> str:
    """Return a small share as a percentage with 2 significant digits: noise, and what it can make.

    >>> fine_text(0.00266), fine_text(0.118)
    ('0.27%', '11.8%')
    """
    return f"{share * 100:.2g}%" if 0 <= share < 0.0995 else percent_text(share)


def cell_text(cell: Cell, kind: Kind) -> str:
    """Return a value as people read it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return MISSING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if kind == "fine":
        return fine_text(cell)
    if kind == "percent" or kind == "change":
        return percent_text(cell, signed=kind == "change")
    if kind == "points":
        return percent_text(cell, signed=True).removesuffix("%")
    if kind == "transfer" and math.isfinite(cell):
        return "<0.001" if 0 < cell < 0.0005 else f"{cell:.3f}"
    if kind == "count" and math.isfinite(cell):
        return f"{round(cell):,}"
    return number_text(float(cell))


def to_csv(table: Table) -> str:
    """Return the table as CSV at full precision; empty cells where nothing is known."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.full_headers)
    for row in table.rows:
        writer.writerow(["" if _unknown(cell) else cell for cell in row])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """Return the table in GitHub Markdown, rounded as people read it."""
    lines = [_markdown_row(table.headers)]
    lines.append(_markdown_row(["---" if c.kind == "text" else "---:" for c in table.shown]))
    lines.extend(_markdown_row(row) for row in table.text_rows())
    return "\n".join(lines) + "\n"


def _unknown(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _markdown_row(cells: tuple[str, ...] | list[str]) -> str:
    escaped = [
        cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
        for cell in cells
    ]
    return "| " + " | ".join(escaped) + " |"
