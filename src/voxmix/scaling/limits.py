"""Whether data or compute holds an objective back: the extreme sizes at more compute."""

from collections import defaultdict

import numpy as np

from voxmix.scaling.gather import Curve, Judged, TaskScores
from voxmix.scaling.numbers import ONE_SEED, TWO_SEEDS, lines_of
from voxmix.scaling.parts import NEGLIGIBLE, Limit, LimitKind, Number
from voxmix.scaling.spread import Lines, half_width

_NONE = Number.unknown(
    "no run at more compute at this size", "train the smallest and the largest size at twice the compute"
)


def limits(scores: TaskScores, level: float) -> tuple[Limit, ...]:
    """Return what limits each series that has runs at more compute.

    Two doublings are set against each other at the largest size: of samples (the slope) and of compute. "data": samples
    surely take error away, and surely more than compute does. "compute": the other way round. "both": each surely takes
    error away. "neither": neither can take more than 2% away. Else "unclear".
    """
    found = []
    for curve in scores.curves:
        runs = scores.more.get((curve.objective, curve.start), ())
        if runs:
            found.append(_limit(scores, curve, runs, level))
    return tuple(found)


def _limit(scores: TaskScores, curve: Curve, runs: tuple[Judged, ...], level: float) -> Limit:
    lines = lines_of(curve)
    small, large = (_gain(lines, curve, runs, n, level) for n in (curve.samples[0], curve.samples[-1]))
    return Limit(
        task=scores.task,
        objective=curve.objective,
        start=curve.start,
        limit=_kind(lines, large, level),
        gain_small=_share(small),
        gain_large=_share(large),
    )


class _Gain:
    """Fall of log error by a doubling of compute at one size: value, draws of its variance, what persons do to it."""

    def __init__(
        self, value: float, variances: np.ndarray, moved: np.ndarray, scale: float, level: float
    ) -> None:
        self.value, self.variances, self.moved, self.scale = value, variances, moved, scale
        self.reach = half_width(variances + np.var(moved), level)


def _gain(lines: Lines, curve: Curve, runs: tuple[Judged, ...], samples: int, level: float) -> _Gain | None:
    """Return the fall within seeds, per doubling, of the largest compute that the size has."""
    at: dict[float, dict[int, Judged]] = defaultdict(dict)
    for run in runs:
        if run.samples == samples and run.seed in curve.seeds and run.compute > 0:
            at[run.compute][run.seed] = run
    if not at:
        return None
    compute = max(at, key=lambda c: (len(at[c]), c))
    pairs = at[compute]
    row = curve.samples.index(samples)
    columns = [curve.seeds.index(seed) for seed in pairs]
    scale = np.log(2) / np.log(compute)
    value = float(np.mean(curve.values[row, columns] - [run.log_error for run in pairs.values()]))
    moved = curve.moved[:, row, columns].mean(axis=1) - np.mean([run.moved for run in pairs.values()], axis=0)
    # Two runs of one seed and size: their noise is that of runs, twice.
    noise = 2 * lines.unknown(np.ones(1)).runs * lines.repeats / len(pairs)
    return _Gain(scale * value, scale**2 * noise, scale * moved, scale, level)


def _share(gain: _Gain | None) -> Number:
    if gain is None:
        return _NONE
    if not np.isfinite(gain.reach):
        return Number(value=1 - float(np.exp(-gain.value)), status=ONE_SEED, remedy=TWO_SEEDS)
    low, value, high = (1 - float(np.exp(-(gain.value + way * gain.reach))) for way in (-1, 0, 1))
    return Number(value=value, low=low, high=high)


def _kind(lines: Lines, compute: _Gain | None, level: float) -> LimitKind:
    if compute is None or not np.isfinite(compute.reach):
        return "unclear"
    one, nothing, ln2 = np.ones(1), np.zeros(1), float(np.log(2))
    data = -float(lines.slope[0]) * ln2
    variances = lines.variances(nothing, ln2 * one)
    reach = half_width(variances, level)
    moved = -ln2 * lines.persons[:, 1] - compute.moved
    of_slope = variances - np.var(ln2 * lines.persons[:, 1])
    # Both use the runs of the largest size: where these are bad by chance, compute seems to help and samples to hurt.
    shared = 2 * ln2 * compute.scale * (lines.logs[-1] - lines.center) / lines.sxx * lines.unknown(one).runs
    between = half_width(
        np.sort(of_slope) + np.sort(compute.variances) + np.sort(shared) + np.var(moved), level
    )
    by_data, by_compute = data - reach > 0, compute.value - compute.reach > 0
    if by_data and by_compute:
        return "both"
    if by_data and data - compute.value > between:
        return "data"
    if by_compute and compute.value - data > between:
        return "compute"
    most = -np.log1p(-NEGLIGIBLE)
    if data + reach < most and compute.value + compute.reach < most:
        return "neither"
    return "unclear"
