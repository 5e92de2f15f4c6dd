"""Objectives against hand computations; what another objective would change; whom the mean listens to."""

import json

import numpy as np
import pytest

from voxmix import Allocation, allocate, fit
from voxmix.allocation import OBJECTIVES
from voxmix.allocation.objective import importance_of, loss_weights, objective_value
from voxmix.errors import InputError
from voxmix.law.simulate import random_law, simulate
from voxmix.report.by_objective import change_sentence, objective_sentence, objectives_table

LOSS = np.array([[0.2, 0.04, 0.01], [0.1, 0.05, 0.02]])
UNIFORM = np.array([0.25, 0.05, 0.01])
IMPORTANCE = np.array([0.5, 0.25, 0.25])


@pytest.fixture(scope="module")
def law():
    rng = np.random.default_rng(3)
    table = simulate(
        random_law(rng, 5, rho=0.7),
        budgets=(500, 1000, 2000),
        mixtures=[np.full(5, 0.2)],
        noise=0.01,
        rng=rng,
    )
    return fit(table, law="diversity")


@pytest.mark.parametrize(
    ("kind", "by_hand"),
    [
        ("mean", [0.5 * 0.2 + 0.25 * 0.04 + 0.25 * 0.01, 0.5 * 0.1 + 0.25 * 0.05 + 0.25 * 0.02]),
        ("relative", [0.5 * 0.8 + 0.25 * 0.8 + 0.25 * 1.0, 0.5 * 0.4 + 0.25 * 1.0 + 0.25 * 2.0]),
        ("minimax", [1.0, 2.0]),
    ],
)
def test_objectives_by_hand(kind, by_hand):
    weights = loss_weights(kind, IMPORTANCE, UNIFORM)
    assert objective_value(kind, weights, LOSS) == pytest.approx(by_hand)


def test_importance_by_hand():
    assert importance_of(("A", "B", "C"), {"A": 2}) == pytest.approx([0.5, 0.25, 0.25])
    left_out = importance_of(("A", "B", "C"), {"C": 0})
    assert left_out == pytest.approx([0.5, 0.5, 0])
    assert objective_value("minimax", loss_weights("minimax", left_out, UNIFORM), LOSS[1]) == pytest.approx(
        1.0
    )
    with pytest.raises(InputError, match="all 0"):
        importance_of(("A",), {"A": 0})
    with pytest.raises(InputError, match=r"unknown targets \['D'\]"):
        importance_of(("A",), {"D": 1})


def test_a_reference_of_0_is_judged_as_it_is():
    weights = loss_weights("relative", np.array([0.5, 0.5]), np.array([0.0, 0.1]))
    assert objective_value("relative", weights, np.array([0.3, 0.1])) == pytest.approx(0.5 * 0.3 + 0.5)


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_an_allocation_knows_what_other_objectives_give(law, kind):
    options = {"budget": 9000, "min_weight": 0.02, "target_weights": {"D1": 3}}
    found = allocate(law, objective=kind, **options)
    assert set(found.by_objective) == set(OBJECTIVES) - {kind}
    uniform = law.evaluate(np.full(5, 0.2), 9000)
    importance = importance_of(law.targets, {"D1": 3})
    for other, item in found.by_objective.items():
        alone = allocate(law, objective=other, **options)
        assert item.weights == pytest.approx(alone.mixture.weights, abs=1e-6)
        assert item.own == pytest.approx(alone.objective)
        assert item.own <= item.own_here * (1 + 1e-9)
        assert item.objective >= found.objective * (1 - 1e-9), (
            "no mixture beats the best by its own objective"
        )
        for value, judge, losses in (
            (item.objective, kind, item.predicted_loss),
            (item.own_here, other, found.predicted_loss),
        ):
            weights = loss_weights(judge, importance, uniform)
            assert value == pytest.approx(float(objective_value(judge, weights, losses)))
        domain, here, there = found.change(other)
        moved = np.abs(alone.mixture.weights - found.mixture.weights)
        assert abs(there - here) == pytest.approx(moved.max(), abs=1e-6)
        assert domain == law.domains[int(moved.argmax())]
    total = found.parts.max() if kind == "minimax" else found.parts.sum()
    assert total == pytest.approx(found.objective)


def test_limits_hold_for_the_other_objectives_too(law):
    found = allocate(law, budget=9000, max_weight={"D2": 0.21}, fixed={"D0": 0.2}, no_worse_than="uniform")
    uniform = found.baselines["uniform"].predicted_loss
    for item in found.by_objective.values():
        assert item.weights[2] <= 0.21 + 1e-7
        assert item.weights[0] == pytest.approx(0.2, abs=1e-7)
        assert np.all(item.predicted_loss <= uniform * (1 + 1e-6))


def test_the_loudest_targets_hold_over_half_of_the_objective(law):
    found = allocate(law, budget=9000, target_weights={"D3": 40})
    share = found.parts / found.parts.sum()
    assert found.loudest == {"D3": pytest.approx(share[3])}
    assert share[3] > 0.5
    assert f"of which D3 holds {share[3]:.0%} (1 of 5 targets)" in objective_sentence(found)
    alike = allocate(law, budget=9000, objective="relative")
    assert alike.loudest == {}
    assert objective_sentence(alike) == "It minimizes the predicted mean of relative losses."
    assert allocate(law, budget=9000, objective="minimax").loudest == {}


def test_it_is_kept_and_files_of_before_are_read(law, tmp_path):
    found = allocate(law, budget=9000)
    found.save(tmp_path / "a.json")
    assert Allocation.load(tmp_path / "a.json").to_dict() == found.to_dict()
    value = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    for name in ("parts", "by_objective", "loudest_targets"):
        del value[name]
    before = Allocation.from_dict(value)
    assert before.by_objective == {}
    assert before.loudest == {}
    assert objectives_table(before) is None


def test_sentences_and_table_hold_the_numbers(law):
    found = allocate(law, budget=9000)
    domain, here, there = found.change("relative")
    text = change_sentence(found, "relative")
    assert (
        f"{100 * abs(there - here):.1f} points: {domain} would get {there:.1%} instead of {here:.1%}" in text
    )
    higher = found.by_objective["relative"].objective / found.objective - 1
    assert f"The mean loss would be {higher:.1%} higher" in text
    table = objectives_table(found)
    assert [column.name for column in table.columns] == ["domain", *OBJECTIVES, "largest change"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows[domain][:2] == pytest.approx([here, there])
    only = allocate(law, budget=9000, fixed=dict.fromkeys(law.domains[:4], 0.2), min_weight=0.2)
    assert "the mixture would be the same" in change_sentence(only, "minimax")
