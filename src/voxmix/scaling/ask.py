"""Questions to laws of scores: the error with so many samples, beside references and other series, and the samples that an error needs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from voxmix.errors import InputError, did_you_mean
from voxmix.scaling.numbers import equivalent, first_crossing
from voxmix.scaling.parts import INF, Crossing, Line, Number, Series
from voxmix.scaling.results import ScoreLaws

OUTSIDE = "outside of the measured sizes: the line goes on as if nothing changed, and a floor would"
MEASURE_IT = "train a size there"
_MOST = 1e15
"""Samples that nobody has."""
_OLDER = Number.unknown(
    "these laws were fitted by an earlier voxmix, which kept no line for this", "voxmix scale"
)


def series_of(
    laws: ScoreLaws, *, tasks: Sequence[str] = (), objectives: Sequence[str] = ()
) -> tuple[Series, ...]:
    """Return the series of some tasks and objectives; of all where none are given.

    Raises:
        InputError: no such task or objective, or none of both together.
    """
    for what, names, known in (
        ("task", tasks, sorted({s.task for s in laws.series})),
        ("objective", objectives, sorted({s.objective for s in laws.series})),
    ):
        odd = next((name for name in names if name not in known), None)
        if odd is not None:
            raise InputError(
                f"the laws know no {what} {odd!r}; {did_you_mean(odd, known, what=f'the {what}s are ')}"
            )
    found = tuple(
        s
        for s in laws.series
        if (not tasks or s.task in tasks) and (not objectives or s.objective in objectives)
    )
    if not found:
        raise InputError(
            f"there is no law of {' or '.join(objectives)} on {' or '.join(tasks)}; leave --task or --objective out to see those "
            "that are there"
        )
    return found


def error_with(series: Series, samples: float) -> Number:
    """Return the error with so many samples, by the fitted line; marked outside of the measured sizes.

    Raises:
        InputError: no number of samples.
    """
    return _read(series, series.line, samples)


def changes_with(laws: ScoreLaws, series: Series, samples: float) -> Iterator[tuple[Crossing, Number]]:
    """Yield, for each reference, the change of its error by a series with so many samples: -0.1 where it is a tenth less.

    The interval is that of the ratio of both errors on the same persons. Marked outside of the measured sizes.

    Raises:
        InputError: no number of samples.
    """
    for one in laws.crossings:
        if (one.task, one.objective, one.start) != (series.task, series.objective, series.start):
            continue
        if one.line is None and series.line is not None:
            yield one, _OLDER
            continue
        found = _read(series, one.line, samples)
        yield one, replace(found, value=found.value - 1, low=found.low - 1, high=found.high - 1)


def equivalents_with(laws: ScoreLaws, series: Series, samples: float) -> Iterator[tuple[Series, Number]]:
    """Yield, for each other series of its task, the samples that it needs for the error that a series has with so many.

    Not followed beyond the sizes that both have: a ``low`` of 0 stands for fewer than the smallest, a ``high`` of infinity for
    more than the largest.

    Raises:
        InputError: no number of samples.
    """
    _check(samples)
    for pair in laws.pairs:
        if pair.task != series.task or series.name not in (pair.first, pair.second):
            continue
        of_first = series.name == pair.first
        name = pair.second if of_first else pair.first
        other = next(s for s in laws.series if (s.task, s.name) == (pair.task, name))
        lines = pair.between
        if lines is None:
            yield other, _OLDER
        elif not _within(lines.samples, samples):
            span = f"{lines.samples[0]:,.0f} to {lines.samples[-1]:,.0f}"
            status = f"outside of the sizes that both have ({span}), where no curve is followed to another"
            yield other, Number.unknown(status, MEASURE_IT)
        else:
            what = f"where {name} reaches what {series.name} does with {samples:,.15g} samples"
            yield other, equivalent(lines, samples, of_first=of_first, what=what)[0]


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
        return _no_line(series)
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
    return _marked(series, Number(value=value, low=low, high=high), value)


def _check(samples: float) -> None:
    if not 0 < samples < _MOST:
        raise InputError(f"samples must be above 0 and below {_MOST:.0e}, got {samples}")


def _within(samples: Sequence[float], asked: float) -> bool:
    return samples[0] * (1 - 1e-9) <= asked <= samples[-1] * (1 + 1e-9)


def _read(series: Series, line: Line | None, samples: float) -> Number:
    """Return what a line of a series says with so many samples."""
    _check(samples)
    if line is None:
        return _no_line(series)
    if not _within(line.samples, samples):
        return Number.unknown(
            f"so far from the measured sizes ({series.samples[0]:,} to {series.samples[-1]:,}) that nothing can be told",
            MEASURE_IT,
        )
    value, low, high = (_at(line, values, samples) for values in (line.errors, line.low, line.high))
    return _marked(series, Number(value=value, low=low, high=high), samples)


def _no_line(series: Series) -> Number:
    return Number.unknown(series.elasticity.status or "no line is fitted", series.elasticity.remedy)


def _marked(series: Series, number: Number, samples: float) -> Number:
    """Return a number marked where its samples lie outside of the measured sizes."""
    if series.samples[0] <= samples <= series.samples[-1]:
        return number
    return replace(number, status=OUTSIDE, remedy=MEASURE_IT)


def _at(line: Line, values: Sequence[float], samples: float) -> float:
    return float(np.exp(np.interp(np.log(samples), np.log(line.samples), np.log(values))))


def _first(line: Line, values: Sequence[float], error: float) -> float:
    """Return the samples at which a line first comes down to an error: 0 below where it begins, infinity where never."""
    return float(np.exp(first_crossing(np.log(line.samples), np.log(values) - np.log(error))))
