"""Primal-dual interior point for convex losses on the simplex with bounds, for a batch of laws at once.

Every weight vector that comes out is feasible, and its ``gap`` bounds from above how much lower the
objective can be anywhere in the feasible set (Jaggi 2013, eq. 2): a proof that needs no trust in the
solver. References: Nocedal and Wright (2006), chapter 19.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.forms import Landscape

_MAX_STEPS = 200
_TO_BOUNDARY = 0.995
_TIGHT = 1e-12  # bounds nearer than this leave no room to move


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Solution:
    """Weights per draw, the objective there, and the proven bound on how far from the optimum it is."""

    weights: Float[np.ndarray, "draw source"]
    objective: Float[np.ndarray, " draw"]
    gap: Float[np.ndarray, " draw"]
    steps: int


def best_vertex(
    slope: Float[np.ndarray, "draw source"],
    lower: Float[np.ndarray, "draw source"],
    upper: Float[np.ndarray, "draw source"],
) -> Float[np.ndarray, "draw source"]:
    """Return the feasible point that minimizes ``slope . s``: room given to the smallest slopes first."""
    order = np.argsort(slope, axis=1, kind="stable")
    room = np.take_along_axis(upper - lower, order, axis=1)
    left = 1 - lower.sum(axis=1, keepdims=True) - (np.cumsum(room, axis=1) - room)
    given = np.clip(left, 0, room)
    result = np.empty_like(slope)
    np.put_along_axis(result, order, given, axis=1)
    return result + lower


def certificate(
    landscape: Landscape,
    cost: Float[np.ndarray, "draw target"],
    weights: Float[np.ndarray, "draw source"],
    lower: Float[np.ndarray, "draw source"],
    upper: Float[np.ndarray, "draw source"],
) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
    """Return the objective and the gap ``slope . (weights - s)``, never below 0, per draw."""
    at = landscape.curvature(weights)
    slope = np.einsum("dij,dj->di", at.slope, cost)
    gap = np.sum(slope * (weights - best_vertex(slope, lower, upper)), axis=1)
    return np.sum(at.loss * cost, axis=1), np.maximum(gap, 0.0)


def solve(
    landscape: Landscape,
    cost: Float[np.ndarray, "draw target"],
    *,
    lower: Float[np.ndarray, "*draws source"],
    upper: Float[np.ndarray, "*draws source"],
    tolerance: float = 1e-9,
) -> Solution:
    """Return the weights that minimize ``sum_j cost_j L_j`` over the simplex between the bounds.

    ``cost`` (draw or 1, target); bounds for all draws alike, or (draw, source), that leave each draw a
    feasible point. ``tolerance`` is the relative gap at which a draw is done.
    """
    shape = (landscape.law.draws, lower.shape[-1])
    cost = np.broadcast_to(cost, (shape[0], cost.shape[-1]))
    lower, upper = np.broadcast_to(lower, shape), np.broadcast_to(upper, shape)
    free = upper - lower > _TIGHT
    stuck = (1 - lower.sum(axis=1) <= _TIGHT) | (upper.sum(axis=1) - 1 <= _TIGHT) | (free.sum(axis=1) < 2)
    free = free & ~stuck[:, None]
    only = best_vertex(np.zeros(shape), lower, upper)
    if stuck.all():
        objective, gap = certificate(landscape, cost, only, lower, upper)
        return Solution(weights=only, objective=objective, gap=gap, steps=0)
    with np.errstate(all="ignore"):  # late steps may overflow; the certificate judges the best point met
        weights, steps = _central_path(landscape, cost, lower, upper, free, only, tolerance)
    return _snapped(landscape, cost, weights, lower, upper, free, steps)


def _central_path(
    landscape: Landscape,
    cost: Float[np.ndarray, "draw target"],
    lower: Float[np.ndarray, "draw source"],
    upper: Float[np.ndarray, "draw source"],
    free: Bool[np.ndarray, "draw source"],
    only: Float[np.ndarray, "draw source"],
    tolerance: float,
) -> tuple[Float[np.ndarray, "draw source"], int]:
    """Follow the central path from the middle of the box; entries that are not ``free`` stay at ``only``."""
    draws = cost.shape[0]
    room = np.where(free, upper - lower, 0.0)
    held = np.where(free, lower, only)
    share = (1 - held.sum(axis=1)) / np.where(free.any(axis=1), room.sum(axis=1), 1.0)
    x = held + np.where(free, share[:, None] * room, 0.0)
    unit = np.sum(landscape.loss(x) * cost, axis=1, keepdims=True)
    cost = cost / np.where(np.isfinite(unit) & (unit > 0), unit, 1.0)
    count = np.maximum(2 * free.sum(axis=1, keepdims=True), 1)
    slope = np.einsum("dij,dj->di", landscape.curvature(x).slope, cost)
    barrier = np.maximum(np.abs(slope).max(axis=1, keepdims=True) * 0.2 / count, 1e-6)
    room_low, room_high = np.where(free, x - lower, 1.0), np.where(free, upper - x, 1.0)
    z_low, z_high = np.where(free, barrier / room_low, 0.0), np.where(free, barrier / room_high, 0.0)
    best, best_gap = x.copy(), np.full(draws, np.inf)
    for step in range(_MAX_STEPS):
        at = landscape.curvature(x)
        slope = np.einsum("dij,dj->di", at.slope, cost)
        gap = np.sum(slope * (x - best_vertex(slope, lower, upper)), axis=1)
        better = gap < best_gap
        best[better], best_gap[better] = x[better], gap[better]
        value = np.sum(at.loss * cost, axis=1)
        if np.all(best_gap <= tolerance * np.abs(value)) or not np.all(np.isfinite(value)):
            return best, step
        done = (best_gap <= tolerance * np.abs(value))[:, None]
        target = 0.1 * np.sum(z_low * room_low + z_high * room_high, axis=1, keepdims=True) / count
        right = np.where(free, -(slope - target / room_low + target / room_high), 0.0)
        dx = _newton_step(at.hessian(cost), z_low / room_low + z_high / room_high, right, free)
        d_low = np.where(free, target / room_low - z_low - z_low / room_low * dx, 0.0)
        d_high = np.where(free, target / room_high - z_high + z_high / room_high * dx, 0.0)
        primal = np.where(done, 0.0, np.minimum(stride(dx, room_low), stride(-dx, room_high)))
        dual = np.where(done, 0.0, np.minimum(stride(d_low, z_low), stride(d_high, z_high)))
        x = x + primal * dx
        room_low, room_high = (
            np.where(free, room_low + primal * dx, 1.0),
            np.where(free, room_high - primal * dx, 1.0),
        )
        z_low, z_high = z_low + dual * d_low, z_high + dual * d_high
    return best, _MAX_STEPS


def _newton_step(
    hessian: np.ndarray, diagonal: np.ndarray, right: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """Solve ``(H + D) dx - 1 y = right`` with ``sum dx = 0`` over the free entries; the others do not move."""
    index = np.arange(right.shape[1])
    if not free.all():
        hessian = hessian * (free[:, :, None] & free[:, None, :])
    hessian[:, index, index] += np.where(free, diagonal, 1.0)
    sides = np.stack([right, free.astype(np.float64)], axis=-1)
    if len(right) == 1 and len(index) > 64:
        from scipy import linalg

        factor = linalg.cho_factor(hessian[0], overwrite_a=True, check_finite=False)
        solved = linalg.cho_solve(factor, sides[0], check_finite=False)[None]
    else:
        solved = np.linalg.solve(hessian, sides)
    below = np.where(free.any(axis=1), solved[..., 1].sum(axis=1), 1.0)
    return np.asarray(solved[..., 0] - (solved[..., 0].sum(axis=1) / below)[:, None] * solved[..., 1])


def stride(move: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Longest step, at most 1, that keeps ``room + step * move`` above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(move < 0, -room / move, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    return np.minimum(1.0, _TO_BOUNDARY * reach)


def _snapped(
    landscape: Landscape,
    cost: np.ndarray,
    weights: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    free: np.ndarray,
    steps: int,
) -> Solution:
    """Put weights that rest on a bound exactly there, where that proves no worse."""
    objective, gap = certificate(landscape, cost, weights, lower, upper)
    near = 1e-6 / lower.shape[1]
    resting = (weights - lower < near) | (upper - weights < near) | ~free
    tidy = np.where(weights - lower < near, lower, np.where(upper - weights < near, upper, weights))
    rest = np.where(resting, 0.0, tidy)
    total = rest.sum(axis=1)
    needed = 1 - np.where(resting, tidy, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        tidy = np.where(resting, tidy, tidy * (needed / total)[:, None])
    ok = np.isfinite(tidy).all(axis=1) & (np.abs(tidy.sum(axis=1) - 1) < 1e-12)
    ok &= (tidy >= lower).all(axis=1) & (tidy <= upper).all(axis=1) & (tidy > 0).any(axis=1)
    tidy = np.where(ok[:, None], tidy, weights)
    if np.all(tidy > 0) or landscape.straight:
        again, gap_again = certificate(landscape, cost, tidy, lower, upper)
        keep = np.isfinite(gap_again) & (gap_again <= np.maximum(gap, 1e-9 * np.abs(objective)))
        weights = np.where(keep[:, None], tidy, weights)
        objective, gap = np.where(keep, again, objective), np.where(keep, gap_again, gap)
    return Solution(weights=weights, objective=objective, gap=gap, steps=steps)
