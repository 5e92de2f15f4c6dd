"""Tables of the answer, the strategies and how the laws predicted them; and those of a terminal."""

from collections.abc import Mapping

import numpy as np

from voxmix.allocation import Allocation
from voxmix.report.content import ReportContent
from voxmix.report.figures import AnswerData, MeansData, SharesData, answer_data, means_data, transfer_data
from voxmix.report.findings import Forecast, check_budgets, measured
from voxmix.report.law_tables import transfer_table
from voxmix.report.table import Cell, Table, columns_of, range_of, relative


def summary_tables(content: ReportContent) -> tuple[Table, ...]:
    """Return what a terminal shows: the answer, predicted against measured, the transfer matrix.

    Only those that there is something for.
    """
    found: list[Table] = []
    answer = answer_data(content)
    if answer is not None:
        found.append(answer_table(answer, level=content.level))
    for budget in check_budgets(content.checks, first=content.budget)[:1]:
        means = means_data(content, budget=budget)
        if means is not None:
            found.append(means_table(means))
    law = content.answer_law
    if law is not None:
        found.append(transfer_table(transfer_data(content, law=law), law=law))
    return tuple(found)


def answer_table(data: AnswerData, *, level: float) -> Table:
    """Return weight, draws, interval, near-optimal range and draws per volume of every domain."""
    columns = columns_of(("domain", "text"), ("share", "percent"), ("draws", "count"))
    rows: list[list[Cell]] = [
        [name, weight, draws]
        for name, weight, draws in zip(data.domains, data.weight.tolist(), data.draws.tolist(), strict=True)
    ]
    for name, values in ((f"{level:.0%} interval", data.interval), ("near-optimal", data.near)):
        if np.isfinite(values).any():
            columns += range_of(name, "percent")
            for row, pair in zip(rows, values.tolist(), strict=True):
                row += pair
    if np.isfinite(data.volumes).any():
        columns += columns_of(("training volumes", "count"), ("draws per volume", "number"))
        for row, volumes, repeats in zip(rows, data.volumes.tolist(), data.repeats.tolist(), strict=True):
            row += [volumes, repeats]
    return Table(
        name="answer",
        title=f"How much of each domain: {data.strategy}, {data.budget:,} draws",
        columns=columns,
        rows=tuple(tuple(row) for row in rows),
    )


def shares_table(data: SharesData) -> Table:
    """Return the share of every domain per strategy."""
    return Table(
        name="mixtures",
        title="Mixture of every strategy",
        columns=columns_of(("strategy", "text"), *((name, "percent") for name in data.domains)),
        rows=tuple((name, *row) for name, row in zip(data.strategies, data.weights.tolist(), strict=True)),
    )


def means_table(data: MeansData) -> Table:
    """Return mean loss per strategy, measured and predicted by every law, best first."""
    ranking = data.ranking
    columns = columns_of(
        ("strategy", "text"),
        ("measured mean loss", "number"),
        ("seeds", "count"),
        ("against the best", "change"),
        ("apart from the best", "text"),
    )
    for law in data.laws:
        columns += columns_of((f"predicted by {law}", "number"), (f"error of {law}", "change"))
    rows: list[tuple[Cell, ...]] = []
    for i, name in enumerate(ranking.strategies):
        mean, best = float(ranking.means[i]), float(ranking.means[0])
        known = bool(np.isfinite(ranking.margin[i])) and i > 0
        row: list[Cell] = [name, mean, ranking.seeds[i], mean / best - 1 if i and best > 0 else None]
        row.append("best" if i == 0 else (("yes" if ranking.apart[i] else "no") if known else None))
        for value in data.predicted[:, i].tolist():
            row += [value, value / mean - 1 if mean > 0 else None]
        rows.append(tuple(row))
    return Table(
        name=f"predicted-measured-{data.budget}",
        title=f"Mean loss over targets at {data.budget:,} draws, measured and predicted",
        columns=columns,
        rows=tuple(rows),
        note="" if np.isfinite(ranking.noise) else "One seed per strategy: the noise is not known.",
    )


def forecast_table(content: ReportContent, items: tuple[Forecast, ...]) -> Table:
    """Return measured and predicted loss per strategy and target, with the error of every law."""
    first = items[0]
    found = measured(content, budget=first.budget)
    columns = columns_of(
        ("strategy", "text"), ("target", "text"), ("measured", "number"), ("spread of seeds", "number")
    )
    for item in items:
        columns += columns_of((f"predicted by {item.law}", "number"), (f"error of {item.law}", "change"))
    rows: list[tuple[Cell, ...]] = []
    for i, strategy in enumerate(first.strategies):
        seeds = found.loss[found.strategies.index(strategy)]
        for j, target in enumerate(found.targets):
            known = seeds[np.isfinite(seeds[:, j]), j]
            spread = float(known.std(ddof=1)) if len(known) > 1 else None
            row: list[Cell] = [strategy, target, float(first.measured[i, j]), spread]
            for item in items:
                row += [float(item.predicted[i, j]), relative(item.predicted[i, j], item.measured[i, j])]
            rows.append(tuple(row))
    return Table(
        name=f"predicted-measured-by-target-{first.budget}",
        title=f"Loss per strategy and target at {first.budget:,} draws",
        columns=columns,
        rows=tuple(rows),
        note="The spread is the standard deviation over seeds.",
    )


def accuracy_table(items: tuple[Forecast, ...]) -> Table:
    """Return how well each law predicted the strategies it had not seen."""
    return Table(
        name=f"law-accuracy-{items[0].budget}",
        title=f"How well each law predicted the measured strategies at {items[0].budget:,} draws",
        columns=columns_of(
            ("law", "text"),
            ("mean |error|", "percent"),
            ("mean error", "change"),
            ("pairs in the right order", "percent"),
            ("rank correlation of strategies", "number"),
            ("correlation over targets", "number"),
        ),
        rows=tuple(
            (i.law, i.mean_error, i.bias, i.right_pairs, i.rank_correlation, i.correlation) for i in items
        ),
        note="Read the error and the order. The correlation over targets is near 1 for almost any law, "
        "because domains differ much more than strategies.",
    )


def allocation_table(content: ReportContent) -> Table | None:
    """Return objective, gap and least weight of every allocation; None when no strategy is one."""
    rows = tuple(
        (name, item.law, item.objective, item.gap, item.min_weight)
        for name, item in content.strategies.items()
        if isinstance(item, Allocation)
    )
    if not rows:
        return None
    return Table(
        name="certificates",
        title="Allocations with their certificates",
        columns=columns_of(
            ("strategy", "text"),
            ("law", "text"),
            ("predicted mean loss", "number"),
            ("proven gap to the optimum", "number"),
            ("least share", "percent"),
        ),
        rows=rows,
    )


def facts_table(name: str, values: Mapping[str, str]) -> Table:
    """Return names and values as they were given."""
    return Table(
        name=name.lower().replace(" ", "-"),
        title=name,
        columns=columns_of(("name", "text"), ("value", "text")),
        rows=tuple(values.items()),
    )
