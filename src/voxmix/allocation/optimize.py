"""allocate(): the mixture of least predicted loss for a budget, with a proof and with what it leaves open."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.allocation.limits import Limits, limits
from voxmix.allocation.objective import importance_of
from voxmix.allocation.optimum import Aim, Optimum, optimum
from voxmix.allocation.result import Allocation, Baseline, OtherObjective
from voxmix.allocation.settings import OBJECTIVES, AllocationSettings, asked
from voxmix.allocation.strategies import Situation, baselines
from voxmix.allocation.tolerance_ranges import near_optimal
from voxmix.errors import InputError, VoxmixError
from voxmix.law import FittedLaw
from voxmix.law.forgetting import rise_against_law
from voxmix.law.forms import Landscape, LawParameters
from voxmix.law.uncertainty import bias_corrected, percentiles
from voxmix.mixture import Mixture

_ALIKE = 1e-4  # weights of resamples that rest on one bound do so to within the solver's tolerance
_AT_ONCE = 300_000
"""Transfers of the laws that are solved together: arrays of 2 MB, which processors keep near."""
_TELL = 0.95  # share of bootstrap draws in which one mixture must win to be called better


def allocate(law: FittedLaw, settings: AllocationSettings | None = None, **changed: Any) -> Allocation:
    """Return the mixture that minimizes the predicted loss at ``budget`` draws.

    ``min sum_j w_j L_j(lambda, N) / sum_j w_j`` over the simplex with ``lambda >= min_weight``: a convex
    problem, so the answer is the global optimum up to ``gap`` (spec, section 4). Every further limit and
    objective keeps it convex.

    Args:
        law: a fitted law; with bootstrap draws the weights get intervals.
        settings: budget, limits and objective.
        changed: fields of :class:`AllocationSettings` by name, in place of those of ``settings`` or of their defaults:
            ``allocate(law, budget=100000, max_weight={"ABD-CT": 0.4})``.

    Importance has no effect under "minimax", but 0, which leaves a target out. A budget may lie outside the fitted
    ones; ``notes`` name it.

    Raises:
        InputError: a value out of range, an unknown domain, or limits in conflict, which are named.
    """
    wanted = asked(settings, changed).knowing(law.volumes)
    budget, level = wanted.budget, wanted.level
    if budget is None:
        raise InputError("the budget is missing: give the volume draws to allocate, e.g. budget=100000")
    check_for_law(law, wanted)
    bounds = limits(law.domains, wanted)
    aim = aim_of(law, wanted)
    landscape = Landscape(law.parameters, budget, bounds.price)
    found = optimum(landscape, bounds, aim)
    money = found.money[0]
    mixture = Mixture(domains=law.domains, weights=_exact(bounds.to_draws(money)))
    losses = landscape.loss(money[None])
    intervals = together = None
    if law.bootstrap is not None:
        shares = bounds.to_draws(_money_of_draws(law.bootstrap, budget, bounds, aim))
        intervals = _whiskers(law, shares, mixture.weights, level)
        together = _together(shares, intervals)
    baselines, told = _baselines(law, landscape, bounds, aim, _baseline_mixtures(law, wanted), money)
    draws = bounds.draws(float(budget), money)
    return Allocation(
        domains=law.domains,
        targets=law.targets,
        mixture=mixture,
        budget=float(budget),
        draws=draws,
        law=law.law,
        predicted_loss=losses[0],
        contributions=law.contributions(mixture, draws),
        kind=wanted.objective,
        objective=float(found.objective[0]),
        gap=float(found.gap[0]),
        shadow_price=_shadow_price(landscape, bounds, found, money),
        min_weight=wanted.min_weight,
        near_optimal=near_optimal(landscape, bounds, aim, found, tolerance=wanted.tolerance),
        tolerance=wanted.tolerance,
        intervals=intervals,
        together=together,
        level=level,
        baselines=baselines,
        told_apart=told,
        parts=(aim.cost(landscape, bounds) * losses)[0],
        by_objective={
            kind: _by_objective(landscape, bounds, aim, kind, losses)
            for kind in OBJECTIVES
            if kind != wanted.objective
        },
        response=law.response,
        notes=_notes(law, budget, told, float(found.gap[0]), float(found.objective[0])),
    )


def _money_of_draws(
    law: LawParameters, budget: float, bounds: Limits, aim: Aim
) -> Float[np.ndarray, "draw source"]:
    """Return the best shares of money under every law of a batch, some laws at a time: as many as the cache holds."""
    some = max(1, _AT_ONCE // (law.transfer.shape[1] * law.transfer.shape[2]))
    parts = [
        Landscape(law.take(np.arange(start, min(start + some, law.draws))), budget, bounds.price)
        for start in range(0, law.draws, some)
    ]
    return np.concatenate([optimum(part, bounds, aim, tolerance=1e-6).money for part in parts])


def _by_objective(
    landscape: Landscape, bounds: Limits, aim: Aim, kind: str, here: Float[np.ndarray, "draw target"]
) -> OtherObjective:
    """Return the best mixture by another objective under the same limits; ``here`` are the losses of the allocation's."""
    other = replace(aim, kind=kind)
    found = optimum(landscape, bounds, other)
    there, cost = landscape.loss(found.money), other.cost(landscape, bounds)
    return OtherObjective(
        weights=bounds.to_draws(found.money[0]),
        predicted_loss=there[0],
        objective=float(aim.value(aim.cost(landscape, bounds), there)[0]),
        own=float(found.objective[0]),
        own_here=float(other.value(cost, here)[0]),
    )


