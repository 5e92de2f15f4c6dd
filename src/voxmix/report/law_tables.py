"""Tables of the laws: losses with their fits, parameters, transfer, effective budgets."""

from collections.abc import Sequence

import numpy as np

from voxmix.allocation.structure import RULES
from voxmix.law import FittedLaw
from voxmix.law.doubt import disagreements
from voxmix.law.regime_lines import LAW_ERROR, Regime
from voxmix.report.content import ReportContent
from voxmix.report.curves import CurvePanel
from voxmix.report.figures import EffectiveData, PathData, TransferData, transfer_data
from voxmix.report.table import Cell, Table, columns_of, range_of, relative, value_of


def curve_table(panels: tuple[CurvePanel, ...]) -> Table:
    """Return every mean loss of the proxy runs with its fit and relative residual."""
    return Table(
        name="losses-fits",
        title="Losses of the proxy runs, means over seeds, and the law",
        columns=columns_of(
            ("source (trained on)", "text"),
            ("target", "text"),
            ("budget", "count"),
            ("measured", "number"),
            ("fitted", "number"),
            ("residual", "change"),
        ),
        rows=tuple(
            (series.label, panel.target, budget, loss, fit, relative(loss, fit))
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
    bounds = fitted.intervals(content.level) or {}
    doubts: dict[str, list[str]] = {}
    for item in fitted.problems():
        if item.source is None and item.target in fitted.targets:
            doubts.setdefault(item.target, []).append(f"{item.parameter.replace('_', ' ')} {item.state}")
    parts = [
        ("irreducible loss E", "irreducible_loss", fitted.irreducible_loss),
        ("amplitude A", "amplitude", fitted.amplitude),
        ("exponent β", "exponent", fitted.exponent),
    ]
    if np.any(fitted.rho != 1):
        parts.append(("variety ρ", "rho", fitted.rho))
    parts += [(name, name, values) for name, values in fitted.parameters.formula_numbers.items()]
    if np.any(fitted.parameters.budget_amplitude > 0):
        parts.append(("budget amplitude B", "", fitted.parameters.budget_amplitude))
        parts.append(("budget exponent a", "", fitted.parameters.budget_exponent))
    columns = columns_of(("target", "text"))
    for label, key, _ in parts:
        columns += columns_of((label, "number"))
        if key in bounds:
            columns += range_of(f"{content.level:.0%} interval of {label.split()[-1]}", "number")
    columns += columns_of(("R² of own curve", "number"))
    if doubts:
        columns += columns_of(("doubts", "text"))
    rows: list[tuple[Cell, ...]] = []
    for j, target in enumerate(fitted.targets):
        row: list[Cell] = [target]
        for _, key, values in parts:
            row.append(float(values[j]))
            if key in bounds:
                row += bounds[key][j].tolist()
        row.append(float(fitted.r2_target[j]))
        rows.append((*row, "; ".join(doubts.get(target, [])) or None) if doubts else tuple(row))
    return Table(
        name=f"parameters-{law}",
        title=f"Parameters of the law {law}",
        columns=columns,
        rows=tuple(rows),
        note="Intervals: bootstrap resamples of the runs." if bounds else "",
    )


def regime_table(regime: Regime) -> Table:
    """Return how far each target's loss falls with the budget, against the noise of a run."""
    return Table(
        name="regime",
        title="How far losses fall with the budget, and the noise of a run",
        columns=columns_of(
            ("target", "text"),
            ("verdict", "text"),
            ("judged by", "text"),
            ("fall", "percent"),
            ("per doubling", "percent"),
            ("noise", "percent"),
            ("mixtures differ by", "percent"),
        ),
        rows=tuple(
            (
                item.target,
                item.verdict,
                item.curve,
                item.fall,
                item.per_doubling,
                item.noise,
                item.spread,
            )
            for item in regime.targets
        ),
        note=f"Does not move: the fall is within noise. Barely moves: less than {LAW_ERROR:.0%} per doubling of the draws, or less "
        "than two runs differ by chance.",
    )


def outlier_table(content: ReportContent, *, law: str) -> Table | None:
    """Return every loss of the proxy runs that no noise explains; None where there is none."""
    fitted = content.laws[law]
    if not fitted.outliers:
        return None
    return Table(
        name=f"outliers-{law}",
        title="Losses of the proxy runs that no noise explains",
        columns=columns_of(
            ("run", "text"),
            ("seed", "count"),
            ("draws", "count"),
            ("trained on", "text"),
            ("target", "text"),
            ("loss", "number"),
            ("expected about", "number"),
        ),
        rows=tuple(
            (item.run, item.seed, item.budget, item.mixture, item.target, item.loss, item.expected)
            for item in fitted.outliers
        ),
        note="The fit includes them." if fitted.outliers_kept else "The fit leaves them out.",
    )


def transfer_table(data: TransferData, *, intervals: bool = False) -> Table:
    """Return the transfer matrix: a row per source, a column per target, means at the edges; with the intervals if asked."""
    told = intervals and bool(np.isfinite(data.interval).any())
    ends = np.where(told, data.interval, np.nan)

    def cells(values: list[float], bounds: list[list[float]]) -> list[Cell]:
        return [
            cell
            for value, pair in zip(values, bounds, strict=True)
            for cell in ((value, *pair) if told else (value,))
        ]

    rows: list[tuple[Cell, ...]] = [
        (f"from {name}", *cells(data.transfer[i].tolist(), ends[i].tolist()), mean, role or None)
        for i, (name, mean, role) in enumerate(
            zip(data.domains, data.outgoing.tolist(), data.roles, strict=True)
        )
    ]
    unknown = [[np.nan, np.nan]] * len(data.targets)
    rows.append(("mean incoming", *cells(data.incoming.tolist(), unknown), None, None))
    columns = columns_of(("source", "text"))
    for name in data.targets:
        columns += value_of(f"to {name}", "transfer") if told else columns_of((f"to {name}", "transfer"))
    return Table(
        name=f"transfer-{data.law}",
        title=f"Transfer, source (row) by target (column), of the law {data.law}",
        columns=(*columns, *columns_of(("mean outgoing", "transfer"), ("role", "text"))),
        rows=tuple(rows),
        note=f"Worth of one draw of the source for the target, in draws of the target.{_relative(data)} {RULES}",
    )


def disputed_table(content: ReportContent) -> Table | None:
    """Return the transfers on which laws disagree more than tenfold, with what every law says; None where there are none."""
    laws = [name for name in content.laws_in_order if content.laws[name].form.transfers]
    found = disagreements(content.laws)
    if not found:
        return None
    return Table(
        name="transfers-disputed",
        title="Transfers on which the laws differ more than tenfold",
        columns=columns_of(
            ("source", "text"), ("target", "text"), *((f"by {name}", "number") for name in laws)
        ),
        rows=tuple(
            (
                item.source,
                item.target,
                *(_transfer(content.laws[name], item.source, item.target) for name in laws),
            )
            for item in found
        ),
    )


def _transfer(law: FittedLaw, source: str, target: str) -> float | None:
    if source not in law.domains or target not in law.targets:
        return None
    return float(law.transfer[law.domains.index(source), law.targets.index(target)])


def _relative(data: TransferData) -> str:
    only = [name for name in data.targets if name not in data.domains]
    if not only:
        return ""
    return f" No run is trained on {' and '.join(only)}: there, in draws of the best source, whose transfer is 1."


def pair_table(content: ReportContent, *, law: str) -> Table:
    """Return every transfer with its interval, state and R2."""
    fitted = content.laws[law]
    bounds = (fitted.intervals(content.level) or {}).get("transfer")
    states, names = transfer_data(content, law=law).status, content.target_names
    rows: list[tuple[Cell, ...]] = []
    for i, source in enumerate(fitted.domains):
        for j, target in enumerate(fitted.targets):
            if source == target:
                continue
            low, high = bounds[i, j].tolist() if bounds is not None else (None, None)
            state = states[i][names.index(target)] or None
            rows.append(
                (source, target, float(fitted.transfer[i, j]), low, high, state, float(fitted.r2_pair[i, j]))
            )
    return Table(
        name=f"transfer-pairs-{law}",
        title="Every transfer with its interval and the quality of its fit",
        columns=columns_of(
            ("source", "text"),
            ("target", "text"),
            ("transfer", "transfer"),
        )
        + range_of(f"{content.level:.0%} interval", "transfer")
        + columns_of(("state", "text"), ("R²", "number")),
        rows=tuple(rows),
    )


def effective_table(items: Sequence[EffectiveData]) -> Table:
    """Return the effective budget of every target by source under each strategy (the paper's tables 1 and 10)."""
    first = items[0]
    rows: list[tuple[Cell, ...]] = []
    for item in items:
        for name, parts in zip(item.domains, item.contributions.tolist(), strict=True):
            rows.append((item.strategy, f"from {name}", *parts))
        rows += [
            (item.strategy, "effective budget", *item.total.tolist()),
            (item.strategy, "own draws", *item.direct.tolist()),
            (item.strategy, "amplification", *item.amplification.tolist()),
        ]
    return Table(
        name="effective-budgets",
        title="Effective budget, source (row) by target (column), of every strategy",
        columns=columns_of(
            ("strategy", "text"), ("part", "text"), *((f"on {name}", "number") for name in first.targets)
        ),
        rows=tuple(rows),
        note="In draws of the target. Amplification: the effective budget over the target's own draws.",
    )


def path_table(data: PathData) -> Table:
    """Return the best mixture at several budgets."""
    return Table(
        name="mixture-by-budget",
        title="Best mixture as a function of the budget",
        columns=columns_of(("budget", "count"), *((name, "percent") for name in data.domains)),
        rows=tuple((n, *row) for n, row in zip(data.budgets.tolist(), data.weights.tolist(), strict=True)),
    )


def loss_table(content: ReportContent) -> Table | None:
    """Return the loss after training on each source alone, at the largest such budget; None without runs."""
    table = content.measurements
    if table is None or not (table.source >= 0).any():
        return None
    largest = float(table.budget[table.source >= 0].max())
    values = np.full((len(table.domains), len(table.targets)), np.nan)
    source, target = table.source, table.target_index
    rows: dict[tuple[int, int], list[int]] = {}
    for row in np.flatnonzero((source >= 0) & (table.budget == largest)):
        rows.setdefault((int(source[row]), int(target[row])), []).append(int(row))
    for pair, own in rows.items():
        values[pair] = table.loss[own].mean()
    return Table(
        name="losses-pure",
        title=f"Loss, source (row) by target (column), after {largest:,.0f} draws of one source",
        columns=columns_of(("source", "text"), *((f"on {name}", "number") for name in table.targets)),
        rows=tuple((f"from {name}", *row) for name, row in zip(table.domains, values.tolist(), strict=True)),
    )
