"""How much two runs of a table differ by chance, target by target: the noise that a regime is judged against."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

VOLUMES = "held-out volumes"
"""The basis of a noise that is an upper bound only."""
FEW = 3  # degrees of freedom below which a target takes the noise of all targets
_ENOUGH = 8  # degrees of freedom with which seeds alone tell the noise


@dataclass(frozen=True, kw_only=True, slots=True)
class RunNoise:
    """Standard deviation of one run's log loss, the seed's own effect apart, and where it was seen.

    ``basis`` is "seeds" (runs that differ in seed alone), "curves" (how far losses lie off a smooth fall), "seeds and
    curves", "all targets" (of all, as this target has too few runs), "residuals" (of the regression), "held-out volumes"
    (their standard error, which all runs share: an upper bound) or "nothing". ``freedom`` are degrees of freedom; infinite
    for the upper bound, 0 for nothing.
    """

    size: float
    basis: str
    freedom: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Runs:
    """The runs that were measured on one target, losses as logs; ``own`` is each run's weight of the target."""

    mixture: np.ndarray
    weights: Float[np.ndarray, "run source"]
    own: Float[np.ndarray, " run"]
    budget: Float[np.ndarray, " run"]
    seed: np.ndarray
    value: Float[np.ndarray, " run"]
    error: Float[np.ndarray, " run"]

    def only(self, rows: np.ndarray) -> "Runs":
        """The same for some of the runs."""
        return Runs(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def cells(self) -> Iterator[tuple[tuple[int, float], np.ndarray]]:
        """Runs of one mixture and budget, whatever their seeds."""
        groups: dict[tuple[int, float], list[int]] = defaultdict(list)
        for i, key in enumerate(zip(self.mixture.tolist(), self.budget.tolist(), strict=True)):
            groups[key].append(i)
        for key, rows in groups.items():
            yield key, np.array(rows)


def noise_of(runs: Runs, squares: tuple[float, float, str], pool: tuple[float, float]) -> RunNoise:
    """Return the noise of one target: of its own ``squares``, of the ``pool`` of all targets, or of its losses' errors."""
    total, freedom, basis = squares
    if freedom < FEW and pool[1] > freedom:
        total, freedom, basis = pool[0], pool[1], "all targets"
    if freedom > 0:
        return RunNoise(size=float(np.sqrt(total / freedom)), basis=basis, freedom=freedom)
    known = runs.error[np.isfinite(runs.error) & (runs.error > 0)]
    if len(known):
        return RunNoise(size=float(np.median(known)), basis=VOLUMES, freedom=np.inf)
    return RunNoise(size=0.0, basis="nothing", freedom=0.0)


def squares_of(runs: Runs) -> tuple[float, float, str]:
    """Return the sum of squares of what is noise in the log losses, its degrees of freedom, and where it was seen.

    Seeds say it best; with few of them, what lies off the curves counts too, which takes steps of a curve for noise.
    Only mixtures that hold the target count, where there are any: the loss of a run that never sees it is wilder.
    """
    seen = runs.own > 0 if np.any(runs.own > 0) else np.ones(len(runs.own), dtype=bool)
    runs = runs.only(seen)
    by_seeds = _twins(runs)
    if by_seeds[1] >= _ENOUGH:
        return *by_seeds, "seeds"
    by_curves = _off_curves(runs)
    names = [name for name, (_, n) in (("seeds", by_seeds), ("curves", by_curves)) if n]
    return by_seeds[0] + by_curves[0], by_seeds[1] + by_curves[1], " and ".join(names)


def _twins(runs: Runs) -> tuple[float, float]:
    """Runs that differ in seed alone, without each cell's mean and each seed's own effect (a seed is a block)."""
    groups = [rows for _, rows in runs.cells() if len(rows) > 1]
    if not groups:
        return 0.0, 0.0
    rows = np.concatenate(groups)
    cell = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    seed = np.unique(runs.seed[rows], return_inverse=True)[1].reshape(-1)
    design = np.concatenate([np.eye(len(groups))[cell], np.eye(seed.max() + 1)[seed]], axis=1)
    return left_over(design, runs.value[rows])


def _off_curves(runs: Runs) -> tuple[float, float]:
    """How far losses lie off a parabola in log budget (a line with three budgets), per mixture and seed."""
    total = freedom = 0.0
    for mixture, seed in sorted(set(zip(runs.mixture.tolist(), runs.seed.tolist(), strict=True))):
        rows = np.flatnonzero((runs.mixture == mixture) & (runs.seed == seed))
        budgets = len(np.unique(runs.budget[rows]))
        if budgets < 3:
            continue
        design = np.vander(centered(runs.budget[rows]), 2 if budgets == 3 else 3)
        square, left = left_over(design, runs.value[rows])
        total, freedom = total + square, freedom + left
    return total, freedom


def centered(budget: Float[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
    """Return log budgets less their mean."""
    at = np.log(budget)
    return np.asarray(at - at.mean())


def left_over(design: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    """Return the sum of squares that least squares leave over, and its degrees of freedom."""
    found, _, rank, _ = np.linalg.lstsq(design, value, rcond=None)
    return float(np.sum((value - design @ found) ** 2)), float(max(len(value) - rank, 0))
