"""The range each weight may take while the predicted objective stays within a tolerance of the best."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from voxmix.allocation.limits import Limits
from voxmix.allocation.optimum import Aim, Optimum, program_of
from voxmix.allocation.program import solve_program
from voxmix.law.forms import Landscape

_MANY = 40  # domains above which the other weights are scaled together, not re-optimized


def near_optimal(
    landscape: Landscape, bounds: Limits, aim: Aim, found: Optimum, *, tolerance: float
) -> Float[np.ndarray, "source 2"]:
    """Return least and largest weight per source among feasible mixtures within ``tolerance`` of the best.

    Each end is a convex program of its own (least or largest weight, objective at most
    ``(1 + tolerance)`` of the best), all solved in one batch. Above 40 domains, the others are scaled
    together as one weight moves, which gives a range inside the exact one. Under costs the extremes are
    those of the share of money, given as shares of draws.
    """
    money, best = found.money[0], float(found.objective[0])
    limit = best * (1 + tolerance)
    if len(money) == 1:
        return np.ones((1, 2))
    if len(money) > _MANY:
        return _scaled(landscape, bounds, aim, money, limit)
    return _extremes(landscape, bounds, aim, money, limit)


def _extremes(
    landscape: Landscape, bounds: Limits, aim: Aim, money: np.ndarray, limit: float
) -> Float[np.ndarray, "source 2"]:
    count = len(money)
    copies = landscape.law.take(np.zeros(2 * count, dtype=np.int64))
    many = Landscape(copies, landscape.budget, bounds.price)
    cost = aim.cost(many, bounds)
    program = program_of(many, bounds, aim, cost)
    if aim.kind == "minimax":
        open_ends = program.epigraph > 0
        limits = np.where(open_ends, 1.0, program.limit)
        caps = np.where(open_ends[:, None], program.caps / limit, program.caps)
    else:
        caps = np.concatenate([program.caps, cost[:, None, :] / limit], axis=1)
        limits = np.hstack([program.limit, np.ones((2 * count, 1))])
    point = solve_program(
        many,
        replace(
            program,
            cost=np.zeros_like(program.cost),
            linear=np.vstack([np.eye(count), -np.eye(count)]),
            caps=caps,
            limit=limits,
            epigraph=np.zeros(caps.shape[1]),
        ),
    )
    good = (point.violation < 1e-5)[:, None]
    shares = bounds.to_draws(np.where(good, point.weights, money))
    at = bounds.to_draws(money)
    index = np.arange(count)
    low, high = shares[index, index], shares[count + index, index]
    least, most = np.minimum(bounds.lower, at), np.maximum(bounds.upper, at)
    return np.stack([np.clip(_on(low, least), least, at), np.clip(_on(high, most), at, most)], axis=1)


def _on(value: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Put ends that rest on a bound exactly there."""
    return np.where(np.abs(value - bound) < 1e-6, bound, value)


def _scaled(
    landscape: Landscape, bounds: Limits, aim: Aim, money: np.ndarray, limit: float
) -> Float[np.ndarray, "source 2"]:
    cost = aim.cost(landscape, bounds)
    lower = np.zeros_like(money) if bounds.price is not None else bounds.lower
    upper = bounds.spend if bounds.price is not None else bounds.upper
    result = np.empty((len(money), 2))
    for i in range(len(money)):
        others = money - lower
        others[i] = 0.0
        total = others.sum()
        for side, end in enumerate((lower[i], min(upper[i], money[i] + total))):
            inside, outside = money[i], end
            for _ in range(14):
                trial = outside if inside == money[i] and _ == 0 else (inside + outside) / 2
                moved = money.copy() if total <= 0 else lower + others * ((total + money[i] - trial) / total)
                moved[i] = trial
                value = aim.value(cost, landscape.loss(moved[None]))[0]
                if np.all(moved <= upper + 1e-9) and value <= limit:
                    inside = trial
                else:
                    outside = trial
                if inside == outside:
                    break
            result[i, side] = inside
    return result
