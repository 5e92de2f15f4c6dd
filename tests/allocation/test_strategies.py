"""Strategies give the mixtures they are named for; one from outside is a row like the others."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from voxmix import Mixture, allocate, fit
from voxmix.allocation import (
    Allocation,
    AllocationSettings,
    Strategy,
    candidates,
    register_strategy,
    unregister_strategy,
)
from voxmix.allocation.strategies import (
    all_strategies,
    baselines,
    check_strategies,
    finetuned_strategies,
    listed_place,
    new_study_strategies,
)
from voxmix.errors import InputError
from voxmix.law import law_forms
from voxmix.law.simulate import random_law, simulate
from voxmix.report.palette import strategy_marks
from voxmix.study.config import StudyAllocation

VOLUMES = {"D0": 100, "D1": 300, "D2": 500}
DOMAINS = tuple(VOLUMES)
SETTINGS = AllocationSettings(budget=5000)


@pytest.fixture(scope="module")
def laws():
    rng = np.random.default_rng(0)
    table = simulate(
        random_law(rng, 3, rho=0.6), budgets=(500, 1000, 2000), mixtures=[np.full(3, 1 / 3)], rng=rng
    )
    return {name: fit(table, law=name) for name in ("naive", "transfer", "diversity")}


def made(names, laws, volumes=VOLUMES):
    return candidates(names, domains=DOMAINS, settings=SETTINGS, volumes=volumes, laws=laws)


def test_each_strategy_is_what_it_says(laws):
    names = (
        "uniform",
        "data-proportional",
        "temperature-2",
        "transfer-naive",
        "transfer-aware",
        "diversity-aware",
        "single-D1",
    )
    found = made(names, laws)
    assert tuple(found) == names
    assert found["uniform"] == Mixture.uniform(DOMAINS)
    assert found["data-proportional"].weights == pytest.approx([1 / 9, 3 / 9, 5 / 9])
    root = np.sqrt([100, 300, 500])
    assert found["temperature-2"].weights == pytest.approx(root / root.sum())
    assert found["single-D1"].source == "D1"
    assert isinstance(found["diversity-aware"], Allocation)
    assert found["diversity-aware"].mixture == allocate(laws["diversity"], budget=5000).mixture
    assert found["transfer-aware"].mixture != found["transfer-naive"].mixture


def test_a_temperature_below_one_leans_to_the_large_domains(laws):
    square = np.array([100.0, 300.0, 500.0]) ** 2
    assert made(["temperature-0.5"], laws)["temperature-0.5"].weights == pytest.approx(square / square.sum())


def test_a_hub_is_a_corner_of_what_the_settings_allow():
    made = candidates(["hub-D1"], domains=DOMAINS, settings=AllocationSettings(budget=9, min_weight=0.1))
    assert made["hub-D1"].weights == pytest.approx([0.1, 0.8, 0.1])
    alone = candidates(["hub-D1"], domains=DOMAINS, settings=AllocationSettings(budget=9, min_weight=0))
    assert alone["hub-D1"] == Mixture.pure(DOMAINS, "D1")


def drawn(numbers, domains, min_weight):
    settings = AllocationSettings(budget=9, min_weight=min_weight)
    names = [f"random-{number}" for number in numbers]
    found = candidates(names, domains=domains, settings=settings)
    return np.array([found[name].weights for name in names])


def test_random_mixtures_are_uniform_over_what_min_weight_allows():
    least, domains = 0.05, tuple("ABCD")
    weights = drawn(range(4000), domains, least)
    assert weights.min() >= least
    assert weights.sum(axis=1) == pytest.approx(1)
    shares = (weights - least) / (
        1 - 4 * least
    )  # a Dirichlet of ones: mean 1/4, variance 3/80, covariance -1/80
    assert shares.mean(axis=0) == pytest.approx(np.full(4, 1 / 4), abs=0.012)
    expected = np.where(np.eye(4, dtype=bool), 3 / 80, -1 / 80)
    assert np.cov(shares.T) == pytest.approx(expected, abs=0.003)
    quantiles = np.quantile(shares[:, 2], [0.25, 0.5, 0.75])  # each share is a Beta(1, 3)
    assert quantiles == pytest.approx(1 - np.array([0.75, 0.5, 0.25]) ** (1 / 3), abs=0.015)


def test_a_random_mixture_is_its_seeds_whatever_the_order_of_the_domains():
    (one,) = drawn([7], ("A", "B", "C"), 0.05)
    (other,) = drawn([7], ("C", "A", "B"), 0.05)
    assert other.tolist() == [one[2], one[0], one[1]]
    # as on 2026-11-28: runs have this name
    assert one.tolist() == pytest.approx([0.581331146613967, 0.281300584210172, 0.137368269175861], abs=1e-14)
    assert drawn([7], ("A", "B", "C"), 0)[0] == pytest.approx((one - 0.05) / 0.85)


def test_a_min_weight_that_leaves_nothing_has_one_mixture_and_too_much_none():
    assert drawn([1], DOMAINS, 1 / 3)[0] == pytest.approx(np.full(3, 1 / 3))
    for name in ("random-1", "hub-D0"):
        with pytest.raises(InputError, match=r"min_weight 0\.5 of each of 3 domains"):
            candidates([name], domains=DOMAINS, settings=AllocationSettings(budget=9, min_weight=0.5))


def test_a_domain_without_count_is_named(laws):
    for name in ("data-proportional", "temperature-2"):
        with pytest.raises(InputError, match="D2"):
            made([name], laws, volumes={"D0": 1, "D1": 2})
    with pytest.raises(InputError, match="law"):
        made(["transfer-aware"], {})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unifrom", "did you mean 'uniform'? Choose from single-DOMAIN, uniform"),
        ("temperatur-2", "did you mean 'temperature'?"),
        ("temperature", "write temperature-T"),
        ("temperature-", "write temperature-T"),
        ("temperature-x", "'x' is no temperature; give a number above 0, e.g. temperature-2"),
        ("temperature--1", "'-1' is no temperature"),
        ("temperature-0", "'0' is no temperature"),
        ("temperature-nan", "'nan' is no temperature"),
        ("temperature-inf", "'inf' is no temperature"),
        ("temperature-2.0", "write temperature-2"),
        ("single", "write single-DOMAIN"),
        ("hub", "write hub-DOMAIN"),
        ("hub-ABD-CR", "no domain 'ABD-CR'; did you mean 'ABD-CT'?"),
        ("random", "write random-N"),
        ("random-x", "'x' is no seed; give a whole number, e.g. random-1"),
        ("random--1", "'-1' is no seed"),
        ("random-1.5", "'1.5' is no seed"),
        ("random-²", "'²' is no seed"),
        ("random-07", "write random-7"),
        ("single-ABD-CR", "no domain 'ABD-CR'; did you mean 'ABD-CT'?"),
        ("scratch", "unknown strategies ['scratch']"),
        ("", "unknown strategies ['']"),
    ],
)
def test_a_wrong_name_says_what_is_possible(name, says):
    with pytest.raises(InputError, match=re.escape(says)):
        check_strategies(["uniform", name], domains=("ABD-CT", "HN-PET"))


def test_lists_of_today_stay_as_they_are():
    assert new_study_strategies() == (
        "uniform",
        "data-proportional",
        "transfer-naive",
        "transfer-aware",
        "diversity-aware",
    )
    assert finetuned_strategies() == ("scratch", "single", "data-proportional", "transfer-aware")
    assert [row.name for row in baselines()] == ["uniform", "data-proportional"]
    order = ("scratch", "single", "uniform", "data-proportional", "transfer-naive", "transfer-aware")
    others = ("checkpoint-1", "diversity-aware", "temperature-2")
    assert sorted((*others, *reversed(order)), key=listed_place) == [*order, *others]
    assert listed_place("single-D1") < listed_place("uniform")
    markers = {name: mark.marker for name, mark in strategy_marks((*order, *others[1:])).items()}
    assert len(set(markers.values())) == len(markers)


def test_two_strategies_of_one_row_look_different():
    marks = strategy_marks(("temperature-2", "temperature-5", "single-D0", "single-D1", "other"))
    assert len({(mark.color, mark.marker) for mark in marks.values()}) == len(marks) == 5


def test_every_law_has_a_strategy_and_names_are_unique():
    names = [row.name for row in all_strategies()]
    assert len(set(names)) == len(names)
    assert {form.strategy for form in law_forms()} <= set(names)


@pytest.fixture
def half_and_half():
    """A strategy from outside: half the transfer law's mixture, half uniform."""
    row = Strategy(
        name="half",
        label="half the transfer law's mixture, half uniform",
        law="transfer",
        mixture=lambda now: Mixture(
            domains=now.domains,
            weights=(allocate(now.law, now.settings).mixture.weights + 1 / len(now.domains)) / 2,
        ),
        marker="h",
    )
    register_strategy(row)
    yield row
    unregister_strategy(row.name)


