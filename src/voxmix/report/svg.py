"""From a matplotlib figure to SVG that lives inside a page: own ids, page colors, a title for readers."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from voxmix.report.lean_svg import lean_svg
from voxmix.report.table import Column, Table
from voxmix.report.values import GROUP, Sheet, Told, values_of

INK, SOFT, GRID, PAGE = "#010101", "#020202", "#030303", "#040404"
"""Stand-ins for the page's colors: text, secondary text, grid lines, background. In the page they become
CSS variables, so that one drawing serves the light and the dark scheme."""

_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--grid)", PAGE: "var(--page)"}
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": INK,
    "font.size": 9.0,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.major.size": 3.0,
    "hatch.linewidth": 0.6,
}
_POINTS_PER_INCH = 72.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A finished figure.

    Attributes:
        name: identifier, unique in a page; every id inside ``svg`` begins with it.
        svg: the ``<svg>`` element, safe to put into HTML; colors of text and lines are CSS variables.
        width, height: natural size in SVG units.
        title, description: what a reader without eyes hears.
        values: every value that is drawn.
        told: where each row of ``values`` is, and its text.
        series: label and color of what can be switched off: groups of ``svg`` have its number as ``data-series``.
    """

    name: str
    svg: str
    width: float
    height: float
    title: str
    description: str
    values: Table
    told: tuple[Told, ...]
    series: tuple[tuple[str, str], ...]


@contextmanager
def canvas(name: str, *, width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure of ``width`` x ``height`` SVG units with one axes, in the style of the report."""
    settings: Any = {**_RC, "svg.hashsalt": name}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # the reader's font has it
        figure = Sheet(figsize=(width / _POINTS_PER_INCH, height / _POINTS_PER_INCH))
        yield figure, figure.add_axes((0.0, 0.0, 1.0, 1.0))


def place(figure: Figure, axes: Axes, *, left: float, right: float, top: float, bottom: float) -> None:
    """Give the axes fixed margins in SVG units, whatever the size of the figure."""
    width, height = (float(edge) * _POINTS_PER_INCH for edge in figure.get_size_inches())
    axes.set_position(
        (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    )


def finish(figure: Figure, *, name: str, title: str, description: str, columns: Sequence[Column]) -> Drawing:
    """Return the figure as SVG for a page, with its values; call inside :func:`canvas`.

    ``columns`` are those of the values that were told while it was drawn. The same figure gives the same bytes: ids are
    salted by ``name``, no date is written.
    """
    stream = io.StringIO()
    figure.savefig(
        stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.S)
    text = re.sub(rf'<g id="{GROUP}(\d+)-\d+"', r'<g data-series="\1"', text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"font-family: [^;\"]+;? ?", "", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, variable)
    width, height = (float(edge) * _POINTS_PER_INCH for edge in figure.get_size_inches())
    head = (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc" xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width:g} {height:g}">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    body = lean_svg(text[text.index(">") + 1 :], name)
    table, told, series = values_of(figure, name=name, title=title, columns=columns, height=height)
    return Drawing(
        name=name,
        svg=head + body,
        width=width,
        height=height,
        title=title,
        description=description,
        values=table,
        told=told,
        series=tuple((label, _VARIABLES.get(color, color)) for label, color in series),
    )
