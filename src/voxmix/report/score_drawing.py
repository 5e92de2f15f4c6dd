"""Drawing of finetuning scores as SVG; no numbers are made here."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from voxmix.report.axes import end_labels, few_ticks, label_width, name_rows, short_names
from voxmix.report.palette import Mark, strategy_marks
from voxmix.report.score_figures import AgreementPanel, GainsData, LearningData, ScoresData
from voxmix.report.svg import INK, PAGE, SOFT, Drawing, canvas, finish, place
from voxmix.report.table import columns_of, percent_text, value_of
from voxmix.report.values import series, tell

_PANEL = 250.0
_WIDTH = 420.0
_ROW = 22.0


def draw_scores(data: ScoresData, *, number: int) -> Drawing:
    """Return one task: a dot per seed, a bar for their mean, a line for the interval over cases."""
    name, marks = f"scores-{number}", strategy_marks(data.inits)
    names = short_names(data.inits)
    height = len(names) * _ROW + 64
    with canvas(name, width=_PANEL, height=height) as (figure, axes):
        place(figure, axes, left=label_width(names) + 10, right=14, top=24, bottom=36)
        for i, init in enumerate(data.inits):
            color = marks[init].color
            seeds = data.seeds[i][np.isfinite(data.seeds[i])]
            with series(axes, init, color=color):
                for seed in seeds:
                    tell(axes, seed, i, (init, "one seed", seed, None, None))
                cells = (init, "mean of its seeds", data.value[i], *data.interval[i])
                tell(axes, data.value[i], (i - 0.32, i + 0.32), cells)
                axes.plot(
                    data.interval[i], [i, i], color=color, linewidth=5, alpha=0.3, solid_capstyle="butt"
                )
                row = np.full(len(seeds), i)
                axes.plot(seeds, row, "o", color=color, markersize=3.5, markeredgecolor="none")
                axes.plot([data.value[i]] * 2, [i - 0.32, i + 0.32], color=color, linewidth=2.2)
        name_rows(axes, names)
        _percent(axes.xaxis)
        axes.set_xlabel(f"{data.metric.name} on test cases")
        axes.grid(axis="x")
        _title(axes, data.task)
        return finish(
            figure,
            name=name,
            title=f"{data.metric.name} of every initialization on {data.task}",
            description="; ".join(
                f"{n} {percent_text(float(v))}" for n, v in zip(data.inits, data.value, strict=True)
            ),
            columns=(
                *columns_of(("initialization", "text"), ("what", "text")),
                *value_of(data.metric.name, "percent"),
            ),
        )


def draw_gains(data: GainsData) -> Drawing:
    """Return what every initialization gains over the base per task; filled marks differ significantly from it."""
    tasks, marks = tuple(dict.fromkeys(data.tasks)), strategy_marks(data.inits)
    unique = tuple(dict.fromkeys(data.inits))
    short = dict(zip(unique, short_names(unique), strict=True))
    titles, names = short_names(tasks, width=26), [short[init] for init in data.inits]
    rows: list[float] = []
    heads: list[float] = []
    at = 0.0
    for i, task in enumerate(data.tasks):
        if i == 0 or task != data.tasks[i - 1]:
            heads.append(at)
            at += 1.0
        rows.append(at)
        at += 1.0 if i + 1 < len(data.tasks) and data.tasks[i + 1] == task else 1.35
    height = at * 17.0 + 46
    with canvas("gains", width=_WIDTH, height=height) as (figure, axes):
        place(
            figure, axes, left=max(label_width(names), label_width(titles)) + 14, right=18, top=4, bottom=36
        )
        axes.axvline(0, color=SOFT, linewidth=0.9)
        for i, init in enumerate(data.inits):
            mark = marks[init]
            with series(axes, init, color=mark.color):
                cells = (data.tasks[i], init, data.gain[i], *data.interval[i])
                tell(axes, data.gain[i] * 100, rows[i], cells)
                if np.isfinite(data.interval[i]).all():
                    axes.plot(data.interval[i] * 100, [rows[i]] * 2, color=mark.color, linewidth=1.4)
                axes.plot(
                    [data.gain[i] * 100],
                    [rows[i]],
                    mark.marker,
                    color=mark.color,
                    markersize=6,
                    markerfacecolor=mark.color if data.apart[i] else PAGE,
                )
        axes.set_yticks([*heads, *rows], [*titles, *names])
        for label, position in zip(axes.get_yticklabels(), [*heads, *rows], strict=True):
            label.set_fontweight("bold" if position in heads else "normal")
        axes.set_ylim(at - 0.7, -0.7)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(few_ticks())
        axes.set_xlabel(f"gain over {data.base}, points")
        axes.grid(axis="x")
        return finish(
            figure,
            name="gains",
            title=f"Gain over {data.base} per task and initialization",
            description="Lines are intervals; a filled mark differs significantly from the base after correction for all "
            "comparisons, a hollow one is not.",
            columns=(
                *columns_of(("task", "text"), ("initialization", "text")),
                *value_of(f"gain over {data.base}, points", "points"),
            ),
        )


def draw_learning(data: LearningData, *, number: int) -> Drawing:
    """Return validation scores over steps: a line per initialization, thin ones for its seeds."""
    name, marks = f"learning-{number}", strategy_marks(data.inits)
    labels = short_names(data.inits, width=14)
    height = max(190.0, 60.0 + 9.2 * len(labels))
    with canvas(name, width=_PANEL, height=height) as (figure, axes):
        place(figure, axes, left=52, right=label_width(labels) * 0.85 + 16, top=24, bottom=36)
        for i, init in enumerate(data.inits):
            mark = marks[init]
            with series(axes, init, color=mark.color):
                for seed in data.seeds[i]:
                    _line(axes, data, seed, mark, thin=True)
                _line(axes, data, data.mean[i], mark, thin=False)
                for step, score in zip(data.steps, data.mean[i], strict=True):
                    if np.isfinite(score):
                        tell(axes, step, score, (init, step, score))
        _percent(axes.yaxis)
        axes.xaxis.set_major_locator(few_ticks())
        axes.set_xlabel("training step")
        lines = [mean[np.isfinite(mean)] for mean in data.mean]
        ends = [float(line[-1]) if len(line) else float(np.mean(axes.get_ylim())) for line in lines]
        colors = [marks[init].color for init in data.inits]
        end_labels(axes, ends, labels, colors, height=height - 60, of=data.inits)
        axes.set_ylabel("validation score")
        axes.grid(axis="y")
        _title(axes, data.task)
        return finish(
            figure,
            name=name,
            title=f"Learning curves on {data.task}",
            description="Validation score over training steps, a line per initialization.",
            columns=columns_of(("initialization", "text"), ("step", "count"), ("mean score", "percent")),
        )


def draw_agreement(panel: AgreementPanel, *, number: int) -> Drawing:
    """Return score against proxy loss of one task, a mark per initialization with its interval over cases."""
    name, marks = f"agreement-{number}", strategy_marks(panel.inits)
    with canvas(name, width=_PANEL, height=206) as (figure, axes):
        place(figure, axes, left=54, right=16, top=24, bottom=36)
        for i, init in enumerate(panel.inits):
            if not np.isfinite([panel.loss[i], panel.score[i]]).all():
                continue
            mark = marks[init]
            with series(axes, init, color=mark.color):
                cells = (init, panel.loss[i], panel.score[i], *panel.interval[i])
                tell(axes, panel.loss[i], panel.score[i], cells)
                axes.plot([panel.loss[i]] * 2, panel.interval[i], color=mark.color, linewidth=1.2, alpha=0.6)
                axes.plot([panel.loss[i]], [panel.score[i]], mark.marker, color=mark.color, markersize=6.5)
        loss = panel.loss[np.isfinite(panel.loss)]
        room = 0.12 * (float(np.ptp(loss)) or float(loss.max()))
        axes.set_xlim(float(loss.min()) - room, float(loss.max()) + room)
        axes.xaxis.set_major_locator(few_ticks())
        _percent(axes.yaxis)
        axes.set_xlabel("proxy loss (lower is better)")
        axes.set_ylabel(panel.metric.name)
        axes.grid()
        sure = np.isfinite(panel.correlation)
        _title(axes, panel.task)
        if sure:
            axes.set_title(
                f"r = {panel.correlation:.2f}".replace("-", "−"), fontsize=8.5, loc="right", color=SOFT
            )
        return finish(
            figure,
            name=name,
            title=f"Score on {panel.task} against proxy loss ({panel.measure})",
            description=f"Rank correlation {panel.correlation:.2f}."
            if sure
            else "Too few marks for a correlation.",
            columns=(
                *columns_of(("initialization", "text"), ("proxy loss", "number")),
                *value_of(panel.metric.name, "percent"),
            ),
        )


def _line(axes: Axes, data: LearningData, values: np.ndarray, mark: Mark, *, thin: bool) -> None:
    known = np.isfinite(values)
    axes.plot(
        data.steps[known],
        values[known],
        color=mark.color,
        linestyle=mark.line,
        linewidth=0.7 if thin else 1.9,
        alpha=0.4 if thin else 1.0,
    )


def _percent(axis: Axis) -> None:
    axis.set_major_locator(few_ticks())
    axis.set_major_formatter(lambda value, _: f"{value * 100:g}%")


def _title(axes: Axes, text: str) -> None:
    (title,) = short_names([text], width=30)
    axes.set_title(title, fontsize=9.5, fontweight="bold", loc="left")
