"""Tables of alike things: each field is its columns and what it reads, so that headings and cells cannot fall apart."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from voxmix.report.table import Cell, Column, Kind, Ranged, Table, columns_of, ends_of, value_of

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Field(Generic[Thing]):
    """One heading and the cells below it: one of a plain field, three of a value with its interval."""

    columns: tuple[Column, ...]
    cells: Callable[[Thing], tuple[Cell, ...]]


def plain(name: str, kind: Kind, read: Callable[[Thing], Cell]) -> Field[Thing]:
    """Return a field of one column."""
    return Field(columns_of((name, kind)), lambda thing: (read(thing),))


def ranged(name: str, kind: Kind, read: Callable[[Thing], Ranged | None]) -> Field[Thing]:
    """Return a field of a value with the ends of its interval."""
    return Field(value_of(name, kind), lambda thing: ends_of(read(thing)))


def table_of(
    things: Iterable[Thing], *fields: Field[Thing], name: str, title: str, note: str = ""
) -> Table | None:
    """Return a table with a row for each thing; None without any."""
    rows = tuple(tuple(cell for field in fields for cell in field.cells(thing)) for thing in things)
    columns = tuple(column for field in fields for column in field.columns)
    return Table(name=name, title=title, columns=columns, rows=rows, note=note) if rows else None
