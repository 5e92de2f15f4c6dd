"""Metrics of a set of cases, as functions of weights over the cases.

A weight per case is all that resampling needs: ones give the score, counts of a bootstrap resample that of the
resample, one zero among ones that of the jackknife. NumPy alone, because reports are made without torch; the
tests hold these to torchmetrics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from voxmix.runs.files import FinetuningKind
from voxmix.scores.result import ClassifiedCase, DownstreamResult, SegmentedCase

Weighted = Callable[[np.ndarray], np.ndarray]
"""From weights (sample, case) to the score of each sample (sample,); NaN where it is not defined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric of finetuning runs.

    ``unit`` "share" has values in [0, 1], "mm" is a length. Comparisons are tested on the ``main`` metrics:
    Dice and AUC.
    """

    name: str
    kind: FinetuningKind
    unit: Literal["share", "mm"] = "share"
    main: bool = False


DICE = Metric(name="Dice", kind="segmentation", main=True)
SURFACE = Metric(name="surface distance", kind="segmentation", unit="mm")
ACCURACY = Metric(name="accuracy", kind="classification")
BALANCED = Metric(name="balanced accuracy", kind="classification")
AUC = Metric(name="AUC", kind="classification", main=True)
METRICS = (DICE, SURFACE, AUC, ACCURACY, BALANCED)


def metrics_of(results: Sequence[DownstreamResult]) -> tuple[Metric, ...]:
    """Return the metrics that the runs of one task have, the main one first."""
    with_surface = any(
        isinstance(case, SegmentedCase) and case.surface_distance_mm for run in results for case in run.cases
    )
    return tuple(m for m in METRICS if m.kind == results[0].kind and (m is not SURFACE or with_surface))


def mean_score(result: DownstreamResult) -> float | None:
    """Return the mean Dice over a run's cases and their classes, or its accuracy; None where nothing can be scored."""
    metric = DICE if result.kind == "segmentation" else ACCURACY
    value = weighted(result, metric, [item.case for item in result.cases])(np.ones((1, len(result.cases))))
    return float(value[0]) if np.isfinite(value[0]) else None


def is_case_mean(metric: Metric) -> bool:
    """Return whether a metric is the mean of one value per case, so that a case can be left unscored."""
    return metric in (DICE, SURFACE)


def weighted(result: DownstreamResult, metric: Metric, cases: Sequence[str]) -> Weighted:
    """Return the metric of one run as a function of weights over ``cases``, in their order."""
    if is_case_mean(metric):
        return mean_of(case_values(result, metric, cases))
    by_name = {item.case: item for item in result.cases if isinstance(item, ClassifiedCase)}
    truth = np.array([by_name[name].truth for name in cases], dtype=np.int64)
    probability = np.array([by_name[name].probability for name in cases], dtype=np.float64)
    if metric is AUC:
        return _area(truth, probability)
    if metric is BALANCED:
        return _balanced_accuracy(truth, probability)
    return mean_of((probability.argmax(axis=1) == truth).astype(np.float64))


def case_values(
    result: DownstreamResult, metric: Metric, cases: Sequence[str], *, label: str | None = None
) -> Float[np.ndarray, " case"]:
    """Return the mean over the scored classes of every case of a segmentation, or the score of one class.

    NaN where no class was scored.
    """
    by_name = {item.case: item for item in result.cases if isinstance(item, SegmentedCase)}
    values = []
    for name in cases:
        item = by_name[name]
        scores = item.dice if metric is DICE else item.surface_distance_mm
        known = [v for k, v in scores.items() if v is not None and label in (None, k)]
        values.append(float(np.mean(known)) if known else np.nan)
    return np.array(values, dtype=np.float64)


def mean_of(values: Float[np.ndarray, " case"]) -> Weighted:
    """Return the weighted mean over the cases whose value is known."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)

    def score(weights: np.ndarray) -> np.ndarray:
        return _ratio(weights @ filled, weights @ known.astype(np.float64))

    return score


def _balanced_accuracy(
    truth: Int[np.ndarray, " case"], probability: Float[np.ndarray, "case label"]
) -> Weighted:
    """Mean over the classes that occur of the share of their cases that were found."""
    hit = (probability.argmax(axis=1) == truth).astype(np.float64)
    own = np.eye(probability.shape[1])[truth]

    def score(weights: np.ndarray) -> np.ndarray:
        return _mean_known(_ratio(weights @ (own * hit[:, None]), weights @ own))

    return score


def _area(truth: Int[np.ndarray, " case"], probability: Float[np.ndarray, "case label"]) -> Weighted:
    """Mean over the classes that some cases have and others have not of the area under their ROC curve.

    The area is the share of pairs, one case of the class and one of the others, in which the first has the higher
    probability; ties count half (Mann and Whitney).
    """
    pairs = []
    for k in range(probability.shape[1]):
        own = truth == k
        p, q = probability[own, k][:, None], probability[~own, k][None, :]
        pairs.append((own, (p > q) + 0.5 * (p == q)))

    def score(weights: np.ndarray) -> np.ndarray:
        areas = [
            _ratio(
                ((weights[:, own] @ above) * weights[:, ~own]).sum(axis=1),
                weights[:, own].sum(axis=1) * weights[:, ~own].sum(axis=1),
            )
            for own, above in pairs
        ]
        return _mean_known(np.stack(areas, axis=1))

    return score


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean_known(values: Float[np.ndarray, "sample label"]) -> Float[np.ndarray, " sample"]:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))
