"""How far a target's log loss falls with the budget: along mixtures, or by regression where no mixture was run at two budgets.

What allocation chooses are mixtures, so a target is judged by runs of mixtures wherever there are any: by the mixture with
the largest share of it (its vertex runs, else the uniform mixture), and by all mixtures that hold it together. Alone a target may
stand still and fall in mixtures, or the other way round. Its pure runs count only where no mixture was run at several
budgets. Where nothing was (a swarm), log loss is regressed on log budget and the weights.
"""

from dataclasses import dataclass

import numpy as np

from voxmix.law.regime_noise import FEW, RunNoise, Runs, centered, left_over

_PURE, _EVEN = 1 - 1e-9, 1e-6  # weight of a pure run; difference between weights of the uniform mixture
_WIDE = 0.5  # a curve counts that spans this share of the table's budgets, in log draws


@dataclass(frozen=True, kw_only=True, slots=True)
class Fall:
    """How far a log loss falls along a curve.

    ``error`` is the fall's standard error, ``pair`` that of a difference between two runs (with all seeds of each), both in
    units of the noise. ``late`` is the fall per doubling at the upper end.
    """

    words: str
    budgets: tuple[float, ...]
    losses: tuple[float, ...]
    fall: float
    error: float
    pair: float
    seeds: int
    late: float | None = None

    @property
    def per_doubling(self) -> float:
        return float(self.fall / np.log2(self.budgets[-1] / self.budgets[0]))


def falls(runs: Runs) -> tuple[Fall, ...]:
    """Return the falls by which a target is judged: one or two; none where no mixture was run at two budgets."""
    rows = {int(m): np.flatnonzero(runs.mixture == m) for m in np.unique(runs.mixture)}
    span = {m: float(np.ptp(np.log(runs.budget[at]))) for m, at in rows.items()}
    widest = max(span.values())
    if widest <= 0:
        return ()
    able = [m for m, width in span.items() if width >= _WIDE * widest]
    share = {m: float(runs.own[rows[m][0]]) for m in able}
    mixed = [m for m in able if np.count_nonzero(runs.weights[rows[m][0]]) > 1]
    judged = [m for m in mixed if share[m] > 0] or mixed or able
    largest = {m: float(runs.weights[rows[m][0]].max()) for m in able}  # least in the uniform mixture
    most = max(judged, key=lambda m: (round(share[m], 9), -largest[m], span[m]))
    found = [_along(runs, [rows[most]], _words(runs.weights[rows[most][0]], share[most]))]
    if mixed:
        ends = {m: (runs.budget[rows[m]].min(), runs.budget[rows[m]].max()) for m in judged}
        alike = [m for m in judged if ends[m] == ends[max(judged, key=lambda k: span[k])]]
        if len(alike) > 1:
            found.append(_along(runs, [rows[m] for m in alike], f"{len(alike)} mixtures together"))
    return tuple(found)


def _words(weights: np.ndarray, own: float) -> str:
    if own >= _PURE:
        return "its pure runs"
    if np.ptp(weights) < _EVEN:
        return "the uniform mixture"
    return f"runs with {own:.0%} of it" if own > 0 else "the mixture nearest to uniform"


def _along(runs: Runs, groups: list[np.ndarray], words: str) -> Fall:
    """Return the mean fall of some mixtures from their first to their last budget, over the seeds that both ends have."""
    curves, seeds = zip(*(_curve(runs, rows) for rows in groups), strict=True)
    budgets = sorted(set.intersection(*(set(curve) for curve in curves)))
    middle = {b: float(np.mean([curve[b] for curve in curves])) for b in budgets}
    low, high = budgets[0], budgets[-1]
    before = [b for b in middle if b <= high / 2]
    late = max(before) if before and max(before) > low else None
    usual = int(np.median(seeds))
    return Fall(
        words=words,
        budgets=tuple(budgets),
        losses=tuple(float(np.exp(v)) for v in middle.values()),
        fall=middle[low] - middle[high],
        error=float(np.sqrt(np.sum(2 / np.array(seeds)))) / len(seeds),
        pair=float(np.sqrt(2 / usual)),
        seeds=usual,
        late=None if late is None else float((middle[late] - middle[high]) / np.log2(high / late)),
    )


def _curve(runs: Runs, rows: np.ndarray) -> tuple[dict[float, float], int]:
    """Return the mean log loss of one mixture by budget, over the seeds that both ends have, and how many these are."""
    budgets = np.unique(runs.budget[rows])
    value = {(float(runs.budget[i]), int(runs.seed[i])): float(runs.value[i]) for i in rows}
    seeds = sorted({int(s) for s in runs.seed[rows]})
    both = [s for s in seeds if all((float(b), s) in value for b in budgets[[0, -1]])]

    def at(budget: float) -> float:
        kept = [s for s in both or seeds if (budget, s) in value] or [
            s for s in seeds if (budget, s) in value
        ]
        return float(np.mean([value[budget, s] for s in kept]))

    return {float(b): at(float(b)) for b in budgets}, max(len(both), 1)


def regression(runs: Runs, noise: RunNoise) -> tuple[tuple[Fall, ...], RunNoise]:
    """Return the fall over budgets at like mixtures, where no mixture was run at two of them, and the residual's noise."""
    budgets = np.unique(runs.budget)
    if len(budgets) < 2:
        return (), noise
    at = centered(runs.budget)
    design = np.column_stack([at, np.ones_like(at), runs.weights[:, :-1]])
    used = int(np.linalg.matrix_rank(design))
    if len(at) < used + FEW or np.linalg.matrix_rank(design[:, 1:]) == used:
        return (), noise
    slope, *_ = np.linalg.lstsq(design, runs.value, rcond=None)[0]
    square, left = left_over(design, runs.value)
    own = RunNoise(size=float(np.sqrt(square / left)), basis="residuals", freedom=left)
    rest = at - design[:, 1:] @ np.linalg.lstsq(design[:, 1:], at, rcond=None)[0]
    span = float(np.log(budgets[-1] / budgets[0]))
    middle = float(runs.value.mean())
    ends = [float(np.log(b) - np.log(runs.budget).mean()) for b in budgets]
    error = span / float(np.sqrt(np.sum(rest**2)))
    found = Fall(
        words="a regression on budget and weights",
        budgets=tuple(float(b) for b in budgets),
        losses=tuple(float(np.exp(middle + slope * end)) for end in ends),
        fall=float(-slope * span),
        error=error,
        pair=error,
        seeds=1,
    )
    return (found,), own
