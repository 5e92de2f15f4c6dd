"""The nearest neighbors: what training images whose features point the same way are, weighted as DINO's evaluation does."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from voxmix.probes.heads import HeadResult, Probing, brier, known_truth, scored, unit_rows
from voxmix.probes.persons import best_of, inner_split

_TEMPERATURE = 0.07
"""Of the votes: exp(cosine / 0.07) (Wu et al. 2018, arXiv 1805.01978; DINO's)."""
_CHUNK = 1024


def knn_head(probing: Probing) -> HeadResult:
    """Return the scores by neighbors; how many is chosen on an inner split by person."""
    data, settings = probing.data, probing.settings
    features = probing.store.features(probing.encoder, data, progress=probing.progress).pooled
    train, test = (features[data.places(part)] for part in ("train", "test"))
    truth = known_truth(data)
    chosen = settings.neighbors[0]
    if len(settings.neighbors) > 1:
        kept = inner_split(data, share=settings.inner, seed=settings.seed)
        errors = [
            brier(neighbors(train[~kept], truth[~kept], train[kept], count), truth[kept])
            for count in settings.neighbors
        ]
        chosen = settings.neighbors[best_of([-error for error in errors])]
    return replace(scored(data, neighbors(train, truth, test, chosen)), chosen={"neighbors": chosen})


def neighbors(
    train: Float[np.ndarray, "image feature"],
    truth: Float[np.ndarray, "image output"],
    asked: Float[np.ndarray, "case feature"],
    count: int,
) -> Float[np.ndarray, "case output"]:
    """Return the weighted share of the ``count`` nearest images by cosine that have each label or class.

    Of a label, the nearest among the images for which it is known; an even share where there is none.
    """
    found = np.full((len(asked), truth.shape[1]), 0.5)
    known = np.isfinite(truth)
    base = unit_rows(train)
    alike = known.all()
    for first in range(0, len(asked), _CHUNK):
        rows = slice(first, first + _CHUNK)
        cosine = unit_rows(asked[rows]) @ base.T
        whole = _votes(cosine, truth, count) if alike else None
        for label in range(truth.shape[1]):
            own = known[:, label]
            if whole is not None:
                found[rows, label] = whole[:, label]
            elif own.any():
                found[rows, label] = _votes(cosine[:, own], truth[own][:, [label]], count)[:, 0]
    return found


def _votes(
    cosine: Float[np.ndarray, "case image"], truth: Float[np.ndarray, "image output"], count: int
) -> Float[np.ndarray, "case output"]:
    near = np.argsort(-cosine, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(cosine, near, axis=1)
    weight = np.exp((values - values.max(axis=1, keepdims=True)) / _TEMPERATURE)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("cn,cno->co", weight, truth[near]))
