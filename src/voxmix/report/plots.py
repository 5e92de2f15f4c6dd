"""Drawing of the scatter of predictions and of the scaling curves as SVG."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from voxmix.law import TargetRegime
from voxmix.report.axes import end_labels, label_width, log_ticks, short_names
from voxmix.report.curves import CurvePanel, CurveSeries
from voxmix.report.palette import Mark, domain_marks, strategy_marks
from voxmix.report.svg import GRID, INK, SOFT, Drawing, canvas, finish, place
from voxmix.report.table import columns_of, percent_text
from voxmix.report.values import series, tell
from voxmix.scores.forecast import Forecast

_PANEL = (250.0, 193.0)
_ROOM, _LABEL = 57.0, 9.2
_SCATTER = 240.0
_BAND = 0.1
STRATEGIES = "strategies, when they were trained"


def draw_forecast(data: Forecast, *, number: int) -> Drawing:
    """Return predicted against measured loss, one point per strategy and target, on equal log axes."""
    name = f"forecast-{number}"
    marks = strategy_marks(data.strategies)
    both = np.isfinite(data.predicted) & np.isfinite(data.measured) & (data.measured > 0)
    values = np.concatenate([data.predicted[both], data.measured[both]])
    low, high = (float(values.min()) / 1.15, float(values.max()) * 1.15) if values.size else (0.1, 1.0)
    with canvas(name, width=_SCATTER, height=_SCATTER) as (figure, axes):
        place(figure, axes, left=52, right=14, top=22, bottom=37)
        line = np.array([low, high])
        axes.fill_between(line, line * (1 - _BAND), line * (1 + _BAND), color=GRID, alpha=0.6, linewidth=0)
        axes.plot(line, line, color=SOFT, linewidth=0.8)
        for i, strategy in enumerate(data.strategies):
            with series(axes, strategy, color=marks[strategy].color):
                for j in np.flatnonzero(both[i]):
                    pair = float(data.measured[i, j]), float(data.predicted[i, j])
                    tell(axes, *pair, (strategy, data.targets[j], *pair))
                axes.plot(
                    data.measured[i][both[i]],
                    data.predicted[i][both[i]],
                    marks[strategy].marker,
                    color=marks[strategy].color,
                    markersize=5,
                    alpha=0.85,
                    markeredgecolor="none",
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        log_ticks(axes.xaxis, line, whole=False)
        log_ticks(axes.yaxis, line, whole=False)
        axes.set_xlabel("measured loss")
        axes.set_ylabel("predicted loss")
        axes.set_title(f"law: {data.law}", fontsize=9.5, fontweight="bold", loc="left")
        return finish(
            figure,
            name=name,
            title=f"Predicted against measured loss, law {data.law}",
            description=f"Mean relative error {percent_text(data.mean_error)}; on the line a prediction is "
            "exact, in the band it is within 10%.",
            columns=columns_of(
                ("strategy", "text"), ("target", "text"), ("measured", "number"), ("predicted", "number")
            ),
        )


def draw_regime(targets: Sequence[TargetRegime], *, domains: tuple[str, ...]) -> Drawing:
    """Return every target's own curve as a share of its first loss; dashed where it tells too little."""
    marks = domain_marks(domains)
    names = short_names([item.target for item in targets], width=13)
    height = max(_PANEL[1], _ROOM + _LABEL * len(names))
    with canvas("regime", width=360.0, height=height) as (figure, axes):
        place(figure, axes, left=46, right=label_width(names) * 0.85 + 16, top=8, bottom=35)
        colors = [marks[item.target].color if item.target in marks else INK for item in targets]
        shares = [np.array(item.losses) / item.losses[0] for item in targets]
        for item, share, color in zip(targets, shares, colors, strict=True):
            line = "-" if item.decides else (0, (3, 2))
            with series(axes, item.target, color=color):
                for budget, loss, part in zip(item.budgets, item.losses, share, strict=True):
                    tell(axes, budget, part, (item.target, budget, loss, part))
                axes.plot(
                    item.budgets,
                    share,
                    color=color,
                    linestyle=line,
                    linewidth=1.4,
                    marker="o",
                    markersize=3.5,
                )
        axes.set_xscale("log")
        budgets = np.unique(np.concatenate([item.budgets for item in targets]))
        axes.set_xlim(budgets[0] / 1.08, budgets[-1] * 1.08)
        log_ticks(axes.xaxis, budgets, whole=True)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value * 100:g}%")
        axes.grid()
        axes.set_xlabel("budget, volume draws")
        ends, of = [float(share[-1]) for share in shares], [item.target for item in targets]
        end_labels(axes, ends, names, colors, height=height - _ROOM, of=of)
        return finish(
            figure,
            name="regime",
            title="How far losses fall with the budget",
            description="; ".join(f"{item.target} {item.verdict}" for item in targets),
            columns=columns_of(
                ("target", "text"), ("budget", "count"), ("loss", "number"), ("of its first loss", "percent")
            ),
        )