def _whiskers(
    law: FittedLaw, shares: Float[np.ndarray, "draw source"], best: Float[np.ndarray, " source"], level: float
) -> Float[np.ndarray, "source 2"]:
    """Return the interval of each share by itself: percentiles, bias-corrected after two stages.

    A joint fit's answer has no bias to correct, and what the correction takes for one points the wrong way: draws lie below
    an answer that is too high by chance (docs/concepts/law.md, "Uncertainty").
    """
    if law.method == "joint":
        return percentiles(shares, level)
    return bias_corrected(shares, best, level, alike=_ALIKE)


def _together(shares: Float[np.ndarray, "draw source"], intervals: Float[np.ndarray, "source 2"]) -> float:
    """Return the share of draws in which every weight lies inside its interval at once."""
    inside = (shares >= intervals[:, 0] - _ALIKE) & (shares <= intervals[:, 1] + _ALIKE)
    return float(inside.all(axis=1).mean())


def aim_of(law: FittedLaw, asked: AllocationSettings) -> Aim:
    """Return what settings ask to be minimized under a law; they name the volumes that exist.

    Raises:
        InputError: an unknown target, importance 0 everywhere, or a mixture not to be worse than that is not known.
    """
    guarded = asked.no_worse_than is not None
    return Aim(
        kind=asked.objective,
        targets=law.targets,
        importance=importance_of(law.targets, asked.target_weights),
        guard=_guard(law, asked, _baseline_mixtures(law, asked)) if guarded else None,
    )


def check_for_law(law: FittedLaw, asked: AllocationSettings) -> None:
    """Refuse settings that have no meaning under a law.

    Raises:
        InputError: draws with prices under a law that counts shares of the budget.
    """
    if asked.cost and law.parameters.by_share:
        raise InputError(
            f"cost per draw is not convex under the {law.law} law; use the transfer or the diversity law with cost"
        )


def _baseline_mixtures(law: FittedLaw, asked: AllocationSettings) -> dict[str, Mixture]:
    """Return the mixtures to compare with: those that need volumes only where every domain has some."""
    now = Situation(domains=law.domains, volumes=asked.volumes, settings=asked)
    counted = all(asked.volumes.get(name, 0) > 0 for name in law.domains)
    return {
        row.name: row.mixture(now)
        for row in baselines()
        if row.mixture is not None and (counted or not row.needs_volumes)
    }


def _guard(
    law: FittedLaw, asked: AllocationSettings, mixtures: Mapping[str, Mixture]
) -> Float[np.ndarray, " source"]:
    wanted = asked.no_worse_than
    if isinstance(wanted, Mixture):
        return law.weights_of(wanted)
    if wanted is not None and wanted in mixtures:
        return mixtures[wanted].weights
    names = [row.name for row in baselines()]
    if wanted in names:
        missing = [name for name in law.domains if not asked.volumes.get(name, 0) > 0]
        raise InputError(f"no_worse_than {wanted} needs volumes of every domain; {missing} have none")
    raise InputError(f"unknown no_worse_than {wanted!r}; give {', '.join(names)} or a Mixture")


