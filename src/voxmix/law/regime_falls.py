"""How far a target's log loss falls with the budget: along its own curve, or by regression where there is none.

Its own curve is of the runs of the mixture with the largest share of the target (its pure runs, else its vertex runs,
else the uniform mixture), from the smallest budget to the largest. Where no mixture was run at two budgets (a swarm),
log loss is regressed on log budget and the weights.
"""

from dataclasses import dataclass

import numpy as np

from voxmix.law.regime_noise import FEW, RunNoise, Runs, centered, left_over

_PURE, _EVEN = 1 - 1e-9, 1e-6  # weight of a pure run; difference between weights of the uniform mixture
_WIDE = 0.5  # a curve counts that spans this share of the table's budgets, in log draws


@dataclass(frozen=True, kw_only=True, slots=True)
class Fall:
    """How far a log loss falls along a curve; ``error`` is the fall's standard error in units of the noise."""

    budgets: tuple[float, ...]
    losses: tuple[float, ...]
    fall: float
    error: float
    seeds: int
    late: float | None = None

    @property
    def per_doubling(self) -> float:
        return float(self.fall / np.log2(self.budgets[-1] / self.budgets[0]))


def own_curve(runs: Runs) -> tuple[np.ndarray | None, str]:
    """Return the runs of the mixture with most of the target that spans the budgets, and what it is in words."""
    span: dict[int, float] = {}
    for m in np.unique(runs.mixture):
        at = np.log(runs.budget[runs.mixture == m])
        span[int(m)] = float(at.max() - at.min())
    widest = max(span.values())
    if widest <= 0:
        return None, ""
    even = runs.weights.max(axis=1)  # least where all sources have the same weight
    able = [m for m, width in span.items() if width >= _WIDE * widest]
    first = {m: int(np.flatnonzero(runs.mixture == m)[0]) for m in able}
    best = max(able, key=lambda m: (round(runs.own[first[m]], 9), -even[first[m]], span[m]))
    rows = np.flatnonzero(runs.mixture == best)
    weights, own = runs.weights[rows[0]], float(runs.own[rows[0]])
    words = f"runs with {own:.0%} of it" if own > 0 else "the mixture nearest to uniform"
    if np.ptp(weights) < _EVEN:
        words = "the uniform mixture"
    if own >= _PURE:
        words = "its pure runs"
    return rows, words


def along(runs: Runs, rows: np.ndarray) -> Fall:
    """Return the fall from the first to the last budget of one mixture, over the seeds that both ends have."""
    budgets = np.unique(runs.budget[rows])
    value = {(float(runs.budget[i]), int(runs.seed[i])): float(runs.value[i]) for i in rows}
    seeds = sorted({int(s) for s in runs.seed[rows]})
    both = [s for s in seeds if all((float(b), s) in value for b in budgets[[0, -1]])]

    def at(budget: float) -> float:
        kept = [s for s in both or seeds if (budget, s) in value] or [
            s for s in seeds if (budget, s) in value
        ]
        return float(np.mean([value[budget, s] for s in kept]))

    middle = {float(b): at(float(b)) for b in budgets}
    low, high = float(budgets[0]), float(budgets[-1])
    before = [b for b in middle if b <= high / 2]
    late = max(before) if before and max(before) > low else None
    return Fall(
        budgets=tuple(middle),
        losses=tuple(float(np.exp(v)) for v in middle.values()),
        fall=middle[low] - middle[high],
        error=float(np.sqrt(2 / max(len(both), 1))),
        seeds=max(len(both), 1),
        late=None if late is None else float((middle[late] - middle[high]) / np.log2(high / late)),
    )


def regression(runs: Runs, noise: RunNoise) -> tuple[Fall | None, RunNoise]:
    """Return the fall over budgets at like mixtures, where no mixture was run at two of them, and the residual's noise."""
    budgets = np.unique(runs.budget)
    if len(budgets) < 2:
        return None, noise
    at = centered(runs.budget)
    design = np.column_stack([at, np.ones_like(at), runs.weights[:, :-1]])
    used = int(np.linalg.matrix_rank(design))
    if len(at) < used + FEW or np.linalg.matrix_rank(design[:, 1:]) == used:
        return None, noise
    slope, *_ = np.linalg.lstsq(design, runs.value, rcond=None)[0]
    square, left = left_over(design, runs.value)
    own = RunNoise(size=float(np.sqrt(square / left)), basis="residuals", freedom=left)
    rest = at - design[:, 1:] @ np.linalg.lstsq(design[:, 1:], at, rcond=None)[0]
    span = float(np.log(budgets[-1] / budgets[0]))
    middle = float(runs.value.mean())
    ends = [float(np.log(b) - np.log(runs.budget).mean()) for b in budgets]
    found = Fall(
        budgets=tuple(float(b) for b in budgets),
        losses=tuple(float(np.exp(middle + slope * end)) for end in ends),
        fall=float(-slope * span),
        error=span / float(np.sqrt(np.sum(rest**2))),
        seeds=1,
    )
    return found, own
