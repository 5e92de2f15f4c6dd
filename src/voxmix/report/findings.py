"""What the measurements say: which strategy won, beyond the seeds' noise or not, and how good a law was."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from voxmix.mixture import Mixture
from voxmix.report.content import Check, ReportContent, mixture_of
from voxmix.scores.rank import rank_correlation

_LEVEL = 0.95


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
    def seed_means(self) -> Float[np.ndarray, "strategy seed"]:
        """Mean over targets per seed; NaN unless every target was measured."""
        means: Float[np.ndarray, "strategy seed"] = self.loss.mean(axis=2)
        return means

    @property
    def target_means(self) -> Float[np.ndarray, "strategy target"]:
        """Mean over the seeds there are, per target; NaN where no seed measured it."""
        return _nanmean(self.loss, axis=1)

    @property
    def means(self) -> Float[np.ndarray, " strategy"]:
        """Mean over targets, then over seeds; NaN where no seed is complete."""
        return _nanmean(self.seed_means, axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranking:
    """Strategies from the lowest mean loss up, and which of them the seeds' noise lets apart from the best.

    Attributes:
        noise: standard deviation of the mean loss over seeds, pooled over strategies; NaN with one seed.
        margin: for each strategy the difference to the best that noise alone seldom reaches (5% of
            studies of equal strategies; Tukey and Kramer's studentized range); NaN with one seed.
        apart: True where the difference to the best is larger than ``margin``.
    """

    strategies: tuple[str, ...]
    means: Float[np.ndarray, " strategy"]
    seeds: tuple[int, ...]
    noise: float
    margin: Float[np.ndarray, " strategy"]
    apart: tuple[bool, ...]

    @property
    def tied(self) -> tuple[str, ...]:
        """The best strategy and those that are tied with it."""
        return tuple(name for name, apart in zip(self.strategies, self.apart, strict=True) if not apart)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forecast:
    """One law's predictions and the measured losses at one budget.

    Attributes:
        predicted, measured: (strategy, target); NaN where not measured.
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


def rank_strategies(found: Measured) -> Ranking:
    """Return the strategies from best to worst with the noise of the seeds.

    Strategies without a complete seed are left out. Differences to the best are judged by Tukey and
    Kramer's studentized range at 95%: the best was picked after looking, so all pairs count.
    """
    complete = [i for i in range(len(found.strategies)) if np.isfinite(found.means[i])]
    order = sorted(complete, key=lambda i: float(found.means[i]))
    values = [found.seed_means[i][np.isfinite(found.seed_means[i])] for i in order]
    counts = np.array([len(v) for v in values], dtype=np.float64)
    # Strategies with one mixture share their runs, to the last digit: they are one group, not two witnesses.
    groups = {tuple(v): v for v in values}
    freedom = sum(len(v) for v in groups.values()) - len(groups)
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in groups.values())
    noise = float(np.sqrt(squares / freedom)) if freedom > 0 else np.nan
    margin = np.full(len(order), np.nan)
    if freedom > 0 and len(groups) > 1:
        margin = _tukey(len(groups), freedom) * noise * np.sqrt((1 / counts + 1 / counts[0]) / 2)
    means = np.array([found.means[i] for i in order], dtype=np.float64)
    gaps = means - means[0] if len(order) else means
    return Ranking(
        strategies=tuple(found.strategies[i] for i in order),
        means=means,
        seeds=tuple(int(c) for c in counts),
        noise=noise,
        margin=margin,
        apart=tuple(
            bool(np.isfinite(m) and g > m and i > 0)
            for i, (g, m) in enumerate(zip(gaps, margin, strict=True))
        ),
    )


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
    observed = found.target_means[rows].reshape(len(rows), targets)
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


def _nanmean(values: np.ndarray, *, axis: int) -> np.ndarray:
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@cache
def _tukey(groups: int, freedom: int) -> float:
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(_LEVEL, groups, freedom))


def _pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float(np.nan)
    return float(np.corrcoef(a, b)[0, 1])


def _right_pairs(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    if not pairs:
        return float(np.nan)
    return float(np.mean([np.sign(a[i] - a[j]) == np.sign(b[i] - b[j]) for i, j in pairs]))
