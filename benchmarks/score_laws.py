"""How often intervals of laws of scores hold the truth, on simulated worlds, and how often inverse scaling is said in vain.

A world has two objectives whose true error falls with samples as ``E + A N^-b``, some with floors; subsets that are better or
worse than others of their size (half of it alike for both objectives), seeds that move all of their runs, noise of every run; and
one test set of persons with one or two cases, on which every encoder gives simulated scores: the error is 1 - AUROC. What an
encoder scores is partly alike in all encoders and in those of its objective, as real ones are. The truth of an elasticity is the
slope of the true errors over the sizes; of a data equivalent and of a crossing it is where the true curves meet, which is counted
where that lies within the measured sizes.
"""

import argparse
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import ndtri

from voxmix.probe_tasks import JudgedEncoder
from voxmix.scaling import Scored, ScoreLaws, fit_score_laws

PAPER = (30_000, 50_000, 100_000, 1_000_000, 3_500_000)
FOUR = (64, 256, 1024, 4096)
PERSONS, CASES, PREVALENCE = 400, 550, 0.3
SHARED, OWN = 0.5, 0.2
"""Parts of the variance of a case's score that all encoders, and those of one objective, have in common."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What worlds of one kind have in common; noises are standard deviations of log errors, drawn up to these."""

    name: str
    sizes: tuple[int, ...]
    seeds: int
    floors: bool = False
    run: tuple[float, float] = (0.01, 0.05)
    seed: tuple[float, float] = (0.0, 0.04)
    subset: tuple[float, float] = (0.0, 0.04)
    exponents: tuple[tuple[float, float], tuple[float, float]] = ((0.06, 0.2), (0.02, 0.1))
    outside: bool = False
    compute: float | None = None
    """How much of the log error twice the compute takes away, at any size; None: the extremes are not repeated."""


KINDS = (
    Kind(name="five sizes, 2 seeds", sizes=PAPER, seeds=2),
    Kind(name="five sizes, 3 seeds", sizes=PAPER, seeds=3),
    Kind(name="five sizes, 2 seeds, floors", sizes=PAPER, seeds=2, floors=True),
    Kind(name="four sizes, 2 seeds", sizes=FOUR, seeds=2),
    Kind(name="four sizes, 3 seeds", sizes=FOUR, seeds=3),
    Kind(name="four sizes, 3 seeds, floors", sizes=FOUR, seeds=3, floors=True),
    Kind(name="five sizes, 2 seeds, no subsets", sizes=PAPER, seeds=2, subset=(0.0, 0.0)),
    Kind(name="five sizes, 2 seeds, rough subsets", sizes=PAPER, seeds=2, subset=(0.05, 0.08)),
)
FLAT = (
    Kind(name="five sizes, no trend", sizes=PAPER, seeds=2, exponents=((0.0, 0.0), (0.0, 0.0)), outside=True),
    Kind(name="four sizes, no trend", sizes=FOUR, seeds=2, exponents=((0.0, 0.0), (0.0, 0.0)), outside=True),
    Kind(
        name="five sizes, worse",
        sizes=PAPER,
        seeds=2,
        exponents=((-0.1, -0.05), (-0.05, -0.02)),
        outside=True,
    ),
    Kind(
        name="four sizes, worse", sizes=FOUR, seeds=2, exponents=((-0.1, -0.05), (-0.05, -0.02)), outside=True
    ),
)


