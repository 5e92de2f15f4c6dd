"""The range each weight may take while the predicted objective stays within a tolerance of the best."""

import numpy as np
from jaxtyping import Float

from voxmix.allocation.interior import solve
from voxmix.law.forms import Landscape, LawParameters

_HALVINGS = 18
_MANY = 64  # domains above which the ranges are found along one direction, not by re-optimizing


def near_optimal(
    landscape: Landscape,
    cost: Float[np.ndarray, " target"],
    weights: Float[np.ndarray, " source"],
    lower: Float[np.ndarray, " source"],
    upper: Float[np.ndarray, " source"],
    *,
    tolerance: float,
) -> Float[np.ndarray, "source 2"]:
    """Return least and largest weight per source with objective at most ``(1 + tolerance)`` of the best.

    Up to 64 domains the others are re-optimized at every trial weight, so the range is the exact one (to
    1e-5 in weight): fixing one weight leaves a convex problem, whose value is convex in that weight.
    Above, the others are scaled together, which gives an inner range.
    """
    best = float(landscape.loss(weights[None])[0] @ cost)
    limit = best + tolerance * abs(best)
    count = len(weights)
    reach_low = np.maximum(lower, 1 - (upper.sum() - upper))
    reach_high = np.minimum(upper, 1 - (lower.sum() - lower))
    value = _scaled if count > _MANY else _reoptimized
    result = np.empty((count, 2))
    for side, reach in enumerate((reach_low, reach_high)):
        inside, outside = weights.copy(), reach.copy()
        done = value(landscape, cost, weights, outside, lower, upper) <= limit
        inside[done] = outside[done]
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            good = value(landscape, cost, weights, middle, lower, upper) <= limit
            inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
        result[:, side] = inside
    return result


def _scaled(
    landscape: Landscape,
    cost: np.ndarray,
    weights: np.ndarray,
    trial: Float[np.ndarray, " source"],
    lower: np.ndarray,
    upper: np.ndarray,
) -> Float[np.ndarray, " source"]:
    """Objective with weight i at ``trial[i]`` and the room of the others scaled alike."""
    result = np.empty(len(trial))
    for i, value in enumerate(trial):
        others = weights - lower
        others[i] = 0
        total = others.sum()
        room = 1 - value - (lower.sum() - lower[i])
        if total <= 0 or room < 0:
            result[i] = np.inf if abs(value - weights[i]) > 1e-12 else 0.0
            continue
        moved = lower + others * (room / total)
        moved[i] = value
        ok = np.all(moved <= upper + 1e-12)
        result[i] = float(landscape.loss(moved[None])[0] @ cost) if ok else np.inf
    return result


def _reoptimized(
    landscape: Landscape,
    cost: np.ndarray,
    weights: np.ndarray,
    trial: Float[np.ndarray, " source"],
    lower: np.ndarray,
    upper: np.ndarray,
) -> Float[np.ndarray, " source"]:
    """Least objective with weight i at ``trial[i]``, for every i at once."""
    count = len(trial)
    law: LawParameters = landscape.law.take(np.zeros(count, dtype=np.int64))
    low, high = np.tile(lower, (count, 1)), np.tile(upper, (count, 1))
    index = np.arange(count)
    low[index, index] = high[index, index] = trial
    return solve(
        Landscape(law, landscape.budget), np.tile(cost, (count, 1)), lower=low, upper=high, tolerance=1e-7
    ).objective
