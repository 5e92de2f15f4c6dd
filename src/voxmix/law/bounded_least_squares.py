"""Bounded Levenberg-Marquardt over any of a law's numbers, for a batch of loss tables at once.

Every target has its own numbers, and at most one (rho, or the exponent) is shared by all targets: the normal equations are
small blocks with a border, solved per draw without ever building the whole system. It serves the joint fit
over pure and mixture runs, and the two-stage fit under losses other than squared error.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.cells import Cells
from voxmix.law.curves import MIN_EXPONENT
from voxmix.law.forms import LawParameters, worth

HUBER = 0.02  # relative error from which a residual counts linearly: about the noise between seeds
MIN_RHO = 0.1
_NOTHING = 1e-12  # amplitudes and transfers below this, relative, count as 0
_STEPS = 200
_STILL = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Freedom:
    """Which numbers may move, and which cells count.

    ``curve``, ``transfer``, ``budget_term`` free E, A, beta; tau of other sources; B and a. ``rho`` is
    "held", "shared" or "per-target". ``rows`` (cell, target) says which losses count. ``one_exponent`` moves
    beta of all targets together; rho is held then.
    """

    curve: bool
    transfer: bool
    budget_term: bool
    rho: str
    rows: Bool[np.ndarray, "cell target"]
    own: bool = False
    one_exponent: bool = False

    @property
    def border(self) -> str:
        """How the number outside the targets' own blocks is shared: "held" where there is none."""
        return "shared" if self.one_exponent else self.rho


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refined:
    """The refined laws, what remains of the objective, and which draws came to rest."""

    law: LawParameters
    cost: Float[np.ndarray, "draw target"]
    converged: Bool[np.ndarray, " draw"]


