"""What the figures of the scaling curves show, as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.measurement import MeasurementTable
from voxmix.mixture import Mixture
from voxmix.report.content import ReportContent, draws_of, mixture_of
from voxmix.report.findings import on_targets, predict

_GRID = 60
_EQUAL = 1e-6
MOST_SERIES = 16
"""Most lines of a panel: of more none can be told from the others."""
MOST_PANELS = 24
"""Most targets that are drawn: of more the page grows by what nobody looks through."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CurveSeries:
    """Losses of one mixture on one target over budgets. ``curve`` is the law on the panel's grid.

    ``source`` is the only domain of a pure run, ``hub`` the one that has most of a vertex run.
    """

    label: str
    source: str | None
    hub: str | None
    mixture: Mixture
    budgets: Float[np.ndarray, " point"]
    loss: Float[np.ndarray, " point"]
    fitted: Float[np.ndarray, " point"]
    curve: Float[np.ndarray, " grid"]

    @property
    def trained_on(self) -> str:
        """What the legend calls all runs like these."""
        return f"trained on {self.source or self.hub or 'a mixture'}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CurvePanel:
    """Scaling curves of one target. Beyond ``fitted_range`` a curve is extrapolation."""

    target: str
    grid: Float[np.ndarray, " grid"]
    fitted_range: tuple[float, float]
    series: tuple[CurveSeries, ...]
    checks: tuple[tuple[str, float, float], ...]
    irreducible_loss: float

    @property
    def misfit(self) -> float:
        """How far the law lies from the measured losses: the median of the absolute log ratio; 0 without a law."""
        away = [np.abs(np.log(series.fitted / series.loss)) for series in self.series]
        known = np.concatenate(away)
        known = known[np.isfinite(known)]
        return float(np.median(known)) if len(known) else 0.0

    @property
    def drawn(self) -> tuple[CurveSeries, ...]:
        """The series that are drawn: all; of many the target's own, mixtures, and those that end lowest, in their order."""
        if len(self.series) <= MOST_SERIES:
            return self.series

        def rank(series: CurveSeries) -> tuple[bool, bool, float]:
            return (
                series.source != self.target,
                series.source is not None or series.hub is not None,
                float(series.loss[-1]),
            )

        kept = {id(series) for series in sorted(self.series, key=rank)[:MOST_SERIES]}
        return tuple(series for series in self.series if id(series) in kept)


def curve_panels(content: ReportContent, *, law: str | None) -> tuple[CurvePanel, ...]:
    """Return one panel per target that was measured; curves are NaN without a law."""
    table = content.measurements
    if table is None or not len(table):
        return ()
    high = max(float(table.budget.max()), float(content.budget or 0))
    low = float(table.budget.min())
    grid = np.geomspace(low, max(high, low * 1.5), _GRID)
    mixtures = _mixtures(table)
    curves = [_curve(content, law=law, mixture=mixture, grid=grid) for mixture in mixtures]
    rows = _rows_of_series(table, mixtures)
    fits = [
        {float(n): _fit(content, law=law, mixture=mixture, budget=float(n)) for n in np.unique(table.budget)}
        for mixture in mixtures
    ]
    asymptote = np.full(len(content.target_names), np.nan)
    if law is not None:
        asymptote = on_targets(content, law=law, values=content.laws[law].irreducible_loss)
    panels = []
    for j, target in enumerate(content.target_names):
        series = [
            _series(
                table,
                rows.get((m, target), []),
                mixture=mixture,
                fits=fits[m],
                place=j,
                curve=curves[m][:, j],
            )
            for m, mixture in enumerate(mixtures)
        ]
        kept = tuple(item for item in series if len(item.budgets))
        if kept:
            panels.append(
                CurvePanel(
                    target=target,
                    grid=grid,
                    fitted_range=(low, float(table.budget.max())),
                    series=kept,
                    checks=_check_points(content, target),
                    irreducible_loss=float(asymptote[j]),
                )
            )
    return tuple(panels)


