"""The best shares for every law of a batch: what is minimized, the program it becomes, and the proven gap."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from voxmix.allocation.interior import solve
from voxmix.allocation.limits import Limits
from voxmix.allocation.objective import loss_weights, objective_value
from voxmix.allocation.program import Program, lower_bound, solve_program
from voxmix.errors import InputError
from voxmix.law.forms import Landscape

_SLACK = 1e-7  # relative room above a baseline's losses, so that the baseline itself lies inside


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Aim:
    """What is minimized: kind, importance per target (sums to 1), and a mixture not to be worse than."""

    kind: str
    targets: tuple[str, ...]
    importance: Float[np.ndarray, " target"]
    guard: Float[np.ndarray, " source"] | None

    def cost(self, landscape: Landscape, bounds: Limits) -> Float[np.ndarray, "draw target"]:
        """Return the weight of each target's loss in the objective (in each ratio, under minimax)."""
        draws, count = landscape.law.draws, len(bounds.domains)
        even = bounds.to_money(np.full(count, 1 / count))
        return loss_weights(self.kind, self.importance, landscape.loss(np.tile(even, (draws, 1))))

    def value(
        self, cost: Float[np.ndarray, "draw target"], loss: Float[np.ndarray, "draw target"]
    ) -> Float[np.ndarray, " draw"]:
        """Return the objective of losses."""
        return objective_value(self.kind, cost, loss)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Optimum:
    """Shares of money, objective and proven gap per draw; ``pull`` weighs losses in the Lagrangian."""

    money: Float[np.ndarray, "draw source"]
    objective: Float[np.ndarray, " draw"]
    gap: Float[np.ndarray, " draw"]
    pull: Float[np.ndarray, "draw target"]


def optimum(landscape: Landscape, bounds: Limits, aim: Aim, *, tolerance: float = 1e-9) -> Optimum:
    """Return the best shares of money for every law of a batch.

    Raises:
        InputError: the guard and the limits conflict.
    """
    cost = aim.cost(landscape, bounds)
    if aim.kind != "minimax" and aim.guard is None and bounds.price is None:
        plain = solve(landscape, cost, lower=bounds.lower, upper=bounds.upper, tolerance=tolerance)
        return Optimum(money=plain.weights, objective=plain.objective, gap=plain.gap, pull=cost)
    program = program_of(landscape, bounds, aim, cost)
    point = solve_program(landscape, program)
    if aim.guard is not None and landscape.law.draws == 1 and point.violation[0] > 1e-6:
        _check_guard(landscape, aim, program)
    value = aim.value(cost, landscape.loss(point.weights))
    gap = np.maximum(value - lower_bound(landscape, program, point), 0.0)
    pull = program.cost + np.einsum("dq,dqj->dj", point.cap_price, program.caps)
    return Optimum(money=point.weights, objective=value, gap=gap, pull=pull)


def program_of(
    landscape: Landscape, bounds: Limits, aim: Aim, cost: Float[np.ndarray, "draw target"]
) -> Program:
    """Return the convex program in shares of money; for minimax one cap per target with importance."""
    draws, targets = cost.shape
    count = len(bounds.domains)
    caps, limit, epigraph = np.zeros((draws, 0, targets)), np.zeros((draws, 0)), np.zeros(0)
    if aim.kind == "minimax":
        judged = np.flatnonzero(aim.importance > 0)
        caps = np.eye(targets)[judged] * cost[:, None, :]
        limit, epigraph = np.zeros((draws, len(judged))), np.ones(len(judged))
    if aim.guard is not None:
        ceiling = landscape.loss(np.tile(bounds.to_money(aim.guard), (draws, 1)))
        caps = np.concatenate([caps, np.eye(targets) / ceiling[:, None, :]], axis=1)
        limit = np.hstack([limit, np.full((draws, targets), 1 + _SLACK)])
        epigraph = np.concatenate([epigraph, np.zeros(targets)])
    rows, row_limit, equal, lower, upper = _rows(bounds)
    return Program(
        cost=np.zeros_like(cost) if aim.kind == "minimax" else cost,
        linear=np.zeros((draws, count)),
        caps=caps,
        limit=limit,
        epigraph=epigraph,
        rows=rows,
        row_limit=row_limit,
        equal=equal,
        equal_value=np.zeros(len(equal)),
        lower=np.tile(lower, (draws, 1)),
        upper=np.tile(upper, (draws, 1)),
    )


def _rows(bounds: Limits) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, their limits, equalities, and bounds, all on shares of money."""
    count = len(bounds.domains)
    none = np.zeros((0, count))
    if bounds.price is None:
        return none, np.zeros(0), none, bounds.lower, bounds.upper
    bought = 1 / bounds.price
    share = np.diag(bought)
    held = bounds.upper - bounds.lower < 1e-12
    least = bounds.lower[:, None] * bought - share
    most = share - bounds.upper[:, None] * bought
    rows = np.vstack([least[~held & (bounds.lower > 0)], most[~held & (bounds.upper < 1)]])
    lower = np.zeros(count)
    upper = np.where(held & (bounds.upper == 0), 0.0, bounds.spend)
    return rows, np.zeros(len(rows)), most[held & (bounds.upper > 0)], lower, upper


def _check_guard(landscape: Landscape, aim: Aim, program: Program) -> None:
    """Find the least worst ratio to the guard; above 1 the request cannot be met."""
    targets = len(aim.targets)
    first = program.caps.shape[1] - targets
    trial = replace(
        program,
        cost=np.zeros_like(program.cost),
        caps=program.caps[:, first:],
        limit=np.zeros_like(program.limit[:, first:]),
        epigraph=np.ones(targets),
    )
    point = solve_program(landscape, trial)
    ratio = np.einsum("dqj,dj->dq", trial.caps, landscape.loss(point.weights))[0]
    if ratio.max() > 1 + 1e-6:
        names = [name for name, r in zip(aim.targets, ratio, strict=True) if r > 1 + 1e-6]
        raise InputError(
            "no_worse_than conflicts with the limits on weights (min_weight, max_weight, fixed, max_epochs): at "
            f"best {', '.join(names)} is {ratio.max() - 1:.2%} worse than under that mixture; loosen one of them"
        )
