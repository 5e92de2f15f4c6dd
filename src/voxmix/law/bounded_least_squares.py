"""Bounded Levenberg-Marquardt over any of a law's numbers, for a batch of loss tables at once.

Every target has its own numbers, and at most one (rho, or the exponent) is shared by all targets: the normal equations are
small blocks with a border, solved per draw without ever building the whole system. It serves the joint fit
over pure and mixture runs, and the two-stage fit under losses other than squared error.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.search_problem import Freedom, Problem

_STEPS = 200
_STILL = 1e-9
_CREEP = (
    1e-3  # relative gain over the last tenth of the steps that counts as rest along the valley of a formula
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refined:
    """The refined laws, what remains of the objective, and which draws came to rest."""

    law: LawParameters
    cost: Float[np.ndarray, "draw target"]
    converged: Bool[np.ndarray, " draw"]


def refine(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    law: LawParameters,
    free: Freedom,
    *,
    kind: str,
    max_exponent: float,
    max_transfer: float,
    steps: int = _STEPS,
) -> Refined:
    """Return the laws nearest to the losses, searched from ``law`` (draw axis as ``loss``).

    ``kind`` is "mse" (squared error over the target's typical loss), "relative-huber" or "log".
    """
    problem = Problem(cells, loss, law, free, kind, max_exponent, max_transfer)
    theta, rho = problem.theta, problem.rho
    shared = free.border == "shared"
    damping = np.full((loss.shape[0], 1 if shared else loss.shape[2]), 1e-3)
    there = problem.losses(theta, rho)
    value, slope = problem.residual(there.loss)
    cost = problem.cost(value)
    rest = np.zeros(damping.shape, dtype=bool)
    creeping = np.full(cost.shape, np.inf)
    better = np.ones(damping.shape, dtype=bool)
    for step_number in range(steps):
        if step_number == steps - steps // 10 and problem.at.formula:
            creeping = cost
        if better.any():
            columns, by_border = problem.jacobian(theta, rho, there)
        at, low, high = problem.border(theta, rho)
        move, step = _step(problem, theta, value, slope, columns, by_border, damping, (at, low, high))
        trial = np.where(problem.moves, np.clip(theta + move, problem.low, problem.high), theta)
        moved = np.clip(at + step, low, high)
        trial, trial_rho = problem.with_border(trial, rho, moved)
        tried = problem.losses(trial, trial_rho)
        new_value, new_slope = problem.residual(tried.loss)
        new_cost = problem.cost(new_value)
        was, now = (_group(cost, shared), _group(new_cost, shared))
        better = now < was
        still = (was - now <= _STILL * was) & better
        rest |= still | (damping > 1e10) | (was <= 1e-28)
        pick = better if not shared else np.broadcast_to(better, cost.shape)
        theta = np.where(pick[..., None], trial, theta)
        rho = np.where(pick, trial_rho, rho)
        damping = np.where(better, np.maximum(damping / 5, 1e-12), damping * 4)
        if rest.all():
            cost = np.where(pick, new_cost, cost)
            break
        there = there.replaced(tried, pick)
        value, slope, cost = (
            np.where(pick[:, None], new_value, value),
            np.where(pick[:, None], new_slope, slope),
            np.where(pick, new_cost, cost),
        )
    was, now = _group(creeping, shared), _group(cost, shared)
    rest |= np.isfinite(was) & (was - now <= _CREEP * now)
    return Refined(law=problem.law(law, theta, rho), cost=cost, converged=np.asarray(rest.all(axis=1)))


def _group(cost: np.ndarray, shared: bool) -> np.ndarray:
    return cost.sum(axis=1, keepdims=True) if shared else cost


def _step(
    problem: Problem,
    theta: np.ndarray,
    value: np.ndarray,
    slope: np.ndarray,
    columns: np.ndarray,
    by_border: np.ndarray,
    damping: np.ndarray,
    border_at: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return a damped Gauss-Newton step on the numbers that are not pressed against a bound.

    ``border_at`` is the number outside the blocks and its bounds.
    """
    mode, (at, low, high) = problem.free.border, border_at
    value, slope = problem.rooted(value, slope)
    jac = (columns * slope[..., None]).transpose(0, 2, 1, 3)
    res = value.transpose(0, 2, 1)
    normal = jac.transpose(0, 1, 3, 2) @ jac
    pull = (jac.transpose(0, 1, 3, 2) @ res[..., None])[..., 0]
    pressed = ((theta <= problem.low) & (pull > 0)) | ((theta >= problem.high) & (pull < 0)) | ~problem.moves
    go = ~pressed
    index = np.arange(theta.shape[-1])
    diagonal = normal[..., index, index]
    scale = np.maximum(diagonal, 1e-9 * diagonal.max(axis=-1, keepdims=True))
    normal = normal * (go[..., :, None] & go[..., None, :])
    normal[..., index, index] += np.where(go, damping[..., None] * scale + 1e-300, 1.0)
    right = [np.where(go, -pull, 0.0)]
    if mode == "held":
        return np.linalg.solve(normal, right[0][..., None])[..., 0], np.zeros_like(at)
    own = (by_border * slope).transpose(0, 2, 1)
    border = np.where(go, (jac.transpose(0, 1, 3, 2) @ own[..., None])[..., 0], 0.0)
    solved = np.linalg.solve(normal, np.stack([right[0], border], axis=-1))
    corner = np.sum(own**2, axis=-1) * (1 + damping) - np.sum(border * solved[..., 1], axis=-1)
    side = -np.sum(own * res, axis=-1) - np.sum(border * solved[..., 0], axis=-1)
    if mode == "shared":
        corner, side = corner.sum(axis=1, keepdims=True), side.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.where(corner > 0, side / corner, 0.0)
    move = np.clip(np.broadcast_to(move, at.shape), -0.3, 0.3)
    stuck = ((at <= low) & (move < 0)) | ((at >= high) & (move > 0))
    move = np.where(stuck, 0.0, move)
    return solved[..., 0] - move[..., None] * solved[..., 1], move
