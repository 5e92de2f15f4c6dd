"""What was measured of the strategies, and how good a law's predictions of it were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from voxmix.allocation.objective import OBJECTIVE_WORDS, importance_of, loss_weights, objective_value
from voxmix.mixture import Mixture
from voxmix.report.content import Check, ReportContent, draws_of, mixture_of
from voxmix.scores.blocks import fit_blocks
from voxmix.scores.rank import rank_correlation

_UNIFORM = "uniform"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """Measured losses of the strategies at one budget; NaN where a loss is missing.

    Attributes:
        strategies: names, in the order of the study.
        seeds: seeds that were met, rising.
        loss: (strategy, seed, target).
    """

    budget: int
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    targets: tuple[str, ...]
    loss: Float[np.ndarray, "strategy seed target"]

    @property
    def adjusted(self) -> Float[np.ndarray, "strategy target"]:
        """Loss of each strategy and target, were it trained with every seed; NaN where no seed measured it.

        With the same seeds everywhere it is the geometric mean over seeds. Where a strategy lacks a seed, what that seed does
        to the others is made good (:func:`voxmix.scores.blocks.fit_blocks`).
        """
        logs = np.log(np.where(self.loss > 0, self.loss, np.nan))
        columns = [np.exp(fit_blocks(logs[:, :, j]).effect) for j in range(len(self.targets))]
        return np.array(columns, dtype=np.float64).reshape(len(self.targets), len(self.strategies)).T


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measure:
    """One number per run from its losses.

    Attributes:
        kind: "mean", "relative" or "minimax", as the objectives of an allocation; or the name of a target.
        importance: per target, summing to 1.
        weights: what the loss on each target counts. A relative loss is over that of the uniform mixture, adjusted for
            seeds, or over the geometric mean of all strategies where uniform was not measured.
    """

    kind: str
    targets: tuple[str, ...]
    importance: Float[np.ndarray, " target"]
    weights: Float[np.ndarray, " target"]

    @property
    def plain(self) -> bool:
        """Whether it is the mean loss, with every target alike."""
        return self.kind == "mean" and bool(np.ptp(self.importance) == 0)

    @property
    def words(self) -> str:
        """The measure as it stands in tables and sentences."""
        if self.kind in self.targets:
            return f"loss on {self.kind}"
        uneven = self.kind != "minimax" and np.ptp(self.importance) != 0
        return f"weighted {OBJECTIVE_WORDS[self.kind]}" if uneven else OBJECTIVE_WORDS[self.kind]

    def of(self, loss: Float[np.ndarray, "*rows target"]) -> Float[np.ndarray, "*rows"]:
        """Return the measure of losses; NaN where a target that it needs is missing."""
        return objective_value(self.kind, self.weights, np.where(self.weights > 0, loss, 0.0))


def measure_of(found: Measured, kind: str, target_weights: Mapping[str, float]) -> Measure:
    """Return the measure of that kind for these losses."""
    targets = found.targets
    importance = importance_of(targets, target_weights)
    weights = np.array([name == kind for name in targets], dtype=np.float64)
    if kind in OBJECTIVE_WORDS:
        weights = loss_weights(kind, importance, _reference(found))
    return Measure(kind=kind, targets=targets, importance=importance, weights=weights)


def _reference(found: Measured) -> Float[np.ndarray, " target"]:
    alone = found.adjusted
    reference = np.full(len(found.targets), np.nan)
    if _UNIFORM in found.strategies:
        reference = alone[found.strategies.index(_UNIFORM)]
    for j, column in enumerate(alone.T):
        if not np.isfinite(reference[j]) and np.isfinite(column).any():
            reference[j] = np.exp(np.log(column[np.isfinite(column)]).mean())
    return reference


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forecast:
    """One law's predictions and the measured losses at one budget.

    Attributes:
        predicted, measured: (strategy, target), measured as :attr:`Measured.adjusted`; NaN where not measured.
        mean_error: mean of |predicted / measured - 1| over strategies and targets.
        bias: mean of predicted / measured - 1.
        rank_correlation: Spearman's, of the strategies by the study's objective; NaN with fewer than three.
        right_pairs: share of pairs of strategies in the measured order; NaN with fewer than two.
        correlation: Pearson's over all strategies and targets. Domains differ so much more than
            strategies that it is near 1 for almost any law.
    """

    law: str
    budget: int
    strategies: tuple[str, ...]
    predicted: Float[np.ndarray, "strategy target"]
    measured: Float[np.ndarray, "strategy target"]
    mean_error: float
    bias: float
    rank_correlation: float
    right_pairs: float
    correlation: float
    unit: str = "draws"


def check_budgets(checks: Sequence[Check], *, first: int | None = None) -> tuple[int, ...]:
    """Return the budgets at which strategies were measured: ``first`` if among them, then falling."""
    budgets = sorted({check.budget for check in checks}, reverse=True)
    return tuple(sorted(budgets, key=lambda budget: budget != first))


def measured(content: ReportContent, *, budget: int) -> Measured:
    """Return the measured losses of the strategies at one budget."""
    checks = [check for check in content.checks if check.budget == budget]
    order = [*content.strategies, *(check.strategy for check in checks)]
    met = {check.strategy for check in checks}
    strategies = tuple(dict.fromkeys(name for name in order if name in met))
    seeds = tuple(sorted({check.seed for check in checks}))
    targets = content.target_names
    loss = np.full((len(strategies), len(seeds), len(targets)), np.nan)
    for check in checks:
        place = (strategies.index(check.strategy), seeds.index(check.seed), targets.index(check.target))
        loss[place] = check.loss
    return Measured(budget=budget, strategies=strategies, seeds=seeds, targets=targets, loss=loss)


def forecast(content: ReportContent, *, law: str, budget: int) -> Forecast:
    """Return one law's predictions of the measured strategies that have a mixture."""
    found = measured(content, budget=budget)
    rows = [i for i, name in enumerate(found.strategies) if name in content.strategies]
    strategies = tuple(found.strategies[i] for i in rows)
    targets = len(found.targets)
    predicted = np.array(
        [
            predict(content, law=law, mixture=mixture, budget=draws_of(content, mixture, budget))
            for mixture in (mixture_of(content.strategies[n]) for n in strategies)
        ],
        dtype=np.float64,
    ).reshape(len(rows), targets)
    observed = found.adjusted[rows].reshape(len(rows), targets)
    ratio = predicted / np.where(observed > 0, observed, np.nan) - 1
    both = np.isfinite(ratio)
    known = np.asarray(np.isfinite(predicted).any(axis=0))  # the targets of the law
    if not known.any():
        known = np.ones(targets, dtype=bool)
    full = both[:, known].all(axis=1)
    measure = _measure_on(found, content, known)
    order = measure.of(predicted[np.ix_(full, known)]), measure.of(observed[np.ix_(full, known)])
    return Forecast(
        law=law,
        budget=budget,
        strategies=strategies,
        predicted=predicted,
        measured=observed,
        mean_error=float(np.abs(ratio[both]).mean()) if both.any() else np.nan,
        bias=float(ratio[both].mean()) if both.any() else np.nan,
        rank_correlation=float(rank_correlation(*order)),
        right_pairs=_right_pairs(*order),
        correlation=_pearson(predicted[both], observed[both]),
        unit=content.unit,
    )


