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
        targets: what has losses, domains first; columns of ``loss``.
        own: index of each target in ``domains``; -1 for a target that is no source.
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
    def unit(self) -> Float[np.ndarray, "source target"]:
        """1 where source and target are one domain, else 0."""
        return np.asarray(np.arange(len(self.domains))[:, None] == self.own, dtype=np.float64)

    @property
    def own_share(self) -> Float[np.ndarray, "cell target"]:
        """Share of each target's own domain in the mixture; 0 for a target that is no source."""
        return np.asarray(self.weights @ self.unit)

    @property
    def held(self) -> Bool[np.ndarray, "cell target"]:
        """Whether a mixture holds the target's domain; of a target that is no source, whether it is no pure run."""
        return np.where(self.own >= 0, self.own_share > 0, self.mixed[:, None])

    @property
    def mixed(self) -> Bool[np.ndarray, " cell"]:
        """Which cells are of mixture runs."""
        return self.source < 0

    def pure(self, source: int, target: int) -> Int[np.ndarray, " cell"]:
        """Return the cells of pure runs of one source that were measured on one target, by budget."""
        found = np.flatnonzero((self.source == source) & ~np.isnan(self.loss[:, target]))
        return found[np.argsort(self.budget[found], kind="stable")]

    def alone(self, target: int) -> Int[np.ndarray, " cell"]:
        """Return the cells of pure runs of a target's own domain, by budget; none for a target that is no source."""
        own = int(self.own[target])
        return self.pure(own, target) if own >= 0 else np.zeros(0, dtype=np.int64)

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
    """Return the cells of a table.

    Raises:
        InputError: the table has no rows.
    """
    if not len(table):
        raise InputError("the table has no rows; give the pure runs of every domain at three budgets or more")
    keys = np.column_stack([np.round(table.weights, 9), table.budget])
    unique, first, cell = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    cell = cell.reshape(-1)
    index = table.target_index
    losses = SeedLosses(cell=cell, target=index, seed=np.asarray(table.seed), loss=np.asarray(table.loss))
    targets, place = table.targets, {name: i for i, name in enumerate(table.domains)}
    known = ~np.isnan(table.volumes).all(axis=0)
    volumes = np.full(len(table.domains), np.nan)
    volumes[known] = np.nanmax(table.volumes[:, known], axis=0)
    cells = Cells(
        domains=table.domains,
        targets=targets,
        own=np.array([place.get(name, -1) for name in targets], dtype=np.int64),
        weights=table.weights[first],
        budget=table.budget[first],
        source=table.source[first],
        loss=np.full((len(unique), len(targets)), np.nan),
        measured=losses,
        effects=NO_EFFECTS,
        volumes=volumes,
        unique=np.full(len(table.domains), np.inf),
        repeats=np.full(len(table.domains), np.inf),
    )
    return cells.blocked()
