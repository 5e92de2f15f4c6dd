"""Which strategies the measurements tell apart: a randomised block design, whose blocks are the seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from voxmix.report.content import ReportContent
from voxmix.scores.blocks import fit_blocks, tukey_margins
from voxmix.scores.measured import Measure, Measured, measure_of

LEVEL = 0.95
"""All comparisons of one measure together are wrong in at most one minus this of studies of equal strategies."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Ranking:
    """Strategies from the lowest measure up, and which of them the noise lets apart; all of it within seeds.

    The logarithm of a run's measure is its strategy's, plus its seed's, plus noise, so differences are relative.

    Attributes:
        values: the measure of each strategy, were it trained with every seed.
        seeds: number of seeds of each strategy that have every loss.
        runs: (strategy, seed) the measure of each run freed of its seed's own effect; NaN where there is none.
        seed_names, seed_effects: by how much each seed is worse for every strategy alike, as a share.
        noise: standard deviation of one run's measure as a share, its seed's effect taken out; NaN if not known.
        unblocked: the same as if seeds were independent, for comparison.
        freedom: degrees of freedom of ``noise``.
        margins: for each pair the difference, as a share, that noise alone seldom makes (Tukey and Kramer's studentized
            range over all pairs at ``LEVEL``); 0 for a strategy and itself and for two names of the same runs, NaN
            where it cannot be told: one seed, or none in common.
    """

    measure: Measure
    strategies: tuple[str, ...]
    values: Float[np.ndarray, " strategy"]
    seeds: tuple[int, ...]
    runs: Float[np.ndarray, "strategy seed"]
    seed_names: tuple[int, ...]
    seed_effects: Float[np.ndarray, " seed"]
    noise: float
    unblocked: float
    freedom: int
    margins: Float[np.ndarray, "strategy strategy"]
    same: tuple[tuple[str, str], ...]

    @property
    def margin(self) -> Float[np.ndarray, " strategy"]:
        """Margin of each strategy's difference to the best."""
        return self.margins[0] if len(self.strategies) else self.margins.reshape(0)

    @property
    def behind(self) -> Float[np.ndarray, " strategy"]:
        """By how much each strategy is worse than the best, as a share."""
        best = self.values[:1]
        return self.values / best - 1 if len(best) else self.values

    @property
    def apart(self) -> tuple[bool, ...]:
        """Whether each strategy is worse than the best by more than noise."""
        return tuple(self.told(0, i) for i in range(len(self.strategies)))

    @property
    def tied(self) -> tuple[str, ...]:
        """The best strategy and those that are tied with it."""
        return tuple(name for name, apart in zip(self.strategies, self.apart, strict=True) if not apart)

    @property
    def strangers(self) -> tuple[str, ...]:
        """Strategies that cannot be compared with the best although noise is known: no seed joins the two."""
        if not np.isfinite(self.noise):
            return ()
        return tuple(n for n, m in zip(self.strategies, self.margin, strict=True) if not np.isfinite(m))

    @property
    def lacking(self) -> dict[str, tuple[int, ...]]:
        """Seeds that each strategy lacks, of those that another has."""
        gaps = ~np.isfinite(self.runs)
        return {
            name: tuple(seed for seed, gap in zip(self.seed_names, gaps[i], strict=True) if gap)
            for i, name in enumerate(self.strategies)
            if gaps[i].any()
        }

    @property
    def reach(self) -> Float[np.ndarray, " strategy"]:
        """Half of each strategy's largest margin, as a share: where two such bars do not meet, the two are told apart.

        With the same seeds everywhere the converse holds too.
        """
        known = np.where(np.isfinite(self.margins), self.margins, 0.0)
        half = np.expm1(np.log1p(known).max(axis=1, initial=0.0) / 2)
        return np.where(half > 0, half, np.nan)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every two strategies, by place; the better first."""
        return tuple(combinations(range(len(self.strategies)), 2))

    def of(self, strategies: Sequence[str]) -> Float[np.ndarray, " strategy"]:
        """Return the values of these strategies; NaN for one without."""
        by_name = dict(zip(self.strategies, self.values.tolist(), strict=True))
        return np.array([by_name.get(name, np.nan) for name in strategies], dtype=np.float64)

    def told(self, better: int, worse: int) -> bool:
        """Return whether the strategy at one place is better than that at another by more than noise."""
        margin = float(self.margins[better, worse])
        return bool(np.isfinite(margin) and self.values[worse] / self.values[better] - 1 > margin)


def rank_by_objective(content: ReportContent, found: Measured) -> Ranking:
    """Return the strategies from best to worst by what the study minimizes, within seeds."""
    return rank_strategies(found, objective=content.objective, target_weights=content.target_weights)


def rank_otherwise(content: ReportContent, found: Measured) -> Ranking:
    """Return the strategies by the mean of relative losses; where the study minimizes that, by the mean loss."""
    other = "mean" if content.objective == "relative" else "relative"
    return rank_strategies(found, objective=other, target_weights=content.target_weights)


def rank_strategies(
    found: Measured, *, objective: str = "mean", target_weights: Mapping[str, float] = MappingProxyType({})
) -> Ranking:
    """Return the strategies from best to worst by an objective of an allocation, or on one target, within seeds.

    Strategies without a seed that has every loss are left out; a loss that is not above 0 is none.
    """
    measure = measure_of(found, objective, target_weights)
    values, first = measure.logs(found), found.first_of_equal
    fit = fit_blocks(np.where((first == np.arange(len(first)))[:, None], values, np.nan))
    effect, margins = fit.effect[first], tukey_margins(fit, level=LEVEL)[np.ix_(first, first)]
    order = [int(i) for i in np.argsort(effect, kind="stable") if np.isfinite(effect[i])]
    names = tuple(found.strategies[i] for i in order)
    met = np.isfinite(values[order]).any(axis=0)
    return Ranking(
        measure=measure,
        strategies=names,
        values=np.exp(effect[order]),
        seeds=tuple(int(count) for count in np.isfinite(values[order]).sum(axis=1)),
        runs=np.exp((values - fit.block)[np.ix_(order, met)]),
        seed_names=tuple(seed for seed, known in zip(found.seeds, met, strict=True) if known),
        seed_effects=np.expm1(fit.block[met]),
        noise=fit.noise,
        unblocked=_unblocked(values[sorted(set(first[order].tolist()))]),
        freedom=fit.freedom,
        margins=np.expm1(margins[np.ix_(order, order)]),
        same=tuple((found.strategies[i], found.strategies[first[i]]) for i in order if first[i] != i),
    )


def _unblocked(values: Float[np.ndarray, "strategy seed"]) -> float:
    """Return the standard deviation over seeds, pooled over strategies."""
    rows = [row[np.isfinite(row)] for row in values]
    freedom = sum(len(row) - 1 for row in rows if len(row))
    squares = sum(float(((row - row.mean()) ** 2).sum()) for row in rows if len(row))
    return float(np.sqrt(squares / freedom)) if freedom > 0 else np.nan
