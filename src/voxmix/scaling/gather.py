"""Scores of one task side by side: which runs make the curves, which lie beside them, and what persons do to each."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.scaling.parts import series_name
from voxmix.scaling.results import Scored
from voxmix.scores.statistics import resampled

LEAST_SIZES = 3
_FEW_PERSONS = 3
_ROOM = 20_000_000
"""Weights (draw x case) held at once."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Judged:
    """One score as a log error; ``moved`` is what each resample of persons adds to it, ``apart`` a variance known without cases."""

    samples: int
    compute: float
    seed: int
    log_error: float
    moved: Float[np.ndarray, " draw"]
    apart: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curve:
    """Runs of one series at equal compute that have the same seeds at every size."""

    objective: str
    start: str
    samples: tuple[int, ...]
    seeds: tuple[int, ...]
    values: Float[np.ndarray, "size seed"]
    moved: Float[np.ndarray, "draw size seed"]
    apart: float

    @property
    def name(self) -> str:
        """Objective and start."""
        return series_name(self.objective, self.start)

    def cut(self, samples: Sequence[int], seeds: Sequence[int]) -> "Curve":
        """Return the part of these sizes and seeds."""
        rows = [self.samples.index(n) for n in samples]
        columns = [self.seeds.index(s) for s in seeds]
        return Curve(
            objective=self.objective,
            start=self.start,
            samples=tuple(samples),
            seeds=tuple(seeds),
            values=self.values[np.ix_(rows, columns)],
            moved=self.moved[:, rows][:, :, columns],
            apart=self.apart,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Beside:
    """A reference: its log error, what persons do to it, and a variance that comes on top."""

    name: str
    log_error: float
    moved: Float[np.ndarray, " draw"]
    apart: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TaskScores:
    """All that one task tells.

    Attributes:
        more: runs at another compute, by series.
        persons: how many the test set has; 0 where only scores are known.
    """

    task: str
    metric: str
    outside: bool
    curves: tuple[Curve, ...]
    beside: tuple[Beside, ...]
    more: dict[tuple[str, str], tuple[Judged, ...]]
    persons: int
    notes: tuple[str, ...]


_SAME = 1e-9
"""Scores that differ by less are equal but for rounding."""


def gather(scores: Sequence[Scored], *, draws: int, rng: np.random.Generator) -> tuple[TaskScores, ...]:
    """Return the scores by task, with notes on what was set aside."""
    by_task: dict[str, list[Scored]] = defaultdict(list)
    for score in scores:
        by_task[score.task].append(score)
    return tuple(_task(task, own, draws=draws, rng=rng) for task, own in by_task.items())


def _task(task: str, scores: list[Scored], *, draws: int, rng: np.random.Generator) -> TaskScores:
    notes: list[str] = []
    kept = _usable(task, _one_metric(task, scores, notes), notes)
    kept = _one_test_set(task, kept, notes)
    if len(kept) > 1 and np.ptp([one.score for one in kept]) < _SAME:
        notes.append(
            f"{task}: all {len(kept)} encoders score {kept[0].score:.3f}, so this task tells none of them apart and has no law; what "
            "is judged is the head, or images are too few"
        )
        kept = []
    logs, moved, persons = _resampled(task, kept, draws, rng, notes)
    groups: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    references: dict[str, list[Judged]] = defaultdict(list)
    left = 0
    for n, score in enumerate(kept):
        judged = score.judged
        one = Judged(
            samples=judged.samples,
            compute=judged.compute,
            seed=judged.seed,
            log_error=float(logs[n]),
            moved=moved[:, n],
            apart=0.0 if persons else ((score.standard_error or 0.0) / (1 - score.score)) ** 2,
        )
        if judged.is_reference:
            references[judged.start or judged.name].append(one)
        elif judged.control == "epochs":
            left += 1
        else:
            groups[judged.objective, judged.start].append(one)
    if left:
        notes.append(
            f"{task}: {left} scores of runs at equal epochs are no points of a curve at equal compute"
        )
    curves, more = [], {}
    for (objective, start), runs in groups.items():
        equal = [run for run in runs if run.compute == 1.0]
        more[objective, start] = tuple(run for run in runs if run.compute != 1.0)
        curve = _curve(task, objective, start, equal, notes)
        if curve is not None:
            curves.append(curve)
    first = scores[0]
    return TaskScores(
        task=task,
        metric=kept[0].metric if kept else first.metric,
        outside=first.outside,
        curves=tuple(curves),
        beside=tuple(_beside(name, runs) for name, runs in references.items()),
        more=more,
        persons=persons,
        notes=tuple(notes),
    )


def _one_metric(task: str, scores: list[Scored], notes: list[str]) -> list[Scored]:
    """Keep the metric that most scores have."""
    metric = Counter(s.metric for s in scores).most_common(1)[0][0]
    kept = [s for s in scores if s.metric == metric]
    if len(kept) < len(scores):
        notes.append(
            f"{task}: {len(scores) - len(kept)} scores are of another metric than {metric} and were set aside"
        )
    return kept


def _usable(task: str, scores: list[Scored], notes: list[str]) -> list[Scored]:
    """Set aside what has no log error, and second scores of one run."""
    kept, seen = [], set()
    why: Counter[str] = Counter()
    for score in scores:
        j = score.judged
        key = (
            j.objective,
            j.start,
            j.name if j.is_reference else "",
            j.samples,
            j.seed,
            j.compute,
            j.control,
        )
        if not np.isfinite(score.score):
            why["have no value"] += 1
        elif score.score >= 1:
            why["are 1 or more, which leaves no error (a task this easy tells encoders apart no more)"] += 1
        elif key in seen:
            why["are a second score of the same run"] += 1
        else:
            seen.add(key)
            kept.append(score)
    notes += [f"{task}: {count} scores {reason}; they were set aside" for reason, count in why.items()]
    return kept


def _one_test_set(task: str, scores: list[Scored], notes: list[str]) -> list[Scored]:
    """Keep the scores of the test set that most have."""
    sets = Counter((s.cases, s.subjects) for s in scores if s.weighted is not None)
    if len(sets) < 2:
        return scores
    most = sets.most_common(1)[0][0]
    kept = [s for s in scores if s.weighted is None or (s.cases, s.subjects) == most]
    notes.append(
        f"{task}: {len(scores) - len(kept)} scores are of another test set than the other {len(kept)} and were set aside; "
        "judge them again on the same cases"
    )
    return kept


def _resampled(
    task: str, scores: list[Scored], draws: int, rng: np.random.Generator, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return log errors, what each resample of persons adds to them (draw, score), and the number of persons."""
    logs = np.log([1 - s.score for s in scores]) if scores else np.zeros(0)
    nothing = np.zeros((1, len(scores)))
    if not scores or any(s.weighted is None for s in scores):
        if any(s.weighted is not None for s in scores):
            notes.append(
                f"{task}: some scores have no cases, so the interval speaks of these test cases alone"
            )
        return logs, nothing, 0
    subjects = scores[0].subjects
    names = list(dict.fromkeys(subjects))
    if len(names) < _FEW_PERSONS:
        notes.append(f"{task}: {len(names)} test persons are too few to say what others would give")
        return logs, nothing, 0
    place = {name: n for n, name in enumerate(names)}
    owner = np.zeros((len(names), len(subjects)))
    owner[[place[name] for name in subjects], np.arange(len(subjects))] = 1
    parts = []
    step = max(1, _ROOM // max(len(subjects), 1))
    for begin in range(0, draws, step):
        weights = resampled(owner, min(step, draws - begin), rng)
        with np.errstate(invalid="ignore", divide="ignore"):
            parts.append(np.log(1 - np.stack([_score(s, weights) for s in scores], axis=1)))
    found = np.concatenate(parts)
    sound = np.isfinite(found).all(axis=1)
    if sound.mean() < 0.9:
        notes.append(
            f"{task}: {1 - sound.mean():.0%} of resamples of its {len(names)} persons have no score for some encoder; "
            "its intervals are too narrow. Judge on more persons"
        )
    if sound.sum() < 2:
        return logs, nothing, 0
    moved = found[sound] - found[sound].mean(axis=0)
    return logs, moved * np.sqrt(len(names) / (len(names) - 1)), len(names)


def _score(score: Scored, weights: np.ndarray) -> np.ndarray:
    assert score.weighted is not None
    return score.weighted(weights)


def _beside(name: str, runs: list[Judged]) -> Beside:
    """Return a reference; one of several seeds is their mean, and their spread comes on top."""
    values = np.array([run.log_error for run in runs])
    spread = float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
    return Beside(
        name=name,
        log_error=float(values.mean()),
        moved=np.mean([run.moved for run in runs], axis=0),
        apart=float(np.mean([run.apart for run in runs])) + spread,
    )


def _curve(task: str, objective: str, start: str, runs: list[Judged], notes: list[str]) -> Curve | None:
    """Return a table of sizes by seeds without a hole: two seeds before all, then as many sizes, then as many seeds as there are.

    None with fewer than three sizes.
    """
    by_place = {(run.samples, run.seed): run for run in runs}
    samples = sorted({n for n, _ in by_place if n > 0})
    name = series_name(objective, start)
    if len(samples) < LEAST_SIZES:
        notes.append(
            f"{task}: {name} has scores at {len(samples)} size{'s' * (len(samples) != 1)} and equal compute; a law needs "
            f"{LEAST_SIZES}, and four or five far apart are better"
        )
        return None
    seeds = sorted({s for _, s in by_place})
    tables = []
    for least in range(1, len(samples) + 1):
        # Seeds that have at least so many sizes, and the sizes that all of them have.
        who = [s for s in seeds if sum((n, s) in by_place for n in samples) >= least]
        sizes = [n for n in samples if all((n, s) in by_place for s in who)]
        if who and len(sizes) >= LEAST_SIZES:
            tables.append((len(who) > 1, len(sizes), len(who), sizes, who))
    if not tables:
        notes.append(
            f"{task}: no seed of {name} has {LEAST_SIZES} sizes; train the sizes that are missing with the same seed"
        )
        return None
    *_, sizes, who = max(tables, key=lambda t: t[:3])
    cells = len(sizes) * len(who)
    if cells < len(by_place):
        notes.append(
            f"{task}: {len(by_place) - cells} of {len(by_place)} scores of {name} are left out, because other sizes lack "
            "their seed"
        )
    table = [[by_place[n, s] for s in who] for n in sizes]
    return Curve(
        objective=objective,
        start=start,
        samples=tuple(sizes),
        seeds=tuple(who),
        values=np.array([[run.log_error for run in row] for row in table]),
        moved=np.stack([np.stack([run.moved for run in row], axis=1) for row in table], axis=1),
        apart=float(np.mean([run.apart for row in table for run in row])),
    )