class _Problem:
    """Losses and their derivatives in the coordinates of the search: (E, ln A, ln beta, ln B, ln a, ln tau)."""

    def __init__(
        self,
        cells: Cells,
        loss: Float[np.ndarray, "draw cell target"],
        law: LawParameters,
        free: Freedom,
        kind: str,
        max_exponent: float,
        max_transfer: float,
    ) -> None:
        self.cells, self.free, self.kind = cells, free, kind
        self.loss = np.where(free.rows, loss, 1.0)
        self.counts = free.rows.astype(np.float64)
        weights = self.counts / np.maximum(self.counts.sum(axis=0), 1)
        self.size = np.sqrt(np.sum(weights * self.loss**2, axis=1, keepdims=True))
        self.size = np.maximum(self.size, 1e-300)
        self.budget = cells.budget / (cells.budget if law.by_share else 1.0)
        drawn = worth(cells.weights * cells.budget[:, None], law.unique, law.repeats[:, None, :])
        drawn = drawn / (cells.budget[:, None] if law.by_share else 1.0)
        with np.errstate(divide="ignore"):
            self.log_drawn = np.log(np.broadcast_to(drawn, (loss.shape[0], *drawn.shape[-2:])))
        self.center = 0.0 if law.by_share else float(np.mean(np.log(cells.budget)))
        self.log_budget = np.log(cells.budget) - np.mean(np.log(cells.budget))
        self.middle = float(np.mean(np.log(cells.budget)))
        self._start(law, max_exponent, max_transfer)

    def _start(self, law: LawParameters, max_exponent: float, max_transfer: float) -> None:
        size = self.size[:, 0]
        targets, sources = self.loss.shape[2], law.transfer.shape[1]
        floor = np.log(_NOTHING * size)
        with np.errstate(divide="ignore"):
            log_a = np.log(law.amplitude) - law.exponent * self.center
            log_b = np.log(law.budget_amplitude) - law.budget_exponent * self.middle
            log_tau = np.log(law.transfer).transpose(0, 2, 1)
        head = [law.irreducible_loss / size, log_a, np.log(law.exponent), log_b, np.log(law.budget_exponent)]
        self.theta = np.concatenate([np.stack(head, axis=-1), log_tau], axis=-1)
        shape = self.theta.shape
        self.low, self.high = np.empty(shape), np.empty(shape)
        self.low[..., 0], self.high[..., 0] = 0.0, np.inf
        self.low[..., 1], self.high[..., 1] = floor, floor + 60
        self.low[..., 2], self.high[..., 2] = np.log(MIN_EXPONENT), np.log(max_exponent)
        self.low[..., 3], self.high[..., 3] = floor, floor + 60
        self.low[..., 4], self.high[..., 4] = np.log(MIN_EXPONENT), np.log(max_exponent)
        self.low[..., 5:], self.high[..., 5:] = np.log(_NOTHING), np.log(max_transfer)
        moves = np.zeros((targets, 5 + sources), dtype=bool)
        moves[:, :3] = self.free.curve
        moves[:, 2] &= not self.free.one_exponent
        moves[:, 3:5] = self.free.budget_term
        moves[:, 5:] = self.free.transfer
        known = self._sources_seen()
        moves[:, 5:] &= known
        for j, own in enumerate(self.cells.own):
            moves[j, 5 + own] = self.free.own
            self.low[:, j, 5 + own] = np.minimum(self.low[:, j, 5 + own], 0.0)
            self.high[:, j, 5 + own] = np.maximum(self.high[:, j, 5 + own], 0.0)
        self.moves = moves
        inside = np.clip(self.theta, self.low, self.high)
        self.theta = np.where(moves, inside, np.where(np.isfinite(self.theta), self.theta, self.low))
        self.rho = law.rho.copy()

    def _sources_seen(self) -> Bool[np.ndarray, "target source"]:
        return (self.free.rows.T.astype(float) @ (self.cells.weights > 0)) > 0

    def parts(
        self, theta: np.ndarray, rho: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the losses, the reducible and budget terms, and ``ln n - center`` (draw, cell, target)."""
        log_c = self.log_drawn[:, :, None, :] + theta[:, None, :, 5:]
        self._scaled = rho[:, None, :, None] * log_c
        top = self._scaled.max(axis=-1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        self._powers = np.exp(self._scaled - top)
        total = self._powers.sum(axis=-1)
        self._total, self._log_c = total, log_c
        with np.errstate(divide="ignore"):
            log_n = (np.log(total) + top[..., 0]) / rho[:, None, :]
        far = log_n - self.center
        reducible = np.exp(np.clip(theta[:, None, :, 1] - np.exp(theta[:, None, :, 2]) * far, -700, 300))
        term = np.exp(
            np.clip(theta[:, None, :, 3] - np.exp(theta[:, None, :, 4]) * self.log_budget[:, None], -700, 300)
        )
        if not self.free.budget_term:
            term = np.where(theta[:, None, :, 3] <= self.low[:, None, :, 3], 0.0, term)
        return self.size * theta[:, None, :, 0] + reducible + term, reducible, term, far

    def residual(self, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals and their derivative by the predicted loss; Huber's weight is folded in by root."""
        if self.kind == "log":
            value, slope = np.log(np.maximum(guess, 1e-300) / self.loss), 1 / np.maximum(guess, 1e-300)
        elif self.kind == "relative-huber":
            value, slope = guess / self.loss - 1, 1 / self.loss
        else:
            value, slope = (guess - self.loss) / self.size, 1 / np.broadcast_to(self.size, guess.shape)
        return value * self.counts, slope * self.counts

    def cost(self, value: np.ndarray) -> Float[np.ndarray, "draw target"]:
        """Return the objective per draw and target."""
        if self.kind == "relative-huber":
            size = np.abs(value)
            value2 = np.where(size <= HUBER, value**2, 2 * HUBER * size - HUBER**2)
        else:
            value2 = value**2
        with np.errstate(over="ignore"):
            return np.minimum(value2.sum(axis=1), 1e300)

    def jacobian(
        self, theta: np.ndarray, rho: np.ndarray, reducible: np.ndarray, term: np.ndarray, far: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return derivatives of the losses by theta (draw, target, cell, number) and by the border's number."""
        beta = np.exp(theta[:, None, :, 2])
        share = self._powers / np.maximum(self._total, 1e-300)[..., None]
        pull = -beta * reducible
        finite = np.where(np.isfinite(far), far, 0.0)
        columns = np.empty((*reducible.shape, theta.shape[-1]))
        columns[..., 0] = self.size
        columns[..., 1] = reducible
        columns[..., 2] = pull * finite
        columns[..., 3] = term
        columns[..., 4] = -np.exp(theta[:, None, :, 4]) * self.log_budget[:, None] * term
        columns[..., 5:] = pull[..., None] * share
        columns *= self.moves
        if self.free.one_exponent:
            return columns, pull * finite
        log_c = np.where(share > 0, self._log_c, 0.0)
        by_rho = pull * (np.sum(share * log_c, axis=-1) - (finite + self.center)) / rho[:, None, :]
        return columns, by_rho

    def border(self, theta: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number outside the blocks (draw, target), and its bounds."""
        if self.free.one_exponent:
            return theta[..., 2], self.low[..., 2], self.high[..., 2]
        return rho, np.full_like(rho, MIN_RHO), np.ones_like(rho)

    def with_border(
        self, theta: np.ndarray, rho: np.ndarray, moved: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return theta and rho with the number outside the blocks at a new place."""
        if self.free.one_exponent:
            theta = theta.copy()
            theta[..., 2] = moved
            return theta, rho
        return theta, (rho if self.free.rho == "held" else moved)

    def law(self, law: LawParameters, theta: np.ndarray, rho: np.ndarray) -> LawParameters:
        """Return the parameters at the end of the search; amplitudes at their floor are 0."""
        size = self.size[:, 0]
        exponent, own = np.exp(theta[..., 2]), np.exp(theta[..., 4])
        tiny = theta[..., 1] <= self.low[..., 1] + 1e-9
        none = theta[..., 3] <= self.low[..., 3] + 1e-9
        tau = np.exp(theta[..., 5:])
        tau = np.where(theta[..., 5:] <= self.low[..., 5:] + 1e-9, 0.0, tau).transpose(0, 2, 1)
        return replace(
            law,
            irreducible_loss=theta[..., 0] * size,
            amplitude=np.where(tiny, 0.0, np.exp(theta[..., 1] + exponent * self.center)),
            exponent=exponent,
            budget_amplitude=np.where(none, 0.0, np.exp(theta[..., 3] + own * self.middle)),
            budget_exponent=own,
            transfer=tau,
            rho=rho,
        )


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
    problem = _Problem(cells, loss, law, free, kind, max_exponent, max_transfer)
    theta, rho = problem.theta, problem.rho
    shared = free.border == "shared"
    damping = np.full((loss.shape[0], 1 if shared else loss.shape[2]), 1e-3)
    guess, reducible, term, far = problem.parts(theta, rho)
    value, slope = problem.residual(guess)
    cost = problem.cost(value)
    rest = np.zeros(damping.shape, dtype=bool)
    for _ in range(steps):
        columns, by_border = problem.jacobian(theta, rho, reducible, term, far)
        at, low, high = problem.border(theta, rho)
        move, step = _step(problem, theta, value, slope, columns, by_border, damping, (at, low, high))
        trial = np.where(problem.moves, np.clip(theta + move, problem.low, problem.high), theta)
        moved = np.clip(at + step, low, high)
        trial, trial_rho = problem.with_border(trial, rho, moved)
        new = problem.parts(trial, trial_rho)
        new_value, _ = problem.residual(new[0])
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
        guess, reducible, term, far = problem.parts(theta, rho)
        value, slope = problem.residual(guess)
        cost = problem.cost(value)
    return Refined(law=problem.law(law, theta, rho), cost=cost, converged=np.asarray(rest.all(axis=1)))


def _group(cost: np.ndarray, shared: bool) -> np.ndarray:
    return cost.sum(axis=1, keepdims=True) if shared else cost


def _step(
    problem: _Problem,
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
    if problem.kind == "relative-huber":
        root = np.sqrt(np.minimum(1.0, HUBER / np.maximum(np.abs(value), 1e-300)))
        value, slope = value * root, slope * root
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
