"""The linear head: logistic regression on class token and mean of patches, its penalty chosen on an inner split by person."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from voxmix.probes.data import ProbeData
from voxmix.probes.heads import HeadResult, Probing, brier, known_truth, scored
from voxmix.probes.logistic import SOLVED, Linear, Turned, fit_classes, fit_labels, probabilities
from voxmix.probes.persons import best_of, inner_split

_ROUGH = 1e-4
"""Gradient at which a fit is good enough to choose a penalty: scikit-learn's default."""


def linear_head(probing: Probing) -> HeadResult:
    """Return the scores of a linear map; see :mod:`voxmix.probes.logistic`."""
    data, settings = probing.data, probing.settings
    features = probing.store.features(probing.encoder, data, progress=probing.progress).pooled
    return fit_linear(features, data, penalties=settings.penalties, inner=settings.inner, seed=settings.seed)


def fit_linear(
    features: Float[np.ndarray, "case feature"],
    data: ProbeData,
    *,
    penalties: Sequence[float],
    inner: float = 0.2,
    seed: int = 0,
) -> HeadResult:
    """Return the scores of a linear map of any features.

    Args:
        features: one row for each of the data's cases, in their order.
        penalties: per image; the one with the least error of probabilities (Brier) on the inner split is taken.
        inner: share of training persons on which it is chosen.
        seed: of that split.
    """
    train, test = (np.asarray(features[data.places(part)], dtype=np.float64) for part in ("train", "test"))
    truth = known_truth(data)
    penalty = penalties[0]
    if len(penalties) > 1:
        kept = inner_split(data, share=inner, seed=seed)
        fits = _fit(data, train[~kept], truth[~kept], penalties, tolerance=_ROUGH)
        penalty = penalties[
            best_of([-brier(_probability(data, fit, train[kept]), truth[kept]) for fit in fits])
        ]
    fit = _fit(data, train, truth, (penalty,), tolerance=SOLVED)[0]
    notes: tuple[str, ...] = ()
    if fit.gradient > _ROUGH:
        notes = (
            f"{data.name}: the linear head did not reach its minimum: its largest gradient is {fit.gradient:.1e}, expected below "
            f"{_ROUGH:.0e}; leave the smallest penalties out",
        )
    return replace(
        scored(data, _probability(data, fit, test)),
        notes=notes,
        chosen={"penalty": penalty},
        figures={"gradient": fit.gradient, "features": float(train.shape[1])},
    )


def _fit(
    data: ProbeData,
    features: Float[np.ndarray, "case feature"],
    truth: Float[np.ndarray, "case output"],
    penalties: Sequence[float],
    *,
    tolerance: float,
) -> list[Linear]:
    turned = Turned(features)
    if data.task.kind == "labels":
        return fit_labels(turned, truth, penalties, tolerance=tolerance)
    return fit_classes(turned, truth.argmax(axis=1), len(data.names), penalties, tolerance=tolerance)


def _probability(
    data: ProbeData, fit: Linear, features: Float[np.ndarray, "case feature"]
) -> Float[np.ndarray, "case output"]:
    classes = len(data.names) if data.task.kind == "classes" else 0
    return probabilities(fit.logits(features), classes=classes)
