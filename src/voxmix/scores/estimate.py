"""Estimate: the score of one initialization on one task, with its interval over cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.scores.metric import Metric, case_values, is_case_mean, mean_of, weighted
from voxmix.scores.result import DownstreamResult
from voxmix.scores.statistics import bootstrap_interval


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Score of one initialization on one task, over its seeds and the task's test cases.

    Attributes:
        label: the class it is of, or None for the mean over classes.
        value: mean over seeds; NaN where nothing could be scored.
        low, high: bootstrap interval over cases, those of one subject together; NaN with fewer than three subjects.
        seed_values: score per seed, in the order of ``seeds``.
        cases: test cases that every seed has; ``subjects`` are the persons they are of.
        unscored: how often, over cases and seeds, there was nothing to score: the classes were empty in prediction
            and reference.
    """

    task: str
    metric: Metric
    init: str
    control: str | None
    label: str | None
    value: float
    low: float
    high: float
    seeds: tuple[int, ...]
    seed_values: tuple[float, ...]
    cases: int
    subjects: int
    unscored: int

    @property
    def seed_spread(self) -> float:
        """Standard deviation over seeds; NaN with one."""
        return float(np.std(self.seed_values, ddof=1)) if len(self.seed_values) > 1 else float("nan")


def shared_cases(runs: Sequence[DownstreamResult]) -> tuple[str, ...]:
    """Return the names of the cases that every run has, sorted."""
    return tuple(sorted(set.intersection(*({item.case for item in run.cases} for run in runs))))


def membership(runs: Sequence[DownstreamResult], cases: Sequence[str]) -> Float[np.ndarray, "subject case"]:
    """Return 1 where a case is of a subject, else 0; subjects in the order of their first case."""
    subject_of = {item.case: item.subject for run in runs for item in run.cases}
    subjects = list(dict.fromkeys(subject_of[name] for name in cases))
    found = np.zeros((len(subjects), len(cases)))
    for column, name in enumerate(cases):
        found[subjects.index(subject_of[name]), column] = 1
    return found


def estimate(
    runs: Sequence[DownstreamResult],
    metric: Metric,
    *,
    label: str | None = None,
    level: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Return the score of the runs of one initialization, which differ in their seed alone."""
    cases = shared_cases(runs)
    unscored = 0
    if is_case_mean(metric):
        values = [case_values(run, metric, cases, label=label) for run in runs]
        unscored = int(sum(np.isnan(v).sum() for v in values))
        scores = [mean_of(v) for v in values]
    else:
        scores = [weighted(run, metric, cases, label=label) for run in runs]
    by_seed = tuple(float(score(np.ones((1, len(cases))))[0]) if cases else float("nan") for score in scores)
    subjects = membership(runs, cases)
    low, high = bootstrap_interval(
        scores, subjects, level=level, resamples=resamples, rng=np.random.default_rng(seed)
    )
    return Estimate(
        task=runs[0].task,
        metric=metric,
        init=runs[0].init,
        control=runs[0].control,
        label=label,
        value=float(np.mean(by_seed)),
        low=low,
        high=high,
        seeds=tuple(run.seed for run in runs),
        seed_values=by_seed,
        cases=len(cases),
        subjects=len(subjects),
        unscored=unscored,
    )
