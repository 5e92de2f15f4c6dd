"""Questions to laws of scores: the error with so many samples, and the samples that an error needs."""

from collections.abc import Sequence

import numpy as np

from voxmix.errors import InputError, did_you_mean
from voxmix.scaling.numbers import first_crossing
from voxmix.scaling.parts import INF, Line, Number, Series
from voxmix.scaling.results import ScoreLaws

OUTSIDE = "outside of the measured sizes: the line goes on as if nothing changed, and a floor would"
MEASURE_IT = "train a size there"
_MOST = 1e15
"""Samples that nobody has."""


def series_of(
    laws: ScoreLaws, *, task: str | None = None, objective: str | None = None
) -> tuple[Series, ...]:
    """Return the series of a task and an objective; all where none is given.

    Raises:
        InputError: no such task or objective, or none of both together.
    """
    for what, name, known in (
        ("task", task, sorted({s.task for s in laws.series})),
        ("objective", objective, sorted({s.objective for s in laws.series})),
    ):
        if name is not None and name not in known:
            raise InputError(
                f"the laws know no {what} {name!r}; {did_you_mean(name, known, what=f'the {what}s are ')}"
            )
    found = tuple(s for s in laws.series if task in (None, s.task) and objective in (None, s.objective))
    if not found:
        raise InputError(
            f"there is no law of {objective} on {task}; leave --task or --objective out to see those that are there"
        )
    return found


def error_with(series: Series, samples: float) -> Number:
    """Return the error with so many samples, by the fitted line; marked outside of the measured sizes.

    Raises:
        InputError: no number of samples.
    """
    if not 0 < samples < _MOST:
        raise InputError(f"samples must be above 0 and below {_MOST:.0e}, got {samples}")
    line = series.line
    if line is None:
        return Number.unknown(series.elasticity.status or "no line is fitted", series.elasticity.remedy)
    if not line.samples[0] * (1 - 1e-9) <= samples <= line.samples[-1] * (1 + 1e-9):
        return Number.unknown(
            f"so far from the measured sizes ({series.samples[0]:,} to {series.samples[-1]:,}) that nothing can be told",
            MEASURE_IT,
        )
    value, low, high = (_at(line, values, samples) for values in (line.errors, line.low, line.high))
    inside = series.samples[0] <= samples <= series.samples[-1]
    return Number(
        value=value, low=low, high=high, status="" if inside else OUTSIDE, remedy="" if inside else MEASURE_IT
    )


def samples_for(series: Series, error: float) -> Number:
    """Return the samples with which the fitted line first comes down to an error.

    A ``low`` of 0 stands for fewer than a tenth of the smallest size, a ``high`` of infinity for more than ten times the
    largest; marked where it lies outside of the measured sizes.

    Raises:
        InputError: no error between 0 and 1.
    """
    if not 0 < error < 1:
        raise InputError(f"an error must lie between 0 and 1 (1 - score), got {error:g}")
    line = series.line
    if line is None:
        return Number.unknown(series.elasticity.status or "no line is fitted", series.elasticity.remedy)
    value, low, high = (_first(line, values, error) for values in (line.errors, line.low, line.high))
    if value == INF:
        return Number(
            value=float("nan"),
            low=low,
            high=high,
            status=f"not within ten times the largest size, {series.samples[-1]:,}",
            remedy="a lower aim, or another objective",
        )
    if value == 0.0:
        return Number(
            value=float("nan"),
            low=low,
            high=high,
            status=f"a tenth of the smallest size, {series.samples[0]:,}, is enough already",
            remedy="train a smaller size to know how few are",
        )
    inside = series.samples[0] <= value <= series.samples[-1]
    return Number(
        value=value, low=low, high=high, status="" if inside else OUTSIDE, remedy="" if inside else MEASURE_IT
    )


def _at(line: Line, values: Sequence[float], samples: float) -> float:
    return float(np.exp(np.interp(np.log(samples), np.log(line.samples), np.log(values))))


def _first(line: Line, values: Sequence[float], error: float) -> float:
    """Return the samples at which a line first comes down to an error: 0 below where it begins, infinity where never."""
    return float(np.exp(first_crossing(np.log(line.samples), np.log(values) - np.log(error))))
