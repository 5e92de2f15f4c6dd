"""The rows of a table of measurements in the tidy format, for other tools."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from voxmix.records import SAMPLES, VOLUMES, WEIGHT


def columns(table: Any) -> list[str]:
    """Return the names of the columns of a :class:`voxmix.MeasurementTable`."""
    value, samples = table.response.name, table.response.unit == "samples"
    return [
        *(("run", "seed") if samples else ("run", "seed", "budget", "source")),
        "target",
        value,
        *([] if np.isnan(table.loss_se).all() else [f"{value}_se"]),
        *(f"{SAMPLES if samples else WEIGHT}{domain}" for domain in table.domains),
        *([] if np.isnan(table.volumes).all() else [f"{VOLUMES}{domain}" for domain in table.domains]),
    ]


def cells(table: Any) -> Iterator[list[Any]]:
    """Yield the values of the columns of each row; those that rows of a run share are made once."""
    sources, values = table.source.tolist(), table.response.from_loss(table.loss).tolist()
    samples = table.response.unit == "samples"
    with_se, with_volumes = not np.isnan(table.loss_se).all(), not np.isnan(table.volumes).all()
    errors = [None if np.isnan(error) else error for error in table.loss_se.tolist()]
    last, shared, volumes = -1, [], []
    for i in range(len(table)):
        alike = last >= 0 and table.run[i] == table.run[last]  # and so of one mixture and budget
        if not alike:
            counts = table.weights[i] * table.budget[i] if samples else table.weights[i]
            shared = [_plain(round(n, 6)) if samples else n for n in counts.tolist()]
        if with_volumes and not (
            alike and np.array_equal(table.volumes[i], table.volumes[last], equal_nan=True)
        ):
            volumes = [None if np.isnan(v) else _plain(v) for v in table.volumes[i].tolist()]
        last = i
        source = table.domains[sources[i]] if sources[i] >= 0 else None
        yield [
            table.run[i],
            int(table.seed[i]),
            *([] if samples else [_plain(table.budget[i]), source]),
            table.target[i],
            values[i],
            *([errors[i]] if with_se else []),
            *shared,
            *volumes,
        ]


def _plain(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)
