"""Bounded Levenberg-Marquardt over any of a law's numbers, for a batch of loss tables at once.

Every target has its own numbers, and at most one (rho, or the exponent) is shared by all targets: the normal equations are
small blocks with a border, solved per draw without ever building the whole system. A pure run moves with one transfer
alone, so where there are few mixtures among many domains a block is an arrow and a few rows, and costs as many steps as
there are domains. It serves the joint fit over pure and mixture runs, and the two-stage fit under losses other than
squared error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.search_problem import Freedom, Problem, Slopes

_STEPS = 200
_STILL = 1e-9
_LEAVE = 0.25  # share of a batch that must have come to rest for it to be taken out
_EVEN = 0.7  # share of the gain of a step that the next must have for both to be of a long even way
_LONGEST = 64.0  # times a step that a target may be moved
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
    whole = problem = Problem(cells, loss, law, free, kind, max_exponent, max_transfer)
    theta, rho = problem.theta, problem.rho
    shared = free.border == "shared"
    damping = np.full((loss.shape[0], 1 if shared else loss.shape[2]), 1e-3)
    there = problem.losses(theta, rho)
    value, slope = problem.residual(there.loss)
    cost = problem.cost(value)
    rest = np.zeros(damping.shape, dtype=bool)
    creeping = np.full(cost.shape, np.inf)
    better = np.ones(damping.shape, dtype=bool)
    stride: np.ndarray = np.ones(cost.shape)
    gain: np.ndarray = np.zeros(cost.shape)
    going = np.arange(len(loss))
    ended = _Ended(theta=theta.copy(), rho=rho.copy(), cost=cost.copy(), rest=rest.copy())
    for step_number in range(steps):
        if step_number == steps - steps // 10 and problem.at.formula:
            creeping = cost
        if better.any():
            slopes = problem.slopes(theta, rho, there)
        at, low, high = problem.border(theta, rho)
        move, step = _step(problem, theta, value, slope, slopes, damping, (at, low, high))
        far = theta + stride[..., None] * move
        trial = np.where(problem.moves, np.clip(far, problem.low, problem.high), theta)
        moved = np.clip(at + step, low, high)
        trial, trial_rho = problem.with_border(trial, rho, moved)
        tried = problem.losses(trial, trial_rho)
        new_value, new_slope = problem.residual(tried.loss)
        new_cost = problem.cost(new_value)
        was, now = (_group(cost, shared), _group(new_cost, shared))
        better = now < was
        plain = (stride == 1).all(axis=1, keepdims=True) if shared else stride == 1
        still = (was - now <= _STILL * was) & better & plain
        rest |= still | (damping > 1e10) | (was <= 1e-28)
        pick = better if not shared else np.broadcast_to(better, cost.shape)
        if kind == "relative-huber":
            stride, gain = _strides(stride, gain, cost - new_cost, pick)
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
        done = np.asarray(rest.all(axis=1))
        if done.sum() >= _LEAVE * len(going):  # they wait for nobody
            ended.put(going, theta, rho, cost, rest)
            left = np.flatnonzero(~done)
            going, problem, there, slopes = (
                going[left],
                problem.only(left),
                there.only(left),
                slopes.only(left),
            )
            theta, rho, value, slope, cost, rest, damping, better, creeping, stride, gain = (
                array[left]
                for array in (theta, rho, value, slope, cost, rest, damping, better, creeping, stride, gain)
            )
    was, now = _group(creeping, shared), _group(cost, shared)
    rest |= np.isfinite(was) & (was - now <= _CREEP * now)
    ended.put(going, theta, rho, cost, rest)
    return Refined(
        law=whole.law(law, ended.theta, ended.rho),
        cost=ended.cost,
        converged=np.asarray(ended.rest.all(axis=1)),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ended:
    """Where the draws of a batch ended, each as soon as it came to rest."""

    theta: np.ndarray
    rho: np.ndarray
    cost: np.ndarray
    rest: np.ndarray

    def put(
        self, draws: np.ndarray, theta: np.ndarray, rho: np.ndarray, cost: np.ndarray, rest: np.ndarray
    ) -> None:
        self.theta[draws], self.rho[draws], self.cost[draws], self.rest[draws] = theta, rho, cost, rest


def _strides(
    stride: np.ndarray, before: np.ndarray, gain: np.ndarray, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many times its step each target is moved next, and the gain of a step of one.

    Under Huber's loss a number whose residuals all lie far out is all but free, and its steps, small and even, would
    not end: while each gains about what the one before gained, the next is twice as long.
    """
    each = gain / stride
    even = taken & (gain > 0) & (each > _EVEN * before)
    return np.where(even, np.minimum(stride * 2, _LONGEST), 1.0), np.where(taken, each, before)


