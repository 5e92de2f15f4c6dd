"""What was measured of the strategies, and how good a law's predictions of it were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.mixture import Mixture
from voxmix.report.content import Check, ReportContent, mixture_of
from voxmix.scores.blocks import fit_blocks
from voxmix.scores.rank import rank_correlation


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
class Forecast:
    """One law's predictions and the measured losses at one budget.

    Attributes:
        predicted, measured: (strategy, target), measured as :attr:`Measured.adjusted`; NaN where not measured.
        mean_error: mean of |predicted / measured - 1| over strategies and targets.
        bias: mean of predicted / measured - 1.
        rank_correlation: Spearman's, of the strategies' mean losses; NaN with fewer than three.
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
    targets = content.domain_names
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
            predict(content, law=law, mixture=mixture_of(content.strategies[n]), budget=budget)
            for n in strategies
        ],
        dtype=np.float64,
    ).reshape(len(rows), targets)
    observed = found.adjusted[rows].reshape(len(rows), targets)
    ratio = predicted / np.where(observed > 0, observed, np.nan) - 1
    both = np.isfinite(ratio)
    full = both.all(axis=1)
    means = predicted[full].mean(axis=1), observed[full].mean(axis=1)
    return Forecast(
        law=law,
        budget=budget,
        strategies=strategies,
        predicted=predicted,
        measured=observed,
        mean_error=float(np.abs(ratio[both]).mean()) if both.any() else np.nan,
        bias=float(ratio[both].mean()) if both.any() else np.nan,
        rank_correlation=float(rank_correlation(*means)),
        right_pairs=_right_pairs(*means),
        correlation=_pearson(predicted[both], observed[both]),
    )


def predict(
    content: ReportContent, *, law: str, mixture: Mixture, budget: float
) -> Float[np.ndarray, " target"]:
    """Return a law's loss for every domain of the study; NaN for one that is no target of the law."""
    fitted = content.laws[law]
    values = fitted.evaluate(fitted.weights_of(mixture), budget)
    return on_domains(content, law=law, values=values)


def on_domains(
    content: ReportContent, *, law: str, values: Float[np.ndarray, "*rows target"]
) -> Float[np.ndarray, "*rows domain"]:
    """Return values per target of a law as values per domain of the study, NaN where there is none."""
    targets = content.laws[law].targets
    full = np.full((*values.shape[:-1], len(content.domain_names)), np.nan)
    full[..., [content.domain_names.index(name) for name in targets]] = values
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
