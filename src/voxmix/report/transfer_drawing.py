"""Drawing of transfer matrices: a row per source, a column per target, each cell with how sure it is."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from voxmix.report.axes import label_width, short_names
from voxmix.report.figures import TransferData
from voxmix.report.palette import ink_on
from voxmix.report.svg import INK, PAGE, SOFT, Drawing, canvas, finish, place
from voxmix.report.table import MISSING, columns_of, value_of
from voxmix.report.values import tell

_LARGE, _SMALL = 40.0, 9.0  # width of a cell
_WIDE = 300.0  # width of all cells, as far as their limits allow it
_FLAT = 0.78  # height of a cell over its width
_BELOW = 18.0
_HEADING = 160.0  # width of the words above
_TEXT = 24.0  # width of a cell from which it has a number
_REACH = 0.41  # of a cell's width, from its middle, that the line of its interval may take


def worth_text(transfer: float) -> str:
    """Return a transfer in hundredths: draws of the target that 100 draws of the source are worth.

    >>> worth_text(0.472), worth_text(0.0234), worth_text(7e-5), worth_text(float("nan"))
    ('47', '2.3', '<0.1', '–')
    """
    if not np.isfinite(transfer):
        return MISSING
    value = 100 * transfer
    if 0 < value < 0.1:
        return "<0.1"
    return f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"


def draw_transfer(data: TransferData, *, number: int = 0) -> Drawing:
    """Return the heat map of one law: its shade is the low end of the interval, a line in each cell the interval."""
    name = f"transfer-{number}"
    names, above = short_names(data.domains), short_names(data.targets)
    rows, columns = len(names), len(above)
    cell = float(np.clip(_WIDE / columns, _SMALL, _LARGE))
    lettered = cell >= _TEXT
    size, slope = (8.5, 45) if lettered else (min(8.5, 0.8 * cell), 90)
    left = label_width(names) * size / 8.5 + 36
    top = label_width(above) * (0.72 if lettered else 1.0) * size / 8.5 + 52
    right = max(14.0, label_width(above) * 0.72 * size / 8.5 - cell / 2 + 8)
    width, height = left + max(cell * columns + right, _HEADING), top + cell * _FLAT * rows + _BELOW
    with canvas(name, width=width, height=height) as (figure, axes):
        place(figure, axes, left=left, right=width - left - cell * columns, top=top, bottom=_BELOW)
        for i in range(rows):
            for j in range(columns):
                _cell(axes, data, i, j, lettered=lettered)
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xticks(
            range(columns), above, rotation=slope, ha="left" if lettered else "center", fontsize=size
        )
        axes.set_yticks(range(rows), names, fontsize=size)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_ylabel("source (row):\ntrained on", fontweight="bold")
        figure.text(
            left / width, 1 - 10 / height, f"law: {data.law}", fontsize=9.5, fontweight="bold", va="center"
        )
        figure.text(
            left / width,
            1 - 27 / height,
            "target (column): measured on",
            fontweight="bold",
            va="center",
            ha="left",
        )
        return finish(
            figure,
            name=name,
            title=f"Transfer, source by target, of the law {data.law}",
            description="Rows are sources, columns are targets; a number is how many draws of the target 100 draws of the source "
            "are worth. The table below holds every value with its interval.",
            columns=(
                *columns_of(("source → target", "text")),
                *value_of("draws that 100 are worth", "number"),
                *columns_of(("state", "text")),
            ),
        )


def _cell(axes: Axes, data: TransferData, i: int, j: int, *, lettered: bool) -> None:
    """Draw the cell of source ``i`` and target ``j``; hatched and with a dash where nothing is known."""
    value, (low, high) = float(data.transfer[i, j]), data.interval[i, j].tolist()
    known, sure = np.isfinite(value), np.isfinite(low)
    own = data.domains[i] == data.targets[j]
    pair = f"{data.domains[i]} → {data.targets[j]}"
    tell(
        axes,
        (j - 0.5, j + 0.5),
        (i - 0.5, i + 0.5),
        (pair, 100 * value, 100 * low, 100 * high, data.status[i][j] or None),
    )
    worth = (low if sure else value) / data.ceiling
    color = to_hex(colormaps["Blues"](0.04 + 0.9 * min(worth, 1.0))) if known else "#ffffff"
    axes.add_patch(
        Rectangle(
            (j - 0.5, i - 0.5),
            1,
            1,
            facecolor=color if known else "none",
            edgecolor=PAGE if known else SOFT,
            linewidth=(1.0 if lettered else 0.3) if known else 0.4,
            hatch=None if known else "////",
        )
    )
    if not lettered:
        return
    ink = ink_on(color) if known else INK
    lined = known and sure and not own
    text = "own" if own and known else worth_text(value)
    axes.text(j, i - (0.14 if lined else 0), text, ha="center", va="center", fontsize=8, color=ink)
    if lined:
        start, end, at = (j - _REACH + 2 * _REACH * min(x / data.ceiling, 1.0) for x in (low, high, value))
        axes.plot([j - _REACH, j + _REACH], [i + 0.27] * 2, color=ink, linewidth=0.4, alpha=0.5)
        axes.plot([start, end], [i + 0.27] * 2, color=ink, linewidth=1.6, solid_capstyle="butt")
        axes.plot([at], [i + 0.27], "o", color=ink, markersize=2.6)
    if data.disputed[i, j]:
        axes.plot([j + 0.41], [i - 0.37], "v", color=ink, markersize=3.2)
