"""Held-out budgets and mixtures: the runs that a law was not fitted to."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.numbers import plain
from voxmix.law.seeds import SeedEffects


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Holdout:
    """Predicted and observed losses of cells that were not fitted.

    Attributes:
        weights, budget: the held-out cells.
        predicted, observed: (cell, target), of the seeds that ran; NaN where there is nothing to compare.
        relative_error: mean of |predicted - observed| / observed per target.
        correlation: Pearson's r over the targets' means (with few targets it is weak evidence: the
            targets' levels dominate it).
        rank_correlation: Spearman's, of the mean losses of held-out mixtures at one budget; NaN below three.
    """

    targets: tuple[str, ...]
    weights: Float[np.ndarray, "cell source"]
    budget: Float[np.ndarray, " cell"]
    predicted: Float[np.ndarray, "cell target"]
    observed: Float[np.ndarray, "cell target"]
    relative_error: Float[np.ndarray, " target"]
    correlation: float
    rank_correlation: float

    @property
    def mean_relative_error(self) -> float:
        """Mean over all held-out losses of |predicted - observed| / observed."""
        return _mean(np.abs(self.predicted / self.observed - 1))

    @property
    def mixture_error(self) -> float:
        """The same over runs of mixtures only; NaN when none was held out."""
        mixed = (self.weights > 0).sum(axis=1) > 1
        return _mean(np.abs(self.predicted / self.observed - 1)[mixed])

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-like data."""
        return {
            "targets": list(self.targets),
            "cells": {
                "weights": plain(self.weights),
                "budget": plain(self.budget),
                "predicted": plain(self.predicted),
                "observed": plain(self.observed),
            },
            "predicted": dict(zip(self.targets, plain(_means(self.predicted)), strict=True)),
            "observed": dict(zip(self.targets, plain(_means(self.observed)), strict=True)),
            "relative_error": dict(zip(self.targets, plain(self.relative_error), strict=True)),
            "mean_relative_error": plain(self.mean_relative_error),
            "r": plain(self.correlation),
            "rank_correlation": plain(self.rank_correlation),
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Holdout":
        """Return the comparison written by :meth:`to_dict`."""
        cells = value["cells"]
        return holdout_of(
            tuple(value["targets"]),
            *(
                np.array(cells[name], dtype=np.float64)
                for name in ("weights", "budget", "predicted", "observed")
            ),
        )


def _mean(values: Float[np.ndarray, "*shape"]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _means(values: Float[np.ndarray, "cell target"]) -> Float[np.ndarray, " target"]:
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def holdout_of(
    targets: tuple[str, ...],
    weights: Float[np.ndarray, "cell source"],
    budget: Float[np.ndarray, " cell"],
    predicted: Float[np.ndarray, "cell target"],
    observed: Float[np.ndarray, "cell target"],
) -> Holdout:
    """Return the comparison of predicted and observed losses of cells that were not fitted."""
    known = np.isfinite(predicted) & np.isfinite(observed) & (observed > 0)
    predicted, observed = np.where(known, predicted, np.nan), np.where(known, observed, np.nan)
    means = _means(predicted), _means(observed)
    both = ~np.isnan(means[0])
    return Holdout(
        targets=targets,
        weights=weights,
        budget=budget,
        predicted=predicted,
        observed=observed,
        relative_error=_means(np.abs(predicted / np.where(known, observed, 1) - 1)),
        correlation=_pearson(means[0][both], means[1][both]),
        rank_correlation=_ranks_agree(weights, budget, predicted, observed),
    )


def _pearson(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    spread = (np.std(a), np.std(b)) if len(a) > 1 else (0.0, 0.0)
    if not min(spread) > 0:
        return float("nan")
    return float(np.mean((a - a.mean()) / spread[0] * ((b - b.mean()) / spread[1])))


def spearman(a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"]) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN below three values."""
    if len(a) < 3:
        return float("nan")
    ranks = [np.array([np.mean(np.flatnonzero(np.sort(v) == item)) for item in v]) for v in (a, b)]
    return _pearson(*ranks)


def _ranks_agree(
    weights: np.ndarray, budget: np.ndarray, predicted: np.ndarray, observed: np.ndarray
) -> float:
    mixed = ((weights > 0).sum(axis=1) > 1) & ~np.isnan(predicted).any(axis=1)
    found = []
    for size in np.unique(budget[mixed]):
        rows = mixed & (budget == size)
        if rows.sum() >= 3:
            found.append(spearman(predicted[rows].mean(axis=1), observed[rows].mean(axis=1)))
    return float(np.mean(found)) if found else float("nan")


def compare_cells(cells: Cells, law: LawParameters, rows: np.ndarray, effects: SeedEffects) -> Holdout:
    """Return how a law predicts some cells, for the seeds they were run with: ``effects`` are those of the fitted cells."""
    shape = (len(cells.budget), len(cells.targets))
    predicted = forms.predict(law, cells.weights[rows], cells.budget[rows])[0]
    predicted = predicted * cells.measured.factor(shape, effects)[rows]
    observed = cells.measured.means(shape, cells.measured.loss)[rows]
    return holdout_of(cells.targets, cells.weights[rows], cells.budget[rows], predicted, observed)
