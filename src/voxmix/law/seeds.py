"""Seeds as blocks: runs of one seed begin alike and draw alike, so a seed is better or worse for every run alike.

A seed's effect is a number of the log loss that all targets, mixtures and budgets share. It is judged by twins, runs
that differ in the seed alone, whatever the law: with a free mean for every cell (mixture, budget), least squares of the
runs' mean log losses (the analysis of incomplete blocks; Cochran and Cox 1957, chapter 9). Effects of seeds that twins
connect sum to zero, so the law's level is that of the average seed. A seed without twins has no effect.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.law.numbers import numbers, plain

_EXTREME = 0.005  # tail of the errors' size that is not drawn
_NOTHING = 0.005  # doubt of a log loss that is not worth a word
_FEW = 3  # degrees of freedom between seeds up to which the doubt about them is said


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeedEffects:
    """How much better or worse each seed is for all runs alike, in log loss.

    Attributes:
        seeds: those with twins; without any, a law is as if seeds did not matter.
        effect: per seed; sums to zero over seeds that twins connect.
        error: covariance of the effects' errors.
        freedom: degrees of freedom of ``error``: twins beyond those that the effects take.
        groups: sets of seeds that no twins connect.
    """

    seeds: tuple[int, ...] = ()
    effect: Float[np.ndarray, " seed"]
    error: Float[np.ndarray, "seed seed"]
    freedom: int = 0
    groups: int = 0

    @property
    def spread(self) -> float:
        """Standard deviation between seeds, the error of the effects taken out."""
        if not self.seeds:
            return 0.0
        left = float(np.sum(self.effect**2) - np.trace(self.error))
        return float(np.sqrt(max(left, 0.0) / (len(self.seeds) - self.groups)))

    @property
    def standard_error(self) -> Float[np.ndarray, " seed"]:
        """Standard error of each effect."""
        return np.sqrt(np.diag(self.error))

    def of(self, seed: Int[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
        """Return the effect of the seed of each row; 0 for a seed without twins."""
        if not self.seeds:
            return np.zeros(len(seed))
        known = dict(zip(self.seeds, self.effect.tolist(), strict=True))
        return np.array([known.get(int(s), 0.0) for s in seed], dtype=np.float64)

    def doubt(self, level: float, *, new_seed: bool) -> float:
        """Return how far the log loss may be off for the seeds that were not run: half of an interval.

        Of the average of all seeds, or of one more seed (``new_seed``). Student's t with one degree of freedom less
        than there are seeds: two seeds hardly tell how much seeds differ.
        """
        if not self.spread:
            return 0.0
        from scipy.special import stdtrit

        factor = float(stdtrit(len(self.seeds) - self.groups, (1 + level) / 2))
        return factor * float(np.sqrt(self._variance(new_seed)))

    def widened(
        self,
        interval: Float[np.ndarray, "*shape 2"],
        value: Float[np.ndarray, "*shape"],
        level: float,
        *,
        new_seed: bool,
    ) -> Float[np.ndarray, "*shape 2"]:
        """Return an interval of losses of these seeds as one of :meth:`doubt`'s.

        Variances of the log loss add up, with the mean of Student's t and the normal's quantile, weighted by the
        variances of seeds and law (Cochran and Cox 1957, section 4.14: for sums whose parts are known unequally well).
        Each end by itself; a value of 0 stays as it is.
        """
        if not self.spread:
            return interval
        with np.errstate(divide="ignore", invalid="ignore"):
            normal, student, seeds = self.widening(level, new_seed=new_seed)
            own = (np.log(interval / value[..., None]) / normal) ** 2
            half = (own * normal + seeds * student) / np.sqrt(own + seeds)
            ends = value[..., None] * np.exp(half * np.array([-1.0, 1.0]))
        ends = np.where(np.isfinite(own) & (value[..., None] > 0), ends, interval)
        low, high = np.minimum(ends[..., 0], interval[..., 0]), np.maximum(ends[..., 1], interval[..., 1])
        return np.stack([low, high], axis=-1)

    def widening(self, level: float, *, new_seed: bool) -> tuple[float, float, float]:
        """Return what :meth:`widened` adds by: the normal's quantile, Student's t, and the variance of seeds."""
        from scipy.special import ndtri, stdtrit

        student = float(stdtrit(len(self.seeds) - self.groups, (1 + level) / 2))
        return float(ndtri((1 + level) / 2)), student, self._variance(new_seed)

    def _variance(self, new_seed: bool) -> float:
        """Return the variance of the log loss of the average of all seeds, or of one more, about that of these."""
        return self.spread**2 * (self.groups / len(self.seeds) + (1.0 if new_seed else 0.0))

    def draw_errors(self, rng: np.random.Generator, draws: int) -> Float[np.ndarray, "draw seed"]:
        """Return errors of the effects, drawn from their multivariate t."""
        from scipy.special import chdtri

        values, vectors = np.linalg.eigh(self.error)
        normal = rng.standard_normal((draws, len(self.seeds))) * np.sqrt(np.maximum(values, 0.0))
        size = np.maximum(rng.chisquare(self.freedom, draws), chdtri(self.freedom, 1 - _EXTREME))
        return np.asarray(np.sqrt(self.freedom / size)[:, None] * (normal @ vectors.T))

    @property
    def sentence(self) -> str:
        """Which seed is how much worse, and how well that is known; empty without effects."""
        if not self.seeds:
            return ""
        if len(self.seeds) == 2:
            low, high = (int(i) for i in np.argsort(self.effect))
            by = float(np.expm1(self.effect[high] - self.effect[low]))
            error = 2 * float(self.standard_error[0])
            return (
                f"losses of seed {self.seeds[high]} are {by:.1%} higher than those of seed {self.seeds[low]} on every "
                f"target (standard error {error:.1%})"
            )
        order = np.argsort(self.effect)
        shown = [order[0], order[-1]]
        told = " and ".join(f"{np.expm1(self.effect[i]):+.1%} (seed {self.seeds[i]})" for i in shown)
        return f"seeds differ by {self.spread:.1%} on every target (standard deviation of {len(self.seeds)}; {told})"

    @property
    def caution(self) -> str:
        """How far the losses of one more seed may be off, and how far once it is run; empty with many seeds, or alike."""
        doubt = self.doubt(0.9, new_seed=True)
        if doubt < _NOTHING or len(self.seeds) - self.groups > _FEW:
            return ""
        from scipy.special import stdtrit

        count = len(self.seeds) - self.groups + 2
        then = float(stdtrit(count - 1, 0.95)) * self.spread * float(np.sqrt(1 + 1 / count))
        return (
            f"how much one more seed differs is told by {len(self.seeds)} seeds only, so 90% intervals of losses hold "
            f"{_either_way(doubt)} for that alone (about {_either_way(then)} once one more seed is run); "
            "the law takes a seed to move all mixtures alike; whether it does, mixtures trained with several seeds tell"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the effects as JSON-like data."""
        return {
            "seeds": list(self.seeds),
            "effect": plain(self.effect),
            "error": plain(self.error),
            "freedom": self.freedom,
            "groups": self.groups,
            "spread": self.spread,
            "sentence": self.sentence,
            "caution": self.caution,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any] | None) -> "SeedEffects":
        """Return the effects that :meth:`to_dict` wrote; none for laws that know of none."""
        if not value or not value["seeds"]:
            return NO_EFFECTS
        return cls(
            seeds=tuple(int(seed) for seed in value["seeds"]),
            effect=numbers(value["effect"]),
            error=numbers(value["error"]),
            freedom=int(value["freedom"]),
            groups=int(value["groups"]),
        )


