"""Tables of the answer and the strategies; and those of a terminal."""

from collections.abc import Mapping

import numpy as np

from voxmix.allocation import Allocation
from voxmix.allocation.objective import OBJECTIVE_WORDS
from voxmix.report import words
from voxmix.report.by_objective import judged, objectives_table
from voxmix.report.content import ReportContent
from voxmix.report.figures import AnswerData, MeansData, SharesData, answer_data, means_data, transfer_data
from voxmix.report.findings import check_budgets, measured
from voxmix.report.forecast_tables import judged_tables
from voxmix.report.law_tables import transfer_table
from voxmix.report.ranking import LEVEL, Ranking, rank_strategies
from voxmix.report.table import Cell, Table, columns_of, range_of

_MANY_LAWS = 2


def summary_tables(content: ReportContent, *, every: bool = False) -> tuple[Table, ...]:
    """Return what a terminal shows: the answer, predicted against measured, how good each law was, the transfer matrix.

    Only those that there is something for; with ``every`` also the shares by every objective, the noise of the strategies and all pairs of them.
    """
    found: list[Table] = []
    answer = answer_data(content)
    if answer is not None:
        found.append(answer_table(answer, level=content.level))
    item = judged(content) if every else None
    beside = None if item is None else objectives_table(item)
    found += [] if beside is None else [beside]
    found += strategy_tables(content, every=every)
    law = content.answer_law
    if law is not None:
        found.append(transfer_table(transfer_data(content, law=law)))
    return tuple(found)


def strategy_tables(content: ReportContent, *, every: bool = False) -> tuple[Table, ...]:
    """Return the measured strategies and how good each law was, at the study's budget; with ``every`` noise and pairs too.

    () where none was measured on every target.
    """
    for budget in check_budgets(content.checks, first=content.budget)[:1]:
        means = means_data(content, budget=budget)
        if means is not None:
            more = (noise_table(content, budget=budget), pairs_table(means)) if every else ()
            return means_table(means, brief=not every), *judged_tables(content, budget=budget), *more
    return ()


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
        note=words.interval_sentence(data.together) if np.isfinite(data.interval).any() else "",
    )


def shares_table(data: SharesData) -> Table:
    """Return the share of every domain per strategy."""
    return Table(
        name="mixtures",
        title="Mixture of every strategy",
        columns=columns_of(("strategy", "text"), *((name, "percent") for name in data.domains)),
        rows=tuple((name, *row) for name, row in zip(data.strategies, data.weights.tolist(), strict=True)),
    )


def means_table(data: MeansData, *, brief: bool = False) -> Table:
    """Return mean loss per strategy, measured and predicted by every law, best first.

    A ``brief`` table of more than two laws has their errors alone, so that it is narrow enough to be read.
    """
    brief = brief and len(data.laws) > _MANY_LAWS
    ranking, plain = data.ranking, data.ranking.measure.plain
    columns = columns_of(("strategy", "text"), ("measured mean loss", "number"))
    if not plain:
        columns += columns_of((f"measured {ranking.measure.words}", "number"))
    columns += columns_of(
        ("seeds", "count"),
        ("against the best", "change"),
        ("noise can make", "fine"),
        ("apart from the best", "text"),
    )
    for law in data.laws:
        predicted_by = () if brief else columns_of((f"predicted by {law}", "number"))
        columns += predicted_by + columns_of((f"error of {law}", "change"))
    rows: list[tuple[Cell, ...]] = []
    for i, name in enumerate(ranking.strategies):
        value, margin = float(ranking.values[i]), float(ranking.margin[i])
        row: list[Cell] = [name, float(data.means[i]), *([] if plain else [value]), ranking.seeds[i]]
        known = i > 0 and np.isfinite(margin)
        row += [float(ranking.behind[i]) if i else None, margin if known else None]
        row.append("best" if i == 0 else (("yes" if ranking.apart[i] else "no") if known else None))
        for predicted in data.predicted[:, i].tolist():
            row += [] if brief else [predicted]
            row.append(predicted / value - 1 if value > 0 else None)
        rows.append(tuple(row))
    return Table(
        name=f"predicted-measured-{data.budget}",
        title=f"{ranking.measure.words.capitalize()} of the strategies at {data.budget:,} {data.unit}, measured and predicted",
        columns=columns,
        rows=tuple(rows),
        note=words.noise_sentence(ranking)
        or "The noise is not known: it takes two seeds that two strategies share.",
    )


def pairs_table(data: MeansData) -> Table:
    """Return every pair of strategies: by how much the first is better, what noise can make, whether they are apart."""
    ranking = data.ranking
    return Table(
        name=f"strategy-pairs-{data.budget}",
        title=f"Every two strategies at {data.budget:,} {data.unit}",
        columns=columns_of(
            ("better", "text"),
            ("worse", "text"),
            ("difference", "fine"),
            ("noise can make", "fine"),
            ("apart", "text"),
        ),
        rows=tuple(
            (
                ranking.strategies[i],
                ranking.strategies[k],
                float(ranking.values[k] / ranking.values[i] - 1),
                float(ranking.margins[i, k]),
                ("yes" if ranking.told(i, k) else "no") if np.isfinite(ranking.margins[i, k]) else None,
            )
            for i, k in ranking.pairs
        ),
        note=f"By {ranking.measure.words}, within seeds; Tukey and Kramer's studentized range, {LEVEL:.0%} over all pairs.",
    )


def noise_table(content: ReportContent, *, budget: int) -> Table:
    """Return by every measure, and on every target, the noise of a run and the seeds' own effects."""
    found = measured(content, budget=budget)
    heard = content.target_weights
    kinds = dict.fromkeys([content.objective, "mean", "relative", *found.targets])
    rankings = [rank_strategies(found, objective=kind, target_weights=heard) for kind in kinds]
    columns = columns_of(
        ("measure", "text"),
        ("best", "text"),
        ("apart from the best", "count"),
        ("noise of a run", "fine"),
        ("with the seeds' effects", "fine"),
        ("degrees of freedom", "count"),
        ("noise can make", "fine"),
        *((f"effect of seed {seed}", "change") for seed in found.seeds),
    )
    return Table(
        name=f"strategy-noise-{budget}",
        title=f"Noise of the measured strategies at {budget:,} {content.unit}",
        columns=columns,
        rows=tuple(_noise_row(item, found.seeds) for item in rankings if item.strategies),
        note="Standard deviations of one run, its seed's own effect taken out or left in; what noise can make is the "
        "largest difference to the best that may be noise. A measure is one question, so each has its own 95%.",
    )


def _noise_row(ranking: Ranking, seeds: tuple[int, ...]) -> tuple[Cell, ...]:
    effects = dict(zip(ranking.seed_names, ranking.seed_effects.tolist(), strict=True))
    known = ranking.margin[1:][np.isfinite(ranking.margin[1:])]
    return (
        ranking.measure.words,
        ranking.strategies[0],
        sum(ranking.apart) if known.size else None,
        ranking.noise,
        ranking.unblocked,
        ranking.freedom,
        float(known.max()) if known.size else None,
        *(effects.get(seed) for seed in seeds),
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
    kinds = [item.kind for item in content.strategies.values() if isinstance(item, Allocation)]
    return Table(
        name="certificates",
        title="Allocations with their certificates",
        columns=columns_of(
            ("strategy", "text"),
            ("law", "text"),
            (f"predicted {OBJECTIVE_WORDS[kinds[0]]}", "number"),
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
