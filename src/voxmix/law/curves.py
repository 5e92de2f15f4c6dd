"""Power-law curves ``E + A x**-beta`` for many series of losses at once, by variable projection.

For a given beta the curve is linear in E and A, so the best pair with ``E, A >= 0`` has a closed form and
only beta is searched: over a grid, then by golden section inside the best bracket. The grid makes the
global optimum certain up to its spacing, where starts from several points only hope for it.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

_GRID = 160
_GOLDEN = (np.sqrt(5) - 1) / 2
_REFINE = 40  # brackets shrink by 0.618**40 = 4e-9
MIN_EXPONENT = 1e-3


def exponent_grid(high: float, low: float = MIN_EXPONENT) -> Float[np.ndarray, " grid"]:
    """Return the exponents that are tried first, geometric from ``low`` to ``high``."""
    return np.geomspace(low, high, _GRID)


def project(
    x: Float[np.ndarray, "series point"],
    loss: Float[np.ndarray, "series point"],
    weight: Float[np.ndarray, "series point"],
    exponent: Float[np.ndarray, " series"],
    *,
    asymptote: bool,
) -> tuple[Float[np.ndarray, " series"], Float[np.ndarray, " series"], Float[np.ndarray, " series"]]:
    """Return E, A >= 0 that fit best for given exponents, and the weighted sum of squared residuals.

    ``x`` is the budget over its geometric mean, so that A is a loss there. Without ``asymptote`` E is 0.
    """
    z = x ** -exponent[:, None]
    sw = weight.sum(axis=1)
    sz, sy = np.sum(weight * z, axis=1), np.sum(weight * loss, axis=1)
    mz, my = sz / sw, sy / sw
    zz = np.sum(weight * (z - mz[:, None]) ** 2, axis=1)
    zy = np.sum(weight * (z - mz[:, None]) * (loss - my[:, None]), axis=1)
    through = np.sum(weight * z * loss, axis=1) / np.sum(weight * z * z, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(zz > 0, zy / zz, 0.0)
    base = my - slope * mz
    if asymptote:
        e = np.where(base < 0, 0.0, np.where(slope < 0, my, base))
        a = np.where(base < 0, np.maximum(through, 0), np.maximum(slope, 0))
    else:
        e, a = np.zeros_like(base), np.maximum(through, 0)
    residual = loss - e[:, None] - a[:, None] * z
    return e, a, np.sum(weight * residual**2, axis=1)


def golden(
    function: Callable[[Float[np.ndarray, " series"]], Float[np.ndarray, " series"]],
    low: Float[np.ndarray, " series"],
    high: Float[np.ndarray, " series"],
    steps: int = _REFINE,
) -> Float[np.ndarray, " series"]:
    """Return the minimizers of ``function(points) -> values`` inside brackets, each series by itself."""
    left, right = low.copy(), high.copy()
    inner_left = right - _GOLDEN * (right - left)
    inner_right = left + _GOLDEN * (right - left)
    f_left, f_right = function(inner_left), function(inner_right)
    for _ in range(steps):
        lower = f_left <= f_right
        right = np.where(lower, inner_right, right)
        left = np.where(lower, left, inner_left)
        fresh = np.where(lower, right - _GOLDEN * (right - left), left + _GOLDEN * (right - left))
        value = function(fresh)
        inner_left, inner_right = np.where(lower, fresh, inner_right), np.where(lower, inner_left, fresh)
        f_left, f_right = np.where(lower, value, f_right), np.where(lower, f_left, value)
    return np.where(f_left <= f_right, inner_left, inner_right)


def fit_curves(
    budget: Float[np.ndarray, " point"],
    loss: Float[np.ndarray, "series point"],
    *,
    max_exponent: float,
    weight: Float[np.ndarray, "series point"] | None = None,
    exponent: Float[np.ndarray, " series"] | None = None,
) -> tuple[Float[np.ndarray, " series"], Float[np.ndarray, " series"], Float[np.ndarray, " series"]]:
    """Return E, A, beta per series of losses at the same budgets; A is in units of ``loss * draws**beta``.

    With fewer than three budgets E is held at 0. ``exponent`` holds beta. Where no exponent fits better
    than a flat line A is 0, and beta, which then means nothing, is the smallest of the grid.
    """
    series, points = loss.shape
    center = np.exp(np.mean(np.log(budget)))
    x = np.broadcast_to(budget / center, (series, points))
    weights = np.ones_like(loss) if weight is None else np.broadcast_to(weight, loss.shape)
    asymptote = len(np.unique(budget)) >= 3
    if exponent is None:
        exponent = best_exponent(x, loss, weights, max_exponent=max_exponent, asymptote=asymptote)
    e, a, _ = project(x, loss, weights, exponent, asymptote=asymptote)
    return e, a * center**exponent, exponent


def best_exponent(
    x: Float[np.ndarray, "series point"],
    loss: Float[np.ndarray, "series point"],
    weight: Float[np.ndarray, "series point"],
    *,
    max_exponent: float,
    asymptote: bool,
) -> Float[np.ndarray, " series"]:
    """Return the exponent of least squares per series: grid, then golden section."""
    grid = exponent_grid(max_exponent)
    count = len(grid)
    xs, losses, weights = (np.repeat(array, count, axis=0) for array in (x, loss, weight))
    tried = project(xs, losses, weights, np.tile(grid, len(loss)), asymptote=asymptote)[2]
    values = tried.reshape(len(loss), count)
    place = values.argmin(axis=1)
    low, high = grid[np.maximum(place - 1, 0)], grid[np.minimum(place + 1, len(grid) - 1)]
    found = golden(lambda b: project(x, loss, weight, b, asymptote=asymptote)[2], low, high)
    ends = [found, low, high]
    at = np.stack([project(x, loss, weight, b, asymptote=asymptote)[2] for b in ends], axis=1)
    return np.choose(at.argmin(axis=1), ends)