def _baselines(
    law: FittedLaw,
    landscape: Landscape,
    bounds: Limits,
    aim: Aim,
    mixtures: Mapping[str, Mixture],
    money: Float[np.ndarray, " source"],
) -> tuple[dict[str, Baseline], dict[str, float]]:
    found, told = {}, {}
    many = None if law.bootstrap is None else Landscape(law.bootstrap, landscape.budget, bounds.price)
    cost = aim.cost(landscape, bounds)
    for name, mixture in mixtures.items():
        spent = bounds.to_money(mixture.weights)
        losses = landscape.loss(spent[None])
        found[name] = Baseline(
            weights=mixture.weights, predicted_loss=losses[0], objective=float(aim.value(cost, losses)[0])
        )
        if many is not None:
            costs = aim.cost(many, bounds)
            draws = many.law.draws
            ours = aim.value(costs, many.loss(np.tile(money, (draws, 1))))
            theirs = aim.value(costs, many.loss(np.tile(spent, (draws, 1))))
            alike = np.abs(ours - theirs) <= 1e-6 * theirs
            told[name] = float(np.mean(np.where(alike, 0.5, ours < theirs)))
    return found, told


def _shadow_price(
    landscape: Landscape, bounds: Limits, found: Optimum, money: Float[np.ndarray, " source"]
) -> Float[np.ndarray, " source"]:
    at = landscape.curvature(np.maximum(money, 1e-12)[None])
    slope = (at.slope[0] @ found.pull[0]) * landscape.reach / landscape.budget
    shares = bounds.to_draws(money)
    capped = (shares >= bounds.upper - 1e-7) | (money >= bounds.spend - 1e-7)
    forced = shares <= bounds.lower + 1e-7
    free = ~capped & ~forced
    if free.any():
        level = np.average(slope[free], weights=money[free])
    else:
        best = slope[forced & ~capped].min(initial=np.inf)
        worst = slope[capped & ~forced].max(initial=-np.inf)
        ends = [v for v in (best, worst) if np.isfinite(v)]
        level = float(np.mean(ends)) if ends else float(slope.mean())
    return np.where(free, 0.0, (level - slope) / landscape.budget)


def _exact(weights: Float[np.ndarray, " source"]) -> Float[np.ndarray, " source"]:
    total = weights.sum()
    if abs(total - 1) > 1e-6:
        raise VoxmixError(
            f"the allocation did not converge (weights sum to {total:.6f}); please report this law"
        )
    return weights if total == 1 else np.asarray(weights / total)


def _notes(
    law: FittedLaw, budget: float, told: Mapping[str, float], gap: float, value: float
) -> tuple[str, ...]:
    notes = []
    if beyond := law.beyond(budget):
        notes.append(f"the {beyond}; check the mixture with a run")
    unseen = [name for i, name in enumerate(law.domains) if not np.any(law.quality.weights[:, i] > 0)]
    if unseen and len(law.quality.weights):
        notes.append(
            f"no run was trained on any {' or '.join(unseen)}: the worth of its share is not known and counts as 0"
        )
    moving = np.broadcast_to((law.amplitude > 0) | (law.parameters.budget_amplitude > 0), len(law.targets))
    flat = [name for name, moves in zip(law.targets, moving, strict=True) if not moves]
    if flat:
        notes.append(
            f"losses of {', '.join(flat)} do not fall in the runs of the fit, so "
            f"{'it has' if len(flat) == 1 else 'they have'} no effect on the shares"
        )
    if law.form.transfers and rise_against_law(law.quality, law.own, law.noise):
        notes.append(
            "transfers rest on pure runs that do worse on domains they never see, the more they draw, than the law says: the "
            "best shares may lie outside their intervals; vertex runs mend it"
        )
    for name, share in told.items():
        if 1 - _TELL < share < _TELL:
            notes.append(
                f"the runs do not show whether this mixture or {name} is better: it wins in {share:.0%} of the bootstrap draws"
            )
    if gap > 1e-5 * abs(value):
        notes.append(
            f"not proven optimal: up to {100 * gap / abs(value):.2g}% of the objective may be gained"
        )
    return tuple(notes)
