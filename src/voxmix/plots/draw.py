"""Drawing of the plots' data into matplotlib Axes; no numbers are made here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from voxmix.allocation import Allocation, AllocationPath
from voxmix.law import FittedLaw
from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.plots import data
from voxmix.report.palette import domain_marks, ink_on
from voxmix.scores import Comparison

_STATES = {"at bound": "*", "not identified": "?", "not converged": "!"}
_RANGE = "#9a9a9a"


def _axes(ax: Axes | None, *, height: float = 3.6, width: float = 5.4) -> Axes:
    """Return the axes to draw into: the given ones, or those of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, made = plt.subplots(figsize=(width, height), layout="constrained")
    return made


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _rows(axes: Axes, names: tuple[str, ...]) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)


def _percent(value: float, _: Any = None) -> str:
    return f"{100 * value:g}%"


def curves(
    law: FittedLaw,
    table: MeasurementTable | None = None,
    *,
    target: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Return how the loss falls with the budget: each target's own curve, dashed beyond the fitted budgets.

    Args:
        law: a fitted law.
        table: what it was fitted to; its runs are drawn as points.
        target: draw this target alone, with a curve for each source that is trained on.
        ax: draw into these axes.
    """
    found = data.curves_data(law, table, target=target)
    marks = domain_marks(law.domains)
    axes = _axes(ax)
    for curve in found:
        name = curve.target if target is None else curve.source
        mark = marks.get(curve.source, next(iter(marks.values())))
        inside = curve.grid <= curve.fitted_range[1] * 1.0001
        edge = max(int(inside.sum()) - 1, 0)
        axes.plot(curve.grid[inside], curve.predicted[inside], color=mark.color, label=name)
        axes.plot(curve.grid[edge:], curve.predicted[edge:], color=mark.color, linestyle="--")
        axes.plot(curve.budgets, curve.measured, mark.marker, color=mark.color, markersize=4)
    axes.set_xscale("log")
    if not law.response.rises:
        axes.set_yscale("log")
    axes.set_xlabel("budget, volume draws" if law.response.unit == "draws" else "budget, samples")
    axes.set_ylabel(law.response.name if target is None else f"{law.response.name} on {target}")
    axes.legend(title="domain" if target is None else "trained on", frameon=False, fontsize="small")
    _plain(axes)
    return axes


def transfer(law: FittedLaw, *, ax: Axes | None = None) -> Axes:
    """Return the transfer matrix as a heat map: sources are rows, targets are columns, as in the report.

    A value is what one draw of the source is worth for the target, in draws of the target. A star marks a value at a
    bound, a question mark one that the runs do not tell.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    found = data.transfer_data(law)
    rows, columns = found.values.shape
    axes = _axes(ax, width=2.4 + 0.7 * columns, height=1.6 + 0.5 * rows)
    shades = colormaps["Blues"]
    known = found.values[np.isfinite(found.values)]
    top = max(1.0, float(known.max())) if known.size else 1.0
    axes.imshow(found.values, cmap=shades, vmin=0.0, vmax=top, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            value = float(found.values[i, j])
            if np.isfinite(value):
                text = f"{value:.2g}{_STATES.get(found.states[i][j], '')}"
                ink = ink_on(to_hex(shades(min(value / top, 1.0))))
                axes.text(j, i, text, ha="center", va="center", color=ink, fontsize="small")
    axes.set_xticks(range(columns), list(found.targets), rotation=45, ha="right")
    axes.set_yticks(range(rows), list(found.sources))
    axes.set_xlabel("target (measured on)")
    axes.set_ylabel("source (trained on)")
    axes.tick_params(length=0)
    return axes


def shares(allocation: Allocation | Mixture, *, ax: Axes | None = None) -> Axes:
    """Return the share of each domain, with its interval (thin) and its near-optimal range (thick, gray)."""
    found = data.shares_data(allocation)
    marks = domain_marks(found.domains)
    axes = _axes(ax, height=1.0 + 0.42 * len(found.domains))
    for i, name in enumerate(found.domains):
        axes.barh(i, found.weights[i], height=0.5, color=marks[name].color)
        if np.isfinite(found.near[i]).all():
            axes.plot(found.near[i], [i + 0.36] * 2, color=_RANGE, linewidth=3.5, solid_capstyle="butt")
        if np.isfinite(found.interval[i]).all():
            axes.plot(found.interval[i], [i, i], "|-", color="black", linewidth=1.0, markersize=7)
    _rows(axes, found.domains)
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlim(left=0.0)
    axes.set_xlabel("share of the budget")
    _plain(axes)
    return axes


def strategies(mixtures: Mapping[str, Allocation | Mixture], *, ax: Axes | None = None) -> Axes:
    """Return one stacked bar for each of several mixtures, named by the keys."""
    domains, weights = data.strategies_data(mixtures)
    marks = domain_marks(domains)
    axes = _axes(ax, height=1.2 + 0.42 * len(weights))
    left = np.zeros(len(weights))
    for i, domain in enumerate(domains):
        mark = marks[domain]
        axes.barh(
            np.arange(len(weights)),
            weights[:, i],
            left=left,
            height=0.7,
            color=mark.color,
            hatch=mark.hatch,
            label=domain,
        )
        left = left + weights[:, i]
    _rows(axes, tuple(mixtures))
    axes.xaxis.set_major_formatter(_percent)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("share of the budget")
    axes.legend(frameon=False, fontsize="small", bbox_to_anchor=(1.0, 1.0), loc="upper left")
    _plain(axes)
    return axes


def predictions(law: FittedLaw, table: MeasurementTable, *, ax: Axes | None = None) -> Axes:
    """Return predicted against measured values of a table's runs: on the line a prediction is exact.

    Runs that the law was fitted to look better here than new ones will; give a table of runs that were held out.
    """
    measured, predicted, targets = data.predictions_data(law, table)
    marks = domain_marks(law.targets)
    axes = _axes(ax, width=4.2, height=4.0)
    for name in law.targets:
        own = np.array([target == name for target in targets])
        axes.plot(
            measured[own],
            predicted[own],
            marks[name].marker,
            color=marks[name].color,
            markersize=4,
            label=name,
        )
    ends = [float(np.nanmin([measured, predicted])), float(np.nanmax([measured, predicted]))]
    axes.plot(ends, ends, color=_RANGE, linewidth=1.0, zorder=0)
    if not law.response.rises and ends[0] > 0:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel(f"measured {law.response.name}")
    axes.set_ylabel(f"predicted {law.response.name}")
    axes.legend(title="target", frameon=False, fontsize="small")
    _plain(axes)
    return axes


def budgets(path: AllocationPath, *, ax: Axes | None = None) -> Axes:
    """Return how the best shares move along a path, over the budget or over min_weight."""
    values, weights = data.budgets_data(path)
    marks = domain_marks(path.domains)
    axes = _axes(ax)
    for i, name in enumerate(path.domains):
        axes.plot(values, weights[:, i], color=marks[name].color, label=name)
    if path.axis == "budget":
        axes.set_xscale("log")
    axes.set_xlabel("budget, volume draws" if path.axis == "budget" else path.axis)
    axes.set_ylabel("share of the budget")
    axes.yaxis.set_major_formatter(_percent)
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False, fontsize="small")
    _plain(axes)
    return axes


def scores(comparison: Comparison, task: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Return the main score of every initialization on a task with its interval, best first; the first task if none is named."""
    found = data.scores_data(comparison, comparison.table.tasks[0] if task is None else task)
    axes = _axes(ax, height=1.0 + 0.42 * len(found.names))
    for i, (value, (low, high)) in enumerate(zip(found.values, found.interval, strict=True)):
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [i, i], "|-", color="black", linewidth=1.0, markersize=7)
        axes.plot([value], [i], "o", color="#0072B2")
    _rows(axes, found.names)
    axes.set_xlabel(found.measure)
    _plain(axes)
    return axes
