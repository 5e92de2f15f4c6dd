"""Cells: the mean loss of every (mixture, budget) on every target, each counted once whatever its seeds.

A mean is of the losses that the average seed would have had (:mod:`voxmix.law.seeds`), as the runs of these cells tell.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.errors import InputError
from voxmix.law.forms import worth
from voxmix.law.seeds import NO_EFFECTS, SeedEffects, SeedLosses, judge_seeds
from voxmix.measurement import MeasurementTable


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cells:
    """Means over seeds, their effects taken out; NaN where a target was not measured.

    Attributes:
        domains: names of the source axis.
        targets: the domains that have losses of their own pure runs, or of mixtures; columns of ``loss``.
        own: index of each target in ``domains``.
        weights, budget: mixture (cell, source) and draws (cell,).
        source: index of the only source; -1 for mixtures.
        loss: mean loss (cell, target).
        measured: the losses of all seeds.
        effects: what the seeds of these cells do to every loss.
        volumes: volumes that exist per source, the largest the table names; NaN where unknown.
        unique, repeats: U and R of the saturation of repeats; infinite where draws never lose worth.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    own: Int[np.ndarray, " target"]
    weights: Float[np.ndarray, "cell source"]
    budget: Float[np.ndarray, " cell"]
    source: Int[np.ndarray, " cell"]
    loss: Float[np.ndarray, "cell target"]
    measured: SeedLosses
    effects: SeedEffects
    volumes: Float[np.ndarray, " source"]
    unique: Float[np.ndarray, " source"]
    repeats: Float[np.ndarray, " source"]

    @property
    def reach(self) -> Float[np.ndarray, " cell"]:
        """What the draws of each pure run are worth in fresh draws; the budget itself without repetition."""
        drawn = worth(self.weights * self.budget[:, None], self.unique, self.repeats)
        return np.asarray(drawn.max(axis=1))

    def saturating(
        self, unique: Float[np.ndarray, " source"], repeats: float | Float[np.ndarray, " source"]
    ) -> "Cells":
        """Return the same cells where repeats of ``unique`` volumes lose their worth at rate ``repeats``."""
        return replace(self, unique=unique, repeats=np.broadcast_to(repeats, unique.shape).astype(np.float64))

    @property
    def held(self) -> Bool[np.ndarray, "cell target"]:
        """Whether a mixture holds the target's domain."""
        return np.asarray(self.weights[:, self.own] > 0)

    @property
    def mixed(self) -> Bool[np.ndarray, " cell"]:
        """Which cells are of mixture runs."""
        return self.source < 0

    def pure(self, source: int, target: int) -> Int[np.ndarray, " cell"]:
        """Return the cells of pure runs of one source that were measured on one target, by budget."""
        found = np.flatnonzero((self.source == source) & ~np.isnan(self.loss[:, target]))
        return found[np.argsort(self.budget[found], kind="stable")]

    def without_mixture_losses(self) -> "Cells":
        """Return the same cells with the losses of mixtures counted as not measured."""
        mixed = self.mixed[:, None]
        return replace(self, loss=np.where(mixed, np.nan, self.loss))

    def only_cells(self, keep: Bool[np.ndarray, " cell"]) -> "Cells":
        """Return fewer cells with the same targets; their own runs tell the effects of their seeds."""
        fewer = replace(
            self,
            weights=self.weights[keep],
            budget=self.budget[keep],
            source=self.source[keep],
            loss=self.loss[keep],
            measured=self.measured.only_cells(keep),
        )
        return fewer.blocked()

    def only_targets(self, keep: Bool[np.ndarray, " target"]) -> "Cells":
        """Return the same cells with fewer targets."""
        fewer = replace(
            self,
            targets=tuple(name for name, k in zip(self.targets, keep, strict=True) if k),
            own=self.own[keep],
            loss=self.loss[:, keep],
            measured=self.measured.only_targets(keep),
        )
        return fewer.blocked()

    def blocked(self) -> "Cells":
        """Return the same cells with the effects of their seeds judged, and taken out of their means."""
        effects = judge_seeds(self.measured, self.held)
        return replace(self, effects=effects, loss=self.measured.without_effects(self.loss.shape, effects))


def gather(table: MeasurementTable) -> Cells:
    """Return the cells of a table; targets are all domains with a loss, in the order of the domains.

    Raises:
        InputError: the table has no rows.
    """
    if not len(table):
        raise InputError("the table has no rows; give the pure runs of every domain at three budgets or more")
    keys = np.column_stack([np.round(table.weights, 9), table.budget])
    unique, first, cell = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    cell = cell.reshape(-1)
    index = table.target_index
    measured = np.unique(index)
    place = np.searchsorted(measured, index)
    losses = SeedLosses(cell=cell, target=place, seed=np.asarray(table.seed), loss=np.asarray(table.loss))
    known = ~np.isnan(table.volumes).all(axis=0)
    volumes = np.full(len(table.domains), np.nan)
    volumes[known] = np.nanmax(table.volumes[:, known], axis=0)
    cells = Cells(
        domains=table.domains,
        targets=tuple(table.domains[j] for j in measured),
        own=measured,
        weights=table.weights[first],
        budget=table.budget[first],
        source=table.source[first],
        loss=np.full((len(unique), len(measured)), np.nan),
        measured=losses,
        effects=NO_EFFECTS,
        volumes=volumes,
        unique=np.full(len(table.domains), np.inf),
        repeats=np.full(len(table.domains), np.inf),
    )
    return cells.blocked()
