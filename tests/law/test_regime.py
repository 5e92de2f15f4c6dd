"""Whether data matter is told from a table alone: known falls and noise give known verdicts, at stated error rates."""

import csv
import json

import numpy as np
import pytest

from voxmix import MeasurementTable
from voxmix.law.regime import regime_check
from voxmix.law.regime_lines import LAW_ERROR

BUDGETS = (800, 1500, 2800, 5000)
RUNS = 200  # tables behind an error rate: 5% is 10 of them, and 18 is two and a half standard deviations more


def mixtures_of(design, count, min_weight=0.05):
    even = np.full(count, 1 / count)
    pure = np.eye(count)
    vertices = np.full((count, count), min_weight) + (1 - count * min_weight) * pure
    return {"pure": [*pure, even], "vertex": [*vertices, even], "anchor": [even]}[design]


def table_of(
    slopes,
    rng,
    *,
    design="pure",
    noise=0.01,
    seed_effect=0.03,
    seeds=1,
    anchor_seeds=2,
    budgets=BUDGETS,
    worth=0.0,
    loss_se=np.nan,
    each=False,
):
    """Losses that fall by ``slopes`` (log, per doubling of the draws) on every mixture, and by worth * own weight.

    With ``each`` every mixture is run at one budget only, in turn.
    """
    names = tuple(f"D{k}" for k in range(len(slopes)))
    effects = rng.normal(0, seed_effect, 9)
    found = []  # run, mixture, budget, seed
    for m, weights in enumerate(mixtures_of(design, len(names)) if isinstance(design, str) else design):
        count = anchor_seeds if np.ptp(weights) == 0 else seeds
        at = [budgets[m % len(budgets)]] if each else budgets
        found += [(f"{m}-{b}-{s}", weights, b, s) for b in at for s in range(count)]
    run, weights, budget, seed = (
        np.repeat(np.array(item), len(names), axis=0) for item in zip(*found, strict=True)
    )
    target = np.tile(np.arange(len(names)), len(found))
    value = -3 - np.array(slopes)[target] * np.log2(budget / 1000)
    value = (
        value
        - worth * weights[np.arange(len(target)), target]
        + effects[seed]
        + rng.normal(0, noise, len(target))
    )
    return MeasurementTable(
        domains=names,
        run=tuple(map(str, run)),
        target=tuple(names[j] for j in target),
        weights=weights,
        budget=budget.astype(float),
        seed=seed,
        loss=np.exp(value),
        loss_se=np.full(len(target), loss_se),
        volumes=np.full(weights.shape, np.nan),
    )


def verdicts(slope, *, count=10, **options):
    """The verdicts on RUNS targets whose losses fall alike."""
    rng = np.random.default_rng(11)
    found = []
    while len(found) < RUNS:
        regime = regime_check(table_of([slope] * count, rng, **options), keep_outliers=True)
        found += [item.verdict for item in regime.targets]
    return {name: found[:RUNS].count(name) / RUNS for name in set(found)}


@pytest.mark.parametrize("design", ["pure", "vertex", "anchor"])
def test_a_target_that_does_not_move_is_said_to_move_at_most_as_often_as_stated(design):
    seen = verdicts(0.0, design=design)
    assert seen.get("moves", 0) + seen.get("levels off", 0) + seen.get("barely moves", 0) <= 0.09
    assert seen.get("rises", 0) <= 0.09
    assert seen["does not move"] >= 0.85  # both tails are 5%


@pytest.mark.parametrize("design", ["pure", "vertex", "anchor"])
def test_a_target_that_moves_far_beyond_noise_is_said_to_move(design):
    seen = verdicts(0.10, design=design)
    assert seen.get("moves", 0) >= 0.95
    assert seen.get("does not move", 0) == 0


def test_a_fall_below_the_error_of_a_law_barely_moves_however_small_the_noise():
    slope = -np.log1p(-LAW_ERROR / 2)
    assert verdicts(slope, noise=1e-4) == {"barely moves": 1.0}
    assert set(verdicts(3 * slope, noise=1e-4)) == {"moves"}


def test_noise_that_hides_a_fall_asks_for_seeds_and_seeds_show_it():
    assert verdicts(0.05, noise=0.04).get("moves", 0) <= 0.1
    rng = np.random.default_rng(5)
    regime = regime_check(table_of([0.05] * 4, rng, noise=0.04))
    assert any("seeds of every run would show it" in line for line in regime.sentences)
    asked = regime_check(table_of([0.05] * 4, rng, noise=0.04, seeds=9, anchor_seeds=9))
    assert {item.verdict for item in asked.targets} == {"moves"}


def test_the_example_of_the_documentation():
    rng = np.random.default_rng(2)
    slope = -np.log(0.97) / 3  # 3% from 1,000 to 8,000 draws
    table = table_of([slope, 0.3], rng, budgets=(1000, 2000, 4000, 8000), noise=0.01)
    item = regime_check(table)["D0"]
    assert not item.decides
    assert item.sentence.startswith("D0 fell by")
    assert "from 1,000 to 8,000 draws" in item.sentence
    assert "tell what helps it" in item.sentence
    assert regime_check(table)["D1"].verdict == "moves"


def test_numbers_are_those_of_the_table():
    rng = np.random.default_rng(3)
    table = table_of([0.1, 0.2, -0.1], rng, noise=0.0, seed_effect=0.05)
    regime = regime_check(table)
    doublings = np.log2(BUDGETS[-1] / BUDGETS[0])
    for item, slope in zip(regime.targets, (0.1, 0.2, -0.1), strict=True):
        assert item.per_doubling == pytest.approx(1 - np.exp(-slope))
        assert item.fall == pytest.approx(1 - np.exp(-slope * doublings))
        assert item.budgets == BUDGETS
        assert item.noise == pytest.approx(0, abs=1e-9)
    assert [item.verdict for item in regime.targets] == ["moves", "moves", "rises"]


