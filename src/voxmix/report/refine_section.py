"""The section on the rounds in which a study's law was asked whether it believes its own choice."""

import numpy as np

from voxmix.allocation.refinement import AGREES, Refinement
from voxmix.allocation.strategies import REFINED
from voxmix.report.axes import few_ticks, label_width, name_rows
from voxmix.report.content import ReportContent
from voxmix.report.drawing import draw_shares
from voxmix.report.figures import SharesData
from voxmix.report.findings import measured
from voxmix.report.layout import Block, Section, Swatch, domain_legend
from voxmix.report.ranking import rank_strategies
from voxmix.report.svg import INK, Drawing, canvas, finish, place
from voxmix.report.table import Cell, Column, Table, columns_of, number_text, percent_text, value_of
from voxmix.report.values import tell
from voxmix.report.words import listing, sentence

_WIDTH = 300.0


def refine_section(content: ReportContent) -> Section:
    name, title = "refine", "The law's choice, trained and judged"
    found = content.refinement
    if found is None or not found.rounds:
        missing = sentence(content.no_refinement)
        return Section(name=name, title=title, missing=missing, command="voxmix refine")
    end = _measured_end(content, found)
    rows = (*(f"round {number}" for number in range(1, len(found.rounds) + 1)), "end")
    mixtures = (*(item.choice for item in found.rounds), found.choice)
    shares = SharesData(
        strategies=rows,
        domains=found.choice.domains,
        weights=np.array([mixture.weights for mixture in mixtures]),
    )
    block = Block(
        sentences=(
            found.sentence,
            *_outside(found),
            _told(found, end),
            *filter(None, (found.budget_words,)),
        ),
        drawings=(
            draw_rounds(found),
            draw_shares(shares, name="refine-shares", title="Choice of every round", width=_WIDTH),
        ),
        legend=(
            Swatch(label="predicted, with its 90% interval", color="var(--ink)", glyph="○"),
            Swatch(label="measured", color="var(--ink)", glyph="●"),
            *domain_legend(content.domain_names),
        ),
        caption="First the mean loss of each round's choice, predicted before it was trained and measured after; then the "
        "choices, and the mixture that the rounds ended in.",
        shown=(rounds_table(found, measured_end=end),),
    )
    return Section(name=name, title=title, blocks=(block,))


def rounds_table(found: Refinement, *, measured_end: float | None = None) -> Table:
    """Return one row per round: its choice, what was predicted and measured, and how far the choice then moved.

    Args:
        measured_end: mean loss of the mixture that the rounds ended in, where it was trained with the study's budget.
    """
    rows: list[tuple[Cell, ...]] = [
        (
            number,
            item.budget,
            *item.mean,
            item.measured_mean,
            item.gap,
            item.move,
            item.agrees,
            *item.choice.weights.tolist(),
        )
        for number, item in enumerate(found.rounds, 1)
    ]
    budget, told = found.told
    gap = None if measured_end is None else measured_end / told[0] - 1
    end: list[Cell] = ["end", budget, *told, measured_end, gap, None, None]
    return Table(
        name="refine",
        title="Rounds of refine",
        columns=(
            *columns_of(("round", "text"), ("draws", "count")),
            *value_of("predicted mean", "number"),
            *columns_of(("measured mean", "number"), ("gap", "change"), ("move", "percent")),
            Column(name="agrees"),
            *columns_of(*((name, "percent") for name in found.choice.domains)),
        ),
        rows=(
            *((f"{number}", *rest) for number, *rest in rows),
            (*end, *found.choice.weights.tolist()),
        ),
        note=f"{AGREES} Gap: measured over predicted. Move: the largest change of a share to the next choice. The row end is the mixture "
        "that the rounds ended in, as the last law predicts it for the study's budget.",
    )


def draw_rounds(found: Refinement) -> Drawing:
    """Return the predicted mean of every round with its interval, and the measured one."""
    names = [f"round {number}" for number in range(1, len(found.rounds) + 1)]
    with canvas("refine-rounds", width=_WIDTH, height=len(names) * 30.0 + 40) as (figure, axes):
        place(figure, axes, left=label_width(names) + 10, right=16, top=6, bottom=36)
        for i, item in enumerate(found.rounds):
            told, low, high = item.mean
            tell(axes, item.measured_mean, i, (names[i], "measured", item.measured_mean, None, None))
            tell(axes, told, i, (names[i], "predicted", told, low, high))
            axes.plot([low, high], [i, i], "|-", color=INK, linewidth=1.0, markersize=8, markeredgewidth=1.0)
            axes.plot([item.measured_mean], [i], "o", color=INK, markersize=5, zorder=3)
            axes.plot([told], [i], "o", markersize=9, markerfacecolor="none", markeredgecolor=INK, zorder=4)
        name_rows(axes, names)
        axes.margins(x=0.08)
        axes.set_xlabel("mean loss (lower is better)")
        axes.xaxis.set_major_locator(few_ticks())
        axes.grid(axis="x")
        return finish(
            figure,
            name="refine-rounds",
            title="Predicted and measured mean loss of every round's choice",
            description="; ".join(
                f"{name} {number_text(item.mean[0])} predicted, {number_text(item.measured_mean)} measured"
                for name, item in zip(names, found.rounds, strict=True)
            ),
            columns=(*columns_of(("round", "text"), ("what", "text")), *value_of("mean loss", "number")),
        )


def _outside(found: Refinement) -> list[str]:
    return [
        f"In round {number} the losses on {listing(item.outside)} lay outside of their own intervals (90% that every target lies "
        "in its own)."
        for number, item in enumerate(found.rounds, 1)
        if item.outside
    ]


def _told(found: Refinement, end: float | None) -> str:
    """Return what the last law predicts for the mixture at the study's budget, and what was measured of it there."""
    budget, (mean, low, high) = found.told
    told = (
        f"At {budget:,} draws the law that was fitted to the rounds too predicts a mean loss of {number_text(mean)} "
        f"({number_text(low)} to {number_text(high)}) for the mixture that they ended in"
    )
    if end is None:
        return f"{told}; it is the strategy {REFINED}, not measured at that budget yet."
    return f"{told}; measured was {number_text(end)} ({percent_text(end / mean - 1, signed=True)})."


def _measured_end(content: ReportContent, found: Refinement) -> float | None:
    """Return the measured mean loss of the mixture that the rounds ended in, at the study's budget; None where there is none."""
    budget = found.told[0]
    if not any(check.strategy == REFINED and check.budget == budget for check in content.checks):
        return None
    ranking = rank_strategies(measured(content, budget=budget), target_weights=content.target_weights)
    return float(ranking.values[ranking.strategies.index(REFINED)])
