"""Spearman's rank correlation of many short rows at once, with gaps."""

import numpy as np
from jaxtyping import Float

LEAST = 3
"""Pairs of values that a rank correlation needs to say anything at all."""


def rank_correlation(
    a: Float[np.ndarray, "*rows item"], b: Float[np.ndarray, "*rows item"]
) -> Float[np.ndarray, "*rows"]:
    """Return Spearman's correlation along the last axis; ties share their mean rank.

    NaN where fewer than three items are known on both sides, or one side does not vary.
    """
    both = np.isfinite(a) & np.isfinite(b)
    count = np.asarray(both.sum(axis=-1))
    x, y = (_centered_ranks(np.where(both, values, np.nan), both, count) for values in (a, b))
    spread = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    known = (count >= LEAST) & (spread > 0)
    return np.asarray(np.where(known, (x * y).sum(axis=-1) / np.where(known, spread, 1.0), np.nan))


def _centered_ranks(values: np.ndarray, known: np.ndarray, count: np.ndarray) -> np.ndarray:
    one, other = values[..., :, None], values[..., None, :]
    ranks = (one > other).sum(axis=-1) + ((one == other).sum(axis=-1) + 1) / 2
    return np.where(known, ranks - (count[..., None] + 1) / 2, 0.0)
