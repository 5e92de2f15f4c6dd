"""Figures of an encoder study: error against samples, what a doubling takes away, and what is out of domain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from voxmix.report.axes import end_labels, few_ticks, label_width, round_ticks, short_names, thousands
from voxmix.report.palette import Mark, domain_marks
from voxmix.report.svg import GRID, INK, PAGE, SOFT, Drawing, canvas, finish, place
from voxmix.report.table import columns_of, percent_text, value_of
from voxmix.report.values import series, tell
from voxmix.scaling import Number, Reference, ScoreLaws, Series
from voxmix.scaling.results import Scored

_PANEL = (330.0, 236.0)
REFERENCE, MORE = "reference, with its band", "more compute"
"""What the legend calls the lines across, and hollow marks."""
_ROW = 17.0
_ROWS = 20
"""Of one drawing of many tasks."""


def series_marks(names: Sequence[str]) -> dict[str, Mark]:
    """Return one mark for each series, the same in every figure."""
    return domain_marks(names)


@dataclass(frozen=True, kw_only=True, slots=True)
class CurveData:
    """What one task's curves show.

    Attributes:
        more: (name of series, samples, error) of runs with more compute, a mark for each run.
    """

    task: str
    metric: str
    outside: bool
    series: tuple[Series, ...]
    references: tuple[Reference, ...]
    more: tuple[tuple[str, int, float], ...] = ()


def curve_data(laws: ScoreLaws, scored: Sequence[Scored]) -> tuple[CurveData, ...]:
    """Return the curves of every task, in the order of the laws."""
    from voxmix.scaling.parts import series_name

    found = []
    for task in dict.fromkeys(one.task for one in laws.series):
        own = tuple(one for one in laws.series if one.task == task)
        more = tuple(
            (series_name(item.judged.objective, item.judged.start), item.judged.samples, 1 - item.score)
            for item in scored
            if item.task == task and item.judged.control == "compute" and item.score < 1
        )
        found.append(
            CurveData(
                task=task,
                metric=own[0].metric,
                outside=own[0].outside,
                series=own,
                references=tuple(one for one in laws.references if one.task == task),
                more=more,
            )
        )
    return tuple(found)


def draw_curve(data: CurveData, *, names: Sequence[str], number: int) -> Drawing:
    """Return a task's error against samples, both on log axes.

    Small marks are seeds, large ones their mean with its interval, lines the fitted law over the measured sizes; hollow marks
    had more compute. Lines across are references, with their bands.
    """
    name, marks = f"samples-{number}", series_marks(names)
    ends = [(one.name, one.errors[-1], marks[one.name].color) for one in data.series]
    ends += [(one.name, one.error, INK) for one in data.references]
    labels = short_names([end[0] for end in ends], width=20)
    with canvas(name, width=_PANEL[0], height=_PANEL[1]) as (figure, axes):
        place(figure, axes, left=50, right=label_width(labels) * 0.85 + 16, top=24, bottom=36)
        for line in data.references:
            with series(axes, REFERENCE, color=INK):
                if line.low < line.high:
                    axes.axhspan(line.low, line.high, color=GRID, alpha=0.6, linewidth=0)
                axes.axhline(line.error, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        shift = np.linspace(-0.012, 0.012, len(data.series)) if len(data.series) > 1 else np.zeros(1)
        samples = np.array(sorted({n for one in data.series for n in one.samples}), dtype=np.float64)
        wide = max(float(np.log(samples[-1] / samples[0])), 0.5)
        for one, place_ in zip(data.series, shift, strict=True):
            with series(axes, one.name, color=marks[one.name].color):
                _draw_series(axes, one, marks[one.name], aside=float(np.exp(place_ * wide)))
        for called, count, error in data.more:
            if called in marks:
                mark = marks[called]
                with series(axes, MORE, color=INK):
                    tell(axes, count, error, (f"{called}, {MORE}", count, error, None, None))
                    axes.plot(
                        [count],
                        [error],
                        mark.marker,
                        color=mark.color,
                        markerfacecolor=PAGE,
                        markersize=5,
                        markeredgewidth=1.1,
                        alpha=0.9,
                    )
        axes.set_xscale("log")
        axes.set_yscale("log")
        low, high = _reach(data)
        axes.set_ylim(low, high)
        axes.set_xlim(samples[0] / 1.12, samples[-1] * 1.12)
        for line in data.references:
            with series(axes, REFERENCE, color=INK):
                across = float(samples[0]), float(samples[-1])
                tell(axes, across, line.error, (line.name, None, line.error, line.low, line.high))
        axes.set_xticks(ticks := _apart(samples), [thousands(size) for size in ticks])
        axes.set_yticks(rounds := round_ticks(low, high), [f"{tick:.3g}" for tick in rounds])
        axes.minorticks_off()
        axes.grid()
        axes.set_xlabel("samples")
        axes.set_ylabel(f"error: 1 − {data.metric}")
        (title,) = short_names([data.task], width=30)
        axes.set_title(
            f"{title}{', out of domain' if data.outside else ''}",
            fontsize=9.5,
            fontweight="bold",
            loc="left",
        )
        of = [one.name for one in data.series] + [REFERENCE for _ in data.references]
        heights, colors = [end[1] for end in ends], [end[2] for end in ends]
        end_labels(axes, heights, labels, colors, height=_PANEL[1] - 60, of=of)
        return finish(
            figure,
            name=name,
            title=f"Error on {data.task} against samples",
            description="; ".join(
                f"{one.name}: "
                + ", ".join(f"{n:,} samples {e:.3f}" for n, e in zip(one.samples, one.errors, strict=True))
                for one in data.series
            ),
            columns=(
                *columns_of(("encoder", "text"), ("samples", "count")),
                *value_of(f"error: 1 − {data.metric}", "number"),
            ),
        )


def _draw_series(axes: Axes, one: Series, mark: Mark, *, aside: float) -> None:
    if one.line is not None:
        first, last = one.samples[0], one.samples[-1]
        sizes = np.array([first, *(n for n in one.line.samples if first < n < last), last], dtype=np.float64)
        known = np.log(one.line.samples)
        middle, least, most = (
            np.exp(np.interp(np.log(sizes), known, np.log(values)))
            for values in (one.line.errors, one.line.low, one.line.high)
        )
        axes.plot(sizes, middle, color=mark.color, linewidth=1.4)
        axes.fill_between(sizes, least, most, color=mark.color, alpha=0.12, linewidth=0)
    for n, error, low, high, seeds in zip(
        one.samples, one.errors, one.low, one.high, one.seed_errors, strict=True
    ):
        at = n * aside
        tell(axes, at, error, (one.name, n, error, low, high))
        axes.plot([at] * len(seeds), seeds, ".", color=mark.color, markersize=3, alpha=0.6)
        if np.isfinite([low, high]).all():
            axes.plot([at, at], [low, high], color=mark.color, linewidth=1.0, alpha=0.7)
        axes.plot([at], [error], mark.marker, color=mark.color, markersize=5.5, markeredgecolor="none")


def _apart(samples: np.ndarray) -> list[float]:
    """Return the sizes that are written below the axis: the measured ones, but for those too near the one before."""
    kept = [float(samples[0])]
    for size in samples[1:].tolist():
        if np.log(size / kept[-1]) > 0.12 * np.log(samples[-1] / samples[0]):
            kept.append(size)
    return kept


def _reach(data: CurveData) -> tuple[float, float]:
    """Return the ends of the error axis: all that is drawn, but intervals at most a factor beyond the errors."""
    errors = [e for one in data.series for row in one.seed_errors for e in row]
    errors += [line.error for line in data.references] + [error for *_, error in data.more]
    ends = [e for one in data.series for e in (*one.low, *one.high) if np.isfinite(e)]
    least, most = min(errors), max(errors)
    low, high = max(min([least, *ends]), least / 1.5), min(max([most, *ends]), most * 1.5)
    return low / 1.06, high * 1.06


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestData:
    """Numbers with intervals, a row for each series of each task.

    Attributes:
        rows: (task, name of series, number).
        reach: ends of all intervals, also those of other parts; holds 0.
    """

    rows: tuple[tuple[str, str, Number], ...]
    reach: tuple[float, float]


def doublings_data(laws: ScoreLaws) -> tuple[ForestData, ...]:
    """Return what a doubling of the samples takes away, where it can be told: in parts of whole tasks that fit on a page each,
    with the same reach; none where it can be told nowhere."""
    parts: list[list[tuple[str, str, Number]]] = []
    tasks: dict[str, list[tuple[str, str, Number]]] = {}
    for one in laws.series:
        if one.per_doubling.known:
            tasks.setdefault(one.task, []).append((one.task, one.name, one.per_doubling))
    for rows in tasks.values():
        if not parts or len(parts[-1]) + len(rows) > _ROWS:
            parts.append([])
        parts[-1] += rows
    ends = [end for rows in parts for *_, number in rows for end in (number.low, number.high)]
    reach = (min([0.0, *ends]), max([0.0, *ends]))
    return tuple(ForestData(rows=tuple(rows), reach=reach) for rows in parts)


def draw_doublings(data: ForestData, *, names: Sequence[str], level: float, number: int = 0) -> Drawing:
    """Return what a doubling does to the error, as the table beside it: left of 0 it falls; filled where its interval does not hold 0."""
    called = f"doublings-{number}" if number else "doublings"
    marks = series_marks(names)
    tasks = short_names(tuple(dict.fromkeys(task for task, *_ in data.rows)), width=28)
    by_task = dict(zip(dict.fromkeys(task for task, *_ in data.rows), tasks, strict=True))
    labels = short_names([name for _, name, _ in data.rows], width=24)
    labels = [
        name if "…" in name else name.rsplit(" ", 1)[0] if name[-1:].isdigit() else name for name in labels
    ]
    rows, heads, at, last = [], [], 0.0, None
    for task, *_ in data.rows:
        if task != last:
            at += 0.35 if last is not None else 0.0
            heads.append((at, by_task[task]))
            at, last = at + 1.0, task
        rows.append(at)
        at += 1.0
    height = at * _ROW + 46
    with canvas(called, width=440.0, height=height) as (figure, axes):
        place(
            figure,
            axes,
            left=max(label_width(labels), label_width([text for _, text in heads]) * 1.12) + 14,
            right=18,
            top=4,
            bottom=36,
        )
        axes.axvline(0, color=SOFT, linewidth=0.9)
        for y, (_, name, share) in zip(rows, data.rows, strict=True):
            mark = marks[name]
            sure = share.low > 0 or share.high < 0
            with series(axes, name, color=mark.color):
                tell(axes, -100 * share.value, y, (task, name, -share.value, -share.high, -share.low))
                axes.plot([-100 * share.high, -100 * share.low], [y, y], color=mark.color, linewidth=1.4)
                axes.plot(
                    [-100 * share.value],
                    [y],
                    mark.marker,
                    color=mark.color,
                    markersize=6,
                    markerfacecolor=mark.color if sure else PAGE,
                )
        places = [*(y for y, _ in heads), *rows]
        axes.set_yticks(places, [*(text for _, text in heads), *labels])
        for label, y in zip(axes.get_yticklabels(), places, strict=True):
            label.set_fontweight("bold" if y in [head for head, _ in heads] else "normal")
        axes.set_ylim(at - 0.5, -0.7)
        wide = max(data.reach[1] - data.reach[0], 1e-3)
        axes.set_xlim(-100 * (data.reach[1] + 0.04 * wide), -100 * (data.reach[0] - 0.04 * wide))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(few_ticks())
        axes.set_xlabel("change of the error by a doubling of samples, %")
        axes.grid(axis="x")
        return finish(
            figure,
            name=called,
            title="What a doubling of the samples does to the error, by task and objective",
            description=f"Lines are {level:.0%} intervals; above 0 more samples make it worse. "
            + "; ".join(
                f"{task}, {name} {percent_text(-share.value, signed=True)}" for task, name, share in data.rows
            ),
            columns=(
                *columns_of(("task", "text"), ("encoder", "text")),
                *value_of("change by a doubling", "change"),
            ),
        )
