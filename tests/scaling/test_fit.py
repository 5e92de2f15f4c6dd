"""Laws of scores on simulated tables: the truth comes back, what cannot be told says so, what cannot be used is counted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder
from voxmix.scaling import Scored, ScoreLaws, Series, fit_score_laws
from voxmix.scaling.ask import changes_with, equivalents_with, error_with, samples_for, series_of
from voxmix.scaling.gather import gather
from voxmix.scaling.limits import limits
from voxmix.scaling.spread import fit_lines, half_width, share_below
from voxmix.scores.metric import Weighted, mean_of

SIZES = (64, 256, 1024, 4096)


def scored(
    objective: str,
    samples: int,
    seed: int,
    error: float,
    *,
    compute: float = 1.0,
    outside: bool = False,
    start: str = "",
    values: np.ndarray | None = None,
    subjects: Sequence[str] = (),
) -> Scored:
    weighted: Weighted | None = None if values is None else mean_of(values)
    return Scored(
        task="far" if outside else "near",
        metric="score",
        outside=outside,
        judged=JudgedEncoder(
            name=f"{objective or start} {samples}",
            encoder="e",
            objective=objective,
            start=start,
            samples=samples,
            seed=seed,
            compute=compute,
            control="compute" if compute != 1 else "",
        ),
        cases=() if values is None else tuple(f"c{i}" for i in range(len(values))),
        subjects=tuple(subjects),
        weighted=weighted,
        score=1 - error if values is None else float(values.mean()),
    )


def curve(
    objective: str,
    slope: float,
    *,
    first: float = 0.4,
    floor: float = 0.0,
    noise: float = 0.01,
    seeds: int = 3,
    sizes: Sequence[int] = SIZES,
    outside: bool = False,
    rng: np.random.Generator | None = None,
) -> list[Scored]:
    rng = rng or np.random.default_rng(0)
    return [
        scored(
            objective,
            n,
            s,
            (floor + (first - floor) * (n / sizes[0]) ** -slope)
            * float(np.exp(noise * rng.standard_normal())),
            outside=outside,
        )
        for n in sizes
        for s in range(seeds)
    ]


def only(laws: ScoreLaws) -> Series:
    (series,) = laws.series
    return series


def test_slopes_differences_and_ratios_hold_the_truth() -> None:
    laws = fit_score_laws(curve("a", 0.2) + curve("b", 0.05, rng=np.random.default_rng(1)))
    a, b = laws.series
    (pair,) = laws.pairs
    for number, truth in (
        (a.elasticity, 0.2),
        (b.elasticity, 0.05),
        (pair.difference, 0.15),
        (pair.ratio, 4.0),
        (a.per_doubling, 1 - 2**-0.2),
    ):
        assert number.low < truth < number.high
        assert number.status == ""
    assert a.elasticity.high - a.elasticity.low < 0.05
    assert not a.inverse
    # b needs more than any measured size for what a reaches with 1,024, and as many for the first.
    by_size = dict(pair.data_equivalent)
    assert by_size[1024].high == np.inf
    assert "beyond the largest" in by_size[1024].status


def test_one_exponent_with_two_floors_is_no_ratio_of_exponents() -> None:
    sizes = (64, 256, 1024, 4096, 16384)
    parts = curve("a", 0.3, noise=0.02, sizes=sizes) + curve(
        "b", 0.3, floor=0.28, noise=0.02, sizes=sizes, rng=np.random.default_rng(1)
    )
    (pair,) = fit_score_laws(parts).pairs
    assert pair.ratio.low > 1.5
    assert pair.same_law_fits
    # A line that falls beside one that rises is no one exponent with floors.
    (pair,) = fit_score_laws(curve("a", 0.3) + curve("b", -0.1)).pairs
    assert not pair.same_law_fits


def test_a_ratio_to_what_may_be_zero_is_not_identified() -> None:
    (pair,) = fit_score_laws(curve("a", 0.2) + curve("b", 0.0, rng=np.random.default_rng(1))).pairs
    assert np.isnan(pair.ratio.value)
    assert "not identified" in pair.ratio.status
    assert pair.ratio.remedy
    assert pair.difference.known


def test_crossings_are_not_extrapolated() -> None:
    runs = curve("a", 0.2, noise=0.005)
    reached = {}
    for name, error in (("early", 0.6), ("middle", 0.27), ("late", 0.05)):
        (crossing,) = fit_score_laws([*runs, scored("", 0, 0, error, start=name)]).crossings
        reached[name] = (crossing.reach, crossing.samples)
    assert [reached[name][0] for name in ("early", "middle", "late")] == ["below", "within", "not reached"]
    truth = 64 * (0.4 / 0.27) ** (1 / 0.2)
    assert reached["middle"][1].low < truth < reached["middle"][1].high
    assert reached["late"][1].low == reached["late"][1].high == np.inf
    assert reached["early"][1].high == 0
    assert np.isnan(reached["late"][1].value)


def test_worse_with_samples_is_said_and_forgetting_measured() -> None:
    runs = [*curve("a", -0.1, first=0.2, outside=True), scored("", 0, 0, 0.15, start="open", outside=True)]
    series = only(fit_score_laws(runs))
    assert series.inverse
    truth = 0.2 * 64**0.1 - 0.15
    assert series.forgetting.low < truth < series.forgetting.high
    assert not only(fit_score_laws(curve("a", 0.1, outside=True))).inverse


def test_one_seed_has_values_and_says_why_no_interval() -> None:
    series = only(fit_score_laws(curve("a", 0.2, seeds=1)))
    assert series.elasticity.value == pytest.approx(0.2, abs=0.02)
    assert not series.elasticity.known
    assert "one seed" in series.elasticity.status
    assert "second seed" in series.elasticity.remedy
    assert not series.inverse
    assert error_with(series, 100).status


def test_a_floor_is_told_only_where_it_is_identified() -> None:
    sizes = tuple(4**k for k in range(2, 9))
    steep = only(fit_score_laws(curve("a", 0.4, floor=0.2, noise=0.003, sizes=sizes)))
    assert steep.floor is not None
    assert steep.floor.known
    assert steep.floor.low < 0.2 < steep.floor.high
    straight = only(fit_score_laws(curve("a", 0.2, noise=0.01, sizes=sizes)))
    assert straight.floor is not None
    assert not straight.floor.known
    assert straight.floor.remedy
    assert only(fit_score_laws(curve("a", 0.2, sizes=SIZES[:3]))).floor is None


@pytest.mark.parametrize(
    ("slope", "gains", "limit"),
    [
        (0.25, (0.0, 0.0), "data"),
        (0.0, (0.1, 0.15), "compute"),
        (0.2, (0.05, 0.15), "both"),
        (0.0, (0.0, 0.0), "neither"),
    ],
)
def test_twice_the_compute_says_what_limits(slope: float, gains: tuple[float, float], limit: str) -> None:
    rng = np.random.default_rng(3)
    runs = curve("a", slope, noise=0.004, rng=rng)
    for n, gain in zip((SIZES[0], SIZES[-1]), gains, strict=True):
        for s in range(3):
            error = 0.4 * (n / 64) ** -slope * (1 - gain) * float(np.exp(0.004 * rng.standard_normal()))
            runs.append(scored("a", n, s, error, compute=2.0))
    (found,) = fit_score_laws(runs).limits
    assert found.limit == limit
    for number, gain in ((found.gain_small, gains[0]), (found.gain_large, gains[1])):
        assert number.low < gain < number.high
    noisy = curve("a", 0.02, noise=0.2) + [
        scored("a", n, s, 0.4, compute=2.0) for n in (64, 4096) for s in (0, 1)
    ]
    assert fit_score_laws(noisy).limits[0].limit == "unclear"


def told_limit(data: float, compute: float, *, seeds: int, sizes: Sequence[int], world: int) -> str:
    """Return what a simulated series is said to be limited by; a doubling takes so much of its log error away."""
    rng = np.random.default_rng([17, world])
    run, seed, subset = rng.uniform(0.01, 0.05), rng.uniform(0, 0.04), rng.uniform(0, 0.04)
    of_seed, of_size = seed * rng.normal(size=seeds), subset * rng.normal(size=len(sizes))
    scores = [
        scored(
            "a",
            n,
            s,
            0.4
            * 2 ** (-data * np.log2(n / sizes[0]) - compute * np.log2(times))
            * float(np.exp(of_size[k] + of_seed[s] + run * rng.normal())),
            compute=times,
        )
        for k, n in enumerate(sizes)
        for s in range(seeds)
        for times in ((1.0, 2.0) if n in (sizes[0], sizes[-1]) else (1.0,))
    ]
    (task,) = gather(scores, draws=50, rng=rng)
    (found,) = limits(task, 0.9)
    return found.limit


@pytest.mark.parametrize("sizes", [SIZES, (64, 130, 258, 621)])
@pytest.mark.parametrize(
    ("data", "compute", "false"),
    [
        (0.15, 0.0, ("compute", "both", "neither")),
        (0.0, 0.15, ("data", "both", "neither")),
        (0.15, 0.15, ("data", "compute", "neither")),
        (0.0, 0.0, ("data", "compute", "both")),
    ],
)
def test_what_limits_is_seldom_said_falsely(
    data: float, compute: float, false: tuple[str, ...], sizes: Sequence[int]
) -> None:
    told = [told_limit(data, compute, seeds=3, sizes=sizes, world=world) for world in range(80)]
    # Each of two intervals of 90% errs to one side in 5% of worlds: 8 of 80, and chance.
    assert sum(one in false for one in told) <= 13
    if data or compute:
        true = "both" if data and compute else "data" if data else "compute"
        assert told.count(true) >= 48


def test_a_series_is_set_against_what_it_began_from_and_no_other() -> None:
    runs = curve("a", 0.1, first=0.2, outside=True)
    runs = [replace(run, judged=replace(run.judged, start="scratch")) for run in runs]
    others = [
        scored("", 0, 0, error, start=name, outside=True)
        for name, error in (("weights of others", 0.1), ("untrained", 0.3))
    ]
    laws = fit_score_laws([*runs, *others])
    truth = 0.2 * 64**-0.1 - 0.3
    assert only(laws).forgetting.low < truth < only(laws).forgetting.high
    text = "\n".join(laws.sentences())
    assert "a is better than an untrained network" in text
    assert "forgot" not in text
    assert "gained" not in text
    assert "weights of others" not in text
    # Of several references that it did not begin from none is chosen.
    renamed = [*others[:1], scored("", 0, 0, 0.3, start="another", outside=True)]
    forgetting = only(fit_score_laws([*runs, *renamed])).forgetting
    assert not forgetting.known
    assert "was not judged" in forgetting.status


def test_persons_are_resampled_with_all_of_their_cases() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(40)
    parts: dict[str, list[Scored]] = {"own": [], "twice": [], "split": []}
    for n in SIZES:
        for s in range(2):
            values = np.clip(0.4 + 0.05 * np.log(n / 64) + 0.3 * (base - 0.5) + 0.01 * rng.normal(), 0, 1)
            names = [f"p{i}" for i in range(40)]
            parts["own"].append(scored("a", n, s, 0, values=values, subjects=names))
            parts["twice"].append(
                scored("a", n, s, 0, values=np.repeat(values, 2), subjects=np.repeat(names, 2).tolist())
            )
            parts["split"].append(
                scored("a", n, s, 0, values=np.repeat(values, 2), subjects=[f"q{i}" for i in range(80)])
            )
    width = {}
    for name, runs in parts.items():
        series = only(fit_score_laws(runs))
        width[name] = series.high[0] - series.low[0]
    assert width["twice"] == pytest.approx(width["own"], rel=0.1)
    assert width["split"] < 0.85 * width["own"]


def test_what_cannot_be_used_is_set_aside_and_counted() -> None:
    runs = curve("a", 0.2)
    laws = fit_score_laws(
        [
            *runs,
            runs[0],
            scored("a", 64, 7, 0.0),
            scored("a", 64, 8, float("nan")),
            *curve("b", 0.2, sizes=SIZES[:2]),
        ]
    )
    text = "\n".join(laws.notes)
    assert "1 scores are a second score of the same run" in text
    assert "1 scores are 1 or more" in text
    assert "1 scores have no value" in text
    assert "b has scores at 2 sizes" in text
    assert len(laws.series) == 1


def test_scores_of_another_test_set_are_set_aside() -> None:
    names = [f"p{i}" for i in range(20)]
    rng = np.random.default_rng(0)
    runs = [
        scored("a", n, s, 0, values=rng.random(20) * 0.5 + 0.1, subjects=names)
        for n in SIZES
        for s in range(2)
    ]
    other = scored("b", 64, 0, 0, values=rng.random(20), subjects=[f"x{i}" for i in range(20)])
    laws = fit_score_laws([*runs, other])
    assert any("1 scores are of another test set" in note for note in laws.notes)


def test_runs_missing_at_some_sizes_leave_the_largest_whole_table() -> None:
    runs = curve("a", 0.2)
    hole = [r for r in runs if (r.judged.samples, r.judged.seed) != (4096, 2)]
    series = only(laws := fit_score_laws(hole))
    assert (series.samples, series.seeds) == (SIZES, (0, 1))
    assert any("3 of 11 scores of a are left out" in note for note in laws.notes)


def test_predict_and_plan_undo_each_other_and_mark_what_lies_outside() -> None:
    laws = fit_score_laws(curve("a", 0.2))
    (series,) = series_of(laws, tasks=("near",), objectives=("a",))
    inside = error_with(series, 1000)
    assert inside.status == ""
    assert inside.low < 0.4 * (1000 / 64) ** -0.2 < inside.high
    assert samples_for(series, inside.value).value == pytest.approx(1000, rel=0.01)
    assert "outside" in error_with(series, 20_000).status
    assert np.isnan(error_with(series, 1e6).value)
    assert "not within ten times" in samples_for(series, 0.01).status
    with pytest.raises(InputError, match="no task 'nera'"):
        series_of(laws, tasks=("nera",))
    with pytest.raises(InputError, match="between 0 and 1"):
        samples_for(series, 2.0)
    with pytest.raises(InputError, match="above 0"):
        error_with(series, 0)


def test_changes_cross_zero_where_the_crossing_is_and_equivalents_undo_each_other() -> None:
    runs = curve("a", 0.2, noise=0.005) + curve("b", 0.1, noise=0.005, rng=np.random.default_rng(1))
    laws = fit_score_laws([*runs, scored("", 0, 0, 0.27, start="open")])
    a, b = laws.series
    ((crossing, at),) = changes_with(laws, a, laws.crossings[0].samples.value)
    assert crossing.reference == "open"
    assert at.value == pytest.approx(0, abs=1e-6)
    assert at.low < 0 < at.high
    for n in (100, 700, 4096):
        ((_, change),) = changes_with(laws, a, n)
        assert change.value == pytest.approx(error_with(a, n).value / 0.27 - 1)
    assert "outside" in next(changes_with(laws, a, 20_000))[1].status
    (pair,) = laws.pairs
    for n, number in pair.data_equivalent:
        assert next(equivalents_with(laws, a, n)) == (b, number)
    ((other, more),) = equivalents_with(laws, a, 130)
    assert other is b
    assert more.low < 64 * (130 / 64) ** 2 < more.high
    ((other, back),) = equivalents_with(laws, b, more.value)
    assert other is a
    assert back.value == pytest.approx(130, rel=1e-6)
    assert "outside of the sizes that both have" in next(equivalents_with(laws, b, 20_000))[1].status


def test_settings_that_cannot_be_used_are_refused() -> None:
    for wrong in ({"level": 1.0}, {"draws": 3}):
        with pytest.raises(InputError):
            fit_score_laws(curve("a", 0.2), **wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no score"):
        fit_score_laws([])


def test_an_interval_of_one_known_variance_is_the_normal_one() -> None:
    assert half_width(np.full(5, 4.0), 0.9) == pytest.approx(2 * 1.6449, rel=1e-3)
    assert half_width(np.zeros(5), 0.9) == 0
    assert share_below(1.6449, np.ones(3)) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_of_slopes_hold_the_truth_about_as_often_as_they_say(seeds: int) -> None:
    rng = np.random.default_rng(0)
    logs = np.log([30e3, 50e3, 1e5, 1e6, 3.5e6])
    held = []
    for _ in range(300):
        values = (-0.1 * logs[:, None] + 0.02 * rng.normal(size=(5, 1)) + 0.03 * rng.normal(size=(1, seeds)))[
            None
        ] + 0.03 * rng.normal(size=(1, 5, seeds))
        lines = fit_lines(logs, values, np.zeros((1, 1, 5, seeds)), apart=np.zeros(1))
        reach = half_width(lines.variances(np.zeros(1), np.ones(1)), 0.9)
        held.append(abs(lines.slope[0] + 0.1) <= reach)
    assert 0.83 <= np.mean(held) <= 0.97


def test_a_task_on_which_all_score_alike_has_no_law() -> None:
    alike = curve("a", 0.0, noise=0.0) + curve("b", 0.0, noise=0.0)
    laws = fit_score_laws(alike)
    assert laws.series == laws.pairs == laws.limits == ()
    assert any("tells none of them apart" in note for note in laws.notes)
