"""Losses that look wrong and are fitted all the same are named and counted; right ones are not."""

import json

import numpy as np
import pytest

from voxmix import FittedLaw, MeasurementTable, fit
from voxmix.law.cells import gather
from voxmix.law.oddities import oddities
from voxmix.law.outliers import find_outliers
from voxmix.law.simulate import random_law, simulate
from voxmix.law.suspects import find_suspects

BUDGETS = (800, 1500, 2800, 5000)


def world(seed=0, *, seeds=2, noise=0.003, budgets=BUDGETS):
    rng = np.random.default_rng(seed)
    vertices = 0.05 + 0.8 * np.eye(4)
    return simulate(
        random_law(rng, 4, rho=0.7), budgets=budgets, seeds=seeds, noise=noise, together=0.3,
        mixtures=[np.full(4, 0.25), *vertices], rng=rng,
    )  # fmt: skip


def changed(table, rows, loss=None, *, factor=1.0, budget=None):
    columns = {
        name: np.array(getattr(table, name)) for name in ("weights", "budget", "seed", "loss_se", "volumes")
    }
    losses = np.where(rows, np.asarray(table.loss) * factor if loss is None else loss, table.loss)
    if budget is not None:
        columns["budget"] = np.where(rows, budget, columns["budget"])
    return MeasurementTable(domains=table.domains, run=table.run, target=table.target, loss=losses, **columns)


def suspects(table):
    return {(item.run, item.target) for item in find_suspects(table, find_outliers(table))}


def odd(table):
    return " ".join(oddities(table, gather(table)))


def place(table, *, mixture, budget, seed, target):
    rows = (
        np.all(np.isclose(table.weights, mixture), axis=1) & (table.budget == budget) & (table.seed == seed)
    )
    return rows & (np.array(table.target) == target)


@pytest.mark.parametrize("noise", [0.003, 0.02, 0.1])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_right_losses_are_not_named(noise, seeds):
    for number in range(8):
        table = world(number, seeds=seeds, noise=noise)
        assert suspects(table) == set()
        assert odd(table) == ""


@pytest.mark.parametrize("factor", [1.3, 0.75])
def test_of_three_seeds_the_odd_one_is_named_wherever_it_stands(factor):
    rng = np.random.default_rng(3)
    for number in range(8):
        table = world(number, seeds=3)
        row = np.arange(len(table)) == rng.integers(len(table))
        wrong = changed(table, row, factor=factor)
        assert not find_outliers(wrong)
        k = int(np.argmax(row))
        assert (table.run[k], table.target[k]) in suspects(wrong)


def test_a_loss_that_rises_with_the_budget_is_named_with_what_was_expected():
    table = world(1)
    row = place(table, mixture=np.full(4, 0.25), budget=2800, seed=0, target="D2")
    before = table.loss[place(table, mixture=np.full(4, 0.25), budget=1500, seed=0, target="D2")][0]
    (item,) = find_suspects(changed(table, row, 1.25 * before))
    assert (item.run, item.target, item.budget) == (table.run[int(np.argmax(row))], "D2", 2800.0)
    assert item.expected == pytest.approx(float(table.loss[row][0]), rel=0.15)


def test_a_target_that_gets_worse_with_its_draws_is_no_mistake_and_a_mistake_elsewhere_still_is():
    table = world(1, seeds=1)
    mostly_d1 = np.isclose(table.weights[:, 1], 0.85) & (np.array(table.target) == "D0")
    worn = changed(table, mostly_d1, 0.05 * (table.budget / 800) ** 0.25)  # 17% a step
    assert suspects(worn) == set()
    row = place(worn, mixture=np.full(4, 0.25), budget=2800, seed=0, target="D2")
    before = worn.loss[place(worn, mixture=np.full(4, 0.25), budget=1500, seed=0, target="D2")][0]
    assert suspects(changed(worn, row, 1.35 * before)) == {(table.run[int(np.argmax(row))], "D2")}


