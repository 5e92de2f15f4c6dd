"""Floors: an error that no number of samples takes away, and whether one exponent with two floors explains two slopes."""

import numpy as np
from jaxtyping import Float

from voxmix.scaling.parts import Number
from voxmix.scaling.spread import Lines

LEAST_SIZES = 4
_SHARES = np.concatenate([[0.0], np.linspace(0.02, 0.98, 49), [0.99, 0.995, 0.999]])
"""Floors that are tried, as shares of the smallest error."""
_EXPONENTS = np.geomspace(0.01, 3.0, 400)


def floor(lines: Lines, level: float) -> Number | None:
    """Return the floor E of ``error = E + A N^-b`` where the sizes identify it: E = 0 is refused, and E is bounded above.

    By its profile: for every E the best A and b, by least squares of log errors. None with fewer than four sizes.
    """
    if len(lines.logs) < LEAST_SIZES:
        return None
    profile = _left_over(lines, 0).min(axis=1)
    best = int(profile.argmin())
    threshold = _noise(lines, 0, float(profile[best]), numbers=3, level=level)
    if not np.isfinite(threshold):
        return Number.unknown("one seed tells no noise, so no floor can be told", "train a second seed")
    inside = np.flatnonzero(profile <= profile[best] + threshold)
    least = float(np.exp(lines.means[0].min()))
    if inside[0] == 0:
        return Number.unknown(
            "a law without a floor fits as well, so none can be told", "sizes further apart, or more seeds"
        )
    if inside[-1] == len(_SHARES) - 1:
        return Number.unknown(
            "errors do not fall at the largest sizes, so a floor has no upper end", "add larger sizes"
        )
    return Number(
        value=least * float(_SHARES[best]),
        low=least * float(_SHARES[inside[0] - 1]),
        high=least * float(_SHARES[inside[-1] + 1]),
    )


def one_exponent_fits(lines: Lines, level: float) -> bool:
    """Return whether one exponent with a floor for each of two series fits as well as a line for each.

    False with fewer than four sizes. As well: what is left over is at most as much larger as noise makes it.
    """
    if len(lines.logs) < LEAST_SIZES:
        return False
    straight = [_about(lines, s) for s in (0, 1)]
    together = [_left_over(lines, s).min(axis=0) for s in (0, 1)]
    noise = [_noise(lines, s, straight[s], numbers=2, level=level) for s in (0, 1)]
    # Each series is held to its own noise: sums of squares over what noise makes are added.
    excess = sum(
        (together[s] - straight[s]) / noise[s]
        if noise[s] > 0
        else np.where(together[s] > straight[s], np.inf, 0.0)
        for s in (0, 1)
    )
    return bool(np.min(excess) <= 1)


def _about(lines: Lines, series: int) -> float:
    x = lines.logs - lines.center
    rest = lines.means[series] - lines.level[series] - lines.slope[series] * x
    return float(rest @ rest)


def _noise(lines: Lines, series: int, left: float, *, numbers: int, level: float) -> float:
    """Return how much a sum of squares may grow by one number's chance: F(1, freedom) times the noise of a size's mean."""
    from scipy.special import fdtri

    run = lines.runs
    if run.freedom < 1:
        return float("inf")
    own = float(run.found[series, series]) / lines.repeats
    freedom = len(lines.logs) - numbers
    beyond = left / freedom
    ways = [own * float(fdtri(1, run.freedom, level))]
    if beyond > own:
        ways.append(beyond * float(fdtri(1, freedom, level)))
    return max(ways)


def _left_over(lines: Lines, series: int) -> Float[np.ndarray, "share exponent"]:
    """Return the sum of squares of log errors about ``log(E + A N^-b)`` with the best A, for floors and exponents.

    Gauss-Newton in log A, for all floors E (shares of the smallest error) and exponents b at once.
    """
    logs, y = lines.logs - lines.center, lines.means[series]
    low = (_SHARES * np.exp(y.min()))[:, None, None]
    fall = np.exp(-_EXPONENTS[:, None] * logs)
    amplitude = np.median((np.exp(y) - low) / fall, axis=2, keepdims=True)
    for _ in range(15):
        part = amplitude * fall
        fitted = low + part
        slope = part / fitted
        step = (slope * (y - np.log(fitted))).sum(axis=2, keepdims=True) / (slope**2).sum(
            axis=2, keepdims=True
        )
        amplitude = amplitude * np.exp(np.clip(step, -1.0, 1.0))
    found: Float[np.ndarray, "share exponent"] = ((y - np.log(low + amplitude * fall)) ** 2).sum(axis=2)
    return found
