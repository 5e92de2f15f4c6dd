"""What a table of measurements refuses: values that cannot be, and rows of a run that do not agree."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from voxmix.errors import InputError
from voxmix.records import SUM_TOLERANCE, VOLUMES, WEIGHT, misspelled_targets


def check_values(table: Any) -> None:
    """Refuse the first value of a :class:`voxmix.MeasurementTable` that cannot be: names the row and the column."""
    for row, message in misspelled_targets(table.target, table.domains).items():
        raise InputError(f"row {row + 1}, column target: {message}")
    bad = ~(np.isfinite(table.loss) & (table.loss >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        what = table.response.wrong(float(table.response.from_loss(table.loss)[row]))
        raise InputError(f"row {row + 1}, column {table.response.name}: {what}")
    _refuse(
        ~(np.isfinite(table.budget) & (table.budget >= 1)), table.budget, "budget", "at least 1 volume draw"
    )
    _refuse(
        ~(np.isnan(table.loss_se) | (np.isfinite(table.loss_se) & (table.loss_se >= 0))),
        table.loss_se,
        "loss_se",
        "a number of at least 0, or empty",
    )
    bad = ~(np.isfinite(table.weights) & (table.weights >= 0))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"row {row + 1}, column {WEIGHT}{table.domains[column]}: {table.weights[row, column]} is no "
            "weight; give a number from 0 to 1"
        )
    total = table.weights.sum(axis=1)
    _refuse(np.abs(total - 1) > SUM_TOLERANCE, total, f"{WEIGHT}*", "weights that sum to 1")
    bad = ~(np.isnan(table.volumes) | (table.volumes >= 0))
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"row {row + 1}, column {VOLUMES}{table.domains[column]}: {table.volumes[row, column]} is no "
            "count of volumes; give a number of at least 0, or leave it empty"
        )


def check_runs(table: Any) -> None:
    """Refuse the first row that repeats another, or has another mixture, budget or seed than its run had before."""
    first: dict[str, int] = {}
    begins = np.array([first.setdefault(run, row) for row, run in enumerate(table.run)], dtype=np.int64)
    seen: dict[tuple[str, str], int] = {}
    twice = next(
        (
            (row, before)
            for row, key in enumerate(zip(table.run, table.target, strict=True))
            if (before := seen.setdefault(key, row)) != row
        ),
        None,
    )
    differs = {
        name: values[begins] != values for name, values in (("budget", table.budget), ("seed", table.seed))
    } | {"weights": (table.weights[begins] != table.weights).any(axis=1)}
    other = np.flatnonzero(np.any(list(differs.values()), axis=0))
    if twice is not None and not (len(other) and other[0] < twice[0]):
        row, before = twice
        raise InputError(
            f"row {row + 1}, columns run and target: run {table.run[row]!r} has two losses for {table.target[row]!r} "
            f"(rows {before + 1} and {row + 1}: {table.loss[before]:g} and {table.loss[row]:g}); "
            "keep one, or give the second run a name of its own"
        )
    if len(other):
        row = int(other[0])
        column = next(name for name, wrong in differs.items() if wrong[row])
        raise InputError(
            f"row {row + 1}, column {column}: run {table.run[row]!r} has another {column} in row "
            f"{begins[row] + 1}; a run has one mixture, budget and seed, so give different runs different names"
        )


def _refuse(bad: Bool[np.ndarray, " row"], values: np.ndarray, column: str, expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise InputError(f"row {row + 1}, column {column}: got {values[row]:g}, expected {expected}")
