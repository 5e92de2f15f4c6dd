"""A cheap probe of features: ridge regression on labels, out of fold by person, and how sure its score is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

FOLDS = 5
PENALTIES = (0.1, 1.0, 10.0, 100.0)
"""In units of the mean squared length of the standardized features."""
_NONE = np.nan


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProbeScore:
    """Mean area under the ROC curve over labels, and what each person adds to its deviation from the truth.

    Attributes:
        value: 0.5 is chance.
        influence: per person; their squares sum to the variance of ``value`` (DeLong et al. 1988), persons being independent.
    """

    value: float
    influence: Float[np.ndarray, " person"]

    @property
    def error(self) -> float:
        """Standard error over persons."""
        return float(np.sqrt(np.square(self.influence).sum()))

    def change_from(self, first: "ProbeScore") -> tuple[float, float]:
        """Return by how much it differs from an earlier score of the same persons, and the standard error of that."""
        paired = self.influence - first.influence
        return self.value - first.value, float(np.sqrt(np.square(paired).sum()))


def probe_score(
    features: Float[np.ndarray, "case feature"],
    truth: Float[np.ndarray, "case label"],
    persons: Sequence[str],
) -> ProbeScore:
    """Return how well labels are read from features by persons that the probe has not seen.

    Args:
        features: finite.
        truth: 1, 0, or NaN where a label is not known; each label has both classes.
        persons: of each case; all cases of one are in one fold.
    """
    number = {name: n for n, name in enumerate(dict.fromkeys(persons))}
    person = np.array([number[name] for name in persons])
    fold = person % FOLDS
    scores = np.full(truth.shape, _NONE)
    for held in np.unique(fold):
        scores[fold == held] = _ridge(features[fold != held], truth[fold != held], features[fold == held])
    return _auroc(scores, truth, person)


def _ridge(
    features: Float[np.ndarray, "case feature"],
    truth: Float[np.ndarray, "case label"],
    others: Float[np.ndarray, "other feature"],
) -> Float[np.ndarray, "other label"]:
    """Return predictions for other cases; the penalty of each label is that of the least error when each case is left out."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    used = spread > 1e-12
    if not used.any():
        return np.zeros((len(others), truth.shape[1]))
    plain, there = ((part[:, used] - mean[used]) / spread[used] for part in (features, others))
    kernel, across = plain @ plain.T / used.sum(), there @ plain.T / used.sum()
    found = np.zeros((len(others), truth.shape[1]))
    known = ~np.isnan(truth)
    for pattern in np.unique(known, axis=1).T:
        labels = (known == pattern[:, None]).all(axis=0)
        if pattern.sum() > 1:
            found[:, labels] = _solved(
                kernel[np.ix_(pattern, pattern)], across[:, pattern], truth[np.ix_(pattern, labels)]
            )
    return found


def _solved(
    kernel: Float[np.ndarray, "case case"],
    across: Float[np.ndarray, "other case"],
    truth: Float[np.ndarray, "case label"],
) -> Float[np.ndarray, "other label"]:
    """Return predictions less the mean, which would tell persons' folds apart and nothing else."""
    values, vectors = np.linalg.eigh(kernel)
    turned = vectors.T @ (truth - truth.mean(axis=0))
    errors, solutions = [], []
    for penalty in PENALTIES:
        shrunk = 1 / (np.maximum(values, 0) + penalty)
        weights = vectors @ (shrunk[:, None] * turned)
        kept = penalty * np.square(vectors) @ shrunk  # 1 - leverage; residual = penalty * weights
        errors.append(np.square(penalty * weights / kept[:, None]).mean(axis=0))
        solutions.append(across @ weights)
    best = np.argmin(errors, axis=0)
    return np.asarray(np.take_along_axis(np.array(solutions), best[None, None], axis=0)[0])


def _auroc(
    scores: Float[np.ndarray, "case label"],
    truth: Float[np.ndarray, "case label"],
    person: Int[np.ndarray, " case"],
) -> ProbeScore:
    """Return the mean over labels; ties count half. A case's part is DeLong's structural component, less the mean."""
    influence = np.zeros(person.max() + 1)
    areas = []
    labels = truth.shape[1]
    for j in range(labels):
        there, absent = truth[:, j] == 1, truth[:, j] == 0
        wins = _wins(scores[there, j], scores[absent, j])
        area = float(wins.mean())
        areas.append(area)
        np.add.at(influence, person[there], (wins.mean(axis=1) - area) / there.sum() / labels)
        np.add.at(influence, person[absent], (wins.mean(axis=0) - area) / absent.sum() / labels)
    return ProbeScore(value=float(np.mean(areas)), influence=influence)


def _wins(
    there: Float[np.ndarray, " positive"], absent: Float[np.ndarray, " negative"]
) -> Float[np.ndarray, "positive negative"]:
    return np.asarray((there[:, None] > absent[None]) + 0.5 * (there[:, None] == absent[None]))
