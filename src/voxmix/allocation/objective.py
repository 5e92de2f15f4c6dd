"""What is minimized, as a function of losses: the mean, the mean of relative losses, or the worst of these."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError

OBJECTIVE_WORDS = {
    "mean": "mean loss",
    "relative": "mean of relative losses",
    "minimax": "worst relative loss",
}
"""Objective to what is minimized, in words. A relative loss is a loss over that of the uniform mixture."""


def importance_of(targets: Sequence[str], given: Mapping[str, float]) -> Float[np.ndarray, " target"]:
    """Return importance per target, summing to 1; 1 where none is given.

    Raises:
        InputError: an unknown target, or all 0.
    """
    unknown = [name for name in given if name not in targets]
    if unknown:
        raise InputError(f"target_weights names unknown targets {unknown}; the targets are {list(targets)}")
    values = np.array([given.get(name, 1.0) for name in targets], dtype=np.float64)
    if values.sum() <= 0:
        raise InputError(f"target_weights are all 0: {dict(given)}; give one target or more a weight above 0")
    return values / values.sum()


def loss_weights(
    kind: str, importance: Float[np.ndarray, " target"], reference: Float[np.ndarray, "*row target"]
) -> Float[np.ndarray, "*row target"]:
    """Return what each target's loss counts in an objective; under minimax, in each of its ratios.

    Args:
        kind: "mean", "relative" or "minimax".
        importance: per target, summing to 1. Under minimax it has no effect, but 0, which leaves a target out.
        reference: losses of the uniform mixture, which ratios are over; a loss of 0 has no ratio and is judged as it is.
    """
    if kind == "mean":
        return np.broadcast_to(importance, reference.shape).copy()
    over = np.where(reference > 0, reference, 1.0)
    weights: Float[np.ndarray, "*row target"] = (importance if kind == "relative" else importance > 0) / over
    return weights


def objective_value(
    kind: str, weights: Float[np.ndarray, "... target"], loss: Float[np.ndarray, "... target"]
) -> Float[np.ndarray, "..."]:
    """Return the objective of losses under :func:`loss_weights`: their sum, or the worst ratio."""
    parts = weights * loss
    return np.asarray(parts.max(axis=-1) if kind == "minimax" else parts.sum(axis=-1))