def _group(cost: np.ndarray, shared: bool) -> np.ndarray:
    return cost.sum(axis=1, keepdims=True) if shared else cost


def _step(
    problem: Problem,
    theta: np.ndarray,
    value: np.ndarray,
    slope: np.ndarray,
    slopes: Slopes,
    damping: np.ndarray,
    border_at: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return a damped Gauss-Newton step on the numbers that are not pressed against a bound.

    ``border_at`` is the number outside the blocks and its bounds.
    """
    mode, (at, low, high) = problem.free.border, border_at
    value, slope = problem.rooted(value, slope)
    blocks = _Blocks.of(problem, slopes, slope)
    pull = blocks.times(value)
    pressed = ((theta <= problem.low) & (pull > 0)) | ((theta >= problem.high) & (pull < 0)) | ~problem.moves
    go = ~pressed
    solver = blocks.solver(go, damping)
    right = np.where(go, -pull, 0.0)
    if mode == "held":
        return solver(right[..., None])[..., 0], np.zeros_like(at)
    own = slopes.border * slope
    border = np.where(go, blocks.times(own), 0.0)
    solved = solver(np.stack([right, border], axis=-1))
    corner = np.sum(own**2, axis=1) * (1 + damping) - np.sum(border * solved[..., 1], axis=-1)
    side = -np.sum(own * value, axis=1) - np.sum(border * solved[..., 0], axis=-1)
    if mode == "shared":
        corner, side = corner.sum(axis=1, keepdims=True), side.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.where(corner > 0, side / corner, 0.0)
    move = np.clip(np.broadcast_to(move, at.shape), -0.3, 0.3)
    stuck = ((at <= low) & (move < 0)) | ((at >= high) & (move > 0))
    move = np.where(stuck, 0.0, move)
    return solved[..., 0] - move[..., None] * solved[..., 1], move


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Blocks:
    """The normal equations of every target's numbers, in parts; ``mixed`` has a column for every number.

    Attributes:
        head: derivatives of all losses by the numbers before the transfers.
        lone: of the losses of pure runs by their source's transfer, in the order of ``Problem.alone``.
        mixed: of the losses of mixtures by all numbers.
    """

    problem: Problem
    head: Float[np.ndarray, "draw target cell number"]
    lone: Float[np.ndarray, "draw alone target"]
    mixed: Float[np.ndarray, "draw target mixed all"]

    @classmethod
    def of(cls, problem: Problem, slopes: Slopes, slope: np.ndarray) -> "_Blocks":
        head = slopes.head * slope[..., None]
        weighted = slopes.pull * slope
        moves = problem.moves[:, problem.at.transfer][:, problem.source_of].T
        mixed = np.concatenate(
            [head[:, problem.mixed], weighted[:, problem.mixed][..., None] * slopes.share], axis=-1
        )
        return cls(
            problem=problem,
            head=np.ascontiguousarray(head.transpose(0, 2, 1, 3)),
            lone=weighted[:, problem.alone] * moves,
            mixed=np.ascontiguousarray(mixed.transpose(0, 2, 1, 3)),
        )

    @property
    def first(self) -> int:
        """How many numbers stand before the transfers."""
        return self.head.shape[-1]

    def times(self, value: Float[np.ndarray, "draw cell target"]) -> Float[np.ndarray, "draw target number"]:
        """Return the derivatives' products with a value per loss."""
        row = value.transpose(0, 2, 1)[..., None]
        head = (self.head.swapaxes(-1, -2) @ row)[..., 0]
        of_sources = self.problem.of_sources(self.lone * value[:, self.problem.alone]).swapaxes(1, 2)
        tau = (self.mixed[..., self.first :].swapaxes(-1, -2) @ row[:, :, self.problem.mixed])[..., 0]
        return np.concatenate([head, of_sources + tau], axis=-1)

    def solver(self, go: np.ndarray, damping: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what solves the damped equations of the numbers that ``go`` for right-hand sides on the last axis."""
        alone, first = self.problem.alone, self.first
        rows = np.ascontiguousarray(self.head[:, :, alone])
        head = rows.swapaxes(-1, -2) @ rows
        across = self.problem.of_sources(rows.transpose(0, 2, 1, 3) * self.lone[..., None]).transpose(
            0, 2, 3, 1
        )
        square = self.problem.of_sources(self.lone**2).swapaxes(1, 2)
        index = np.arange(first)
        diagonal = np.concatenate([head[..., index, index], square], axis=-1) + np.sum(self.mixed**2, axis=2)
        scale = np.maximum(diagonal, 1e-9 * diagonal.max(axis=-1, keepdims=True))
        added = np.where(go, damping[..., None] * scale + 1e-300, 1.0)
        across = across * (go[..., :first, None] & go[..., None, first:])
        head = head * (go[..., :first, None] & go[..., None, :first])
        head[..., index, index] += added[..., :first]
        square = square * go[..., first:] + added[..., first:]
        mixed = self.mixed * go[..., None, :]
        if self._is_arrow:
            return _arrow(head, across, square, mixed)
        size, place = go.shape[-1], np.arange(first, go.shape[-1])
        normal = mixed.swapaxes(-1, -2) @ mixed if mixed.shape[2] else np.zeros((*go.shape, size))
        normal[..., :first, :first] += head
        normal[..., :first, first:] += across
        normal[..., first:, :first] += across.swapaxes(-1, -2)
        normal[..., place, place] += square
        return lambda right: np.linalg.solve(normal, right)

    @property
    def _is_arrow(self) -> bool:
        """Whether pure runs tell every transfer that moves, and mixtures are few beside the sources."""
        problem, first = self.problem, self.first
        if self.mixed.shape[2] + first > len(problem.cells.domains) / 2:
            return False
        counts = problem.counts if problem.counts.ndim == 2 else problem.counts.min(axis=0)
        told = problem.of_sources(counts[None, problem.alone])[0].T > 0
        return bool(np.all(told | ~problem.moves[:, problem.at.transfer]))


def _arrow(
    head: Float[np.ndarray, "draw target number number"],
    across: Float[np.ndarray, "draw target number source"],
    square: Float[np.ndarray, "draw target source"],
    mixed: Float[np.ndarray, "draw target mixed all"],
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what solves blocks whose transfers' part is a diagonal, but for a few rows.

    The residuals of these rows count as unknowns, so that every transfer can be eliminated.
    """
    first, extra = head.shape[-1], mixed.shape[2]
    over = np.concatenate([across, mixed[..., first:]], axis=2)  # (number and mixed, source)
    lifted = over / square[..., None, :]
    core = -lifted @ over.swapaxes(-1, -2)
    core[..., :first, :first] += head
    core[..., :first, first:] += mixed[..., :first].swapaxes(-1, -2)
    core[..., first:, :first] += mixed[..., :first]
    place = np.arange(first, first + extra)
    core[..., place, place] -= 1.0

    def solve(right: np.ndarray) -> np.ndarray:
        reduced = -lifted @ right[..., first:, :]
        reduced[..., :first, :] += right[..., :first, :]
        found = np.linalg.solve(core, reduced)
        tau = (right[..., first:, :] - over.swapaxes(-1, -2) @ found) / square[..., None]
        return np.concatenate([found[..., :first, :], tau], axis=-2)

    return solve
