"""The tables of a report: the numbers behind every figure, and a few that need no figure."""

from collections.abc import Mapping

import numpy as np

from voxmix.allocation import Allocation
from voxmix.report.content import ReportContent
from voxmix.report.figures import (
    AnswerData,
    CurvePanel,
    EffectiveData,
    MeansData,
    PathData,
    SharesData,
    TransferData,
    answer_data,
    means_data,
    transfer_data,
)
from voxmix.report.findings import Forecast, check_budgets, measured
from voxmix.report.roles import RULES
from voxmix.report.table import Cell, Column, Kind, Table


def summary_tables(content: ReportContent) -> tuple[Table, ...]:
    """Return what a terminal shows: the answer, predicted against measured, the transfer matrix.

    Only those that there is something for.
    """
    found: list[Table] = []
    answer = answer_data(content)
    if answer is not None:
        found.append(answer_table(answer, level=_level(content)))
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
    columns = _columns(("domain", "text"), ("share", "percent"), ("draws", "count"))
    rows: list[list[Cell]] = [
        [name, weight, draws]
        for name, weight, draws in zip(data.domains, data.weight.tolist(), data.draws.tolist(), strict=True)
    ]
    for name, values in ((f"{level:.0%} interval", data.interval), ("near-optimal", data.near)):
        if np.isfinite(values).any():
            columns += _columns((f"{name}, low", "percent"), (f"{name}, high", "percent"))
            for row, pair in zip(rows, values.tolist(), strict=True):
                row += pair
    if np.isfinite(data.volumes).any():
        columns += _columns(("training volumes", "count"), ("draws per volume", "number"))
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
        columns=_columns(("strategy", "text"), *((name, "percent") for name in data.domains)),
        rows=tuple((name, *row) for name, row in zip(data.strategies, data.weights.tolist(), strict=True)),
    )


