"""Losses that no noise explains are named and set aside; steps, plateaus, seeds and steep curves are left alone."""

import json
import warnings

import numpy as np
import pytest

from voxmix import FittedLaw, MeasurementTable, allocate, fit
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law.cells import gather
from voxmix.law.oddities import oddities
from voxmix.law.outliers import find_outliers
from voxmix.law.simulate import random_law, simulate

BUDGETS = (800, 1500, 2800, 5000)


def world(seed=0, *, seeds=1, noise=0.02, budgets=BUDGETS, domains=4, mixtures=None):
    rng = np.random.default_rng(seed)
    law = random_law(rng, domains, rho=0.7)
    even = [np.full(domains, 1 / domains)]
    return simulate(
        law,
        budgets=budgets,
        seeds=seeds,
        noise=noise,
        together=0.3,
        mixtures=even if mixtures is None else mixtures,
        rng=rng,
    )


def changed(table, rows, factor):
    """The table with the losses of some rows multiplied."""
    columns = {name: getattr(table, name) for name in ("weights", "budget", "seed", "loss_se", "volumes")}
    loss = np.where(rows, np.asarray(table.loss) * factor, table.loss)
    return MeasurementTable(domains=table.domains, run=table.run, target=table.target, loss=loss, **columns)


def places(table, rows):
    return {(table.run[k], table.target[k]) for k in np.flatnonzero(rows)}


def named(table):
    return {(item.run, item.target) for item in find_outliers(table)}


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("factor", [50.0, 0.02])
def test_one_wild_loss_is_named_wherever_it_stands_and_nothing_else(seeds, factor):
    rng = np.random.default_rng(7)
    for number in range(8):
        table = world(number, seeds=seeds)
        row = np.arange(len(table)) == rng.integers(len(table))
        assert named(changed(table, row, factor)) == places(table, row)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("budget", [800, 5000])
def test_a_run_that_diverged_is_named_on_every_target(seeds, budget):
    table = world(3, seeds=seeds)
    rows = (table.source == 1) & (table.budget == budget) & (table.seed == 0)
    found = find_outliers(changed(table, rows, 30.0))
    assert {(item.run, item.target) for item in found} == places(table, rows)
    for item in found:
        truth = table.loss[(np.array(table.run) == item.run) & (np.array(table.target) == item.target)][0]
        assert item.expected == pytest.approx(truth, rel=0.4)


@pytest.mark.parametrize("budget", BUDGETS)
def test_two_wild_losses_in_one_cell_do_not_hide_each_other(budget):
    for seeds in (2, 3):
        table = world(5, seeds=seeds)
        cell = (table.source == 2) & (table.budget == budget) & (np.array(table.target) == "D1")
        rows = cell & (table.seed < 2)
        assert named(changed(table, rows, 50.0)) == places(table, rows)


def test_a_mixture_that_was_run_once_is_judged_by_all_others():
    rng = np.random.default_rng(1)
    table = world(1, budgets=(1000,), mixtures=list(rng.dirichlet(np.ones(4), 40)))
    assert not find_outliers(table)
    row = np.arange(len(table)) == 77
    assert named(changed(table, row, 50.0)) == places(table, row)


