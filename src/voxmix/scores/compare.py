"""Comparison: the scores of every initialization with intervals, and which of them differ significantly."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from voxmix import _frames, _html
from voxmix.errors import InputError
from voxmix.scores.estimate import Estimate, estimate, membership, shared_cases
from voxmix.scores.metric import Metric, case_values, is_case_mean, metrics_of, weighted
from voxmix.scores.result import DownstreamResult, SegmentedCase
from voxmix.scores.statistics import PairedTest, crossed_test, holm, pseudovalues, seed_noise
from voxmix.scores.table import ScoreTable

_Runs = tuple[DownstreamResult, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """First minus second on the main metric of a task, over the cases and seeds that both have.

    Attributes:
        test: difference, interval and p-value of this comparison alone.
        corrected: p-value corrected for all comparisons of its family; NaN where one seed or one subject cannot tell.
        apart: whether ``corrected`` is below one minus the level.
    """

    task: str
    metric: Metric
    first: str
    second: str
    test: PairedTest
    cases: int
    subjects: int
    seeds: tuple[int, ...]
    corrected: float = float("nan")
    apart: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Comparison:
    """All that can be said about a table of scores.

    Attributes:
        estimates: scores of all runs, those with a control too, by task, initialization and metric.
        by_class: Dice per class, AUROC per label, of the runs without a control.
        differences: every pair of initializations on the main metric of every task: one family of tests.
        control_differences: every control against the same initialization without it: another family.
        level: of the intervals, and one minus the error rate of a family.
        notes: what was left out of a comparison, in plain sentences.
    """

    table: ScoreTable
    estimates: tuple[Estimate, ...]
    by_class: tuple[Estimate, ...]
    differences: tuple[Difference, ...]
    control_differences: tuple[Difference, ...]
    level: float
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = "; ".join(f"{task}: {' or '.join(self.best(task))}" for task in self.table.tasks)
        return f"Comparison(best, or tied with it: {best or 'no scores'})"

    def _repr_html_(self) -> str:
        rows = []
        for task in self.table.tasks:
            metric = self.metrics(task)[0]
            found = [self.estimate(task, metric, init) for init in self.table.inits]
            rows.append((task, metric.name, *(_short(item) for item in found), " or ".join(self.best(task))))
        head = ("task", "metric", *self.table.inits, "best or tied")
        return _html.table(head, rows) + _html.items(self.notes)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one record per task, metric, initialization and control: value, interval, seeds, cases, subjects."""
        return [
            {
                "task": item.task,
                "metric": item.metric.name,
                "init": item.init,
                "control": item.control,
                "value": item.value,
                "low": item.low,
                "high": item.high,
                "seeds": len(item.seeds),
                "cases": item.cases,
                "subjects": item.subjects,
            }
            for item in self.estimates
        ]

    def to_frame(self, *, library: str | None = None) -> Any:
        """Return :meth:`to_rows` as a DataFrame of pandas, Polars or PyArrow: the first that is installed, without ``library``."""
        return _frames.frame_of(self.to_rows(), library=library)

    def estimate(self, task: str, metric: Metric, init: str, control: str | None = None) -> Estimate | None:
        """Return the score of an initialization, or None when it has none."""
        wanted = (task, metric, init, control)
        return next((e for e in self.estimates if (e.task, e.metric, e.init, e.control) == wanted), None)

    def metrics(self, task: str) -> tuple[Metric, ...]:
        """Return the metrics of a task, the main one first."""
        return tuple(dict.fromkeys(item.metric for item in self.estimates if item.task == task))

    def best(self, task: str) -> tuple[str, ...]:
        """Return the initialization with the best main score, then those that are tied with it."""
        main = [
            e
            for e in self.estimates
            if e.task == task and e.control is None and e.metric.main and np.isfinite(e.value)
        ]
        if not main:
            return ()
        first, *others = sorted(main, key=lambda e: -e.value)
        return (first.init, *(e.init for e in others if not self.apart(task, first.init, e.init)))

    def apart(self, task: str, first: str, second: str) -> bool:
        """Return whether two initializations differ significantly on a task."""
        pair = {first, second}
        return any(d.apart for d in self.differences if d.task == task and {d.first, d.second} == pair)


