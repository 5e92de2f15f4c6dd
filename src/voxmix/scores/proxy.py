"""ProxyAgreement: does the order of the proxy losses predict the order of the scores on clinical tasks?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float

from voxmix.scores.compare import Comparison
from voxmix.scores.estimate import membership, shared_cases
from voxmix.scores.metric import metrics_of, weighted
from voxmix.scores.rank import rank_correlation
from voxmix.scores.statistics import resampled

_EXACT = 5040


@dataclass(frozen=True, kw_only=True, slots=True)
class ProxyAgreement:
    """Rank correlation of proxy loss and score over initializations, task by task and on the mean.

    Attributes:
        measure: which proxy loss, in words, such as "mean over targets".
        loss: proxy loss, (task, init), mean over pretraining runs; NaN where there is none.
        score: main score, (task, init), mean over seeds; NaN where there is none.
        correlation: Spearman's of score and minus the loss per task: 1 where the lowest loss has the best score; NaN
            with fewer than three initializations.
        mean: over the tasks with a correlation; NaN without one.
        low, high: its interval, from resampling subjects and seeds of every task.
        p: share of relabelings of the initializations, the same in all tasks, with a mean as high (one-sided).
        least_p: the smallest p that so few initializations can give.
        right, told_apart: of the pairs whose scores differ significantly, how many have the order of the losses.
    """

    measure: str
    tasks: tuple[str, ...]
    inits: tuple[str, ...]
    loss: Float[np.ndarray, "task init"]
    score: Float[np.ndarray, "task init"]
    correlation: Float[np.ndarray, " task"]
    mean: float
    low: float
    high: float
    p: float
    least_p: float
    right: int
    told_apart: int
    level: float

    @property
    def decidable(self) -> bool:
        """Whether perfect agreement could be told from chance at all."""
        return bool(np.isfinite(self.mean)) and self.least_p <= 1 - self.level


def proxy_agreement(
    comparison: Comparison,
    losses: Mapping[tuple[str, str], Sequence[float]],
    *,
    measure: str = "mean over targets",
    resamples: int = 2000,
    seed: int = 0,
) -> ProxyAgreement | None:
    """Return how well proxy losses order the scores; None unless two initializations of a task have both.

    Args:
        losses: (task, init) to the loss of every pretraining run whose encoder that initialization took, in the order of
            their seeds: runs at one place share a seed, and are resampled together.
    """
    table = comparison.table
    inits = tuple(name for name in table.inits if any((task, name) in losses for task in table.tasks))
    tasks = tuple(t for t in table.tasks if sum((t, name) in losses for name in inits) > 1)
    if not tasks:
        return None
    rng = np.random.default_rng(seed)
    given = {
        (t, n): losses[t, n] for t in tasks for n in inits if (t, n) in losses and table.select(t, init=n)
    }
    picks = rng.random((resamples, max((len(values) for values in given.values()), default=0)))
    loss, loss_draws = _tables(
        {key: _loss_draws(values, picks) for key, values in given.items()},
        tasks,
        inits,
        resamples,
    )
    score, score_draws = _tables(
        _score_draws(comparison, tasks, inits, resamples, rng), tasks, inits, resamples
    )
    correlation = rank_correlation(-loss, score)
    mean = float(_mean(correlation))
    draws = _mean(rank_correlation(-loss_draws, score_draws))
    tail = (1 - comparison.level) / 2
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, [tail, 1 - tail]).tolist() if known.size else (np.nan, np.nan)
    told, right = _told_apart(comparison, tasks, inits, loss)
    return ProxyAgreement(
        measure=measure,
        tasks=tasks,
        inits=inits,
        loss=loss,
        score=score,
        correlation=correlation,
        mean=mean,
        low=low,
        high=high,
        p=_permutation_p(loss, score, mean, rng),
        least_p=1 / factorial(len(inits)),
        right=right,
        told_apart=told,
        level=comparison.level,
    )


_Draws = dict[tuple[str, str], tuple[float, Float[np.ndarray, " sample"]]]


def _loss_draws(
    values: Sequence[float], picks: Float[np.ndarray, "sample seed"]
) -> tuple[float, Float[np.ndarray, " sample"]]:
    """Return the mean over runs, and those of resampled seeds; the same resample for all initializations."""
    runs = np.asarray(values, dtype=np.float64)
    return float(runs.mean()), runs[(picks[:, : len(runs)] * len(runs)).astype(np.int64)].mean(axis=1)


def _score_draws(
    comparison: Comparison,
    tasks: Sequence[str],
    inits: Sequence[str],
    resamples: int,
    rng: np.random.Generator,
) -> _Draws:
    """Return main scores, and those of resampled cases and seeds; the same resample for all initializations."""
    found: _Draws = {}
    for task in tasks:
        groups = {name: comparison.table.select(task, init=name) for name in inits}
        groups = {name: runs for name, runs in groups.items() if runs}
        every = [run for runs in groups.values() for run in runs]
        metric, cases = metrics_of(every)[0], shared_cases(every)
        weights = resampled(membership(every, cases), resamples, rng) if cases else None
        picks = rng.random((resamples, max(len(runs) for runs in groups.values())))
        for name, runs in groups.items():
            item = comparison.estimate(task, metric, name)
            if weights is None or item is None:
                continue
            by_seed = np.stack([weighted(run, metric, cases)(weights) for run in runs], axis=1)
            chosen = (picks[:, : len(runs)] * len(runs)).astype(np.int64)
            found[task, name] = (item.value, np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1))
    return found


def _tables(
    found: _Draws, tasks: Sequence[str], inits: Sequence[str], resamples: int
) -> tuple[Float[np.ndarray, "task init"], Float[np.ndarray, "sample task init"]]:
    values = np.full((len(tasks), len(inits)), np.nan)
    draws = np.full((resamples, len(tasks), len(inits)), np.nan)
    for (task, init), (value, sample) in found.items():
        place = (tasks.index(task), inits.index(init))
        values[place] = value
        draws[:, place[0], place[1]] = sample
    return values, draws


def _mean(values: Float[np.ndarray, "*rows task"]) -> Float[np.ndarray, "*rows"]:
    """Mean over the tasks with a correlation; NaN without one."""
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _permutation_p(
    loss: Float[np.ndarray, "task init"],
    score: Float[np.ndarray, "task init"],
    mean: float,
    rng: np.random.Generator,
) -> float:
    if not np.isfinite(mean):
        return float("nan")
    count = loss.shape[1]
    if factorial(count) <= _EXACT:
        orders = [list(order) for order in permutations(range(count))]
    else:
        orders = [list(range(count)), *(rng.permutation(count).tolist() for _ in range(_EXACT - 1))]
    means = np.array([_mean(rank_correlation(-loss[:, order], score)) for order in orders])
    means = means[np.isfinite(means)]
    return float((means >= mean - 1e-12).mean())


def _told_apart(
    comparison: Comparison, tasks: Sequence[str], inits: Sequence[str], loss: Float[np.ndarray, "task init"]
) -> tuple[int, int]:
    told = right = 0
    for item in comparison.differences:
        if not item.apart or item.task not in tasks or item.first not in inits or item.second not in inits:
            continue
        row = loss[tasks.index(item.task)]
        less = row[inits.index(item.first)] - row[inits.index(item.second)]
        if np.isfinite(less) and less != 0:
            told += 1
            right += int((less < 0) == (item.test.difference > 0))
    return told, right