def means_table(data: MeansData) -> Table:
    """Return mean loss per strategy, measured and predicted by every law, best first."""
    ranking = data.ranking
    columns = _columns(
        ("strategy", "text"),
        ("measured mean loss", "number"),
        ("seeds", "count"),
        ("against the best", "change"),
        ("told apart from the best", "text"),
    )
    for law in data.laws:
        columns += _columns((f"predicted by {law}", "number"), (f"error of {law}", "change"))
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
    columns = _columns(
        ("strategy", "text"), ("target", "text"), ("measured", "number"), ("spread of seeds", "number")
    )
    for item in items:
        columns += _columns((f"predicted by {item.law}", "number"), (f"error of {item.law}", "change"))
    rows: list[tuple[Cell, ...]] = []
    for i, strategy in enumerate(first.strategies):
        seeds = found.loss[found.strategies.index(strategy)]
        for j, target in enumerate(found.targets):
            known = seeds[np.isfinite(seeds[:, j]), j]
            spread = float(known.std(ddof=1)) if len(known) > 1 else None
            row: list[Cell] = [strategy, target, float(first.measured[i, j]), spread]
            for item in items:
                row += [float(item.predicted[i, j]), _ratio(item.predicted[i, j], item.measured[i, j])]
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
        columns=_columns(
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


def curve_table(panels: tuple[CurvePanel, ...]) -> Table:
    """Return every mean loss of the proxy runs with its fit and relative residual."""
    return Table(
        name="losses-fits",
        title="Losses of the proxy runs, means over seeds, and the law",
        columns=_columns(
            ("target", "text"),
            ("trained on", "text"),
            ("budget", "count"),
            ("measured", "number"),
            ("fitted", "number"),
            ("residual", "change"),
        ),
        rows=tuple(
            (panel.target, series.label, budget, loss, fit, _ratio(loss, fit))
            for panel in panels
            for series in panel.series
            for budget, loss, fit in zip(
                series.budgets.tolist(), series.loss.tolist(), series.fitted.tolist(), strict=True
            )
        ),
        note="Residual: measured / fitted - 1.",
    )


def parameter_table(content: ReportContent, *, law: str) -> Table:
    """Return E, A, beta and rho per target with intervals, R2 and what is doubtful."""
    fitted = content.laws[law]
    bounds = fitted.intervals(_level(content)) or {}
    doubts: dict[str, list[str]] = {}
    for item in fitted.problems():
        if item.source is None and item.target is not None:
            doubts.setdefault(item.target, []).append(f"{item.parameter} {item.state}")
    parts = [
        ("irreducible loss E", "irreducible_loss", fitted.irreducible_loss),
        ("amplitude A", "amplitude", fitted.amplitude),
        ("exponent β", "exponent", fitted.exponent),
    ]
    if np.any(fitted.rho != 1):
        parts.append(("variety ρ", "rho", fitted.rho))
    columns = _columns(("target", "text"))
    for label, key, _ in parts:
        columns += _columns((label, "number"))
        if key in bounds:
            columns += _columns((f"{label}, low", "number"), (f"{label}, high", "number"))
    columns += _columns(("R² of its own curve", "number"), ("doubts", "text"))
    rows: list[tuple[Cell, ...]] = []
    for j, target in enumerate(fitted.targets):
        row: list[Cell] = [target]
        for _, key, values in parts:
            row.append(float(values[j]))
            if key in bounds:
                row += bounds[key][j].tolist()
        rows.append((*row, float(fitted.r2_target[j]), "; ".join(doubts.get(target, [])) or None))
    return Table(
        name=f"parameters-{law}",
        title=f"Parameters of the law {law}",
        columns=columns,
        rows=tuple(rows),
        note=f"Low and high: {_level(content):.0%} bootstrap interval." if bounds else "",
    )


def transfer_table(data: TransferData, *, law: str) -> Table:
    """Return the transfer matrix: a row per source, a column per target, means at the edges."""
    rows: list[tuple[Cell, ...]] = [
        (f"from {name}", *row, mean, role or None)
        for name, row, mean, role in zip(
            data.domains, data.transfer.tolist(), data.outgoing.tolist(), data.roles, strict=True
        )
    ]
    rows.append(("mean incoming", *data.incoming.tolist(), None, None))
    return Table(
        name=f"transfer-{law}",
        title=f"Transfer [source, target] of the law {law}",
        columns=_columns(
            ("source", "text"),
            *((f"to {name}", "number") for name in data.domains),
            ("mean outgoing", "number"),
            ("role", "text"),
        ),
        rows=tuple(rows),
        note="Worth of one draw of the source for the target, in draws of the target. " + RULES,
    )


def pair_table(content: ReportContent, *, law: str) -> Table:
    """Return every transfer with its interval, state and R2."""
    fitted = content.laws[law]
    bounds = (fitted.intervals(_level(content)) or {}).get("transfer")
    states = transfer_data(content, law=law).status
    rows: list[tuple[Cell, ...]] = []
    for i, source in enumerate(fitted.domains):
        for j, target in enumerate(fitted.targets):
            if source == target:
                continue
            low, high = bounds[i, j].tolist() if bounds is not None else (None, None)
            state = states[i][content.domain_names.index(target)] or None
            rows.append(
                (source, target, float(fitted.transfer[i, j]), low, high, state, float(fitted.r2_pair[i, j]))
            )
    return Table(
        name=f"transfer-pairs-{law}",
        title="Every transfer with its interval and the quality of its fit",
        columns=_columns(
            ("source", "text"),
            ("target", "text"),
            ("transfer", "number"),
            ("low", "number"),
            ("high", "number"),
            ("state", "text"),
            ("R²", "number"),
        ),
        rows=tuple(rows),
        note=f"Low and high: {_level(content):.0%} bootstrap interval." if bounds is not None else "",
    )


def effective_table(data: EffectiveData) -> Table:
    """Return the effective budget of every target by source (the paper's tables 1 and 10)."""
    return Table(
        name=f"effective-budget-{data.strategy}",
        title=f"Effective budget per target by source: {data.strategy}",
        columns=_columns(
            ("target", "text"),
            ("direct draws", "count"),
            *((f"from {name}", "count") for name in data.domains),
            ("effective budget", "count"),
            ("amplification", "number"),
        ),
        rows=tuple(
            (
                target,
                float(data.direct[j]),
                *data.contributions[:, j].tolist(),
                float(data.total[j]),
                amplified,
            )
            for j, (target, amplified) in enumerate(
                zip(data.domains, data.amplification.tolist(), strict=True)
            )
        ),
    )


def path_table(data: PathData) -> Table:
    """Return the best mixture at several budgets."""
    return Table(
        name="mixture-by-budget",
        title="Best mixture as a function of the budget",
        columns=_columns(("budget", "count"), *((name, "percent") for name in data.domains)),
        rows=tuple((n, *row) for n, row in zip(data.budgets.tolist(), data.weights.tolist(), strict=True)),
    )


def loss_table(content: ReportContent) -> Table | None:
    """Return the loss after training on each source alone, at the largest such budget; None without runs."""
    table = content.measurements
    if table is None or not (table.source >= 0).any():
        return None
    largest = float(table.budget[table.source >= 0].max())
    values = np.full((len(table.domains), len(table.domains)), np.nan)
    for i in range(len(table.domains)):
        for j in range(len(table.domains)):
            here = (table.source == i) & (table.target_index == j) & (table.budget == largest)
            if here.any():
                values[i, j] = table.loss[here].mean()
    return Table(
        name="losses-pure",
        title=f"Loss [source, target] after {largest:,.0f} draws of one source",
        columns=_columns(("source", "text"), *((f"on {name}", "number") for name in table.domains)),
        rows=tuple((f"from {name}", *row) for name, row in zip(table.domains, values.tolist(), strict=True)),
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
        columns=_columns(
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
        columns=_columns(("name", "text"), ("value", "text")),
        rows=tuple(values.items()),
    )


def _columns(*pairs: tuple[str, Kind]) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind=kind) for name, kind in pairs)


def _ratio(value: float, reference: float) -> float | None:
    return float(value / reference - 1) if reference > 0 and np.isfinite(value) else None


def _level(content: ReportContent) -> float:
    item = content.strategies.get(content.answer or "")
    return item.level if isinstance(item, Allocation) else 0.9