def compare(table: ScoreTable, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Return scores with intervals, and paired tests corrected for their number.

    Two initializations are compared on the cases and seeds that both have. One seed says nothing about others,
    so nothing is apart then. A reference of one set of weights (open weights, by its :class:`JudgedEncoder`) has no seed:
    it is held against every seed of the other, and adds no noise of seeds.

    Raises:
        InputError: a level outside 0.5 to 1.
    """
    if not 0.5 <= level < 1:
        raise InputError(f"level is {level}, expected 0.5 to 1, such as 0.95")
    groups = _groups(table)
    metrics = {task: metrics_of(table.select(task)) for task in table.tasks}
    given: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    pairs = [
        (groups[b], groups[a])
        for a, b in combinations(groups, 2)
        if a[0] == b[0] and a[2] is None and b[2] is None
    ]
    against = [
        (runs, groups[task, init, None])
        for (task, init, control), runs in groups.items()
        if control is not None and (task, init, None) in groups
    ]
    differences = _family(pairs, metrics, level=level, pooled=True)
    return Comparison(
        table=table,
        estimates=tuple(
            estimate(runs, metric, **given) for key, runs in groups.items() for metric in metrics[key[0]]
        ),
        by_class=tuple(
            estimate(runs, metrics[key[0]][0], label=label, **given)
            for key, runs in groups.items()
            if key[2] is None
            for label in _labels(runs)
        ),
        differences=differences,
        control_differences=_family(against, metrics, level=level, pooled=False),
        level=level,
        notes=_left_out(table, differences),
    )


def _short(item: Estimate | None) -> str:
    if item is None or np.isnan(item.value):
        return "–"
    return f"{item.value:.3f}" + ("" if np.isnan(item.low) else f" ({item.low:.3f} to {item.high:.3f})")


def _groups(table: ScoreTable) -> dict[tuple[str, str, str | None], _Runs]:
    """Return the runs that differ in their seed alone, in the order of the table."""
    keys = dict.fromkeys((run.task, run.init, run.control) for run in table.results)
    return {key: table.select(key[0], init=key[1], control=key[2]) for key in keys}


def _labels(runs: _Runs) -> list[str]:
    if runs[0].kind == "labels":
        return list(runs[0].classes)
    met = {
        name for run in runs for case in run.cases if isinstance(case, SegmentedCase) for name in case.dice
    }
    return [name for name in runs[0].classes if name in met]


def _family(
    pairs: Sequence[tuple[_Runs, _Runs]],
    metrics: dict[str, tuple[Metric, ...]],
    *,
    level: float,
    pooled: bool,
) -> tuple[Difference, ...]:
    """Return the differences of a family, corrected for their number.

    ``pooled``: initializations share the noise of their seeds. Controls do not: a network whose tokens are taken away
    can be many times as noisy as the others, and would drown or flatter them.
    """
    found = []
    for task in dict.fromkeys(first[0].task for first, _ in pairs):
        inside = [(first, second) for first, second in pairs if first[0].task == task]
        metric = metrics[task][0]
        noise = _noise([runs for pair in inside for runs in pair], metric) if pooled else None
        found += [_difference(*pair, metric, level=level, noise=noise) for pair in inside]
    corrected = holm([item.test.p for item in found])
    return tuple(
        replace(item, corrected=p, apart=p < 1 - level) for item, p in zip(found, corrected, strict=True)
    )


def _noise(groups: Sequence[_Runs], metric: Metric) -> tuple[float, float]:
    """Return what the seeds of a task alone make of a difference, from all runs, on the cases they share."""
    unique = {runs[0].name: runs for runs in groups}
    seeds = sorted({run.seed for runs in unique.values() for run in runs})
    cases = shared_cases([run for runs in unique.values() for run in runs])
    scores = np.full((len(unique), len(seeds)), np.nan)
    for place, runs in enumerate(unique.values()):
        for run in runs:
            if cases:
                scores[place, seeds.index(run.seed)] = weighted(run, metric, cases)(np.ones((1, len(cases))))[
                    0
                ]
    return seed_noise(scores)


def _difference(
    first: _Runs, second: _Runs, metric: Metric, *, level: float, noise: tuple[float, float] | None
) -> Difference:
    seeds, sides, noise = _paired(first, second, noise)
    runs = [run for side in sides for run in side]
    cases = _scored_by_all(runs, metric)
    subjects = membership(runs, cases)
    values = [[pseudovalues(weighted(run, metric, cases), subjects) for run in side] for side in sides]
    both = np.array(values, dtype=np.float64).reshape(2, len(sides[0]), len(subjects))
    return Difference(
        task=first[0].task,
        metric=metric,
        first=first[0].name,
        second=second[0].name,
        test=crossed_test((both[0] - both[1]).T, level=level, noise=noise).within(metric.widest),
        cases=len(cases),
        subjects=len(subjects),
        seeds=seeds,
    )


_FIXED = (0.0, float("inf"))
"""Noise of seeds where there is none."""


def _paired(
    first: _Runs, second: _Runs, noise: tuple[float, float] | None
) -> tuple[tuple[int, ...], list[list[DownstreamResult]], tuple[float, float] | None]:
    """Return the seeds that a difference is over, the runs of each side by seed, and the noise of that difference's seeds.

    One set of weights stands for every seed: it is repeated, and half of the noise of a difference is left.
    """
    fixed = [len(runs) == 1 and _is_reference(runs[0]) for runs in (first, second)]
    if all(fixed):  # twice the same: what varies are the subjects alone
        return (first[0].seed,), [list(first) * 2, list(second) * 2], _FIXED
    if any(fixed):
        free = second if fixed[0] else first
        sides = [
            list(runs) * len(free) if still else list(runs)
            for runs, still in zip((first, second), fixed, strict=True)
        ]
        left = None if noise is None else (noise[0] / 2, noise[1])
        return tuple(run.seed for run in free), sides, left
    seeds = tuple(sorted({run.seed for run in first} & {run.seed for run in second}))
    return seeds, [[run for run in runs if run.seed in seeds] for runs in (first, second)], noise


def _is_reference(run: DownstreamResult) -> bool:
    return run.judged is not None and run.judged.is_reference


def _scored_by_all(runs: Sequence[DownstreamResult], metric: Metric) -> tuple[str, ...]:
    cases = shared_cases(runs) if runs else ()
    if not is_case_mean(metric):
        return cases
    values = np.array([case_values(run, metric, cases) for run in runs]).reshape(len(runs), len(cases))
    return tuple(name for k, name in enumerate(cases) if np.isfinite(values[:, k]).all())


def _of_references(table: ScoreTable, difference: Difference) -> bool:
    """Whether both sides are one set of weights."""
    return all(
        _is_reference(run)
        for run in table.select(difference.task)
        if run.name in (difference.first, difference.second)
    )


def _left_out(table: ScoreTable, differences: Sequence[Difference]) -> tuple[str, ...]:
    """Name the tasks where differences rest on fewer cases or seeds than there are."""
    notes = []
    for task in table.tasks:
        runs, items = table.select(task), [item for item in differences if item.task == task]
        for what, every, used in (
            ("cases", {c.case for run in runs for c in run.cases}, [d.cases for d in items]),
            (
                "seeds",
                {run.seed for run in runs if not _is_reference(run)},
                [len(d.seeds) for d in items if not _of_references(table, d)],
            ),
        ):
            if used and min(used) < len(every):
                notes.append(
                    f"{task}: some differences rest on {min(used)} of {len(every)} {what}, those that both sides have "
                    "a score for"
                )
    return tuple(notes)