def _measure_on(found: Measured, content: ReportContent, known: Bool[np.ndarray, " target"]) -> Measure:
    """Return what strategies are judged by, on some of the targets; all alike where no weight is left above 0."""
    names = tuple(name for name, keep in zip(found.targets, known, strict=True) if keep)
    weights = {name: weight for name, weight in content.target_weights.items() if name in names}
    if not any(weights.get(name, 1.0) > 0 for name in names):
        weights = {}
    return measure_of(replace(found, targets=names, loss=found.loss[..., known]), content.objective, weights)


def predict(
    content: ReportContent, *, law: str, mixture: Mixture, budget: float
) -> Float[np.ndarray, " target"]:
    """Return a law's loss for every target of the study; NaN for one that is no target of the law."""
    fitted = content.laws[law]
    values = fitted.evaluate(fitted.weights_of(mixture), budget)
    return on_targets(content, law=law, values=values)


def on_targets(
    content: ReportContent, *, law: str, values: Float[np.ndarray, "*rows target"]
) -> Float[np.ndarray, "*rows all"]:
    """Return values per target of a law as values per target of the study, NaN where there is none."""
    targets, names = content.laws[law].targets, content.target_names
    full = np.full((*values.shape[:-1], len(names)), np.nan)
    full[..., [names.index(name) for name in targets]] = values
    return full


def _pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float(np.nan)
    return float(np.corrcoef(a, b)[0, 1])


def _right_pairs(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    if not pairs:
        return float(np.nan)
    return float(np.mean([np.sign(a[i] - a[j]) == np.sign(b[i] - b[j]) for i, j in pairs]))
