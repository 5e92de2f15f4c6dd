"""Whether a table can tell what helps a target: how far its loss falls with the budget, against the noise of a run.

No law is assumed. A target is judged by its own curve: the runs of the mixture with the largest share of it (its pure
runs, else its vertex runs, else the uniform mixture), from the smallest budget to the largest. Where no mixture was run
at two budgets (a swarm), log loss is regressed on log budget and the weights.

What decides is the fall per doubling: a mixture that is worth twice the draws to a target lowers its loss by one
doubling of its curve, whatever the mixture. Where that is less than the error of a law, or than what two runs differ by
chance, no law can say what helps the target. docs/concepts/law.md has the rule and how often it was wrong.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from voxmix.law.numbers import plain
from voxmix.law.outliers import find_outliers
from voxmix.measurement import MeasurementTable

LAW_ERROR = 0.03
"""Relative error per mixture and target that the best laws have on unseen mixtures (docs/concepts/law.md)."""
SURE = 0.95  # one-sided level at which a fall, or a difference between mixtures, is no chance
_APART = 2.0  # standard errors of a difference by which two runs are told apart
_FLAT = LAW_ERROR / 2  # fall per doubling at the largest budgets below which a curve levels off
_PURE, _EVEN = 1 - 1e-9, 1e-6  # weight of a pure run; difference between weights of the uniform mixture
_WIDE = 0.5  # a curve counts that spans this share of the table's budgets, in log draws
_MANY = 1e6  # degrees of freedom that are as good as infinite
_VOLUMES = "held-out volumes"
_ENOUGH = 8  # degrees of freedom with which seeds alone tell the noise
_FEW = 3  # degrees of freedom below which a target takes the noise of all targets

Verdict = Literal["moves", "levels off", "barely moves", "does not move", "rises", "not known"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunNoise:
    """Standard deviation of one run's log loss, the seed's own effect apart, and where it was seen.

    ``basis`` is "seeds" (runs that differ in seed alone), "curves" (how far losses lie off a smooth fall), "seeds and
    curves", "all targets" (of all, as this target has too few runs), "residuals" (of the regression), "held-out volumes"
    (their standard error, which all runs share: an upper bound) or "nothing". ``freedom`` are degrees of freedom; infinite
    for the upper bound, 0 for nothing.
    """

    size: float
    basis: str
    freedom: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetRegime:
    """How one target's loss moves with the budget and with the mixture.

    Attributes:
        target: its name.
        verdict: moves, levels off, barely moves, does not move, rises; not known without two budgets or any noise.
        curve: the runs that it is judged by, in words.
        budgets: draws of these runs, rising.
        losses: their mean losses, in the order of ``budgets``; of the seeds that both ends have.
        fall: share of the loss that is gone from the first budget to the last; negative where it rises.
        per_doubling: the same share for each doubling of the draws, in the mean.
        late: the same over the upper end: from the largest budget that is half of the last or less.
        noise: standard deviation of one run, as a share of the loss; its ``basis`` and degrees of ``freedom``.
        seeds: runs at either end of the curve.
        mixtures: mixtures of several sources at the budget where most of them were run.
        spread: loss of the worst of these over that of the best, less 1; None below three mixtures.
        mixtures_differ: whether they differ by more than chance; None where that cannot be judged.
    """

    target: str
    verdict: Verdict
    curve: str
    budgets: tuple[float, ...]
    losses: tuple[float, ...]
    fall: float | None
    per_doubling: float | None
    late: float | None
    noise: float | None
    basis: str
    freedom: float
    seeds: int
    mixtures: int
    spread: float | None
    mixtures_differ: bool | None

    @property
    def decides(self) -> bool:
        """Whether these runs can tell what helps the target."""
        return self.verdict in ("moves", "levels off")

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        if self.fall is None or self.per_doubling is None:
            return f"{self.target}: {self.curve}"
        went = f"fell by {_share(self.fall)}" if self.fall >= 0 else f"rose by {_share(-self.fall)}"
        at_most = "at most " if self.basis == _VOLUMES else ""
        noise = "noise not known" if self.noise is None else f"noise {at_most}{_share(self.noise)}"
        span = f"from {self.budgets[0]:,.0f} to {self.budgets[-1]:,.0f} draws"
        told = f"{self.target} {went} {span} ({_share(self.per_doubling)} per doubling, {noise})"
        return f"{told}{_MEANING[self.verdict]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-like data."""
        return asdict(self) | {
            "budgets": list(self.budgets),
            "losses": list(self.losses),
            "freedom": plain(self.freedom),
            "sentence": self.sentence,
        }


