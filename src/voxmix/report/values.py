"""What a figure tells beyond its drawing: which marks are of which series, and the value of each mark.

Every figure passes through here: ``series`` names what is drawn inside it, ``tell`` gives the values at a place of the
drawing. From these the page has what it shows under the pointer and to the keyboard, what can be switched off, and the
CSV of the figure; no figure needs a script of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voxmix.report.table import MISSING, Cell, Column, Table

GROUP = "series-"
"""What the ids of all that is of a series begin with, until the figure is finished."""


Reach = float | tuple[float, float]
"""Where a mark is along one axis: at a place, or from one to another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """The value of one mark: ``box`` is where it is, in SVG units (left, top, right, bottom); ``series`` its number, -1 of none."""

    box: tuple[float, float, float, float]
    series: int
    text: str


@dataclass(kw_only=True, slots=True)
class _Place:
    axes: Axes
    x: tuple[float, float]
    y: tuple[float, float]
    series: int
    cells: tuple[Cell, ...]


@dataclass(kw_only=True, slots=True)
class Notes:
    """What was said of a figure while it was drawn: series with their colors, and places with values."""

    series: dict[str, str] = field(default_factory=dict)
    places: list[_Place] = field(default_factory=list)
    now: int = -1
    parts: int = 0


class Sheet(Figure):
    """A figure that keeps what was said of its marks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.notes = Notes()


@contextmanager
def series(axes: Axes, label: str, *, color: str = "") -> Iterator[None]:
    """Everything that is drawn into ``axes`` inside is of the series ``label``; one label may be used many times.

    ``color`` is what the page shows beside the label where the figure has no legend.
    """
    notes = _notes(axes)
    known = {id(artist) for artist in axes.get_children()}
    notes.series.setdefault(label, color)
    notes.now = list(notes.series).index(label)
    try:
        yield
    finally:
        for artist in axes.get_children():
            if id(artist) not in known:
                notes.parts += 1
                artist.set_gid(f"{GROUP}{notes.now}-{notes.parts}")
        notes.now = -1


def tell(axes: Axes, x: Reach, y: Reach, cells: Sequence[Any]) -> None:
    """Say the values of the mark at ``x``, ``y``, both of the axes' data: a cell for each of the figure's columns.

    A mark that is long or wide, as a bar is, has both its ends. Inside of :func:`series` it is of that series. What is
    not finite is not drawn, so it has no place.
    """
    if not np.isfinite([*_ends(x), *_ends(y)]).all():
        return
    notes = _notes(axes)
    told = tuple(_plain(cell) for cell in cells)
    notes.places.append(_Place(axes=axes, x=_ends(x), y=_ends(y), series=notes.now, cells=told))


def values_of(
    figure: Figure, *, name: str, title: str, columns: Sequence[Column], height: float
) -> tuple[Table, tuple[Told, ...], tuple[tuple[str, str], ...]]:
    """Return the table of a finished figure's values, the place and text of each of its rows, and the series with colors."""
    assert isinstance(figure, Sheet)
    notes = figure.notes
    table = Table(
        name=name, title=title, columns=tuple(columns), rows=tuple(place.cells for place in notes.places)
    )
    told = tuple(
        Told(
            box=_box(place, scale=72 / figure.dpi, height=height), series=place.series, text=_text(table, row)
        )
        for place, row in zip(notes.places, table.text_rows(), strict=True)
    )
    return table, told, tuple(notes.series.items())


def _notes(axes: Axes) -> Notes:
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Sheet)
    return figure.notes


def _plain(cell: Any) -> Cell:
    """Return a value as Python has it, whatever array it came from."""
    value: Cell = cell.item() if hasattr(cell, "item") else cell
    return value


def _ends(place: Reach) -> tuple[float, float]:
    first, last = place if isinstance(place, tuple) else (place, place)
    return float(first), float(last)


def _box(place: _Place, *, scale: float, height: float) -> tuple[float, float, float, float]:
    corners = place.axes.transData.transform(list(zip(place.x, place.y, strict=True))) * scale
    (left, right), (low, high) = sorted(corners[:, 0].tolist()), sorted(corners[:, 1].tolist())
    return round(left, 1), round(height - high, 1), round(right, 1), round(height - low, 1)


def _text(table: Table, row: Sequence[str]) -> str:
    """Return the words of a row in one line, then what is known of it, a line for each."""
    known = [(c, cell) for c, cell in zip(table.shown, row, strict=True) if cell not in ("", MISSING)]
    head = " · ".join(cell for c, cell in known if c.kind == "text")
    return "\n".join([head, *(f"{c.name}: {cell}" for c, cell in known if c.kind != "text")])
