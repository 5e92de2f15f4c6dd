"""What the figures of finetuning scores show, as arrays; drawn by score_drawing.py."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.allocation.strategies import SCRATCH
from voxmix.scores import Comparison, Metric, ProxyAgreement


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoresData:
    """Main scores of one task: mean over seeds, interval over cases and every seed, NaN where missing."""

    task: str
    metric: Metric
    inits: tuple[str, ...]
    value: Float[np.ndarray, " init"]
    interval: Float[np.ndarray, "init 2"]
    seeds: Float[np.ndarray, "init seed"]
    best: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GainsData:
    """Differences to ``base`` on the main metric of every task, (row,): an interval of (NaN, NaN) with one seed."""

    base: str
    tasks: tuple[str, ...]
    inits: tuple[str, ...]
    gain: Float[np.ndarray, " row"]
    interval: Float[np.ndarray, "row 2"]
    apart: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LearningData:
    """Validation score over training steps of one task: mean over seeds per initialization, and every seed."""

    task: str
    inits: tuple[str, ...]
    steps: Float[np.ndarray, " step"]
    mean: Float[np.ndarray, "init step"]
    seeds: Float[np.ndarray, "init seed step"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AgreementPanel:
    """One task of a :class:`ProxyAgreement`, with the interval of every score over cases."""

    task: str
    metric: Metric
    measure: str
    inits: tuple[str, ...]
    loss: Float[np.ndarray, " init"]
    score: Float[np.ndarray, " init"]
    interval: Float[np.ndarray, "init 2"]
    correlation: float


def scores_data(comparison: Comparison, *, task: str) -> ScoresData:
    """Return the main scores of a task."""
    items = [e for e in comparison.estimates if (e.task, e.control) == (task, None) and e.metric.main]
    seeds = sorted({seed for e in items for seed in e.seeds})
    by_seed = np.full((len(items), len(seeds)), np.nan)
    for row, e in enumerate(items):
        by_seed[row, [seeds.index(seed) for seed in e.seeds]] = e.seed_values
    return ScoresData(
        task=task,
        metric=items[0].metric,
        inits=tuple(e.init for e in items),
        value=np.array([e.value for e in items]),
        interval=np.array([[e.low, e.high] for e in items]),
        seeds=by_seed,
        best=comparison.best(task),
    )


def gains_data(comparison: Comparison) -> GainsData | None:
    """Return what every initialization gains over training from scratch; None where nothing is compared with it."""
    items = [d for d in comparison.differences if SCRATCH in (d.first, d.second)]
    if not items:
        return None
    signs = np.array([1.0 if d.second == SCRATCH else -1.0 for d in items])
    ends = np.array([[d.test.low, d.test.high] for d in items]) * signs[:, None]
    return GainsData(
        base=SCRATCH,
        tasks=tuple(d.task for d in items),
        inits=tuple(d.first if d.second == SCRATCH else d.second for d in items),
        gain=np.array([d.test.difference for d in items]) * signs,
        interval=np.sort(ends, axis=1),
        apart=tuple(d.apart for d in items),
    )


def learning_data(comparison: Comparison, *, task: str) -> LearningData | None:
    """Return the learning curves of a task; None without any."""
    runs = [run for run in comparison.table.select(task) if run.control is None and run.curve]
    if not runs:
        return None
    inits = tuple(dict.fromkeys(run.init for run in runs))
    seeds = sorted({run.seed for run in runs})
    steps = sorted({step for run in runs for step, _ in run.curve})
    values = np.full((len(inits), len(seeds), len(steps)), np.nan)
    for run in runs:
        at = [steps.index(step) for step, _ in run.curve]
        values[inits.index(run.init), seeds.index(run.seed), at] = [score for _, score in run.curve]
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return LearningData(
        task=task,
        inits=inits,
        steps=np.array(steps, dtype=np.float64),
        mean=np.where(count > 0, total / np.maximum(count, 1), np.nan),
        seeds=values,
    )


def agreement_panels(item: ProxyAgreement, comparison: Comparison) -> tuple[AgreementPanel, ...]:
    """Return one panel per task."""
    panels = []
    for row, task in enumerate(item.tasks):
        metric = comparison.metrics(task)[0]
        found = [comparison.estimate(task, metric, init) for init in item.inits]
        panels.append(
            AgreementPanel(
                task=task,
                metric=metric,
                measure=item.measure,
                inits=item.inits,
                loss=item.loss[row],
                score=item.score[row],
                interval=np.array([[np.nan, np.nan] if e is None else [e.low, e.high] for e in found]),
                correlation=float(item.correlation[row]),
            )
        )
    return tuple(panels)