_MEANING: dict[Verdict, str] = {
    "moves": "",
    "levels off": ", and hardly any more at the largest budgets",
    "barely moves": ": these proxies can hardly tell what helps it",
    "does not move": ": these proxies cannot tell what helps it",
    "rises": ": it gets worse with every draw",
    "not known": ": whether that is more than chance is not known, a second seed would tell",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """The regime of every target of a table."""

    targets: tuple[TargetRegime, ...]

    def __getitem__(self, target: str) -> TargetRegime:
        return next(item for item in self.targets if item.target == target)

    @property
    def is_judged(self) -> bool:
        """Whether there is any target with a fall; there is none where every run has the same budget."""
        return any(item.fall is not None for item in self.targets)

    @property
    def undecided(self) -> tuple[TargetRegime, ...]:
        """The targets of which these runs cannot tell what helps them."""
        return tuple(item for item in self.targets if not item.decides)

    @property
    def summary(self) -> str:
        """How many targets move, in one sentence."""
        known = [item for item in self.targets if item.fall is not None]
        if not known:
            return f"whether data matter is not known: {self.targets[0].curve}" if self.targets else ""
        moving = sum(item.decides for item in known)
        if moving == len(self.targets):
            return f"data matter: the loss of every target ({moving}) falls with the budget by far more than noise"
        return f"the losses of {moving} of {len(self.targets)} targets fall enough with the budget to tell what helps them"

    @property
    def doubt(self) -> str:
        """Which targets these runs say hardly anything of, in one sentence; empty where there are none."""
        still = [item.target for item in self.undecided if item.fall is not None]
        if not still:
            return ""
        return (
            f"{len(still)} of {len(self.targets)} targets hardly move with the budget ({', '.join(still)}): these runs "
            "cannot tell what helps them"
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """The summary; a sentence for each target that does not move; where mixtures do not differ; what would help."""
        known = [item for item in self.targets if item.fall is not None]
        if not known:
            return (self.summary,) if self.summary else ()
        return (self.summary, *(item.sentence for item in self.undecided), *_alike(known), *_help(known))

    def to_dict(self) -> dict[str, Any]:
        """Return all figures and sentences as JSON-like data."""
        return {
            "summary": self.summary,
            "sentences": list(self.sentences),
            "targets": [item.to_dict() for item in self.targets],
        }

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return headers and rows in words, one row per target."""
        return HEADERS, tuple(_row(item) for item in self.targets)

    def _repr_html_(self) -> str:
        headers, rows = self.table()
        head = "".join(f"<th>{escape(name)}</th>" for name in headers)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        said = "".join(f"<li>{escape(line)}</li>" for line in self.sentences)
        return f"<table><tr>{head}</tr>{body}</table><ul>{said}</ul>"


HEADERS = ("target", "verdict", "curve", "draws", "fall", "per doubling", "noise", "mixtures differ by")


def _row(item: TargetRegime) -> tuple[str, ...]:
    if item.fall is None:
        return (item.target, item.verdict, item.curve, *("-" for _ in HEADERS[3:]))
    return (
        item.target,
        item.verdict,
        item.curve,
        f"{item.budgets[0]:,.0f} to {item.budgets[-1]:,.0f}",
        _share(item.fall),
        _share(item.per_doubling),
        _share(item.noise),
        "-" if item.spread is None else f"{_share(item.spread)} ({item.mixtures} mixtures)",
    )


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0%}" if abs(value) >= 0.0995 else f"{value:.1%}"


def _alike(known: Sequence[TargetRegime]) -> list[str]:
    names = [item.target for item in known if item.mixtures_differ is False]
    if not names:
        return []
    most = max(item.mixtures for item in known)
    return [f"no mixture of {most} changes the loss of {', '.join(names)} by more than chance"]


def _help(known: Sequence[TargetRegime]) -> list[str]:
    """What would make the targets move that do not: more seeds where noise alone hides them, else another task."""
    found = []
    noisy = [
        item for item in known if item.verdict == "barely moves" and (item.per_doubling or 0) >= LAW_ERROR
    ]
    if noisy:
        needed = max(_seeds_needed(item) for item in noisy)
        found.append(f"{_names(noisy)}: noise hides the fall; {needed} seeds of every run would show it")
    still = [
        item for item in known if item.verdict in ("barely moves", "does not move") and item not in noisy
    ]
    if still:
        found.append(
            f"{_names(still)}: what may help is larger budgets, smaller patches, a finer or coarser spacing, weaker or "
            "stronger augmentation"
        )
    rising = [item for item in known if item.verdict == "rises"]
    if rising:
        found.append(
            f"{_names(rising)}: check learning rate and augmentation, and whether training and held-out volumes are of one "
            "kind; if more is better in this column, it is no loss"
        )
    return found


def _names(items: Sequence[TargetRegime]) -> str:
    return ", ".join(item.target for item in items)


def _seeds_needed(item: TargetRegime) -> int:
    assert item.noise is not None
    assert item.per_doubling is not None
    return int(np.ceil((_APART * np.sqrt(2) * item.noise / -np.log1p(-item.per_doubling)) ** 2))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Runs:
    """The runs that were measured on one target, losses as logs; ``own`` is each run's weight of the target."""

    mixture: np.ndarray
    weights: Float[np.ndarray, "run source"]
    own: Float[np.ndarray, " run"]
    budget: Float[np.ndarray, " run"]
    seed: np.ndarray
    value: Float[np.ndarray, " run"]
    error: Float[np.ndarray, " run"]

    def only(self, rows: np.ndarray) -> "_Runs":
        """The same for some of the runs."""
        return _Runs(**{item.name: getattr(self, item.name)[rows] for item in fields(self)})

    def cells(self) -> Iterator[tuple[tuple[int, float], np.ndarray]]:
        """Runs of one mixture and budget, whatever their seeds."""
        groups: dict[tuple[int, float], list[int]] = defaultdict(list)
        for i, key in enumerate(zip(self.mixture.tolist(), self.budget.tolist(), strict=True)):
            groups[key].append(i)
        for key, rows in groups.items():
            yield key, np.array(rows)


def regime_check(table: MeasurementTable, *, keep_outliers: bool = False) -> Regime:
    """Return how every target of a table moves with the budget and with the mixture.

    Losses that no noise explains are left out, as a fit leaves them out, unless ``keep_outliers``.
    """
    odd = set() if keep_outliers else {(item.run, item.target) for item in find_outliers(table)}
    keep = np.array(
        [
            loss > 0 and key not in odd
            for key, loss in zip(zip(table.run, table.target, strict=True), table.loss, strict=True)
        ],
        dtype=bool,
    )
    mixture = np.unique(np.round(table.weights, 9), axis=0, return_inverse=True)[1].reshape(-1)
    names = np.array(table.target, dtype=object)
    runs: dict[str, _Runs] = {}
    for name in sorted(set(table.target), key=_order(table)):
        rows = np.flatnonzero(keep & (names == name))
        if not len(rows):
            continue
        place = table.domains.index(name) if name in table.domains else None
        runs[name] = _Runs(
            mixture=mixture[rows],
            weights=table.weights[rows],
            own=np.zeros(len(rows)) if place is None else table.weights[rows, place],
            budget=table.budget[rows],
            seed=table.seed[rows],
            value=np.log(table.loss[rows]),
            error=table.loss_se[rows] / table.loss[rows],
        )
    squares = {name: _squares(item) for name, item in runs.items()}
    pool = sum(s for s, _, _ in squares.values()), sum(n for _, n, _ in squares.values())
    return Regime(targets=tuple(_judge(name, runs[name], squares[name], pool) for name in runs))


def _order(table: MeasurementTable) -> Any:
    place = {name: i for i, name in enumerate(table.domains)}
    first = {name: i for i, name in reversed(list(enumerate(table.target)))}
    return lambda name: (place.get(name, len(place)), first[name])


def _judge(
    name: str, runs: _Runs, squares: tuple[float, float, str], pool: tuple[float, float]
) -> TargetRegime:
    noise = _noise(runs, squares, pool)
    rows, words = _own_curve(runs)
    if rows is None:
        found, noise = _regression(runs, noise)
        words = _ONE_BUDGET if len(np.unique(runs.budget)) < 2 else "regression on budget and weights"
        if found is None and len(np.unique(runs.budget)) > 1:
            words = "no mixture was run at two budgets, and there are too few runs to compare budgets"
    else:
        found = _along(runs, rows)
    mixtures, spread, differ = _mixtures(runs, noise)
    verdict: Verdict = "not known"
    if found is not None:
        verdict = _verdict(found, noise)
    known = noise.freedom > 0
    return TargetRegime(
        target=name,
        verdict=verdict,
        curve=words,
        budgets=found.budgets if found else (),
        losses=found.losses if found else (),
        fall=None if found is None else float(-np.expm1(-found.fall)),
        per_doubling=None if found is None else float(-np.expm1(-found.per_doubling)),
        late=None if found is None or found.late is None else float(-np.expm1(-found.late)),
        noise=noise.size if known else None,
        basis=noise.basis,
        freedom=noise.freedom,
        seeds=found.seeds if found else 0,
        mixtures=mixtures,
        spread=spread,
        mixtures_differ=differ,
    )


_ONE_BUDGET = "every run has the same budget, so these runs do not say whether more draws help"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fall:
    """How far a log loss falls along a curve; ``error`` is the fall's standard error in units of the noise."""

    budgets: tuple[float, ...]
    losses: tuple[float, ...]
    fall: float
    error: float
    seeds: int
    late: float | None = None

    @property
    def per_doubling(self) -> float:
        return float(self.fall / np.log2(self.budgets[-1] / self.budgets[0]))


def _own_curve(runs: _Runs) -> tuple[np.ndarray | None, str]:
    """Return the runs of the mixture with most of the target that spans the budgets, and what it is in words."""
    span: dict[int, float] = {}
    for m in np.unique(runs.mixture):
        at = np.log(runs.budget[runs.mixture == m])
        span[int(m)] = float(at.max() - at.min())
    widest = max(span.values())
    if widest <= 0:
        return None, ""
    even = runs.weights.max(axis=1)  # least where all sources have the same weight
    able = [m for m, width in span.items() if width >= _WIDE * widest]
    first = {m: int(np.flatnonzero(runs.mixture == m)[0]) for m in able}
    best = max(able, key=lambda m: (round(runs.own[first[m]], 9), -even[first[m]], span[m]))
    rows = np.flatnonzero(runs.mixture == best)
    weights, own = runs.weights[rows[0]], float(runs.own[rows[0]])
    words = f"runs with {own:.0%} of it" if own > 0 else "the mixture nearest to uniform"
    if np.ptp(weights) < _EVEN:
        words = "the uniform mixture"
    if own >= _PURE:
        words = "its pure runs"
    return rows, words


def _along(runs: _Runs, rows: np.ndarray) -> _Fall:
    """Return the fall from the first to the last budget of one mixture, over the seeds that both ends have."""
    budgets = np.unique(runs.budget[rows])
    value = {(float(runs.budget[i]), int(runs.seed[i])): float(runs.value[i]) for i in rows}
    seeds = sorted({int(s) for s in runs.seed[rows]})
    both = [s for s in seeds if all((float(b), s) in value for b in budgets[[0, -1]])]

    def at(budget: float) -> float:
        kept = [s for s in both or seeds if (budget, s) in value] or [
            s for s in seeds if (budget, s) in value
        ]
        return float(np.mean([value[budget, s] for s in kept]))

    middle = {float(b): at(float(b)) for b in budgets}
    low, high = float(budgets[0]), float(budgets[-1])
    before = [b for b in middle if b <= high / 2]
    late = max(before) if before and max(before) > low else None
    return _Fall(
        budgets=tuple(middle),
        losses=tuple(float(np.exp(v)) for v in middle.values()),
        fall=middle[low] - middle[high],
        error=float(np.sqrt(2 / max(len(both), 1))),
        seeds=max(len(both), 1),
        late=None if late is None else float((middle[late] - middle[high]) / np.log2(high / late)),
    )


def _verdict(found: _Fall, noise: RunNoise) -> Verdict:
    from scipy.stats import t

    if not noise.freedom:
        return "not known"
    error = noise.size * found.error
    chance = float(t.ppf(SURE, min(noise.freedom, _MANY))) * error
    bound = noise.basis == _VOLUMES  # what an upper bound of the noise cannot rule out need not be noise
    if abs(found.fall) <= chance:
        return "not known" if bound else "does not move"
    if found.fall < 0:
        return "rises"
    if found.per_doubling < -np.log1p(-LAW_ERROR):
        return "barely moves"
    if found.per_doubling < _APART * error:
        return "not known" if bound else "barely moves"
    return "levels off" if found.late is not None and found.late < -np.log1p(-_FLAT) else "moves"


def _noise(runs: _Runs, squares: tuple[float, float, str], pool: tuple[float, float]) -> RunNoise:
    total, freedom, basis = squares
    if freedom < _FEW and pool[1] > freedom:
        total, freedom, basis = pool[0], pool[1], "all targets"
    if freedom > 0:
        return RunNoise(size=float(np.sqrt(total / freedom)), basis=basis, freedom=freedom)
    known = runs.error[np.isfinite(runs.error) & (runs.error > 0)]
    if len(known):
        return RunNoise(size=float(np.median(known)), basis=_VOLUMES, freedom=np.inf)
    return RunNoise(size=0.0, basis="nothing", freedom=0.0)


def _squares(runs: _Runs) -> tuple[float, float, str]:
    """Return the sum of squares of what is noise in the log losses, its degrees of freedom, and where it was seen.

    Seeds say it best; with few of them, what lies off the curves counts too, which takes steps of a curve for noise.
    Only mixtures that hold the target count, where there are any: the loss of a run that never sees it is wilder.
    """
    seen = runs.own > 0 if np.any(runs.own > 0) else np.ones(len(runs.own), dtype=bool)
    runs = runs.only(seen)
    by_seeds = _twins(runs)
    if by_seeds[1] >= _ENOUGH:
        return *by_seeds, "seeds"
    by_curves = _off_curves(runs)
    names = [name for name, (_, n) in (("seeds", by_seeds), ("curves", by_curves)) if n]
    return by_seeds[0] + by_curves[0], by_seeds[1] + by_curves[1], " and ".join(names)


def _twins(runs: _Runs) -> tuple[float, float]:
    """Runs that differ in seed alone, without each cell's mean and each seed's own effect (a seed is a block)."""
    groups = [rows for _, rows in runs.cells() if len(rows) > 1]
    if not groups:
        return 0.0, 0.0
    rows = np.concatenate(groups)
    cell = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    seed = np.unique(runs.seed[rows], return_inverse=True)[1].reshape(-1)
    design = np.concatenate([np.eye(len(groups))[cell], np.eye(seed.max() + 1)[seed]], axis=1)
    return _left_over(design, runs.value[rows])


def _off_curves(runs: _Runs) -> tuple[float, float]:
    """How far losses lie off a parabola in log budget (a line with three budgets), per mixture and seed."""
    total = freedom = 0.0
    for mixture, seed in sorted(set(zip(runs.mixture.tolist(), runs.seed.tolist(), strict=True))):
        rows = np.flatnonzero((runs.mixture == mixture) & (runs.seed == seed))
        budgets = len(np.unique(runs.budget[rows]))
        if budgets < 3:
            continue
        design = np.vander(_centered(runs.budget[rows]), 2 if budgets == 3 else 3)
        square, left = _left_over(design, runs.value[rows])
        total, freedom = total + square, freedom + left
    return total, freedom


def _centered(budget: Float[np.ndarray, " run"]) -> Float[np.ndarray, " run"]:
    at = np.log(budget)
    return np.asarray(at - at.mean())


def _left_over(design: np.ndarray, value: np.ndarray) -> tuple[float, float]:
    found, _, rank, _ = np.linalg.lstsq(design, value, rcond=None)
    return float(np.sum((value - design @ found) ** 2)), float(max(len(value) - rank, 0))


def _regression(runs: _Runs, noise: RunNoise) -> tuple[_Fall | None, RunNoise]:
    """Return the fall over budgets at like mixtures, where no mixture was run at two of them, and the residual's noise."""
    budgets = np.unique(runs.budget)
    if len(budgets) < 2:
        return None, noise
    at = _centered(runs.budget)
    design = np.column_stack([at, np.ones_like(at), runs.weights[:, :-1]])
    used = int(np.linalg.matrix_rank(design))
    if len(at) < used + _FEW or np.linalg.matrix_rank(design[:, 1:]) == used:
        return None, noise
    slope, *_ = np.linalg.lstsq(design, runs.value, rcond=None)[0]
    square, left = _left_over(design, runs.value)
    own = RunNoise(size=float(np.sqrt(square / left)), basis="residuals", freedom=left)
    rest = at - design[:, 1:] @ np.linalg.lstsq(design[:, 1:], at, rcond=None)[0]
    span = float(np.log(budgets[-1] / budgets[0]))
    middle = float(runs.value.mean())
    ends = [float(np.log(b) - np.log(runs.budget).mean()) for b in budgets]
    found = _Fall(
        budgets=tuple(float(b) for b in budgets),
        losses=tuple(float(np.exp(middle + slope * end)) for end in ends),
        fall=float(-slope * span),
        error=span / float(np.sqrt(np.sum(rest**2))),
        seeds=1,
    )
    return found, own


def _mixtures(runs: _Runs, noise: RunNoise) -> tuple[int, float | None, bool | None]:
    """Return how many mixtures of several sources were run at one budget, how far they differ, and whether by chance."""
    from scipy.stats import f

    mixed = (runs.weights > 0).sum(axis=1) > 1
    by_budget: dict[float, list[tuple[float, int]]] = defaultdict(list)
    for (_, budget), rows in runs.cells():
        if mixed[rows[0]]:
            first = rows[
                runs.seed[rows] == runs.seed[rows].min()
            ]  # one seed: seeds are better or worse as a whole
            by_budget[budget].append((float(runs.value[first[0]]), len(rows)))
    if not by_budget:
        return 0, None, None
    budget = max(by_budget, key=lambda b: (len(by_budget[b]), b))
    values = np.array([value for value, _ in by_budget[budget]])
    if len(values) < 3:
        return len(values), None, None
    spread = float(np.expm1(np.ptp(values)))
    if noise.basis in (_VOLUMES, "residuals", "nothing") or not noise.size > 0:
        return len(values), spread, None
    limit = f.ppf(SURE, len(values) - 1, min(noise.freedom, _MANY))
    return len(values), spread, bool(np.var(values, ddof=1) > limit * noise.size**2)