def test_noise_is_that_of_a_run_whatever_the_seeds_own_effect():
    rng = np.random.default_rng(4)
    for effect in (0.0, 0.2):
        found = [
            item.noise**2
            for _ in range(40)
            for item in regime_check(
                table_of([0.1] * 3, rng, noise=0.01, seed_effect=effect, seeds=3, anchor_seeds=3)
            ).targets
        ]
        assert np.sqrt(np.mean(found)) == pytest.approx(0.01, rel=0.05)


def test_the_curve_is_the_purest_one_that_spans_the_budgets():
    rng = np.random.default_rng(6)
    words = {
        name: regime_check(table_of([0.1] * 3, rng, design=name)).targets[0].curve
        for name in ("pure", "vertex", "anchor")
    }
    assert words == {
        "pure": "its pure runs",
        "vertex": "runs with 90% of it",
        "anchor": "the uniform mixture",
    }
    whole = table_of([0.1] * 3, rng)
    short = whole.select((whole.weights.max(axis=1) < 1) | (whole.budget <= 1500))
    assert regime_check(short).targets[0].curve == "the uniform mixture"


def test_a_curve_that_falls_early_and_is_flat_afterwards_levels_off():
    rng = np.random.default_rng(8)
    table = table_of([0.0] * 3, rng, noise=0.002, anchor_seeds=4)
    early = np.where(table.budget == 800, 1.5, 1.0)
    columns = {name: getattr(table, name) for name in ("weights", "budget", "seed", "loss_se", "volumes")}
    table = MeasurementTable(
        domains=table.domains, run=table.run, target=table.target, loss=table.loss * early, **columns
    )
    regime = regime_check(table, keep_outliers=True)
    assert {item.verdict for item in regime.targets} == {"levels off"}
    assert regime.undecided == ()


def test_one_budget_and_too_few_runs_are_said_to_be_not_known():
    rng = np.random.default_rng(9)
    one = regime_check(table_of([0.1] * 3, rng, budgets=(1000,), seeds=2))
    assert {item.verdict for item in one.targets} == {"not known"}
    assert "same budget" in one.summary
    assert one.sentences == (one.summary,)
    assert not one.is_judged
    two = regime_check(table_of([0.1] * 3, rng, budgets=(1000, 2000), design="anchor", anchor_seeds=1))
    assert {item.verdict for item in two.targets} == {"not known"}
    assert "second seed" in two.targets[0].sentence


def test_the_spread_over_held_out_volumes_is_an_upper_bound_only():
    rng = np.random.default_rng(10)
    options = {"budgets": (1000, 8000), "design": "anchor", "anchor_seeds": 1, "noise": 0.0}
    sure = regime_check(table_of([0.2] * 3, rng, loss_se=0.001, **options))
    assert {item.verdict for item in sure.targets} == {"moves"}
    assert "noise at most" in sure.targets[0].sentence
    doubt = regime_check(table_of([0.05] * 3, rng, loss_se=0.02, **options))
    assert {item.verdict for item in doubt.targets} == {"not known"}


def test_a_swarm_of_mixtures_at_one_budget_each_is_judged_by_regression():
    rng = np.random.default_rng(12)
    swarm = list(rng.dirichlet(np.ones(4), 40))
    regime = regime_check(table_of([0.1, 0.0, 0.1, 0.1], rng, design=swarm, worth=0.2, each=True))
    assert [item.verdict for item in regime.targets] == ["moves", "does not move", "moves", "moves"]
    assert regime.targets[0].per_doubling == pytest.approx(1 - np.exp(-0.1), abs=0.01)
    assert regime.targets[0].basis == "residuals"


def test_whether_mixtures_differ_is_told_from_chance():
    rng = np.random.default_rng(13)
    same = [
        item.mixtures_differ
        for _ in range(50)
        for item in regime_check(table_of([0.1] * 4, rng, design="vertex")).targets
    ]
    assert np.mean(same) <= 0.09
    apart = [
        item.mixtures_differ
        for _ in range(10)
        for item in regime_check(table_of([0.1] * 4, rng, design="vertex", worth=0.1)).targets
    ]
    assert np.mean(apart) >= 0.95
    assert all(item.mixtures_differ is None for item in regime_check(table_of([0.1] * 4, rng)).targets)


def test_everything_is_json_and_html_and_an_empty_table_says_nothing():
    rng = np.random.default_rng(14)
    regime = regime_check(table_of([0.1, 0.0], rng))
    value = json.loads(json.dumps(regime.to_dict()))
    assert [item["target"] for item in value["targets"]] == ["D0", "D1"]
    assert "does not move" in regime._repr_html_()
    empty = regime_check(table_of([0.1], rng).select(np.zeros(8, dtype=bool)))
    assert empty.targets == ()
    assert empty.sentences == ()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("phantoms_demo", set()),
        ("phantoms_seed7", set()),
        ("real_seven", {"BRAIN-FLAIR", "BRAIN-T1", "STS-CT"}),
    ],
)
def test_measured_studies_are_judged_as_they_turned_out(shared_data, name, slow):
    """Twelve mixtures of the seven real domains lie within 5%: three targets say hardly anything."""
    with (shared_data / "mixtures" / "voxmix_bank" / f"{name}.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["kind"] != "test"]
    regime = regime_check(
        MeasurementTable.from_rows({k: v for k, v in row.items() if k != "kind"} for row in rows)
    )
    assert {item.target for item in regime.undecided} == slow
    assert all(item.verdict in ("moves", "barely moves") for item in regime.targets)
