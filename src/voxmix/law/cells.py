"""Cells: the mean loss of every (mixture, budget) on every target, each counted once whatever its seeds."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.errors import InputError
from voxmix.law.forms import worth
from voxmix.measurement import MeasurementTable


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cells:
    """Means over seeds; NaN where a target was not measured.

    Attributes:
        domains: names of the source axis.
        targets: the domains that have losses of their own pure runs, or of mixtures; columns of ``loss``.
        own: index of each target in ``domains``.
        weights, budget: mixture (cell, source) and draws (cell,).
        source: index of the only source; -1 for mixtures.
        loss: mean loss (cell, target).
        seeds: how many losses that mean is of (cell, target).
        noise: variance between seeds of one loss (cell, target); NaN with fewer than two seeds.
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
    seeds: Int[np.ndarray, "cell target"]
    noise: Float[np.ndarray, "cell target"]
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
        return replace(self, loss=np.where(mixed, np.nan, self.loss), seeds=np.where(mixed, 0, self.seeds))

    def only_cells(self, keep: Bool[np.ndarray, " cell"]) -> "Cells":
        """Return fewer cells with the same targets."""
        return replace(
            self,
            weights=self.weights[keep],
            budget=self.budget[keep],
            source=self.source[keep],
            loss=self.loss[keep],
            seeds=self.seeds[keep],
            noise=self.noise[keep],
        )

    def only_targets(self, keep: Bool[np.ndarray, " target"]) -> "Cells":
        """Return the same cells with fewer targets."""
        return replace(
            self,
            targets=tuple(name for name, k in zip(self.targets, keep, strict=True) if k),
            own=self.own[keep],
            loss=self.loss[:, keep],
            seeds=self.seeds[:, keep],
            noise=self.noise[:, keep],
        )


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
    shape = (len(unique), len(table.domains))
    seeds = np.zeros(shape, dtype=np.int64)
    total, square = np.zeros(shape), np.zeros(shape)
    np.add.at(seeds, (cell, index), 1)
    np.add.at(total, (cell, index), table.loss)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / seeds
        np.add.at(square, (cell, index), (table.loss - mean[cell, index]) ** 2)
        noise = np.where(seeds > 1, square / (seeds - 1), np.nan)
    measured = np.flatnonzero(seeds.sum(axis=0))
    known = ~np.isnan(table.volumes).all(axis=0)
    volumes = np.full(len(table.domains), np.nan)
    volumes[known] = np.nanmax(table.volumes[:, known], axis=0)
    return Cells(
        domains=table.domains,
        targets=tuple(table.domains[j] for j in measured),
        own=measured,
        weights=table.weights[first],
        budget=table.budget[first],
        source=table.source[first],
        loss=mean[:, measured],
        seeds=seeds[:, measured],
        noise=noise[:, measured],
        volumes=volumes,
        unique=np.full(len(table.domains), np.inf),
        repeats=np.full(len(table.domains), np.inf),
    )
