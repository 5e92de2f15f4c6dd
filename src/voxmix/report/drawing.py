"""Drawing of the figures' data as SVG; no numbers are made here."""

import numpy as np
from matplotlib.patches import Rectangle

from voxmix.report.axes import (
    bar,
    end_labels,
    few_ticks,
    label_width,
    log_ticks,
    name_rows,
    short_names,
    thousands,
)
from voxmix.report.figures import AnswerData, EffectiveData, MeansData, PathData, SharesData
from voxmix.report.palette import domain_marks, ink_on, law_markers, strategy_marks
from voxmix.report.svg import GRID, INK, SOFT, Drawing, canvas, finish, place
from voxmix.report.table import columns_of, number_text, percent_text, range_of, value_of
from voxmix.report.values import series, tell

_WIDTH = 360.0
_STRATEGY = 22  # letters of offset-diversity-aware


def draw_answer(data: AnswerData) -> Drawing:
    """Return bars of the weights with their near-optimal ranges and intervals."""
    names, rows = short_names(data.domains), len(data.domains)
    marks = domain_marks(data.domains)
    height = rows * 28.0 + 38
    top = float(np.nanmax([data.weight.max(), _nanmax(data.interval), _nanmax(data.near)]))
    with canvas("answer", width=_WIDTH, height=height) as (figure, axes):
        place(figure, axes, left=_left(names), right=14, top=4, bottom=34)
        for i, name in enumerate(data.domains):
            bar(axes, marks[name], y=i, left=0.0, width=float(data.weight[i]), height=0.42)
            cells = (name, data.weight[i], *data.interval[i], *data.near[i])
            tell(axes, (0.0, data.weight[i]), (i - 0.3, i + 0.3), cells)
            low, high = data.near[i]
            if np.isfinite(low):
                axes.plot([low, high], [i + 0.36, i + 0.36], color=SOFT, linewidth=3.2, solid_capstyle="butt")
            low, high = data.interval[i]
            if np.isfinite(low):
                axes.plot([low, high], [i, i], color=INK, linewidth=1.0)
                axes.plot([low, high], [i, i], "|", color=INK, markersize=6, markeredgewidth=1.0)
            end = float(np.nanmax([data.weight[i], data.interval[i, 1]]))
            axes.text(
                end + top * 0.025, i, percent_text(float(data.weight[i])), va="center", fontweight="bold"
            )
        name_rows(axes, names)
        axes.set_xlim(0, top * 1.2)
        axes.set_xlabel("share of the budget")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
        axes.grid(axis="x")
        return finish(
            figure,
            name="answer",
            title=f"Share of the budget per domain ({data.strategy})",
            description="; ".join(
                f"{n} {percent_text(float(w))}" for n, w in zip(data.domains, data.weight, strict=True)
            ),
            columns=(
                *columns_of(("domain", "text")),
                *value_of("share", "percent"),
                *range_of("nearly as good", "percent"),
            ),
        )


def draw_shares(
    data: SharesData,
    *,
    name: str = "shares",
    title: str = "Mixture of every strategy",
    width: float = _WIDTH,
) -> Drawing:
    """Return one stacked bar per mixture; a share that is wide enough carries its percentage."""
    marks = domain_marks(data.domains)
    names = short_names(data.strategies, width=_STRATEGY)
    height = len(names) * 30.0 + 38
    with canvas(name, width=width, height=height) as (figure, axes):
        place(figure, axes, left=_left(names), right=10, top=4, bottom=34)
        for i in range(len(names)):
            left = 0.0
            for domain, weight in zip(data.domains, data.weights[i].tolist(), strict=True):
                middle = left + weight / 2
                with series(axes, domain, color=marks[domain].color):
                    cells = (data.strategies[i], domain, weight)
                    tell(axes, (left, left + weight), (i - 0.36, i + 0.36), cells)
                    bar(axes, marks[domain], y=i, left=left, width=weight, height=0.72)
                    if weight >= 0.075:
                        axes.text(
                            middle,
                            i,
                            f"{weight * 100:.0f}",
                            ha="center",
                            va="center",
                            fontsize=8,
                            color=ink_on(marks[domain].color),
                        )
                left += weight
        name_rows(axes, names)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the budget, %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value * 100:g}")
        return finish(
            figure,
            name=name,
            title=title,
            description="One bar per mixture, divided by domain; the table below holds the shares.",
            columns=columns_of(("strategy", "text"), ("domain", "text"), ("share", "percent")),
        )