def draw_curves(panel: CurvePanel, *, number: int, domains: tuple[str, ...]) -> Drawing:
    """Return one target's losses over budgets: a line per source, dashed beyond the fitted budgets."""
    name, marks = f"curves-{number}", domain_marks(domains)
    drawn, labels = panel.drawn, _labels(panel)
    width, height = _PANEL[0], max(_PANEL[1], _ROOM + _LABEL * len(labels))
    with canvas(name, width=width, height=height) as (figure, axes):
        place(figure, axes, left=40, right=label_width(labels) * 0.85 + 16, top=22, bottom=35)
        for one in drawn:
            with series(axes, one.trained_on, color=_mark(one, marks).color):
                _draw_series(axes, panel, one, own=one.source == panel.target, mark=_mark(one, marks))
        trained = strategy_marks(tuple(dict.fromkeys(strategy for strategy, _, _ in panel.checks)))
        for strategy, budget, loss in panel.checks:
            mark = trained[strategy]
            with series(axes, STRATEGIES, color=INK):
                tell(axes, budget, loss, (strategy, budget, loss, None))
                axes.plot(
                    [budget],
                    [loss],
                    mark.marker,
                    markersize=4,
                    markerfacecolor="none",
                    markeredgecolor=mark.color,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        spread = np.concatenate([_visible(s) for s in drawn] + [np.array([c[2] for c in panel.checks])])
        axes.set_ylim(float(spread.min()) / 1.06, float(spread.max()) * 1.06)
        axes.set_xlim(panel.grid[0] / 1.08, panel.grid[-1] * 1.25)
        log_ticks(axes.yaxis, axes.get_ylim(), whole=False)
        log_ticks(axes.xaxis, panel.grid, whole=True)
        axes.grid()
        axes.set_xlabel("budget, volume draws")
        title = short_names([panel.target], width=30)[0]
        axes.set_title(f"loss on {title}", fontsize=9.5, fontweight="bold", loc="left")
        ends = [_end(one) for one in drawn]
        colors = [_mark(one, marks).color for one in drawn]
        of = [one.trained_on for one in drawn]
        end_labels(axes, ends, labels, colors, height=height - _ROOM, of=of)
        return finish(
            figure,
            name=name,
            title=f"Scaling of the loss on {panel.target}",
            description=f"Loss over budget on log axes after training on each of {len(drawn)} "
            f"mixtures{_of_many(panel)}; dots are measured, lines are the law, dashed beyond the fitted budgets.",
            columns=columns_of(
                ("trained on", "text"), ("budget", "count"), ("measured", "number"), ("by the law", "number")
            ),
        )


def _draw_series(axes: Axes, panel: CurvePanel, one: CurveSeries, *, own: bool, mark: Mark) -> None:
    width = 2.0 if own else 1.1 if one.hub is None else 0.6
    for budget, loss, fitted in zip(one.budgets, one.loss, one.fitted, strict=True):
        tell(axes, budget, loss, (one.label, budget, loss, fitted))
    inside = panel.grid <= panel.fitted_range[1] * 1.0001
    first_outside = max(int(inside.sum()) - 1, 0)
    axes.plot(panel.grid[inside], one.curve[inside], color=mark.color, linewidth=width)
    axes.plot(
        panel.grid[first_outside:],
        one.curve[first_outside:],
        color=mark.color,
        linewidth=width,
        linestyle=(0, (3, 2)),
    )
    known = bool(np.isfinite(one.curve).any())
    axes.plot(
        one.budgets,
        one.loss,
        marker=mark.marker,
        linestyle="none" if known else ":",
        linewidth=0.8,
        color=mark.color,
        markersize=5 if own else 3.5 if one.hub is None else 2.2,
        markeredgecolor="none",
    )


def _mark(series: CurveSeries, marks: dict[str, Mark]) -> Mark:
    return marks.get(series.source or series.hub or "", Mark(color=INK, marker="D"))


def _labels(panel: CurvePanel) -> list[str]:
    wanted = [
        series.label if series.hub is None else f"{series.hub} {100 * series.mixture[series.hub]:.3g}%"
        for series in panel.drawn
    ]
    names = short_names(wanted, width=13)
    return [
        f"{name} (own)" if series.source == panel.target else name
        for name, series in zip(names, panel.drawn, strict=True)
    ]


def _of_many(panel: CurvePanel) -> str:
    """Return of how many mixtures those that are drawn are, "" if all are."""
    return f" of {len(panel.series)}" if len(panel.series) > len(panel.drawn) else ""


def _visible(series: CurveSeries) -> Float[np.ndarray, " n"]:
    both = np.concatenate([series.loss, series.curve])
    return np.asarray(both[np.isfinite(both) & (both > 0)], dtype=np.float64)


def _end(series: CurveSeries) -> float:
    last = series.curve[-1]
    return float(last) if np.isfinite(last) else float(series.loss[-1])