@dataclass(frozen=True)
class Area:
    """AUROC of weighted cases."""

    own: np.ndarray
    above: np.ndarray

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        inside, others = weights[:, self.own], weights[:, ~self.own]
        return ((inside @ self.above) * others).sum(axis=1) / (inside.sum(axis=1) * others.sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class World:
    """A simulated table of scores and the truth behind it."""

    scores: tuple[Scored, ...]
    logs: np.ndarray
    curves: tuple["Curve", "Curve"]
    reference: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """True error over samples."""

    floor: float
    amplitude: float
    exponent: float
    first: float

    def log_error(self, logs: np.ndarray) -> np.ndarray:
        """Return true log errors."""
        return np.log(self.floor + self.amplitude * np.exp(-self.exponent * (np.asarray(logs) - self.first)))


def world(kind: Kind, rng: np.random.Generator) -> World:
    """Return a world of a kind."""
    logs = np.log(np.array(kind.sizes, dtype=float))
    curves = []
    for low, high in kind.exponents:
        error, share = rng.uniform(0.2, 0.35), rng.uniform(0.2, 0.6) * kind.floors
        exponent = rng.uniform(low, high) * (2.0 if kind.floors else 1.0)
        curves.append(
            Curve(floor=error * share, amplitude=error * (1 - share), exponent=exponent, first=logs[0])
        )
    run, seed, subset = (rng.uniform(*ends) for ends in (kind.run, kind.seed, kind.subset))
    size, count = len(logs), kind.seeds
    shared_subset, shared_seed = rng.normal(size=(size, 1)), rng.normal(size=(1, count))
    owner = np.concatenate([np.arange(PERSONS), rng.integers(0, PERSONS, CASES - PERSONS)])
    truth = (rng.random(PERSONS) < PREVALENCE)[owner]
    person = rng.normal(size=PERSONS)[owner]

    def trait() -> np.ndarray:
        return np.sqrt(0.5) * person_noise() + np.sqrt(0.5) * rng.normal(size=CASES)

    def person_noise() -> np.ndarray:
        return rng.normal(size=PERSONS)[owner]

    common = np.sqrt(0.5) * person + np.sqrt(0.5) * rng.normal(size=CASES)
    cases = tuple(f"c{i}" for i in range(CASES))
    subjects = tuple(f"p{i}" for i in owner)

    def scored(judged: JudgedEncoder, log_error: float, own: np.ndarray) -> Scored:
        gap = np.sqrt(2) * ndtri(1 - np.exp(log_error))
        rest = 1 - SHARED - OWN
        score = gap * truth + np.sqrt(SHARED) * common + np.sqrt(OWN) * own + np.sqrt(rest) * trait()
        p, q = score[truth][:, None], score[~truth][None, :]
        area = Area(truth, (p > q).astype(float))
        return Scored(
            task="task",
            metric="AUROC",
            outside=kind.outside,
            judged=judged,
            cases=cases,
            subjects=subjects,
            weighted=area,
            score=float(area(np.ones((1, CASES)))[0]),
        )

    found = []
    for name, curve in zip("ab", curves, strict=True):
        own = trait()
        subsets = np.sqrt(0.5) * shared_subset + np.sqrt(0.5) * rng.normal(size=(size, 1))
        seeds = np.sqrt(0.5) * shared_seed + np.sqrt(0.5) * rng.normal(size=(1, count))
        runs = run * rng.normal(size=(size, count))
        smooth = curve.log_error(logs)[:, None] + subset * subsets + seed * seeds
        for k, samples in enumerate(kind.sizes):
            for s in range(count):
                judged = JudgedEncoder(
                    name=f"{name} {samples}", encoder=f"{name}{k}{s}", objective=name, samples=samples, seed=s
                )
                found.append(scored(judged, float(smooth[k, s] + runs[k, s]), own))
                if kind.compute is not None and samples in (kind.sizes[0], kind.sizes[-1]):
                    error = smooth[k, s] - kind.compute + run * rng.normal()
                    more = replace(
                        judged,
                        name=f"{name} {samples} twice",
                        encoder=f"{name}{k}{s}t",
                        compute=2.0,
                        control="compute",
                    )
                    found.append(scored(more, float(error), own))
    # Between the errors of the first objective's curve, or a little beyond.
    ends = curves[0].log_error(logs[[0, -1]])
    reference = float(ends[0] + rng.uniform(-0.1, 1.1) * (ends[1] - ends[0]))
    found.append(scored(JudgedEncoder(name="open", encoder="open"), reference, trait()))
    return World(scores=tuple(found), logs=logs, curves=(curves[0], curves[1]), reference=reference)


@dataclass
class Tally:
    """How often intervals hold the truth."""

    held: dict[str, list[bool]] = field(default_factory=dict)
    widths: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, held: bool, width: float = np.nan) -> None:
        """Count one interval."""
        self.held.setdefault(name, []).append(held)
        self.widths.setdefault(name, []).append(width)

    def text(self, name: str) -> str:
        """Return the share with its number."""
        held = self.held.get(name, [])
        return f"{np.mean(held):.0%} ({len(held)})" if held else "-"


def crossing_of(curve: Curve, log_error: float, logs: np.ndarray) -> float:
    """Return the samples at which a true curve falls to an error; 0 at or below the smallest size, infinity beyond."""
    fine = np.linspace(logs[0], logs[-1], 4001)
    below = np.flatnonzero(curve.log_error(fine) <= log_error)
    return np.inf if not below.size else 0.0 if below[0] == 0 else float(np.exp(fine[below[0]]))