def draw_means(data: MeansData) -> Drawing:
    """Return the measured mean loss per strategy, seed by seed, with what the laws predicted."""
    strategies = data.ranking.strategies
    marks, names = strategy_marks(strategies), short_names(strategies, width=_STRATEGY)
    height = len(names) * 30.0 + 40
    with canvas(f"means-{data.budget}", width=_WIDTH, height=height) as (figure, axes):
        place(figure, axes, left=_left(names), right=16, top=6, bottom=36)
        low, high = data.axis
        markers = law_markers(data.laws)
        for i, name in enumerate(strategies):
            runs = data.ranking.runs[i][np.isfinite(data.ranking.runs[i])]
            axes.plot(runs, np.full(len(runs), i), "o", color=marks[name].color, alpha=0.55, markersize=5)
            mean, ends = float(data.ranking.values[i]), [float(end[i]) for end in data.bars]
            for run in runs:
                tell(axes, run, i, (name, "one run", run, None, None))
            tell(axes, mean, (i - 0.3, i + 0.3), (name, "mean of its runs", mean, *ends))
            axes.plot([mean, mean], [i - 0.3, i + 0.3], color=marks[name].color, linewidth=2.4)
            if ends[0] < ends[1]:
                axes.plot(ends, [i, i], "|-", color=INK, linewidth=1.0, markersize=6, markeredgewidth=1.0)
            for k, law in enumerate(data.laws):
                if not data.beyond(law):
                    told = data.predicted[k, i]
                    with series(axes, f"predicted by {law}", color=INK):
                        tell(axes, told, i + 0.3, (name, f"predicted by {law}", told, None, None))
                        axes.plot(
                            [told],
                            [i + 0.3],
                            markers[law],
                            markersize=5,
                            markerfacecolor="none",
                            markeredgecolor=INK,
                        )
        name_rows(axes, names)
        axes.set_xlabel(f"{data.ranking.measure.words} (lower is better)")
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(few_ticks())
        axes.grid(axis="x")
        return finish(
            figure,
            name=f"means-{data.budget}",
            title=f"{data.ranking.measure.words.capitalize()} of the strategies at {data.budget:,} {data.unit}",
            description="Dots are runs without their seed's own effect, upright bars their mean, hollow marks the laws' "
            "predictions; where two whiskers do not meet, the difference is more than noise.",
            columns=(
                *columns_of(("strategy", "text"), ("what", "text")),
                *value_of(data.ranking.measure.words, "number"),
            ),
        )


def draw_effective(data: EffectiveData) -> Drawing:
    """Return one stacked bar per target: which source its effective budget comes from."""
    marks, names = domain_marks(data.domains), short_names(data.targets)
    height = len(names) * 26.0 + 38
    reach = max(_nanmax(data.contributions.sum(axis=0)), _nanmax(data.total)) or 1.0
    with canvas("effective", width=_WIDTH, height=height) as (figure, axes):
        place(figure, axes, left=_left(names), right=54, top=4, bottom=34)
        for j in range(len(names)):
            if not np.isfinite(data.total[j]):
                axes.text(reach * 0.01, j, "not known", va="center", fontsize=8.5, color=SOFT)
                continue
            left = 0.0
            for name, part in zip(data.domains, data.contributions[:, j].tolist(), strict=True):
                with series(axes, name, color=marks[name].color):
                    cells = (data.targets[j], f"from {name}", part)
                    tell(axes, (left, left + part), (j - 0.33, j + 0.33), cells)
                    bar(axes, marks[name], y=j, left=left, width=part, height=0.66)
                left += part
            gain = float(data.total[j]) - left
            if gain > 0:
                axes.add_patch(Rectangle((left, j - 0.33), gain, 0.66, facecolor=GRID, linewidth=0))
            tell(axes, data.total[j], (j - 0.4, j + 0.4), (data.targets[j], "in all", data.total[j]))
            axes.plot([data.total[j]] * 2, [j - 0.4, j + 0.4], color=INK, linewidth=1.4)
            if np.isfinite(data.amplification[j]):
                end = max(left, float(data.total[j]))
                label = f"×{data.amplification[j]:.2g}"
                axes.text(end + reach * 0.02, j, label, va="center", fontsize=8.5, color=INK)
        name_rows(axes, names)
        axes.set_xlim(0, reach * 1.02)
        axes.set_xlabel("effective budget, draws of the target")
        axes.xaxis.set_major_locator(few_ticks())
        axes.xaxis.set_major_formatter(thousands)
        axes.grid(axis="x")
        return finish(
            figure,
            name="effective",
            title=f"Effective budget per target, by source ({data.strategy})",
            description="; ".join(
                f"{n} {number_text(float(t))} draws" for n, t in zip(data.targets, data.total, strict=True)
            ),
            columns=columns_of(("target", "text"), ("part", "text"), ("effective budget", "number")),
        )


def draw_path(data: PathData) -> Drawing:
    """Return the weights of the answer over the budget, labeled at their ends."""
    marks = domain_marks(data.domains)
    labels = short_names(data.domains, width=14)
    with canvas("path", width=_WIDTH, height=200) as (figure, axes):
        place(figure, axes, left=38, right=label_width(labels) + 16, top=6, bottom=36)
        for i, name in enumerate(data.domains):
            with series(axes, name, color=marks[name].color):
                for budget, weight in zip(data.budgets, data.weights[:, i], strict=True):
                    tell(axes, budget, weight, (name, budget, weight))
                axes.plot(
                    data.budgets,
                    data.weights[:, i],
                    color=marks[name].color,
                    marker=marks[name].marker,
                    markersize=3.5,
                )
        axes.set_xscale("log")
        log_ticks(axes.xaxis, data.budgets, whole=True)
        axes.set_ylim(0, float(data.weights.max()) * 1.08)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
        axes.set_xlabel(f"budget, {data.unit}")
        axes.grid(axis="y")
        colors = [marks[n].color for n in data.domains]
        end_labels(axes, data.weights[-1].tolist(), labels, colors, height=158, of=data.domains)
        return finish(
            figure,
            name="path",
            title="Best mixture as a function of the budget",
            description="One line per domain; the table below holds the shares.",
            columns=columns_of(("domain", "text"), ("budget", "count"), ("share", "percent")),
        )


def _left(names: list[str]) -> float:
    return label_width(names) + 10


def _nanmax(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0