def test_runs_that_each_have_a_seed_of_their_own_are_one_curve():
    table = world(1, seeds=1)
    row = place(table, mixture=np.full(4, 0.25), budget=2800, seed=0, target="D2")
    wrong = changed(table, row, factor=1.6)
    seeds = np.array([int(run.removeprefix("run")) for run in table.run])
    columns = {name: getattr(wrong, name) for name in ("weights", "budget", "loss", "loss_se", "volumes")}
    apart = MeasurementTable(domains=table.domains, run=table.run, target=table.target, seed=seeds, **columns)
    assert suspects(apart) == suspects(wrong) == {(table.run[int(np.argmax(row))], "D2")}


def test_foreign_losses_of_pure_runs_may_rise():
    table = world(2)
    foreign = (table.source >= 0) & (table.source != table.target_index)
    assert suspects(changed(table, foreign, factor=(table.budget / 800) ** 0.8)) == set()


def test_the_fit_keeps_them_names_them_and_counts_them():
    table = world(4, seeds=3)
    row = place(table, mixture=np.full(4, 0.25), budget=1500, seed=1, target="D1")
    law = fit(changed(table, row, factor=1.35))
    assert law.outliers == ()
    (note,) = [note for note in law.notes if "looks wrong" in note]
    assert note.startswith("1 loss looks wrong and is fitted all the same: run ")
    value = json.loads(json.dumps(law.to_dict()))
    assert [item["target"] for item in value["suspects"]] == ["D1"]
    assert FittedLaw.from_dict(value).suspects == law.suspects
    old = {name: item for name, item in value.items() if name != "suspects"}
    assert FittedLaw.from_dict(old).suspects == ()


def test_of_a_swarm_the_loss_far_from_the_law_is_named():
    rng = np.random.default_rng(6)
    truth = random_law(rng, 4, rho=1.0)
    swarm = list(rng.dirichlet(np.ones(4), 40))
    table = simulate(truth, budgets=(1000, 4000), noise=0.005, mixtures=swarm, pure=False, rng=rng)
    settings = {"law": "transfer", "method": "joint", "loss": "log"}
    assert fit(table, **settings).suspects == ()
    row = np.arange(len(table)) == 133
    (item,) = fit(changed(table, row, factor=1.5), **settings).suspects
    assert (item.run, item.target) == (table.run[133], table.target[133])
    assert item.expected == pytest.approx(float(table.loss[133]), rel=0.05)


def test_equal_losses_over_targets_and_over_runs_are_named():
    table = world(5)
    first = int(np.flatnonzero(np.array(table.target) == "D0")[3])
    twin = (np.array(table.run) == table.run[first]) & (np.array(table.target) == "D1")
    assert (
        f"2 losses equal another of their run to the last digit (run {table.run[first]} on D0 and D1"
        in odd(changed(table, twin, table.loss[first]))
    )
    later = np.arange(len(table)) == int(np.flatnonzero(np.array(table.target) == "D0")[9])
    words = odd(changed(table, later, table.loss[first]))
    assert "2 losses equal one of another run on the same target" in words
    assert "all are fitted" in words


def test_numbers_of_few_digits_may_be_equal():
    table = world(5)
    assert "equal" not in odd(changed(table, np.ones(len(table), bool), np.round(table.loss, 3)))


@pytest.mark.parametrize("times", [1000.0, 0.001])
def test_one_run_whose_budget_is_in_another_unit_is_named_and_no_other(times):
    table = world(0)
    rows = np.array(table.run) == "run30"
    words = odd(changed(table, rows, budget=table.budget * times if times > 1 else 2.0))
    assert "if the budgets of run30 are in another unit" in words


@pytest.mark.shared
def test_no_loss_of_the_measured_tables_is_named(shared_data):
    for path in sorted((shared_data / "mixtures" / "voxmix_bank").glob("*.csv")):
        table = MeasurementTable.read(path)
        assert not find_outliers(table), path.name
        assert suspects(table) == set(), path.name
        assert odd(table) == "", path.name
