"""How well a law fits the cells it was fitted to: R2, residuals and relative error."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FitQuality:
    """How well the law fits what it was fitted to.

    Attributes:
        r2_target: share of the variance of each target's own pure-run means explained, NaN below 2 budgets; of all
            its means where it has no pure run of its own.
        r2_pair: the same per (source, target) for its pure runs.
        weights, budget: the cells, one per mixture and budget.
        observed, predicted: mean losses (cell, target); NaN where not measured.
    """

    r2_target: Float[np.ndarray, " target"]
    r2_pair: Float[np.ndarray, "source target"]
    weights: Float[np.ndarray, "cell source"]
    budget: Float[np.ndarray, " cell"]
    observed: Float[np.ndarray, "cell target"]
    predicted: Float[np.ndarray, "cell target"]

    def pure_rows(self, source: int, target: int) -> Int[np.ndarray, " cell"]:
        """Return the cells of pure runs of a source that were measured on a target, by budget."""
        pure = ((self.weights > 0).sum(axis=1) == 1) & (self.weights[:, source] > 0)
        rows = np.flatnonzero(pure & ~np.isnan(self.observed[:, target]))
        return rows[np.argsort(self.budget[rows], kind="stable")]

    @property
    def residuals(self) -> Float[np.ndarray, "cell target"]:
        """Observed minus predicted."""
        return self.observed - self.predicted

    @property
    def relative_error(self) -> Float[np.ndarray, " target"]:
        """Mean of |observed - predicted| / observed per target."""
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.abs(self.residuals) / self.observed
        known = np.isfinite(error)
        return np.where(known, error, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def quality_of(cells: Cells, law: LawParameters) -> FitQuality:
    """Return R2 and residuals of a law on the cells it was fitted to."""
    predicted = forms.predict(law, cells.weights, cells.budget)[0]
    measured = ~np.isnan(cells.loss)
    predicted = np.where(measured & np.isfinite(predicted), predicted, np.nan)
    pair = np.full((len(cells.domains), len(cells.targets)), np.nan)
    for j in range(len(cells.targets)):
        for i in range(len(cells.domains)):
            rows = cells.pure(i, j)
            pair[i, j] = r_squared(cells.loss[rows, j], predicted[rows, j])
    own = np.zeros(len(cells.targets))
    for j in range(len(cells.targets)):
        rows = cells.alone(j)
        rows = rows if len(rows) else np.flatnonzero(measured[:, j])
        own[j] = r_squared(cells.loss[rows, j], predicted[rows, j])
    return FitQuality(
        r2_target=own,
        r2_pair=pair,
        weights=cells.weights,
        budget=cells.budget,
        observed=np.where(measured, cells.loss, np.nan),
        predicted=predicted,
    )


def r_squared(observed: Float[np.ndarray, " n"], predicted: Float[np.ndarray, " n"]) -> float:
    """Return 1 - SSE / SST; NaN with fewer than two values, values that are all equal, or a prediction missing."""
    if len(observed) < 2 or np.isnan(predicted).any():
        return float("nan")
    spread = np.sum((observed - observed.mean()) ** 2)
    return float(1 - np.sum((observed - predicted) ** 2) / spread) if spread > 0 else float("nan")