def _either_way(doubt: float) -> str:
    return f"{np.expm1(doubt):.0%} either way" if doubt < 1 else f"a factor of {np.exp(doubt):.2g} either way"


NO_EFFECTS = SeedEffects(effect=np.zeros(0), error=np.zeros((0, 0)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeedLosses:
    """Every loss of a table with its cell (mixture, budget), target and seed."""

    cell: Int[np.ndarray, " row"]
    target: Int[np.ndarray, " row"]
    seed: Int[np.ndarray, " row"]
    loss: Float[np.ndarray, " row"]

    def _rows(self, keep: Bool[np.ndarray, " row"]) -> "SeedLosses":
        arrays = {name: getattr(self, name)[keep] for name in ("cell", "target", "seed", "loss")}
        return replace(self, **arrays)

    def only_cells(self, keep: Bool[np.ndarray, " cell"]) -> "SeedLosses":
        """Return the losses of fewer cells, which are counted anew."""
        kept = self._rows(keep[self.cell])
        return replace(kept, cell=(np.cumsum(keep) - 1)[kept.cell])

    def only_targets(self, keep: Bool[np.ndarray, " target"]) -> "SeedLosses":
        """Return the losses on fewer targets, which are counted anew."""
        kept = self._rows(keep[self.target])
        return replace(kept, target=(np.cumsum(keep) - 1)[kept.target])

    def means(
        self, shape: tuple[int, int], values: Float[np.ndarray, " row"]
    ) -> Float[np.ndarray, "cell target"]:
        """Return the mean of a value per row over each cell and target; NaN where there is none."""
        total, count = np.zeros(shape), np.zeros(shape)
        np.add.at(total, (self.cell, self.target), values)
        np.add.at(count, (self.cell, self.target), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / count)

    def without_effects(
        self, shape: tuple[int, int], effects: SeedEffects
    ) -> Float[np.ndarray, "cell target"]:
        """Return the mean losses of the average seed."""
        return self.means(shape, self.loss * np.exp(-effects.of(self.seed)))

    def factor(self, shape: tuple[int, int], effects: SeedEffects) -> Float[np.ndarray, "cell target"]:
        """Return how many times the average seed's loss the seeds of each cell have in the mean."""
        return self.means(shape, np.exp(effects.of(self.seed)))

    def error_of_means(
        self, shape: tuple[int, int], effects: SeedEffects, errors: Float[np.ndarray, "draw seed"]
    ) -> Float[np.ndarray, "draw cell target"]:
        """Return the error of each cell's mean log loss that errors of the effects make."""
        found = np.zeros((len(errors), *shape))
        for s, seed in enumerate(effects.seeds):
            share = np.nan_to_num(self.means(shape, (self.seed == seed).astype(np.float64)))
            found -= errors[:, s, None, None] * share
        return found


def judge_seeds(losses: SeedLosses, held: Bool[np.ndarray, "cell target"]) -> SeedEffects:
    """Return the effects of the seeds; none where no twins tell them, or too few to tell them from noise.

    ``held`` says whether the mixture of a cell holds a target's domain. The others do not count: what a run does to a
    target that it has never seen wanders with the seed, and no mixture does the like.
    A run counts by the mean of its log losses over the targets that all its twins were measured on, as often as there
    are such targets: noise that the targets of a run share does not pass for many twins.
    """
    cell, seed, value, targets = _twins(losses, held)
    if not len(cell):
        return NO_EFFECTS
    names, place = np.unique(seed, return_inverse=True)
    each, block = np.unique(cell, return_inverse=True)
    groups = _connected(block, place)
    freedom = len(cell) - len(each) - (len(names) - groups)
    if freedom < 1:  # as many effects as pairs of twins: each is the noise of its own runs
        return NO_EFFECTS
    count = np.bincount(block)[:, None]
    design = np.zeros((len(cell), len(names)))
    design[np.arange(len(cell)), place] = 1.0

    def within(columns: Float[np.ndarray, "run column"]) -> Float[np.ndarray, "run column"]:
        total = np.zeros((len(each), columns.shape[1]))
        np.add.at(total, block, columns)
        return columns - (total / count)[block]

    root = np.sqrt(targets)[:, None]  # the same for all runs of a cell
    design, away = root * within(design), (root * within(value[:, None]))[:, 0]
    inverse = np.linalg.pinv(
        design.T @ design, rcond=1e-10, hermitian=True
    )  # each set of seeds has one level that is free
    effect = inverse @ (design.T @ away)
    noise = float(np.sum((away - design @ effect) ** 2)) / freedom
    return SeedEffects(
        seeds=tuple(int(name) for name in names),
        effect=effect,
        error=noise * inverse,
        freedom=freedom,
        groups=groups,
    )


def _connected(cell: Int[np.ndarray, " run"], seed: Int[np.ndarray, " run"]) -> int:
    """Return into how many sets the seeds fall that share no cell."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = int(cell.max()) + 1 + int(seed.max()) + 1
    edges = coo_array((np.ones(len(cell)), (cell, int(cell.max()) + 1 + seed)), shape=(size, size))
    return int(connected_components(edges, directed=False)[0])


def _twins(
    losses: SeedLosses, held: Bool[np.ndarray, "cell target"]
) -> tuple[
    Int[np.ndarray, " run"], Int[np.ndarray, " run"], Float[np.ndarray, " run"], Float[np.ndarray, " run"]
]:
    """Return cell, seed, mean log loss, and of how many targets that is, of the runs that have twins."""
    usable = (losses.loss > 0) & held[losses.cell, losses.target]
    pairs = np.unique(np.stack([losses.cell[usable], losses.seed[usable]], axis=1), axis=0)
    cells, seeds = np.unique(pairs[:, 0], return_counts=True)
    rows = np.flatnonzero(usable & np.isin(losses.cell, cells[seeds > 1]))
    logs: dict[int, dict[int, dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        logs[int(losses.cell[row])][int(losses.seed[row])][int(losses.target[row])].append(
            float(np.log(losses.loss[row]))
        )
    found: list[tuple[int, int, float, int]] = []
    for cell, runs in logs.items():
        common = sorted(set.intersection(*(set(run) for run in runs.values())))
        if common:
            found += [
                (cell, seed, float(np.mean([np.mean(run[target]) for target in common])), len(common))
                for seed, run in runs.items()
            ]
    places = np.array([item[:2] for item in found], dtype=np.int64).reshape(-1, 2)
    values = np.array([item[2:] for item in found], dtype=np.float64).reshape(-1, 2)
    return places[:, 0], places[:, 1], values[:, 0], values[:, 1]
