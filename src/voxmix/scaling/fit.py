"""Fit the laws of scores: from judged encoders to numbers with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.scaling.floors import floor, one_exponent_fits
from voxmix.scaling.gather import LEAST_SIZES, Beside, Curve, TaskScores, gather
from voxmix.scaling.limits import limits
from voxmix.scaling.numbers import (
    between,
    elasticity,
    equivalent,
    first_below,
    forgetting,
    line_gap,
    lines_of,
    per_doubling,
    ratio,
    samples_number,
    share_worse,
    size_reach,
)
from voxmix.scaling.parts import Crossing, Line, Number, Pair, Reference, Series, own_reference
from voxmix.scaling.results import Scored, ScoreLaws
from voxmix.scaling.spread import half_width

SURE = 0.95
"""Share of draws in which a slope has to be worse before it is called inverse scaling."""
BEYOND = 10.0
"""Times the largest size up to which a line is kept for prediction, marked; and the smallest size over it."""
_SAME_SIZE = 1e-6
"""Log samples that differ by less are one."""
_LINE_POINTS, _BETWEEN_POINTS = 31, 9
"""Numbers of samples, evenly in the log, at which lines and differences of two lines are kept, beside the measured sizes."""


def fit_score_laws(
    scores: Sequence[Scored], level: float = 0.9, draws: int = 1000, seed: int = 0
) -> ScoreLaws:
    """Return what scores say of objectives and numbers of samples.

    Args:
        level: of the intervals.
        draws: resamples of test persons.
        seed: of these resamples.

    Raises:
        InputError: no scores, or a level or draws that cannot be used.
    """
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, got {level}; e.g. 0.9")
    if draws < 50:
        raise InputError(f"draws must be 50 or more, got {draws}; 1000 is usual")
    if not scores:
        raise InputError("there is no score to fit a law to; judge encoders first")
    tasks = gather(scores, draws=draws, rng=np.random.default_rng(seed))
    found = [_laws_of(task, level) for task in tasks]
    return ScoreLaws(
        series=tuple(item for part in found for item in part.series),
        references=tuple(item for part in found for item in part.references),
        crossings=tuple(item for part in found for item in part.crossings),
        pairs=tuple(item for part in found for item in part.pairs),
        limits=tuple(item for task in tasks for item in limits(task, level)),
        notes=tuple(note for task in tasks for note in task.notes),
        level=level,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TaskLaws:
    series: tuple[Series, ...]
    references: tuple[Reference, ...]
    crossings: tuple[Crossing, ...]
    pairs: tuple[Pair, ...]


def _laws_of(task: TaskScores, level: float) -> _TaskLaws:
    return _TaskLaws(
        series=tuple(_series(task, curve, level) for curve in task.curves),
        references=tuple(_reference(task, beside, level) for beside in task.beside),
        crossings=tuple(
            _crossing(task, curve, beside, level) for curve in task.curves for beside in task.beside
        ),
        pairs=tuple(
            pair
            for a, b in combinations(task.curves, 2)
            if a.objective == b.objective or a.start == b.start
            if (pair := _pair(task, a, b, level)) is not None
        ),
    )


def _series(task: TaskScores, curve: Curve, level: float) -> Series:
    lines = lines_of(curve)
    slope = elasticity(lines, np.ones(1), level)
    reach = size_reach(lines, level)
    means = lines.means[0]
    worse = share_worse(lines)
    name = own_reference(curve.start, [one.name for one in task.beside])
    beside = next((one for one in task.beside if one.name == name), None)
    if not task.outside:
        lost = Number.unknown("only asked out of domain")
    elif beside is None:
        lost = Number.unknown(
            "what it began from was not judged", "judge what it began from on this task too, as a reference"
        )
    else:
        lost = forgetting(lines, beside, level)
    known = np.isfinite(reach)
    return Series(
        task=task.task,
        metric=task.metric,
        outside=task.outside,
        objective=curve.objective,
        start=curve.start,
        samples=curve.samples,
        seeds=curve.seeds,
        errors=_floats(np.exp(means)),
        low=_floats(np.exp(np.where(known, means - reach, np.nan))),
        high=_floats(np.exp(np.where(known, means + reach, np.nan))),
        seed_errors=tuple(_floats(np.exp(row)) for row in curve.values),
        elasticity=slope,
        per_doubling=per_doubling(slope),
        floor=floor(lines, level),
        inverse=worse >= SURE,
        forgetting=lost,
        line=_line(curve, level),
    )


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _line(curve: Curve, level: float, beside: Beside | None = None) -> Line | None:
    """Return the line of a series, over a reference if there is one; None with one seed."""
    if len(curve.seeds) < 2:
        return None
    gap = line_gap(lines_of(curve), level, beside)
    logs = _points(curve.samples, _LINE_POINTS, beyond=BEYOND)
    values, reach = np.array([gap(float(x)) for x in logs]).T
    most = 0.0 if beside is None else np.inf
    return Line(
        samples=_floats(np.exp(logs)),
        errors=_floats(np.exp(values)),
        low=_floats(np.exp(values - reach)),
        high=_floats(np.exp(np.minimum(values + reach, most))),
    )


def _points(sizes: Sequence[int], count: int, *, beyond: float = 1.0) -> Float[np.ndarray, " point"]:
    """Return logs of numbers of samples: evenly from the smallest size to the largest and ``beyond``, and every size itself."""
    own = np.log(np.array(sizes, dtype=np.float64))
    even = np.linspace(own[0] - np.log(beyond), own[-1] + np.log(beyond), count)
    apart = np.abs(even[:, None] - own).min(axis=1) > _SAME_SIZE
    return np.sort(np.concatenate([own, even[apart]]))


def _reference(task: TaskScores, beside: Beside, level: float) -> Reference:
    variance = float(np.var(beside.moved)) + beside.apart
    reach = half_width(np.array([variance]), level) if variance > 0 else float("nan")
    return Reference(
        task=task.task,
        name=beside.name,
        error=float(np.exp(beside.log_error)),
        low=float(np.exp(beside.log_error - reach)),
        high=float(np.exp(beside.log_error + reach)),
    )


def _crossing(task: TaskScores, curve: Curve, beside: Beside, level: float) -> Crossing:
    lines = lines_of(curve)
    ends = first_below(line_gap(lines, level, beside), float(lines.logs[0]), float(lines.logs[-1]))
    samples, reach = samples_number(ends, what=f"where {curve.name} first beats {beside.name}")
    return Crossing(
        task=task.task,
        objective=curve.objective,
        start=curve.start,
        reference=beside.name,
        samples=samples,
        reach=reach,
        line=_line(curve, level, beside),
    )


def _pair(task: TaskScores, a: Curve, b: Curve, level: float) -> Pair | None:
    """Return two series side by side, over the sizes and seeds that both have; None with too few."""
    sizes = [n for n in a.samples if n in b.samples]
    seeds = [s for s in a.seeds if s in b.seeds]
    if len(sizes) < LEAST_SIZES or not seeds:
        return None
    lines = lines_of(a.cut(sizes, seeds), b.cut(sizes, seeds))
    both = between(lines, _points(sizes, _BETWEEN_POINTS), level)
    found = []
    for n in sizes:
        what = f"where {b.name} reaches what {a.name} does with {n:,} samples"
        number, _ = equivalent(both, n, of_first=True, what=what)
        found.append((n, number))
    return Pair(
        task=task.task,
        first=a.name,
        second=b.name,
        difference=elasticity(lines, np.array([1.0, -1.0]), level),
        ratio=ratio(lines, level),
        same_law_fits=one_exponent_fits(lines, level),
        data_equivalent=tuple(found),
        between=both,
    )
