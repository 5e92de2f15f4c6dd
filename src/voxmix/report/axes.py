"""Parts that drawings share: rows of names, bars, readable log axes, labels at the ends of lines."""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from voxmix.report.palette import Mark, ink_on, short_name, text_width
from voxmix.report.svg import INK, PAGE
from voxmix.report.table import number_text
from voxmix.report.values import series

LETTER = 5.1
"""Width of an average letter of a tick label in SVG units (DejaVu Sans; browsers' own fonts are narrower)."""

_MANTISSAS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    tuple(np.arange(1, 10, 0.5)),
)

_MOST_TICKS = 7


def short_names(names: Sequence[str], *, width: float = 18) -> list[str]:
    """Return names cut to ``width`` letters; one that would then equal another gets its number."""
    cut = [short_name(name, width=width) for name in names]
    return [f"{n} {i + 1}" if cut.count(n) > 1 else n for i, n in enumerate(cut)]


def label_width(labels: Sequence[str]) -> float:
    """Return the width of the widest label in SVG units."""
    return max((text_width(label) for label in labels), default=0.0) * LETTER


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows 0, 1, ... from the top, without ticks or a line at the side."""
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)


def bar(axes: Axes, mark: Mark, *, y: float, left: float, width: float, height: float) -> None:
    """Draw one segment of a horizontal bar."""
    axes.add_patch(
        Rectangle(
            (left, y - height / 2),
            width,
            height,
            facecolor=mark.color,
            edgecolor=PAGE if not mark.hatch else ink_on(mark.color),
            linewidth=0.6,
            hatch=mark.hatch or None,
        )
    )


def thousands(value: float, _: object = None) -> str:
    """Return 500, 16k, 1.5M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def few_ticks() -> MaxNLocator:
    """Return a locator of about four round numbers."""
    return MaxNLocator(nbins=4)


def log_ticks(axis: Axis, values: Float[np.ndarray, " n"] | Sequence[float], *, whole: bool) -> None:
    """Put three to six round ticks on a log axis, written plainly (0.03, 16k); never a power of ten."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite) & (finite > 0)]
    ticks = round_ticks(float(finite.min()), float(finite.max()))
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FixedFormatter([thousands(t) if whole else number_text(t).rstrip("0").rstrip(".") for t in ticks])
    )


def round_ticks(low: float, high: float) -> list[float]:
    """Return the coarsest set of round numbers with at least three between ``low`` and ``high``."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    found: list[float] = []
    for mantissas in _MANTISSAS:
        found = [m * 10.0**d for d in decades for m in mantissas]
        found = [t for t in found if low * 0.97 <= t <= high * 1.03]
        if len(found) >= 3:
            return found[:: -(-len(found) // _MOST_TICKS)]
    return found or [low]


def spread(positions: Float[np.ndarray, " n"], *, gap: float) -> Float[np.ndarray, " n"]:
    """Return positions in [0, 1] at least ``gap`` apart, in the same order, moved as little as that allows.

    When that many do not fit they start at 0 and reach beyond 1.

    Clusters that overlap are merged and centered on the mean of their members, as in isotonic
    regression (pool adjacent violators).
    """
    order = np.argsort(positions, kind="stable")
    shifted = positions[order] - gap * np.arange(len(positions))
    blocks: list[tuple[float, int]] = []
    for value in shifted.tolist():
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            last, size = blocks.pop()
            mean, count = (mean * count + last * size) / (count + size), count + size
        blocks.append((mean, count))
    flat = np.concatenate([np.full(count, mean) for mean, count in blocks]) if blocks else shifted
    flat = np.clip(flat, 0.0, max(1 - gap * (len(positions) - 1), 0.0))
    result = np.empty(len(positions))
    result[order] = flat + gap * np.arange(len(positions))
    return result


def end_labels(
    axes: Axes,
    ends: Sequence[float],
    labels: Sequence[str],
    colors: Sequence[str],
    *,
    height: float,
    size: float = 7.5,
    of: Sequence[str] | None = None,
) -> None:
    """Write each label right of the axes at the height of its line's end, none over another.

    ``height`` is that of the axes in SVG units; ``of`` names the series of each label.
    """
    points = [(0.0, float(value)) for value in ends]
    pixels = axes.transData.transform(points)[:, 1]
    fractions = np.asarray(axes.transAxes.inverted().transform([(0.0, p) for p in pixels])[:, 1])
    figure = axes.get_figure(root=True)
    assert figure is not None
    places = spread(fractions, gap=(size + 1.5) / height)
    for number, (at, label, color) in enumerate(zip(places, labels, colors, strict=True)):
        with nullcontext() if of is None else series(axes, of[number], color=color):
            axes.annotate(
                label,
                (1.0, float(at)),
                xytext=(9, 0),
                xycoords="axes fraction",
                textcoords="offset points",
                va="center",
                fontsize=size,
                color=INK,
            )
            shifted = axes.transAxes + ScaledTranslation(4 / 72, 0, figure.dpi_scale_trans)
            axes.plot([1.0], [float(at)], "s", markersize=3, color=color, transform=shifted, clip_on=False)