LIMITS = {
    (limit, seeds): Kind(
        name=f"{limit}, {seeds} seeds",
        sizes=FOUR,
        seeds=seeds,
        exponents=((by_data, by_data),) * 2,
        compute=by_compute * np.log(2),
    )
    for seeds in (2, 3)
    for limit, by_data, by_compute in (
        ("data", 0.2, 0.0),
        ("compute", 0.0, 0.2),
        ("both", 0.2, 0.2),
        ("neither", 0.0, 0.0),
    )
}
NAMES = ("elasticity", "difference", "ratio", "data equivalent", "crossing")


def judge(tally: Tally, made: World, laws: ScoreLaws) -> None:
    """Count which intervals hold the truth."""
    x = made.logs - made.logs.mean()
    slopes = [-float(curve.log_error(made.logs) @ x / (x @ x)) for curve in made.curves]
    for series, slope in zip(laws.series, slopes, strict=True):
        number = series.elasticity
        tally.add("elasticity", number.low <= slope <= number.high, number.high - number.low)
    pair = laws.pairs[0]
    tally.add("difference", pair.difference.low <= slopes[0] - slopes[1] <= pair.difference.high)
    tally.add("ratio told", pair.ratio.known)
    if pair.ratio.known:
        tally.add("ratio", pair.ratio.low <= slopes[0] / slopes[1] <= pair.ratio.high)
    for n, number in pair.data_equivalent:
        truth = crossing_of(made.curves[1], float(made.curves[0].log_error(np.log(n))), made.logs)
        inside = 0 < truth < np.inf
        tally.add(
            "data equivalent" if inside else "data equivalent, beyond", number.low <= truth <= number.high
        )
    for crossing in laws.crossings:
        curve = made.curves["ab".index(crossing.objective)]
        truth = crossing_of(curve, made.reference, made.logs)
        number = crossing.samples
        inside = 0 < truth < np.inf
        tally.add("crossing" if inside else "crossing, beyond", number.low <= truth <= number.high)
        if inside:
            tally.add("unclear", crossing.reach == "unclear")


def coverage(worlds: int, draws: int) -> list[str]:
    """Return a table of how often 90% intervals hold the truth."""
    shown = (*NAMES, "data equivalent, beyond", "crossing, beyond", "unclear")
    lines = ["| worlds | " + " | ".join(shown) + " |", "|---|" + "---:|" * len(shown)]
    print("\n".join(lines))
    for n, kind in enumerate(KINDS):
        tally = Tally()
        for w in range(worlds):
            made = world(kind, np.random.default_rng([n, w]))
            judge(tally, made, fit_score_laws(made.scores, draws=draws, seed=w))
        lines.append(f"| {kind.name} | " + " | ".join(tally.text(name) for name in shown) + " |")
        print(lines[-1], flush=True)
    return lines


def inverse(worlds: int, draws: int) -> list[str]:
    """Return how often inverse scaling is said where there is none, and where there is."""
    lines = ["| worlds | inverse scaling said |", "|---|---:|"]
    print("\n".join(["", *lines]))
    for n, kind in enumerate(FLAT):
        said = []
        for w in range(worlds):
            made = world(kind, np.random.default_rng([100 + n, w]))
            for name in "ab":
                own = [score for score in made.scores if score.judged.objective == name]
                said += [series.inverse for series in fit_score_laws(own, draws=draws, seed=w).series]
        lines.append(f"| {kind.name} | {np.mean(said):.1%} ({len(said)}) |")
        print(lines[-1], flush=True)
    return lines


def limits(worlds: int, draws: int) -> list[str]:
    """Return how often each limit is said where a law or the compute takes 13% of the error away by a doubling, or does not."""
    said = ("data", "compute", "both", "neither", "unclear")
    lines = ["| truth | said: " + " | ".join(said) + " |", "|---|" + "---:|" * len(said)]
    print("\n".join(["", *lines]))
    for n, kind in enumerate(LIMITS.values()):
        told: list[str] = []
        for w in range(worlds):
            made = world(kind, np.random.default_rng([200 + n, w]))
            told += [one.limit for one in fit_score_laws(made.scores, draws=draws, seed=w).limits]
        shares = [f"{told.count(name) / len(told):.0%}" for name in said]
        lines.append(f"| {kind.name} | {' | '.join(shares)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=60, help="of each kind")
    parser.add_argument("--draws", type=int, default=300, help="resamples of persons")
    parser.add_argument("--only", choices=("coverage", "inverse", "limits"))
    given = parser.parse_args()
    if given.only in (None, "coverage"):
        print(
            f"Share of 90% intervals that hold the truth, with their number; {given.worlds} worlds of each kind"
        )
        coverage(given.worlds, given.draws)
    if given.only in (None, "inverse"):
        inverse(given.worlds, given.draws)
    if given.only in (None, "limits"):
        limits(given.worlds, given.draws)


if __name__ == "__main__":
    main()
