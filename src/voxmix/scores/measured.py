"""Measured: losses of trained mixtures by strategy, seed and target; Measure: one number of a run's losses."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.allocation.objective import OBJECTIVE_WORDS, importance_of, loss_weights, objective_value
from voxmix.scores.blocks import fit_blocks

UNIFORM = "uniform"
"""The strategy that relative losses are over."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """Measured losses of the strategies at one budget; NaN where a loss is missing.

    Attributes:
        strategies: names, in the order of the study.
        seeds: seeds that were met, rising.
        loss: (strategy, seed, target).
    """

    budget: int
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    targets: tuple[str, ...]
    loss: Float[np.ndarray, "strategy seed target"]

    @property
    def logs(self) -> Float[np.ndarray, "strategy seed target"]:
        """Logarithms of the losses; NaN where there is none, or none above 0."""
        return np.asarray(np.log(np.where(self.loss > 0, self.loss, np.nan)))

    @property
    def adjusted(self) -> Float[np.ndarray, "strategy target"]:
        """Loss of each strategy and target, were it trained with every seed; NaN where no seed measured it.

        With the same seeds everywhere it is the geometric mean over seeds. Where a strategy lacks a seed, what that seed does
        to the others is made good (:func:`voxmix.scores.blocks.fit_blocks`).
        """
        logs = self.logs
        columns = [np.exp(fit_blocks(logs[:, :, j]).effect) for j in range(len(self.targets))]
        return np.array(columns, dtype=np.float64).reshape(len(self.targets), len(self.strategies)).T

    @property
    def first_of_equal(self) -> Int[np.ndarray, " strategy"]:
        """For each strategy the place of the first with the same losses to the last digit: one mixture, the same runs."""
        flat = self.loss.reshape(len(self.strategies), -1)
        equal = [[np.array_equal(a, b, equal_nan=True) for b in flat] for a in flat]
        return np.array([row.index(True) for row in equal], dtype=np.int64)

    def only(self, rows: Int[np.ndarray, " some"]) -> "Measured":
        """Return some of the strategies."""
        return replace(self, strategies=tuple(self.strategies[i] for i in rows), loss=self.loss[rows])

    def on(self, keep: Bool[np.ndarray, " target"]) -> "Measured":
        """Return the losses on some of the targets."""
        names = tuple(name for name, kept in zip(self.targets, keep, strict=True) if kept)
        return replace(self, targets=names, loss=self.loss[..., keep])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measure:
    """One number per run from its losses.

    Attributes:
        kind: "mean", "relative" or "minimax", as the objectives of an allocation; or the name of a target.
        importance: per target, summing to 1.
        weights: what the loss on each target counts. A relative loss is over that of the uniform mixture, adjusted for
            seeds, or over the geometric mean of all strategies where uniform was not measured.
    """

    kind: str
    targets: tuple[str, ...]
    importance: Float[np.ndarray, " target"]
    weights: Float[np.ndarray, " target"]

    @property
    def plain(self) -> bool:
        """Whether it is the mean loss, with every target alike."""
        return self.kind == "mean" and bool(np.ptp(self.importance) == 0)

    @property
    def words(self) -> str:
        """The measure as it stands in tables and sentences."""
        if self.kind in self.targets:
            return f"loss on {self.kind}"
        uneven = self.kind != "minimax" and np.ptp(self.importance) != 0
        return f"weighted {OBJECTIVE_WORDS[self.kind]}" if uneven else OBJECTIVE_WORDS[self.kind]

    def of(self, loss: Float[np.ndarray, "*rows target"]) -> Float[np.ndarray, "*rows"]:
        """Return the measure of losses; NaN where a target that it needs is missing."""
        return objective_value(self.kind, self.weights, np.where(self.weights > 0, loss, 0.0))

    def logs(self, found: Measured) -> Float[np.ndarray, "strategy seed"]:
        """Return the logarithm of every run's measure; NaN where a loss that it needs is missing, or not above 0."""
        with np.errstate(invalid="ignore"):
            value = self.of(np.where(found.loss > 0, found.loss, np.nan))
        return np.asarray(np.log(np.where(value > 0, value, np.nan)))


def measure_of(found: Measured, kind: str, target_weights: Mapping[str, float]) -> Measure:
    """Return the measure of that kind for these losses; weights of other targets are left out.

    Where no target of these is left with a weight above 0, all count alike.
    """
    targets = found.targets
    heard = {name: weight for name, weight in target_weights.items() if name in targets}
    if not any(heard.get(name, 1.0) > 0 for name in targets):
        heard = {}
    importance = importance_of(targets, heard)
    weights = np.array([name == kind for name in targets], dtype=np.float64)
    if kind in OBJECTIVE_WORDS:
        weights = loss_weights(kind, importance, _reference(found))
    return Measure(kind=kind, targets=targets, importance=importance, weights=weights)


def _reference(found: Measured) -> Float[np.ndarray, " target"]:
    alone = found.adjusted
    reference = np.full(len(found.targets), np.nan)
    if UNIFORM in found.strategies:
        reference = alone[found.strategies.index(UNIFORM)]
    for j, column in enumerate(alone.T):
        if not np.isfinite(reference[j]) and np.isfinite(column).any():
            reference[j] = np.exp(np.log(column[np.isfinite(column)]).mean())
    return reference