def test_a_strategy_from_outside_is_made_drawn_and_accepted_by_a_study(laws, half_and_half):
    best = allocate(laws["transfer"], SETTINGS).mixture.weights
    assert made(["half"], laws)["half"].weights == pytest.approx((best + 1 / 3) / 2)
    assert strategy_marks(["uniform", "half"])["half"].marker == "h"
    assert StudyAllocation(budget=100, strategies=("uniform", "half")).strategies == ("uniform", "half")
    with pytest.raises(InputError, match="transfer"):
        made(["half"], {"naive": laws["naive"]})
    with pytest.raises(InputError, match="known already"):
        register_strategy(half_and_half)
    unregister_strategy("half")
    with pytest.raises(InputError, match=r"unknown strategies \['half'\]"):
        StudyAllocation(budget=100, strategies=("uniform", "half"))


def test_names_of_arguments_cannot_be_taken():
    for name in ("temperature-3", "uniform", "transfer-aware", "single-x"):
        with pytest.raises(InputError, match="known already"):
            register_strategy(Strategy(name=name, label="", mixture=lambda now: Mixture.uniform(now.domains)))
    with pytest.raises(InputError, match="neither"):
        register_strategy(Strategy(name="nothing", label=""))


def test_settings_and_keywords_are_one(laws):
    settings = AllocationSettings(budget=4000, max_weight={"D0": 0.3}, objective="relative", level=0.8)
    one, two = (
        allocate(laws["transfer"], settings),
        allocate(laws["transfer"], budget=4000, max_weight={"D0": 0.3}, objective="relative", level=0.8),
    )
    assert one.to_dict() == two.to_dict()
    changed = allocate(laws["transfer"], settings, budget=500, max_weight=None)
    again = allocate(laws["transfer"], dataclasses.replace(settings, budget=500, max_weight={}))
    assert changed.to_dict() == again.to_dict()


def test_the_example_of_the_docs_is_a_strategy(laws):
    page = Path(__file__).parents[2] / "docs" / "reference" / "strategies.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    exec(code, {})
    try:
        assert made(["half"], laws)["half"].weights.min() >= (0.05 + 1 / 3) / 2 - 1e-9
    finally:
        unregister_strategy("half")
