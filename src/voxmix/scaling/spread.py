"""How far a number of a law may be off: persons, runs, seeds and subsets, each with its own degrees of freedom.

Log errors of one or more series at the same sizes x and seeds are

    log error = level + slope (x - mean x) + persons + seed + subset of the size + run

Persons are the same for all runs; what resampling them does to a combination of levels and slopes is counted as it is. The
rest is measured by three mean squares: of runs about size plus seed (runs alone); of sizes about the line (runs and subsets); of
seeds' levels (runs and seeds). Each also holds a part that persons make, which is known from the same resamples and is not
counted twice. A mean square of few degrees of freedom is itself uncertain, so variances are drawn from their posterior. Runs
have the prior 1/variance, steeper where persons explain the mean square of runs already. The part of a mean square that is not
seeds' is anything between 0 and 1 alike (uniform shrinkage, Daniels 1999, Canadian J Stat 27:567); that which is not subsets'
leans to 1, because subsets of many persons are alike. How far both lean was chosen on simulated worlds so that intervals hold
the truth as often as they say (benchmarks/score_laws.py judges it on others). An interval is then a mixture of normal
distributions; with one source alone it is about Student's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float

_POINTS = 600
"""Draws of the variances; stratified, so that few are enough."""
_TO_PERSONS, _TO_RUNS = 2.0, 2.5
"""Powers by which variances are drawn smaller: of runs where persons explain their mean square, of subsets beside runs."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Squares:
    """A mean square by pairs of series, what of it persons make, and its degrees of freedom."""

    found: Float[np.ndarray, "series series"]
    persons: Float[np.ndarray, "series series"]
    freedom: int

    def of(self, weights: Float[np.ndarray, " series"]) -> tuple[float, float]:
        """Return the mean square of a combination of series, and what of it persons make."""
        return (
            max(float(weights @ self.found @ weights), 0.0),
            max(float(weights @ self.persons @ weights), 0.0),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lines:
    """Lines of log error over log samples, of series with the same sizes and seeds.

    Attributes:
        level, slope: of each series; the level is that at ``center``, the mean log size.
        means: log error of each size, mean over seeds.
        persons: what each resample of persons adds to levels, then slopes.
        runs, sizes, seeds: mean squares: of one run about size plus seed; of a size's mean about the line; of a seed's mean.
        apart: variance of each level that is known from standard errors alone.
    """

    logs: Float[np.ndarray, " size"]
    center: float
    sxx: float
    level: Float[np.ndarray, " series"]
    slope: Float[np.ndarray, " series"]
    means: Float[np.ndarray, "series size"]
    persons: Float[np.ndarray, "draw twice"]
    size_persons: Float[np.ndarray, "draw series size"]
    runs: Squares
    sizes: Squares
    seeds: Squares
    repeats: int
    apart: Float[np.ndarray, " series"]

    def value(self, level: np.ndarray, slope: np.ndarray) -> float:
        """Return a combination of levels and slopes."""
        return float(level @ self.level + slope @ self.slope)

    def variances(
        self,
        level: Float[np.ndarray, " series"],
        slope: Float[np.ndarray, " series"],
        more: np.ndarray | None = None,
    ) -> Float[np.ndarray, " point"]:
        """Return draws of the variance of a combination; ``more`` is what persons add to something beside it."""
        shift = self.persons @ np.concatenate([level, slope])
        known = float(np.var(shift if more is None else shift + more)) + float(level**2 @ self.apart)
        rising, still = self.unknown(slope), self.unknown(level)
        of_slope = (rising.runs + rising.subsets) / self.sxx
        of_level = (still.runs + still.subsets) / len(self.logs) + still.seeds
        if slope.any() and level.any() and not _parallel(level, slope):
            of_slope, of_level = np.sort(of_slope), np.sort(of_level)
        return np.asarray(known + of_slope + of_level)

    def at_size(self, weights: np.ndarray) -> np.ndarray:
        """Return draws of the variance of one size's mean that seeds and runs make."""
        found = self.unknown(weights)
        return np.asarray(found.runs + found.seeds)

    def unknown(self, weights: np.ndarray) -> "Unknown":
        """Return draws of the variances of a combination of series that are not persons'."""
        scale = float(weights @ weights)
        if scale == 0:
            nothing = np.zeros(_POINTS)
            return Unknown(runs=nothing, subsets=nothing, seeds=nothing)
        unit = weights / np.sqrt(scale) * (1.0 if weights[np.flatnonzero(weights)[0]] > 0 else -1.0)
        squares = [s.of(unit) for s in (self.runs, self.sizes, self.seeds)]
        found = _posterior(
            *squares,
            freedoms=(self.runs.freedom, self.sizes.freedom, self.seeds.freedom),
            repeats=self.repeats,
            sizes=len(self.logs),
        )
        return Unknown(runs=found[0] * scale, subsets=found[1] * scale, seeds=found[2] * scale)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Unknown:
    """Draws of variances: of a size's mean that runs make, that its subset makes, and of the mean level that seeds make."""

    runs: Float[np.ndarray, " point"]
    subsets: Float[np.ndarray, " point"]
    seeds: Float[np.ndarray, " point"]


@lru_cache(maxsize=4096)
def _posterior(
    run: tuple[float, float],
    size: tuple[float, float],
    seed: tuple[float, float],
    *,
    freedoms: tuple[int, int, int],
    repeats: int,
    sizes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if freedoms[0] < 1:
        return (np.full(_POINTS, np.inf),) * 3
    u = _points()
    total, _ = _above(run[0], freedoms[0], np.full(_POINTS, run[1]), u[0])
    runs = (total - run[1]) / repeats
    # Sizes about the line: runs, persons, and subsets beyond them.
    base = runs + size[1]
    whole, mass = _above(size[0], freedoms[1], base, u[1])
    # Where persons alone explain the mean square of runs, little is left for runs.
    alone = min(1.0, run[1] / run[0]) if run[0] > 0 else 0.0
    weights = (run[0] / total) ** (_TO_PERSONS * alone)
    if freedoms[1]:
        weights = weights * mass * (base / whole) ** _TO_RUNS
    subsets = np.maximum(whole - base, 0.0)
    # Levels of seeds: runs of all sizes, persons, and seeds beyond them.
    base = runs * repeats / sizes + seed[1]
    whole, mass = _above(seed[0], freedoms[2], base, u[2])
    weights = weights * mass * base / whole
    seeds = np.maximum(whole - base, 0.0) / repeats
    if not weights.sum() > 0:
        weights = np.ones(_POINTS)
    ends = np.cumsum(weights) / weights.sum()
    chosen = np.minimum(np.searchsorted(ends, (np.arange(_POINTS) + 0.5) / _POINTS), _POINTS - 1)
    return runs[chosen], subsets[chosen], seeds[chosen]


def _above(
    mean_square: float, freedom: int, least: np.ndarray, quantiles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return draws of mean square x freedom / chi squared that are at least ``least``, and how likely that was."""
    from scipy.special import chdtr, chdtri

    if mean_square <= 0 or freedom < 1:
        return np.maximum(least, 1e-300), np.ones(len(quantiles))
    with np.errstate(divide="ignore"):
        mass = np.asarray(chdtr(freedom, mean_square * freedom / np.maximum(least, 1e-300)))
    drawn = mean_square * freedom / np.maximum(chdtri(freedom, 1 - quantiles * mass), 1e-300)
    return np.maximum(drawn, least), mass


def _parallel(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(abs(a @ b) ** 2 >= (a @ a) * (b @ b) * (1 - 1e-12))


def fit_lines(
    logs: Float[np.ndarray, " size"],
    values: Float[np.ndarray, "series size seed"],
    persons: Float[np.ndarray, "draw series size seed"],
    *,
    apart: Float[np.ndarray, " series"],
) -> Lines:
    """Return the least-squares lines of log errors over log sizes, every size counting the same.

    Args:
        persons: what each resample of persons adds to every log error.
        apart: variance of each series that standard errors tell, where there are no cases.
    """
    _, sizes, repeats = values.shape
    center = float(logs.mean())
    x = logs - center
    sxx = float(x @ x)
    means = values.mean(axis=2)
    moved = persons.mean(axis=3)
    return Lines(
        logs=logs,
        center=center,
        sxx=sxx,
        level=means.mean(axis=1),
        slope=means @ x / sxx,
        means=means,
        persons=np.concatenate([moved.mean(axis=2), moved @ x / sxx], axis=1),
        size_persons=moved,
        runs=_squares(values, persons, _about_size_and_seed, (sizes - 1) * (repeats - 1)),
        sizes=_squares(means, moved, lambda m: _about_line(m, x), sizes - 2),
        seeds=_squares(
            values.mean(axis=1),
            persons.mean(axis=2),
            lambda m: m - m.mean(axis=-1, keepdims=True),
            repeats - 1,
        ),
        repeats=repeats,
        apart=apart,
    )


def half_width(variances: Float[np.ndarray, " point"], level: float) -> float:
    """Return how far a normal mixture of these variances reaches to both sides, at a level."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    spread = np.sqrt(variances)
    if not np.isfinite(spread).all():
        return float("inf")
    if spread.max() == 0:
        return 0.0
    safe = np.maximum(spread, spread.max() * 1e-12)
    wanted = (1 + level) / 2
    # The largest spread alone bounds it: P(|Z| > 40) is 0 in doubles.
    return float(brentq(lambda q: ndtr(q / safe).mean() - wanted, 0.0, 40 * float(safe.max()), rtol=1e-4))


def share_below(value: float, variances: Float[np.ndarray, " point"], bound: float = 0.0) -> float:
    """Return the share of draws about a value that lie below a bound."""
    from scipy.special import ndtr

    spread = np.sqrt(variances)
    gap = bound - value
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(spread > 0, ndtr(gap / spread), float(gap > 0)).mean())


def _squares(
    values: np.ndarray, persons: np.ndarray, rest: Callable[[np.ndarray], np.ndarray], freedom: int
) -> Squares:
    count = values.shape[0]
    if freedom < 1:
        nothing = np.zeros((count, count))
        return Squares(found=nothing, persons=nothing, freedom=0)
    own = rest(values).reshape(count, -1)
    moved = rest(persons).reshape(len(persons), count, -1)
    made = np.einsum("dsk,dtk->st", moved, moved) / max(len(persons), 1)
    return Squares(found=own @ own.T / freedom, persons=made / freedom, freedom=freedom)


def _about_size_and_seed(values: np.ndarray) -> np.ndarray:
    by_size, by_seed = values.mean(axis=-1, keepdims=True), values.mean(axis=-2, keepdims=True)
    return np.asarray(values - by_size - by_seed + values.mean(axis=(-2, -1), keepdims=True))


def _about_line(means: np.ndarray, x: np.ndarray) -> np.ndarray:
    slope = (means @ x / (x @ x))[..., None]
    return np.asarray(means - means.mean(axis=-1, keepdims=True) - slope * x)


@cache
def _points() -> Float[np.ndarray, "source point"]:
    """Return stratified uniform numbers, one row per source of chance, in orders that have nothing to do with each other."""
    rng = np.random.default_rng(0)
    even = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.stack([rng.permutation(even) for _ in range(3)])