def drawn_panels(panels: Sequence[CurvePanel]) -> tuple[CurvePanel, ...]:
    """Return the panels that are drawn, in their order: all; of more than ``MOST_PANELS`` those that the law fits worst."""
    worst = sorted(panels, key=lambda panel: panel.misfit, reverse=True)[:MOST_PANELS]
    kept = {panel.target for panel in worst}
    return tuple(panel for panel in panels if panel.target in kept)


def _mixtures(table: MeasurementTable) -> list[Mixture]:
    """The mixtures of a table: pure ones in the order of the domains, then others as met."""
    unique = {tuple(row): None for row in table.weights.tolist()}
    found = [Mixture(domains=table.domains, weights=np.array(row)) for row in unique]
    place = {name: i for i, name in enumerate(table.domains)}
    return sorted(found, key=lambda m: len(place) if m.source is None else place[m.source])


def _curve(
    content: ReportContent, *, law: str | None, mixture: Mixture, grid: Float[np.ndarray, " grid"]
) -> Float[np.ndarray, "grid target"]:
    if law is None:
        return np.full((len(grid), len(content.target_names)), np.nan)
    values = np.array([predict(content, law=law, mixture=mixture, budget=float(n)) for n in grid])
    return np.where(np.isfinite(values), values, np.nan)


def _rows_of_series(table: MeasurementTable, mixtures: list[Mixture]) -> dict[tuple[int, str], list[int]]:
    """Return the rows of each mixture, by its number, on each target; mixtures that are nearly equal share theirs."""
    place = {tuple(mixture.weights.tolist()): m for m, mixture in enumerate(mixtures)}
    weights = np.array([mixture.weights for mixture in mixtures])
    alike = [np.flatnonzero(np.abs(weights - own).max(axis=1) < _EQUAL) for own in weights]
    found: dict[tuple[int, str], list[int]] = {}
    for row, (own, target) in enumerate(zip(table.weights.tolist(), table.target, strict=True)):
        for m in alike[place[tuple(own)]]:
            found.setdefault((int(m), target), []).append(row)
    return found


def _fit(
    content: ReportContent, *, law: str | None, mixture: Mixture, budget: float
) -> Float[np.ndarray, " target"]:
    if law is None:
        return np.full(len(content.target_names), np.nan)
    values = predict(content, law=law, mixture=mixture, budget=budget)
    return np.where(np.isfinite(values), values, np.nan)


def _series(
    table: MeasurementTable,
    rows: list[int],
    *,
    mixture: Mixture,
    fits: Mapping[float, Float[np.ndarray, " target"]],
    place: int,
    curve: Float[np.ndarray, " grid"],
) -> CurveSeries:
    """Return the series of some rows; ``fits`` holds by budget what the law says of every target."""
    budget, losses = table.budget[rows], table.loss[rows]
    budgets = np.unique(budget)
    loss = np.array([losses[budget == n].mean() for n in budgets], dtype=np.float64)
    return CurveSeries(
        label=mixture.label,
        source=mixture.source,
        hub=mixture.hub,
        mixture=mixture,
        budgets=budgets,
        loss=loss,
        fitted=np.array([fits[float(n)][place] for n in budgets], dtype=np.float64),
        curve=curve,
    )


def _check_points(content: ReportContent, target: str) -> tuple[tuple[str, float, float], ...]:
    """(strategy, draws, mean loss over seeds) of the measured strategies on one target."""
    found: dict[tuple[str, int], list[float]] = {}
    for check in content.checks:
        if check.target == target:
            found.setdefault((check.strategy, check.budget), []).append(check.loss)
    return tuple(
        (name, _draws(content, name, budget), float(np.mean(losses)))
        for (name, budget), losses in found.items()
    )


def _draws(content: ReportContent, strategy: str, budget: int) -> float:
    item = content.strategies.get(strategy)
    return float(budget if item is None else draws_of(content, mixture_of(item), budget))
