"""What each figure shows, as arrays: pure functions of the content, drawn by drawing.py, listed by tables.py.

Missing is NaN, never 0. ``transfer`` and ``contributions`` are [source, target] always.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.allocation import Allocation
from voxmix.law.doubt import disagreements
from voxmix.mixture import Mixture
from voxmix.report.content import ReportContent, draws_of, mixture_of, volumes_of
from voxmix.report.findings import forecast, measured, on_targets
from voxmix.report.ranking import Ranking, rank_by_objective, rank_strategies
from voxmix.report.roles import domain_roles, mean_transfer
from voxmix.scores.forecast import Forecast

_NEAR = 2.0
"""Predictions are drawn up to so many times the spread of the measured means away from them."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AnswerData:
    """The answer: share of each domain. ``interval`` and ``near`` are (source, 2), NaN where unknown.

    ``together`` is how often all shares lie in their intervals at once; None where unknown.
    """

    strategy: str
    domains: tuple[str, ...]
    budget: int
    weight: Float[np.ndarray, " source"]
    interval: Float[np.ndarray, "source 2"]
    near: Float[np.ndarray, "source 2"]
    volumes: Float[np.ndarray, " source"]
    min_weight: float | None
    together: float | None = None

    @property
    def draws(self) -> Float[np.ndarray, " source"]:
        """Whole draws per domain; they sum to the budget."""
        mixture = Mixture(domains=self.domains, weights=np.asarray(self.weight))
        return np.asarray(mixture.draws(self.budget), dtype=np.float64)

    @property
    def repeats(self) -> Float[np.ndarray, " source"]:
        """Draws per volume that exists; NaN where the number of volumes is unknown."""
        return self.draws / np.where(self.volumes > 0, self.volumes, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SharesData:
    """Weights of every strategy, (strategy, source)."""

    strategies: tuple[str, ...]
    domains: tuple[str, ...]
    weights: Float[np.ndarray, "strategy source"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeansData:
    """The strategies at one budget, best first: measured, and predicted per law.

    ``means`` is the mean loss per strategy, ``predicted`` (law, strategy) what ``ranking`` ranks by, as each law predicts
    it; both in the order of ``ranking``.
    """

    budget: int
    ranking: Ranking
    means: Float[np.ndarray, " strategy"]
    laws: tuple[str, ...]
    predicted: Float[np.ndarray, "law strategy"]
    unit: str = "draws"

    @property
    def bars(self) -> tuple[Float[np.ndarray, " strategy"], Float[np.ndarray, " strategy"]]:
        """Low and high end of each strategy's bar: where two do not meet, noise seldom makes the difference."""
        values, reach = self.ranking.values, np.nan_to_num(self.ranking.reach)
        return values / (1 + reach), values * (1 + reach)

    @property
    def axis(self) -> tuple[float, float]:
        """Range of losses to draw: all that was measured, and the laws of which every prediction is near it."""
        values = np.concatenate([self.ranking.runs.ravel(), *self.bars])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        reach = _NEAR * (high - low) or _NEAR * 0.01 * high
        far = (self.predicted < low - reach) | (self.predicted > high + reach)
        near = self.predicted[~far.any(axis=1)]
        values = np.concatenate([values, near[np.isfinite(near)]])
        room = 0.06 * (float(np.ptp(values)) or high)
        return float(values.min()) - room, float(values.max()) + room

    def beyond(self, law: str) -> bool:
        """Whether some of a law's predictions lie beyond the axis; then none of them is drawn."""
        row = self.predicted[self.laws.index(law)]
        low, high = self.axis
        return bool(np.any((row < low) | (row > high)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TransferData:
    """Transfer [source, target]; NaN where a pair was not measured. Means leave a domain's own transfer out.

    ``interval`` is (source, target, 2), NaN where it is not known; ``disputed`` where laws set a transfer apart by more than
    tenfold; ``ceiling`` is what the darkest shade stands for.
    """

    law: str
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    transfer: Float[np.ndarray, "source target"]
    interval: Float[np.ndarray, "source target 2"]
    disputed: Bool[np.ndarray, "source target"]
    ceiling: float
    status: tuple[tuple[str, ...], ...]
    outgoing: Float[np.ndarray, " source"]
    incoming: Float[np.ndarray, " target"]
    roles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EffectiveData:
    """Effective budget of the targets under one mixture: contributions [source, target] and their worth.

    ``total`` is n_j; under a law of diversity it is more than the plain sum of the contributions.
    ``amplification`` is n_j / (lambda_j N); NaN for a target that is no source.
    """

    strategy: str
    law: str
    domains: tuple[str, ...]
    targets: tuple[str, ...]
    contributions: Float[np.ndarray, "source target"]
    total: Float[np.ndarray, " target"]
    direct: Float[np.ndarray, " target"]
    amplification: Float[np.ndarray, " target"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PathData:
    """How the best mixture of a law moves with the budget: weights (budget, source)."""

    law: str
    domains: tuple[str, ...]
    budgets: Float[np.ndarray, " budget"]
    weights: Float[np.ndarray, "budget source"]
    unit: str = "volume draws"


def answer_data(content: ReportContent) -> AnswerData | None:
    """Return the recommended mixture with its intervals; None before there is one."""
    strategy = content.answer
    if strategy is None:
        return None
    item = content.strategies[strategy]
    budget = _draws(content, item)
    if budget is None:
        return None
    unknown = np.full((len(content.domain_names), 2), np.nan)
    near = interval = None
    if isinstance(item, Allocation):
        interval, near = item.intervals, item.near_optimal
    return AnswerData(
        strategy=strategy,
        domains=content.domain_names,
        budget=round(budget),
        weight=mixture_of(item).weights,
        interval=unknown if interval is None else np.asarray(interval, dtype=np.float64),
        near=unknown if near is None else np.asarray(near, dtype=np.float64),
        volumes=volumes_of(content),
        min_weight=item.min_weight if isinstance(item, Allocation) else content.min_weight,
        together=item.together if isinstance(item, Allocation) else None,
    )


def _draws(content: ReportContent, item: Allocation | Mixture) -> float | None:
    """Return the draws of a strategy's mixture at the study's budget; None where that is not known."""
    if isinstance(item, Allocation):
        return item.draws
    return None if content.budget is None else draws_of(content, item, content.budget)


def shares_data(content: ReportContent) -> SharesData | None:
    """Return the weights of every strategy; None without strategies."""
    if not content.strategies:
        return None
    return SharesData(
        strategies=tuple(content.strategies),
        domains=content.domain_names,
        weights=np.array([mixture_of(item).weights for item in content.strategies.values()]),
    )


def means_data(content: ReportContent, *, budget: int) -> MeansData | None:
    """Return mean losses at one budget; None when no strategy was measured on every target."""
    found = measured(content, budget=budget)
    ranking = rank_by_objective(content, found)
    if not ranking.strategies:
        return None
    predicted = np.full((len(content.laws), len(ranking.strategies)), np.nan)
    for k, law in enumerate(content.laws_in_order):
        item = forecast(content, law=law, budget=budget)
        for name, losses in zip(item.strategies, item.predicted, strict=True):
            if name in ranking.strategies:
                predicted[k, ranking.strategies.index(name)] = ranking.measure.of(losses)
    return MeansData(
        budget=budget,
        ranking=ranking,
        means=rank_strategies(found).of(ranking.strategies),
        laws=content.laws_in_order,
        predicted=predicted,
        unit=content.unit,
    )


def forecasts(content: ReportContent, *, budget: int) -> tuple[Forecast, ...]:
    """Return every law's predictions at one budget, the law of the answer first."""
    found = (forecast(content, law=law, budget=budget) for law in content.laws_in_order)
    return tuple(item for item in found if item.strategies)


def transfer_data(content: ReportContent, *, law: str) -> TransferData:
    """Return the transfer matrix of one law with means and roles."""
    transfer = on_targets(content, law=law, values=content.laws[law].transfer)
    fitted = content.laws[law]
    outgoing, incoming = mean_transfer(content, law=law)
    names = content.target_names
    own = np.array(
        [[source == target for target in names] for source in content.domain_names], dtype=np.bool_
    )
    bounds = (fitted.intervals(content.level) or {}).get("transfer")
    interval = np.full((*transfer.shape, 2), np.nan)
    if bounds is not None:
        ends = [on_targets(content, law=law, values=bounds[..., end]) for end in (0, 1)]
        interval = np.where((np.isfinite(transfer) & ~own)[..., None], np.stack(ends, axis=-1), np.nan)
    apart = np.zeros(transfer.shape, dtype=np.bool_)
    for item in disagreements(content.laws) if fitted.form.transfers else ():
        apart[content.domain_names.index(item.source), names.index(item.target)] = True
    foreign = transfer[~own & np.isfinite(transfer)]
    return TransferData(
        law=law,
        interval=interval,
        disputed=apart,
        ceiling=max(1.0, float(foreign.max(initial=0.0))),
        domains=content.domain_names,
        targets=content.target_names,
        transfer=transfer,
        status=_transfer_status(content, law=law),
        outgoing=outgoing,
        incoming=incoming,
        roles=domain_roles(content, law=law),
    )


def effective_data(content: ReportContent, *, strategy: str, law: str) -> EffectiveData | None:
    """Return the effective-budget decomposition of one strategy; None without a budget."""
    item = content.strategies[strategy]
    budget = _draws(content, item)
    if budget is None:
        return None
    mixture, fitted = mixture_of(item), content.laws[law]
    total = on_targets(content, law=law, values=fitted.effective_budget(mixture, budget))
    shares = mixture.as_dict()
    direct = np.array([shares.get(name, 0.0) * budget for name in content.target_names], dtype=np.float64)
    return EffectiveData(
        strategy=strategy,
        law=law,
        domains=content.domain_names,
        targets=content.target_names,
        contributions=on_targets(content, law=law, values=fitted.contributions(mixture, budget)),
        total=total,
        direct=direct,
        amplification=total / np.where(direct > 0, direct, np.nan),
    )


def path_data(content: ReportContent) -> PathData | None:
    """Return the answer at several budgets; None with fewer than two."""
    if len(content.by_budget) < 2:
        return None
    items = sorted(content.by_budget, key=lambda item: item.budget)
    return PathData(
        law=items[0].law,
        domains=content.domain_names,
        budgets=np.array([item.budget for item in items], dtype=np.float64),
        weights=np.array([item.mixture.weights for item in items]),
        unit="volume draws" if content.unit == "draws" else content.unit,
    )


def _transfer_status(content: ReportContent, *, law: str) -> tuple[tuple[str, ...], ...]:
    """State of every transfer [source][target]; "" where the law says nothing, as on the diagonal."""
    found = {
        (item.source, item.target): item.state
        for item in content.laws[law].status
        if item.parameter == "transfer"
    }
    return tuple(
        tuple(found.get((source, target), "") for target in content.target_names)
        for source in content.domain_names
    )
