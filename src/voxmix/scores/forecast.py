"""How well a law foretold mixtures that were trained: level, error, order, and what its choice would have cost.

A law speaks of the average seed of its fit. Its predictions are therefore taken for the seeds that were run, by the
seeds' effects that the fit knows (:mod:`voxmix.law.seeds`), and compared with losses over these seeds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.seeds import NO_EFFECTS, SeedEffects
from voxmix.measurement import MeasurementTable
from voxmix.scores.blocks import fit_blocks
from voxmix.scores.measured import UNIFORM, Measured, measure_of

MEASURES = ("mean", "relative")
GUESS = "guess: every mixture as uniform"
_REDRAWN = 1000
_CLEAR = 2.0  # times its noise: a gain over uniform of which shares are worth a word
_TIED = 1e-9  # predictions that differ by less, as a share, are one


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """One law judged by one measure of the strategies of which a run has every loss that counts.

    Noise is the standard deviation over redrawn runs: the measured strategies with fresh noise of a run within seeds
    (parametric bootstrap of :func:`voxmix.scores.blocks.fit_blocks`); NaN where it is not known, as with one seed.

    Attributes:
        kind, words: the measure: "mean", "relative" or "minimax", and how it reads.
        predicted: per strategy, for the seeds that were run.
        measured: per strategy, were it trained with every seed.
        level: mean of ``predicted`` over that of ``measured``, less 1.
        kendall, kendall_noise: rank correlation (tau-b) of predicted and measured order; NaN if one has no order.
        repeat: tau of the measured and the redrawn order, in the mean: about what a perfect law could reach.
        choice, best: the strategy of the least predicted and of the least measured value.
        regret, regret_noise: how much worse ``choice`` was measured than ``best``, as a share.
        best_share: in which share of redrawn runs ``choice`` is the best; NaN where noise is not known.
        gain: which share of the best strategy's gain over uniform ``choice`` has; NaN where that gain is less than twice
            its noise, or uniform was not measured.
    """

    kind: str
    words: str
    strategies: tuple[str, ...]
    predicted: Float[np.ndarray, " strategy"]
    measured: Float[np.ndarray, " strategy"]
    level: float
    kendall: float
    kendall_noise: float
    repeat: float
    choice: str
    best: str
    regret: float
    regret_noise: float
    best_share: float
    gain: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forecast:
    """One law's predictions and the measured losses at one budget.

    Attributes:
        predicted: (strategy, target) for the seeds that were run; NaN where the law says nothing.
        measured: (strategy, target), as :attr:`voxmix.scores.measured.Measured.adjusted`; NaN where not measured.
        mean_error: mean of |predicted / measured - 1| over strategies and targets; two names of the same runs count once.
        right_pairs: share of pairs of strategies in the measured order by the first measure; NaN with fewer than two.
        decisions: by every measure, that of the study first; () where no run has every loss that counts.
    """

    law: str
    budget: int
    strategies: tuple[str, ...]
    targets: tuple[str, ...]
    predicted: Float[np.ndarray, "strategy target"]
    measured: Float[np.ndarray, "strategy target"]
    mean_error: float
    right_pairs: float
    decisions: tuple[Decision, ...]
    unit: str = "draws"

    def by(self, kind: str) -> Decision | None:
        """Return what is said by one measure, such as "mean"; None where nothing is."""
        return next((item for item in self.decisions if item.kind == kind), None)


def judge(
    found: Measured,
    predicted: Float[np.ndarray, "strategy target"],
    *,
    law: str = "",
    effects: SeedEffects = NO_EFFECTS,
    objective: str = "mean",
    target_weights: Mapping[str, float] = MappingProxyType({}),
    unit: str = "draws",
) -> Forecast:
    """Return how good predictions of measured strategies are, on the targets that they speak of.

    Args:
        predicted: losses for the average seed; NaN for what is no target of the law.
        effects: what the fit knows of the seeds; by default nothing.
        objective: what the study minimizes; the mean and the mean of relative losses are always judged.
    """
    observed, free = found.adjusted, _adjusted_without(found, effects)
    told = predicted * np.where(np.isfinite(free), observed / free, 1.0)
    ratio = told / np.where(observed > 0, observed, np.nan) - 1
    both = np.isfinite(ratio)
    once = found.first_of_equal == np.arange(len(found.strategies))
    known = np.asarray(np.isfinite(predicted).any(axis=0))
    part, guess, kinds = found.on(known), told[:, known], dict.fromkeys([objective, *MEASURES])
    judged = [_decide(part, guess, once, kind=kind, target_weights=target_weights) for kind in kinds]
    decisions = tuple(item for item in judged if item is not None)
    kept = both & once[:, None]
    return Forecast(
        law=law,
        budget=found.budget,
        strategies=found.strategies,
        targets=found.targets,
        predicted=told,
        measured=observed,
        mean_error=float(np.abs(ratio[kept]).mean()) if kept.any() else np.nan,
        right_pairs=_right_pairs(decisions[0]) if decisions else np.nan,
        decisions=decisions,
        unit=unit,
    )


def judge_as_uniform(
    found: Measured,
    *,
    objective: str = "mean",
    target_weights: Mapping[str, float] = MappingProxyType({}),
    unit: str = "draws",
) -> Forecast | None:
    """Return how good the guess is that every mixture does what uniform did, which has no order and chooses uniform.

    It is what a law has to beat. None where uniform was not measured.
    """
    if UNIFORM not in found.strategies:
        return None
    row = found.adjusted[found.strategies.index(UNIFORM)]
    guess = np.broadcast_to(row, (len(found.strategies), len(row)))
    return judge(found, guess, law=GUESS, objective=objective, target_weights=target_weights, unit=unit)


def judge_law(
    law: FittedLaw, table: MeasurementTable, *, target_weights: Mapping[str, float] = MappingProxyType({})
) -> Forecast:
    """Return how well a law foretells measured mixtures, which it was best not fitted to.

    Rows of one mixture are one strategy, named after its first run, or "uniform".

    Raises:
        InputError: more budgets than one, no rows, or other domains than the law's.
    """
    found = measured_of(table)
    weights = np.array([table.weights[_rows_of(table, i)[0]] for i in range(len(found.strategies))])
    if table.domains != law.domains:
        raise InputError(f"the table has the domains {list(table.domains)}, the law {list(law.domains)}")
    predicted = np.full(found.loss.shape[::2], np.nan)
    told = law.evaluate(weights, float(found.budget))
    for j, name in enumerate(found.targets):
        if name in law.targets:
            predicted[:, j] = told[:, law.targets.index(name)]
    return judge(found, predicted, law=law.law, effects=law.seed_effects, target_weights=target_weights)


def measured_of(table: MeasurementTable) -> Measured:
    """Return the losses of a table of one budget by mixture, seed and target; of twins of one seed the geometric mean.

    Raises:
        InputError: more budgets than one, or no rows.
    """
    budgets = np.unique(table.budget)
    if len(budgets) != 1:
        raise InputError(
            f"mixtures are judged at one budget, the table has {len(budgets)}: {[float(b) for b in budgets]}; select one"
        )
    mixture = _mixtures(table)
    seeds, targets = np.unique(table.seed).tolist(), tuple(dict.fromkeys(str(name) for name in table.target))
    total, count = np.zeros((2, int(mixture.max()) + 1, len(seeds), len(targets)))
    place = (
        mixture,
        np.searchsorted(seeds, table.seed),
        np.array([targets.index(str(name)) for name in table.target]),
    )
    good = table.loss > 0
    logs = np.log(np.where(good, table.loss, 1.0))
    np.add.at(total, place, np.where(good, logs, 0.0))
    np.add.at(count, place, good)
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = np.where(count > 0, np.exp(total / count), np.nan)
    even = 1 / len(table.domains)
    firsts = [_rows_of(table, i)[0] for i in range(len(loss))]
    names = [
        UNIFORM if np.abs(table.weights[row] - even).max() < 1e-6 else str(table.run[row]) for row in firsts
    ]
    return Measured(
        budget=round(float(budgets[0])),
        strategies=tuple(names),
        seeds=tuple(int(seed) for seed in seeds),
        targets=targets,
        loss=loss,
    )


def _mixtures(table: MeasurementTable) -> Int[np.ndarray, " row"]:
    """Return which mixture each row has, counted in the order of the table."""
    seen: dict[tuple[float, ...], int] = {}
    return np.array([seen.setdefault(tuple(row), len(seen)) for row in np.round(table.weights, 6).tolist()])


def _rows_of(table: MeasurementTable, mixture: int) -> Int[np.ndarray, " some"]:
    return np.flatnonzero(_mixtures(table) == mixture)


def _adjusted_without(found: Measured, effects: SeedEffects) -> Float[np.ndarray, "strategy target"]:
    """Return the adjusted losses of the average seed of a fit."""
    free = found.loss * np.exp(-effects.of(np.array(found.seeds)))[None, :, None]
    return replace(found, loss=free).adjusted


def _decide(
    found: Measured,
    told: Float[np.ndarray, "strategy target"],
    once: Bool[np.ndarray, " strategy"],
    *,
    kind: str,
    target_weights: Mapping[str, float],
) -> Decision | None:
    if not found.targets:
        return None
    measure = measure_of(found, kind, target_weights)
    predicted, logs = measure.of(told), measure.logs(found)
    rows = np.flatnonzero(once & np.isfinite(predicted) & np.isfinite(logs).any(axis=1))
    if not len(rows):
        return None
    names, predicted, logs = tuple(found.strategies[i] for i in rows), predicted[rows], logs[rows]
    value = np.exp(fit_blocks(logs).effect)
    draws = _redrawn(logs)
    choice, best = _choice(names, predicted), int(value.argmin())
    return Decision(
        kind=kind,
        words=measure.words,
        strategies=names,
        predicted=predicted,
        measured=value,
        level=float(predicted.mean() / value.mean() - 1),
        kendall=float(kendall(predicted, value)),
        kendall_noise=_spread(kendall(predicted, draws)),
        repeat=float(kendall(value, draws).mean()) if len(draws) else np.nan,
        choice=names[choice],
        best=names[best],
        regret=float(value[choice] / value[best] - 1),
        regret_noise=_spread(np.exp(draws[:, choice] - draws[:, best])),
        best_share=float(np.mean(draws.argmin(axis=1) == choice)) if len(draws) else np.nan,
        gain=_gain(names, value, draws, choice),
    )


def _choice(names: tuple[str, ...], predicted: Float[np.ndarray, " strategy"]) -> int:
    """Return the place of the least prediction; among equal ones uniform, which nothing speaks against."""
    tied = np.flatnonzero(predicted <= predicted.min() * (1 + _TIED))
    return next((int(i) for i in tied if names[i] == UNIFORM), int(tied[0]))


def _gain(
    names: tuple[str, ...],
    value: Float[np.ndarray, " strategy"],
    draws: Float[np.ndarray, "draw strategy"],
    choice: int,
) -> float:
    """Return the choice's share of the best strategy's gain over uniform, where that is more than noise."""
    if UNIFORM not in names or not len(draws):
        return float(np.nan)
    start, best = names.index(UNIFORM), int(value.argmin())
    if value[start] / value[best] - 1 < _CLEAR * _spread(np.exp(draws[:, start] - draws[:, best])):
        return float(np.nan)
    top = value[start] - value[best]
    return float((value[start] - value[choice]) / top) if top > 0 else float(np.nan)


def kendall(a: Float[np.ndarray, " item"], b: Float[np.ndarray, "*rows item"]) -> Float[np.ndarray, "*rows"]:
    """Return Kendall's tau-b of ``a`` and each row of ``b`` over what is known of both.

    NaN with fewer than two items, or where one side does not vary.
    """
    one, other = _signs(a), _signs(b)
    both = np.isfinite(one) & np.isfinite(other)
    one, other = np.where(both, one, 0.0), np.where(both, other, 0.0)
    size = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    return np.asarray(np.where(size > 0, (one * other).sum(axis=-1) / np.where(size > 0, size, 1.0), np.nan))


def _signs(values: Float[np.ndarray, "*rows item"]) -> Float[np.ndarray, "*rows pair"]:
    first, second = np.triu_indices(values.shape[-1], 1)
    away = values[..., first] - values[..., second]
    tied = np.abs(away) <= _TIED * np.abs(values[..., first])
    return np.asarray(np.where(tied, 0.0, np.sign(away)))


def _redrawn(logs: Float[np.ndarray, "strategy seed"]) -> Float[np.ndarray, "draw strategy"]:
    """Return the strategies' logs as other runs might have given them, up to one level; no draw where noise is not known.

    Errors are normal, of the noise of a run within seeds, with the covariance that the block fit gives to differences.
    """
    found = fit_blocks(logs)
    if not np.isfinite(found.noise) or not np.isfinite(found.spread).all():
        return np.zeros((0, len(logs)))
    center = np.eye(len(logs)) - 1 / len(logs)
    size, axes = np.linalg.eigh(-center @ found.spread @ center / 2)  # of the differences' covariance
    root = axes * np.sqrt(np.maximum(size, 0.0))
    normal = np.random.default_rng(0).standard_normal((_REDRAWN, len(logs)))
    return np.asarray(found.effect + found.noise * normal @ root.T)


def _spread(values: Float[np.ndarray, " draw"]) -> float:
    """Return the standard deviation over redrawn runs; NaN where there are none or it is not known."""
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else float(np.nan)


def _right_pairs(item: Decision) -> float:
    one, other = _signs(item.predicted), _signs(item.measured)
    return float(np.mean(one == other)) if one.any() else float(np.nan)
