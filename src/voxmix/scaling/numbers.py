"""Numbers of one task: slopes, crossings, forgetting, and two series side by side."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from voxmix.scaling.gather import Beside, Curve
from voxmix.scaling.parts import INF, NAN, Between, Number, Reach
from voxmix.scaling.spread import Lines, fit_lines, half_width, share_below

ONE_SEED = "one seed: what another seed would give is not known"
TWO_SEEDS = "train every size with a second seed"
MORE = "more seeds, more test persons or sizes further apart"
_GRID = 17
"""Numbers of samples, evenly in the log, between which a line and its reach are taken as straight."""
Gap = Callable[[float], tuple[float, float]]
"""From log samples to a difference of log errors and how far it may be off."""


def lines_of(*curves: Curve) -> Lines:
    """Return the lines of series with the same sizes and seeds."""
    return fit_lines(
        np.log(np.array(curves[0].samples, dtype=np.float64)),
        np.stack([curve.values for curve in curves]),
        np.stack([curve.moved for curve in curves], axis=1),
        apart=np.array([curve.apart for curve in curves]),
    )


def told(value: float, reach: float) -> Number:
    """Return a value with its interval; without one where a single seed tells none."""
    if not np.isfinite(reach):
        return Number(value=value, status=ONE_SEED, remedy=TWO_SEEDS)
    return Number(value=value, low=value - reach, high=value + reach)


def elasticity(lines: Lines, weights: Float[np.ndarray, " series"], level: float) -> Number:
    """Return minus the slope of a series, or of a difference of series."""
    nothing = np.zeros_like(weights)
    reach = half_width(lines.variances(nothing, weights), level)
    return told(-lines.value(nothing, weights), reach)


def share_worse(lines: Lines) -> float:
    """Return the share of draws in which the error of the only series rises with samples; NaN with one seed."""
    one, nothing = np.ones(1), np.zeros(1)
    variances = lines.variances(nothing, one)
    if not np.isfinite(variances).all():
        return NAN
    return 1 - share_below(lines.value(nothing, one), variances)


def per_doubling(slope: Number) -> Number:
    """Return the share of the error that a doubling of samples takes away."""
    return Number(
        value=1 - 2**-slope.value,
        low=1 - 2**-slope.low,
        high=1 - 2**-slope.high,
        status=slope.status,
        remedy=slope.remedy,
    )


def size_reach(lines: Lines, level: float) -> Float[np.ndarray, " size"]:
    """Return how far the mean log error of each size of the only series may be off."""
    chance = lines.at_size(np.ones(1)) + float(lines.apart[0])
    return np.array(
        [half_width(chance + np.var(lines.size_persons[:, 0, k]), level) for k in range(len(lines.logs))]
    )


def line_gap(lines: Lines, level: float, beside: Beside | None = None) -> Gap:
    """Return the line of the only series, less a reference if there is one, with how far it may be off."""

    def gap(log: float) -> tuple[float, float]:
        one, slope = np.ones(1), np.array([log - lines.center])
        moved = None if beside is None else -beside.moved
        variances = lines.variances(one, slope, moved) + (0.0 if beside is None else beside.apart)
        value = lines.value(one, slope) - (0.0 if beside is None else beside.log_error)
        return value, half_width(variances, level)

    return gap


def between(lines: Lines, logs: Float[np.ndarray, " point"], level: float) -> Between:
    """Return two series' lines at rising log samples, and how far their difference may be off at each pair of them."""
    x, levels = logs - lines.center, np.array([-1.0, 1.0])
    first, second = lines.level[:, None] + lines.slope[:, None] * x
    reach = [[half_width(lines.variances(levels, np.array([-a, b])), level) for b in x] for a in x]
    return Between(
        samples=tuple(np.exp(logs).tolist()),
        first=tuple(np.exp(first).tolist()),
        second=tuple(np.exp(second).tolist()),
        reach=tuple(tuple(row) for row in reach),
    )


def equivalent(lines: Between, samples: float, *, of_first: bool, what: str) -> tuple[Number, Reach]:
    """Return the samples that one of two series needs for the error that the other has with so many, and where they lie.

    Args:
        samples: among those of ``lines``.
        of_first: whether they are of the first series, or of the second.
        what: names what is looked for in sentences.
    """
    logs, reach = np.log(lines.samples), np.array(lines.reach)
    own, other = np.log(lines.first), np.log(lines.second)
    if not of_first:
        own, other, reach = other, own, reach.T
    at = float(np.log(samples))
    gap = other - np.interp(at, logs, own)
    if not np.isfinite(reach).all():
        return samples_number((first_crossing(logs, gap), -INF, INF), what=what)
    wide = np.array([np.interp(at, logs, column) for column in reach.T])
    ends = (first_crossing(logs, gap), first_crossing(logs, gap - wide), first_crossing(logs, gap + wide))
    return samples_number(ends, what=what)


