"""What tells that a run collapsed or learned nothing: from the means of its last steps, in plain sentences."""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from voxmix.errors import VoxmixWarning

_LAST_SHARE = 0.1

Alarm = str
"""A sentence: what is wrong, by which number, what may help."""


def last_steps(metrics: Path) -> dict[str, float]:
    """Return the mean of every figure over the last tenth of the steps that a run has written, at least one.

    What a probe along the run saw (:mod:`voxmix.objectives.images.watch`) is none of them.
    """
    lines = metrics.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[-max(1, round(_LAST_SHARE * len(lines))) :]]
    return {
        name: float(np.mean([row[name] for row in rows]))
        for name in rows[-1]
        if not name.startswith("probe") and all(isinstance(row.get(name), int | float) for row in rows)
    }


def warn_of(alarms: Iterable[Alarm], *, run_id: str) -> None:
    """Warn of each alarm, so that a study notes it."""
    for alarm in alarms:
        warnings.warn(f"run {run_id}: {alarm}", VoxmixWarning, stacklevel=2)


def mean_cosine(features: Float[Tensor, "draw width"]) -> Float[Tensor, ""]:
    """Return the mean cosine between the features of different draws: near 1, every image looks alike."""
    unit = normalize(features.float(), dim=-1)
    rows = len(unit)
    return (unit.sum(dim=0).square().sum() - rows) / max(rows * (rows - 1), 1)
