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

from voxmix.runs.files import ResultKind
from voxmix.scores.result import ClassifiedCase, DownstreamResult, LabeledCase, SegmentedCase, ValuedCase

Weighted = Callable[[np.ndarray], np.ndarray]
"""From weights (sample, case) to the score of each sample (sample,); NaN where it is not defined."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A metric of finetuning runs or probes.

    ``unit`` "share" has values in [0, 1], "mm" is a length. Comparisons are tested on the ``main`` metrics:
    Dice, AUC, AUROC, and the first of kind values.
    """

    name: str
    kind: ResultKind
    unit: Literal["share", "mm"] = "share"
    main: bool = False

    @property
    def widest(self) -> float:
        """The largest difference of two scores that there can be: 1 of shares, no limit of lengths and of kind values."""
        return 1.0 if self.unit == "share" and self.kind != "values" else float("inf")


DICE = Metric(name="Dice", kind="segmentation", main=True)
SURFACE = Metric(name="surface distance", kind="segmentation", unit="mm")
ACCURACY = Metric(name="accuracy", kind="classification")
BALANCED = Metric(name="balanced accuracy", kind="classification")
AUC = Metric(name="AUC", kind="classification", main=True)
AUROC = Metric(name="AUROC", kind="labels", main=True)
"""Of several labels: mean area under the ROC curve over those that are known to be present and absent among the cases."""
AUPRC = Metric(name="AUPRC", kind="labels")
"""The same of the area under the curve of precision and recall: average precision."""
METRICS = (DICE, SURFACE, AUC, ACCURACY, BALANCED, AUROC, AUPRC)
"""All but those of kind values, whose names stand in the result."""


def metrics_of(results: Sequence[DownstreamResult]) -> tuple[Metric, ...]:
    """Return the metrics that the runs of one task have, the main one first."""
    if results[0].kind == "values":
        names = dict.fromkeys(name for run in results for name in run.metrics)
        return tuple(Metric(name=name, kind="values", main=place == 0) for place, name in enumerate(names))
    with_surface = any(
        isinstance(case, SegmentedCase) and case.surface_distance_mm for run in results for case in run.cases
    )
    return tuple(m for m in METRICS if m.kind == results[0].kind and (m is not SURFACE or with_surface))


def mean_score(result: DownstreamResult) -> float | None:
    """Return the mean Dice over a run's cases and their classes, its accuracy, or the main metric of a probe of another kind;
    None where nothing can be scored."""
    return _whole(result, ACCURACY if result.kind == "classification" else metrics_of([result])[0])


def main_score(result: DownstreamResult) -> float | None:
    """Return the main metric of a run or probe over all of its cases; None where nothing can be scored."""
    return _whole(result, metrics_of([result])[0])


def _whole(result: DownstreamResult, metric: Metric) -> float | None:
    cases = [item.case for item in result.cases]
    value = weighted(result, metric, cases)(np.ones((1, len(cases))))
    return float(value[0]) if np.isfinite(value[0]) else None


def is_case_mean(metric: Metric) -> bool:
    """Return whether a metric is the mean of one value per case, so that a case can be left unscored."""
    return metric.kind in ("segmentation", "values")


def weighted(
    result: DownstreamResult, metric: Metric, cases: Sequence[str], *, label: str | None = None
) -> Weighted:
    """Return the metric of one run as a function of weights over ``cases``, in their order; of one label alone if given."""
    if is_case_mean(metric):
        return mean_of(case_values(result, metric, cases, label=label))
    if metric.kind == "labels":
        return _of_labels(result, metric, cases, label)
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
    """Return the mean over the scored classes of every case of a segmentation, or the score of one class; or its value.

    NaN where there is none.
    """
    if metric.kind == "values":
        valued = {item.case: item.values for item in result.cases if isinstance(item, ValuedCase)}
        return np.array([_number(valued[name].get(metric.name)) for name in cases], dtype=np.float64)
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


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _of_labels(result: DownstreamResult, metric: Metric, cases: Sequence[str], label: str | None) -> Weighted:
    """Mean over labels of the area under a curve, each over the cases where the label is known."""
    by_name = {item.case: item for item in result.cases if isinstance(item, LabeledCase)}
    curve = roc_area if metric is AUROC else average_precision
    each = []
    for name in result.classes if label is None else (label,):
        truth = [by_name[case].truth.get(name) for case in cases]
        known = [place for place, value in enumerate(truth) if value is not None]
        score = np.array([by_name[cases[place]].score[name] for place in known], dtype=np.float64)
        each.append((np.array(known, dtype=np.int64), curve(np.array([truth[k] for k in known]), score)))

    def mean(weights: np.ndarray) -> np.ndarray:
        return _mean_known(np.stack([area(weights[:, known]) for known, area in each], axis=1))

    return mean


def roc_area(truth: Int[np.ndarray, " case"], score: Float[np.ndarray, " case"]) -> Weighted:
    """Return the area under the ROC curve: the share of pairs, one case with truth 1 and one with 0, in which the first has
    the higher score; ties count half (Mann and Whitney). NaN where one of the two has no weight."""
    order, starts = _by_score(score)
    present = truth[order] == 1

    def area(weights: np.ndarray) -> np.ndarray:
        own, others = _tied(weights[:, order], present, starts)
        below = np.cumsum(others, axis=1) - others
        wins = (own * (below + 0.5 * others)).sum(axis=1)
        return _ratio(wins, own.sum(axis=1) * others.sum(axis=1))

    return area


def average_precision(truth: Int[np.ndarray, " case"], score: Float[np.ndarray, " case"]) -> Weighted:
    """Return the mean precision at each case with truth 1, cases of equal score together (scikit-learn's average precision).
    NaN where no such case, or no other, has weight."""
    order, starts = _by_score(score)
    present = truth[order] == 1

    def area(weights: np.ndarray) -> np.ndarray:
        own, others = (part[:, ::-1] for part in _tied(weights[:, order], present, starts))
        found = np.cumsum(own, axis=1)
        taken = found + np.cumsum(others, axis=1)
        precision = np.where(taken > 0, found / np.where(taken > 0, taken, 1.0), 0.0)
        known = (own.sum(axis=1) > 0) & (others.sum(axis=1) > 0)
        return np.where(known, _ratio((own * precision).sum(axis=1), own.sum(axis=1)), np.nan)

    return area


def _by_score(score: Float[np.ndarray, " case"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the order of rising scores, and where in it each run of equal scores begins."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, int)


def _tied(weights: np.ndarray, present: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of present and of other cases, summed over equal scores."""
    if not len(starts):
        return weights, weights
    own, others = (np.add.reduceat(weights * part, starts, axis=1) for part in (present, ~present))
    return own, others


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)


def _mean_known(values: Float[np.ndarray, "sample label"]) -> Float[np.ndarray, " sample"]:
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))
