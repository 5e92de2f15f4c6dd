"""MeasurementTable: what runs measured, one row per run and target."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from voxmix.errors import InputError
from voxmix.mixture import check_domains


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeasurementTable:
    """Losses of runs on targets; arrays are read-only and share their first axis.

    Attributes:
        domains: names of the source axis; every target is one of them.
        run: run id per row.
        target: name of the target per row.
        weights: the run's mixture per row, (row, source).
        budget: volume draws of the run per row.
        seed: seed of the run per row.
        loss: masked reconstruction loss on the target's held-out volumes, per row.
        loss_se: standard error of ``loss`` over volumes; NaN where unknown.
        volumes: volumes that exist per source, (row, source); NaN where unknown.

    Raises:
        InputError: shapes that do not agree, an unknown target, a loss that is not finite or negative,
            a budget below 1, weights that do not sum to 1, or one (run, target) twice.
    """

    domains: tuple[str, ...]
    run: tuple[str, ...]
    target: tuple[str, ...]
    weights: Float[np.ndarray, "row source"]
    budget: Float[np.ndarray, " row"]
    seed: Int[np.ndarray, " row"]
    loss: Float[np.ndarray, " row"]
    loss_se: Float[np.ndarray, " row"]
    volumes: Float[np.ndarray, "row source"]
