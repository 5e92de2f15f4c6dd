"""Whether transfers rest on pure runs that forget: models get worse at what they never see, which no mixture does.

A law falls with the budget whatever the source. A source whose pure runs do worse on other targets, the more they draw,
gets transfers that are too low, and the misfit is the same in all its runs, so no resample shows it: in simulated worlds
90% intervals of the best shares held 73% to 76% of them (docs/concepts/law.md). Mixtures that tell all sources apart mend it.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.law.quality import FitQuality

_SURE = 0.95  # one-sided, of Student's t
_LEAST = 0.01  # log loss over all budgets that changes no decision


def rise_against_law(
    quality: FitQuality, own: Int[np.ndarray, " target"], noise: Float[np.ndarray, " target"]
) -> float:
    """Return by how much pure runs' losses on other domains rise against a law per e-fold of the budget, in log loss.

    0 where that is chance (over the sources, whose runs share their noise, or over the targets, whose own curves are in
    all their pairs), less than the noise over all budgets, or of no account because mixtures tell all sources apart.

    Args:
        quality: losses and predictions of the fitted cells.
        own: index of each target among the sources; -1 for one that is no source, which mixtures do not see either.
        noise: standard deviation of a mean loss over its expectation.
    """
    alone = (quality.weights > 0).sum(axis=1) == 1
    sources = quality.weights.shape[1]
    if np.linalg.matrix_rank(quality.weights[~alone]) == sources:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.log(quality.observed) - np.where(
            np.isfinite(quality.predicted), np.log(quality.predicted), 0.0
        )  # a transfer of 0 predicts no finite loss, and a law of none falls
    slopes = np.full((sources, len(own)), np.nan)
    for i in range(sources):
        rows = np.flatnonzero(alone & (quality.weights[:, i] > 0))
        others = np.flatnonzero((own >= 0) & (own != i))
        measured = ~np.isnan(quality.observed[np.ix_(rows, others)])
        slopes[i, others] = _slopes(np.log(quality.budget[rows]), away[np.ix_(rows, others)], measured)
    known = ~np.isnan(slopes)
    if min(known.any(axis=1).sum(), known.any(axis=0).sum()) < 3:
        return 0.0
    rise = float(slopes[known].mean())
    span = float(np.log(quality.budget.max() / quality.budget.min()))
    small = rise * span <= max(float(np.mean(noise)), _LEAST)
    return 0.0 if small or not (_above_zero(slopes) and _above_zero(slopes.T)) else rise


def _above_zero(slopes: Float[np.ndarray, "group member"]) -> bool:
    """Whether the mean of the groups' means is above 0 by more than chance (one-sided, Student's t)."""
    from scipy.special import stdtrit

    means = np.array([np.nanmean(row) for row in slopes if not np.isnan(row).all()])
    error = float(np.std(means, ddof=1)) / np.sqrt(len(means))
    return bool(means.mean() > float(stdtrit(len(means) - 1, _SURE)) * error)


def forgetting_sentence(rise: float) -> str:
    """Return what a rise (:func:`rise_against_law`) means, and what would help; empty where there is none."""
    if not rise:
        return ""
    by = float(np.expm1(rise * np.log(2)))
    return (
        f"the more a pure run draws, the worse it does on other domains against this law ({by:.0%} for twice the draws): "
        "models get worse at what they never see, which no mixture does, or losses start on a plateau that this law lacks. "
        "Transfers and best shares rest on such runs here, and their intervals do not hold this error; add vertex runs, or "
        "other mixtures that tell all domains apart"
    )


def _slopes(
    log_budget: Float[np.ndarray, " cell"],
    away: Float[np.ndarray, "cell target"],
    measured: Bool[np.ndarray, "cell target"],
) -> Float[np.ndarray, " target"]:
    """Return the slope of each target over its measured cells; NaN below three, or where one is not finite."""
    count = measured.sum(axis=0)
    able = (count >= 3) & (np.isfinite(away) | ~measured).all(axis=0)
    middle = np.where(measured, log_budget[:, None], 0.0).sum(axis=0) / np.maximum(count, 1)
    centered = np.where(measured, log_budget[:, None] - middle, 0.0)
    size = (centered**2).sum(axis=0)
    rise = (centered * np.where(measured & able, away, 0.0)).sum(axis=0)
    return np.where(able, rise / np.where(size > 0, size, 1.0), np.nan)