KINDS = {
    "noise": lambda t, rng: np.exp(rng.normal(0, 0.2, len(t))),
    "seeds of 10%": lambda t, rng: np.array([1.0, 1.1, 0.87])[t.seed],
    "a plateau": lambda t, rng: np.maximum(1.0, 0.12 / t.loss),
    "a step of all at once": lambda t, rng: np.where(t.budget > 800, 0.1, 1.0),
    "a late step of one source": lambda t, rng: np.where((t.budget < 5000) & (t.source == 1), 3.0, 1.0),
    "foreign losses that rise": lambda t, rng: np.where(
        (t.source >= 0) & (t.source != t.target_index), (t.budget / 800) ** 0.6, 1.0
    ),
    "steep curves": lambda t, rng: (t.budget / 800) ** -1.8,
    "one target in other units": lambda t, rng: np.where(t.target_index == 2, 100.0, 1.0),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_what_real_losses_do_is_left_alone(kind, seeds):
    for number in range(6):
        rng = np.random.default_rng(number)
        table = world(number, seeds=seeds, budgets=BUDGETS if number % 2 else (800, 3200))
        odd = changed(table, np.ones(len(table), dtype=bool), KINDS[kind](table, rng))
        assert not find_outliers(odd), kind


def test_the_fit_is_that_of_the_table_without_the_outlier_and_says_so():
    table = world(2, seeds=2)
    row = (table.source == 3) & (table.target_index == 1) & (table.budget == 1500) & (table.seed == 1)
    odd = changed(table, row, 50.0)
    with pytest.warns(VoxmixWarning, match=r"1 loss .* is set aside .*1,500 draws of D3\) on D1.*expected"):
        law = fit(odd)
    clean = fit(table.select(~row))
    assert np.array_equal(law.transfer, clean.transfer)
    np.testing.assert_allclose(
        allocate(law, budget=10_000).mixture.weights, allocate(clean, budget=10_000).mixture.weights
    )
    with pytest.warns(VoxmixWarning, match="fitted too"):
        kept = fit(odd, keep_outliers=True)
    assert kept.transfer[3, 1] < 0.2 * clean.transfer[3, 1]
    for fitted, flag in ((law, False), (kept, True)):
        value = json.loads(json.dumps(fitted.to_dict()))
        assert value["outliers_kept"] is flag
        (item,) = value["outliers"]
        assert (item["run"], item["seed"], item["budget"], item["target"]) == (
            odd.run[int(np.argmax(row))],
            1,
            1500,
            "D1",
        )
        assert item["loss"] == pytest.approx(float(odd.loss[row][0]))
        assert FittedLaw.from_dict(value).outliers == fitted.outliers
    old = {name: value for name, value in law.to_dict().items() if not name.startswith("outliers")}
    assert FittedLaw.from_dict(old).outliers == ()


def test_a_loss_of_exactly_zero_is_set_aside_and_all_zeros_are_refused():
    table = world(4, seeds=2)
    row = np.arange(len(table)) == 5
    with pytest.warns(VoxmixWarning, match="a loss of exactly 0"):
        law = fit(changed(table, row, 0.0))
    assert np.array_equal(law.transfer, fit(table.select(~row)).transfer)
    with pytest.raises(InputError, match="all losses are 0"):
        fit(changed(table, np.ones(len(table), dtype=bool), 0.0))


def test_many_outliers_are_counted_and_the_worst_named():
    table = world(6, seeds=3, domains=5)
    rows = (table.seed == 0) & (table.budget == 2800) & (table.source == 0)
    with pytest.warns(VoxmixWarning, match=r"^5 losses .* are set aside .*; and 2 more\."):
        fit(changed(table, rows, 40.0))


def test_a_clean_fit_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law = fit(world(8, seeds=2))
    assert law.outliers == ()
    assert law.notes == ()


def said(table):
    return " | ".join(oddities(table, gather(table)))


def test_scores_instead_of_losses_are_named():
    table = world(1, seeds=2, noise=0.001)
    scores = changed(table, np.ones(len(table), dtype=bool), (1 - table.loss) / table.loss)
    assert "as scores do" in said(scores)
    assert any("as scores do" in note for note in fit(scores).notes)


def test_other_units_of_losses_budgets_and_seeds_are_named():
    table = world(1, seeds=2)
    assert said(table) == ""
    assert "losses of D2 are typically" in said(changed(table, table.target_index == 2, 100.0))
    assert "losses of seed 1 are typically" in said(changed(table, table.seed == 1, 100.0))
    columns = {name: getattr(table, name) for name in ("weights", "seed", "loss", "loss_se", "volumes")}
    budget = np.where(table.source == 1, np.maximum(table.budget / 1000, 1), table.budget)
    thousands = MeasurementTable(
        domains=table.domains, run=table.run, target=table.target, budget=budget, **columns
    )
    assert "D1 was trained alone at 1 to 5 draws" in said(thousands)
    few = np.isin(table.run, table.run[0])
    budget = np.where(few, table.budget * 1000, table.budget)
    one_run = MeasurementTable(
        domains=table.domains, run=table.run, target=table.target, budget=budget, **columns
    )
    assert f"no run lies between 5,000 and 800,000 draws: if the budgets of {table.run[0]} are" in said(
        one_run
    )


def test_swapped_targets_and_copied_runs_are_named():
    table = world(1, seeds=2)
    columns = {
        name: getattr(table, name) for name in ("weights", "budget", "seed", "loss", "loss_se", "volumes")
    }
    swap = {"D0": "D2", "D2": "D0"}
    target = tuple(swap.get(name, name) for name in table.target)
    swapped = MeasurementTable(domains=table.domains, run=table.run, target=target, **columns)
    assert "names are swapped" in said(swapped)
    first = np.array(table.run) == table.run[0]
    copy = table.select(first)
    renamed = MeasurementTable(
        domains=table.domains,
        run=("again",) * len(copy),
        target=copy.target,
        **{name: getattr(copy, name) for name in columns},
    )
    assert "1 of 41 runs have the same losses" in said(MeasurementTable.concatenate([table, renamed]))
