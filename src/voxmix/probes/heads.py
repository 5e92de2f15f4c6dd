"""What every head is given and gives back, and how a grid is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix._progress import ProgressCallback, silent
from voxmix.probe_tasks import ProbeSettings, ProbeTask
from voxmix.probes.data import ProbeCase, ProbeData
from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.features import FeatureStore
from voxmix.runs.files import ResultKind
from voxmix.scores.result import ClassifiedCase, LabeledCase, ScoredCase


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Probing:
    """One probe: what a head is given.

    Attributes:
        data: the cases; what is learned is learned from their training part alone.
        encoder: frozen.
        store: gives its features.
        settings: the same for every encoder.
        folder: of the result; a head may leave files beside it.
        progress: counts whatever takes long.
    """

    data: ProbeData
    encoder: LoadedEncoder
    store: FeatureStore
    settings: ProbeSettings
    folder: Path
    progress: ProgressCallback = silent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeadResult:
    """What a head scored.

    Attributes:
        kind: of the cases.
        cases: one for each case of the test part.
        names: labels, classes or masks; with "background" first where kind segmentation has one.
        metrics: of kind values: names, the main one first.
        chosen: value taken from each grid.
        figures: other numbers worth keeping.
        notes: what a user should know.
    """

    kind: ResultKind
    cases: Sequence[ScoredCase]
    names: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def head_of(task: ProbeTask) -> str:
    """Return which row of :data:`voxmix.probe_tasks.HEADS` a task is judged by."""
    return task.head if task.kind in ("labels", "classes") else task.kind


def brier(probability: Float[np.ndarray, "case output"], truth: Float[np.ndarray, "case output"]) -> float:
    """Return the mean squared error of probabilities, unknown cells (NaN) left out: what grids are chosen by, less is better.

    A proper score (Brier 1950) that few cases with one class, and sure mistakes, leave usable. NaN where nothing is known.
    """
    known = np.isfinite(truth)
    return float(np.mean((probability[known] - truth[known]) ** 2)) if known.any() else float("nan")


def unit_rows(values: Float[np.ndarray, "row feature"]) -> Float[np.ndarray, "row feature"]:
    """Return rows of length 1, double precision; of length 0 where one has no length."""
    plain = np.asarray(values, dtype=np.float64)
    found: np.ndarray = plain / np.maximum(np.linalg.norm(plain, axis=1, keepdims=True), 1e-12)
    return found


def known_truth(data: ProbeData) -> Float[np.ndarray, "case output"]:
    """Return, of training cases, 1 or 0 for each label (NaN: not known), or for each class."""
    return (
        data.truth("train") if data.task.kind == "labels" else np.eye(len(data.names))[data.targets("train")]
    )


def scored(data: ProbeData, probability: Float[np.ndarray, "case output"]) -> HeadResult:
    """Return the test cases with their probabilities of labels or classes."""
    cases = data.part("test")
    if data.task.kind == "labels":
        labeled = [
            _labeled(case, data.names, row) for case, row in zip(cases, probability.tolist(), strict=True)
        ]
        return HeadResult(kind="labels", cases=labeled, names=data.names)
    sums = probability / probability.sum(axis=1, keepdims=True)
    classified = [_classified(case, row) for case, row in zip(cases, sums.tolist(), strict=True)]
    return HeadResult(kind="classification", cases=classified, names=data.names)


def _labeled(case: ProbeCase, names: Sequence[str], row: Sequence[float]) -> LabeledCase:
    return LabeledCase(
        case=case.case,
        subject=case.subject,
        domain=case.domain,
        truth={name: case.labels.get(name) for name in names},
        score=dict(zip(names, row, strict=True)),
    )


def _classified(case: ProbeCase, row: Sequence[float]) -> ClassifiedCase:
    assert case.target is not None
    return ClassifiedCase(
        case=case.case, subject=case.subject, domain=case.domain, truth=case.target, probability=tuple(row)
    )