def first_below(gap: Gap, smallest: float, largest: float) -> tuple[float, float, float]:
    """Return the log samples at which a gap first falls to 0, with the ends of its interval.

    Minus infinity stands for the smallest size or fewer, infinity for never up to the largest: a curve is not followed
    where nothing was measured.
    """
    grid = np.linspace(smallest, largest, _GRID)
    found = np.array([gap(float(x)) for x in grid])
    value, reach = found[:, 0], found[:, 1]
    return (
        first_crossing(grid, value),
        first_crossing(grid, value - reach),
        first_crossing(grid, value + reach),
    )


def first_crossing(grid: Float[np.ndarray, " point"], values: Float[np.ndarray, " point"]) -> float:
    """Return where values first fall to 0, straight between the points of a rising grid.

    Minus infinity where the first value is not above 0, infinity where none falls to it.
    """
    below = np.flatnonzero(values <= 0)
    if not below.size:
        return INF
    n = int(below[0])
    if n == 0:
        return -INF
    share = values[n - 1] / (values[n - 1] - values[n])
    return float(grid[n - 1] + share * (grid[n] - grid[n - 1]))


def samples_number(ends: tuple[float, float, float], *, what: str) -> tuple[Number, Reach]:
    """Return a number of samples from its log with both ends, and where it lies; ``what`` names it in sentences."""
    value, low, high = ends
    if low == -INF and high == INF:
        return (
            Number(
                value=float(np.exp(value)) if np.isfinite(value) else NAN,
                low=0.0,
                high=INF,
                status=f"{what} may lie anywhere, below the smallest size, between the sizes or beyond the largest",
                remedy=MORE,
            ),
            "unclear",
        )
    least, most = 0.0 if low == -INF else float(np.exp(low)), float(np.exp(high))
    if value == -INF:
        return (
            Number(
                value=NAN,
                low=least,
                high=most,
                status=f"{what} lies at the smallest size or below",
                remedy="add a smaller size",
            ),
            "below",
        )
    if value == INF:
        return (
            Number(
                value=NAN,
                low=least,
                high=most,
                status=f"{what} lies beyond the largest size",
                remedy="add a larger size",
            ),
            "not reached",
        )
    return Number(value=float(np.exp(value)), low=least, high=most), "within"


def forgetting(lines: Lines, beside: Beside, level: float) -> Number:
    """Return the error at the largest size less a reference's, on the scale of errors."""
    error, other = float(np.exp(lines.means[0, -1])), float(np.exp(beside.log_error))
    moved = error * lines.size_persons[:, 0, -1] - other * beside.moved
    chance = error**2 * (lines.at_size(np.ones(1)) + lines.apart[0]) + other**2 * beside.apart
    return told(error - other, half_width(chance + np.var(moved), level))


def ratio(lines: Lines, level: float) -> Number:
    """Return the first elasticity over the second with Fieller's interval; unknown where the second may be 0."""
    first, second = (-lines.slope).tolist()
    bottom = elasticity(lines, np.array([0.0, 1.0]), level)
    if not bottom.known:
        return Number(value=first / second if second else NAN, status=ONE_SEED, remedy=TWO_SEEDS)
    if bottom.high < 0 or first < 0:
        return Number.unknown(
            "one of the two gets worse with samples, so a ratio says nothing",
            "look at the difference or the data equivalent instead",
        )
    if bottom.low <= 0 <= bottom.high:
        return Number.unknown(
            "the second elasticity may be 0, so a ratio to it is not identified",
            MORE,
        )
    found = first / second

    def outside(rate: float) -> float:
        weights, nothing = np.array([1.0, -rate]), np.zeros(2)
        return abs(lines.value(nothing, weights)) - half_width(lines.variances(nothing, weights), level)

    ends = [_end(outside, found, way) for way in (-1, 1)]
    if not all(np.isfinite(ends)):
        return Number.unknown(
            "the interval of the ratio has no end, so it is not identified",
            MORE,
        )
    return Number(value=found, low=ends[0], high=ends[1])


def _end(outside: Callable[[float], float], middle: float, way: int) -> float:
    """Return where a set around ``middle`` ends in one way; infinite where it does not."""
    from scipy.optimize import brentq

    step, inner = 0.05 * max(abs(middle), 1.0), middle
    for _ in range(40):
        outer = inner + way * step
        if outside(outer) > 0:
            return float(brentq(outside, inner, outer, xtol=1e-4 * max(abs(middle), 0.1)))
        inner, step = outer, step * 1.5
    return way * INF
