"""Fits recover known worlds, agree with the reference, and say what they cannot know."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix import MeasurementTable, Mixture, fit
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law import forms
from voxmix.law.cells import gather
from voxmix.law.forms import LawParameters
from voxmix.law.reference import two_stage_reference
from voxmix.law.simulate import random_law, simulate
from voxmix.law.twostage import FitOptions, two_stage

BUDGETS = (500, 1000, 2000, 4000)


def uniform(count):
    return np.full(count, 1 / count)


def world(seed=0, domains=4, rho=1.0, **kwargs):
    rng = np.random.default_rng(seed)
    law = random_law(rng, domains, rho=rho)
    table = simulate(law, budgets=BUDGETS, mixtures=[uniform(domains)], rng=rng, **kwargs)
    return law, table


def assert_recovered(found, truth, tolerance=1e-6):
    for name in ("irreducible_loss", "amplitude", "exponent", "transfer", "rho"):
        np.testing.assert_allclose(getattr(found, name), getattr(truth, name), rtol=tolerance, err_msg=name)


def test_transfer_law_recovers_an_asymmetric_world():
    truth, table = world()
    law = fit(table)
    assert_recovered(law, truth)
    assert np.abs(law.transfer - truth.transfer.T).max() > 0.1
    assert not law.problems()
    assert law.r2_pair == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("loss", ["mse", "relative-huber", "log"])
@pytest.mark.parametrize("method", ["two-stage", "joint"])
def test_every_method_and_loss_recovers_diversity(method, loss):
    truth, table = world(seed=3, rho=0.6)
    assert_recovered(fit(table, law="diversity", method=method, loss=loss), truth, 1e-5)


def test_rho_per_target_is_recovered():
    rng = np.random.default_rng(5)
    base = random_law(rng, 3)
    rho = np.array([0.4, 0.7, 0.95])
    truth = LawParameters.make(
        **{n: getattr(base, n) for n in ("irreducible_loss", "amplitude", "exponent", "transfer")}, rho=rho
    )
    table = simulate(truth, budgets=BUDGETS, mixtures=[uniform(3), np.array([0.6, 0.3, 0.1])])
    assert fit(table, law="diversity", rho="per-target").rho == pytest.approx(rho, rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "relative-huber", "log"])
@pytest.mark.parametrize("method", ["two-stage", "joint"])
def test_shared_exponent_is_recovered_and_stays_shared_under_noise(method, loss):
    rng = np.random.default_rng(7)
    base = random_law(rng, 4)
    truth = LawParameters.make(
        **{n: getattr(base, n) for n in ("irreducible_loss", "amplitude", "transfer")},
        exponent=np.full(4, 0.45),
    )
    options = {"law": "shared-exponent", "method": method, "loss": loss}
    clean = simulate(truth, budgets=BUDGETS, mixtures=[uniform(4)])
    assert_recovered(fit(clean, **options), truth, 1e-5)
    noisy = simulate(truth, budgets=BUDGETS, mixtures=[uniform(4)], noise=0.02, rng=rng)
    law = fit(noisy, **options, bootstrap=10)
    assert np.ptp(law.exponent) < 1e-9
    assert np.ptp(law.bootstrap.exponent, axis=1).max() < 1e-9
    assert law.exponent[0] != pytest.approx(0.45, abs=1e-6)


def test_naive_law_knows_no_transfer():
    truth, table = world()
    law = fit(table, law="naive")
    assert np.array_equal(law.transfer, np.eye(4))
    assert law.exponent == pytest.approx(truth.exponent, rel=1e-6)


def budget_world(rho):
    rng = np.random.default_rng(8)
    base = random_law(rng, 3)
    return LawParameters.make(
        irreducible_loss=np.array([0.01, 0.02, 0.015]),
        amplitude=np.array([0.02, 0.01, 0.015]),
        exponent=np.array([0.5, 0.8, 0.6]),
        transfer=base.transfer,
        rho=np.full(3, rho),
        budget_amplitude=np.array([0.8, 1.1, 0.6]),
        budget_exponent=np.array([0.4, 0.5, 0.45]),
        by_share=True,
    )


@pytest.mark.parametrize(("law", "rho"), [("budget", 1.0), ("budget-diversity", 0.7)])
def test_budget_forms_predict_unseen_mixtures_of_their_world(law, rho):
    truth = budget_world(rho)
    rng = np.random.default_rng(2)
    table = simulate(truth, budgets=BUDGETS, mixtures=list(rng.dirichlet(np.ones(3), 6)))
    found = fit(table, law=law)
    unseen = rng.dirichlet(np.ones(3), 20)
    expected = forms.predict(truth, unseen, np.full(20, 16000.0))[0]
    np.testing.assert_allclose(found.evaluate(unseen, 16000), expected, rtol=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_fast_path_equals_the_reference_on_noisy_worlds(seed):
    _, table = world(seed=seed, domains=3, noise=0.05, seeds=2)
    cells = gather(table)
    options = FitOptions()
    fast = two_stage(cells, cells.loss[None], options).take(0)
    slow = two_stage_reference(cells, cells.loss, options)
    pure = ~cells.mixed
    a, b = (forms.predict(p, cells.weights[pure], cells.budget[pure])[0] for p in (fast, slow))
    errors = [np.sum((x - cells.loss[pure]) ** 2, axis=0) for x in (a, b)]
    assert np.all(errors[0] <= errors[1] * (1 + 1e-6))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_budgets_count_alike_whatever_their_seeds():
    _, table = world(noise=0.1, seeds=3)
    many = np.isin(table.budget, [500, 2000])
    fewer = table.select(many | (table.seed == 0))
    cells = gather(fewer)
    rows = [
        {
            "run": f"{k}",
            "seed": 0,
            "budget": cells.budget[k],
            "target": cells.targets[j],
            "loss": cells.loss[k, j],
            **{f"weight:{d}": w for d, w in zip(cells.domains, cells.weights[k], strict=True)},
        }
        for k in range(len(cells.budget))
        for j in range(4)
    ]
    averaged = fit(MeasurementTable.from_rows(rows))
    np.testing.assert_allclose(fit(fewer).transfer, averaged.transfer, rtol=1e-7)


@given(st.permutations(range(4)))
@settings(max_examples=4, deadline=None)
def test_relabeling_the_domains_permutes_the_law(order):
    _, table = world(noise=0.03)
    law = fit(table, law="diversity")
    moved = fit(table.reorder([table.domains[i] for i in order]), law="diversity")
    np.testing.assert_allclose(moved.transfer, law.transfer[np.ix_(order, order)], rtol=1e-6)
    np.testing.assert_allclose(moved.exponent, law.exponent[list(order)], rtol=1e-6)


@given(seed=st.integers(0, 10_000), noise=st.floats(0, 0.3))
@settings(max_examples=8, deadline=None)
def test_predicted_losses_fall_with_budget_and_are_finite(seed, noise):
    _, table = world(seed=seed, domains=3, noise=noise)
    law = fit(table, law="diversity")
    losses = np.array([law.evaluate(uniform(3), b) for b in (500, 2000, 8000, 10**6)])
    assert np.all(np.isfinite(losses))
    assert np.all(np.diff(losses, axis=0) <= 1e-12)


def test_missing_pair_is_named_and_the_rest_fitted():
    truth, table = world()
    lost = (table.source == 1) & (np.array(table.target) == "D2")
    law = fit(table.select(~lost))
    status = [s for s in law.problems() if s.parameter == "transfer"]
    assert [(s.source, s.target, s.state) for s in status] == [("D1", "D2", "not identified")]
    assert "D1" in status[0].message
    assert law.transfer[1, 2] == 0
    known = np.ones((4, 4), dtype=bool)
    known[1, 2] = False
    np.testing.assert_allclose(law.transfer[known], truth.transfer[known], rtol=1e-6)


def test_domain_without_runs_of_its_own_is_no_target():
    _, table = world()
    law = fit(table.select(~((table.source == 3) & (np.array(table.target) == "D3"))))
    assert law.targets == ("D0", "D1", "D2")
    assert law.transfer.shape == (4, 3)
    assert any(s.target == "D3" and s.state == "not identified" for s in law.status)


def test_flat_and_rising_losses_are_said_to_tell_nothing():
    _, table = world()
    for shape in (np.zeros(len(table)), np.log(table.budget) * 0.01):
        rows = table.to_rows()
        for k, row in enumerate(rows):
            row["loss"] = 0.05 + shape[k]
        law = fit(MeasurementTable.from_rows(rows))
        states = {(s.parameter, s.state) for s in law.status}
        assert ("exponent", "not identified") in states
        assert ("amplitude", "at bound") in states
        assert np.all(np.isfinite(law.evaluate(uniform(4), 8000)))
        assert all(s.message for s in law.problems())


def test_one_budget_is_refused_with_what_to_add():
    _, table = world()
    with pytest.raises(InputError, match=r"500 draws.*two more budgets"):
        fit(table.select(table.budget == 500))


def test_two_budgets_hold_the_irreducible_loss_and_say_so():
    _, table = world()
    law = fit(table.select(table.budget <= 1000))
    assert np.all(law.irreducible_loss == 0)
    assert {s.state for s in law.status if s.parameter == "irreducible_loss"} == {"not identified"}


def test_without_mixtures_rho_cannot_be_known():
    _, table = world(rho=0.6)
    law = fit(table.select(table.source >= 0), law="diversity")
    (status,) = (s for s in law.status if s.parameter == "rho")
    assert status.state == "not identified"
    assert "uniform" in status.message
    assert np.all(law.rho == 1)


def test_budget_law_without_mixtures_is_refused():
    _, table = world()
    with pytest.raises(InputError, match="uniform mixture"):
        fit(table.select(table.source >= 0), law="budget")


def test_source_better_than_own_data_is_at_the_bound_until_it_is_raised():
    truth, _ = world()
    tau = truth.transfer.copy()
    tau[0, 2] = 1.8
    hub = LawParameters.make(
        irreducible_loss=truth.irreducible_loss,
        amplitude=truth.amplitude,
        exponent=truth.exponent,
        transfer=tau,
    )
    table = simulate(hub, budgets=BUDGETS)
    bounded = fit(table)
    assert bounded.transfer[0, 2] == 1
    assert [(s.source, s.target) for s in bounded.problems() if s.state == "at bound"] == [("D0", "D2")]
    assert fit(table, max_transfer=3).transfer[0, 2] == pytest.approx(1.8, rel=1e-6)


@pytest.mark.parametrize(
    "option", [{"law": "best"}, {"method": "quick"}, {"loss": "mae"}, {"rho": "none"}, {"bootstrap": -1}]
)
def test_unknown_options_are_refused_by_name(option):
    _, table = world()
    with pytest.raises(InputError, match=next(iter(option))):
        fit(table, **option)


def test_prediction_outside_the_budgets_warns_and_inside_does_not():
    _, table = world()
    law = fit(table)
    mixture = Mixture.uniform(law.domains)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        law.predict(mixture, 2000)
    with pytest.warns(VoxmixWarning, match=r"4\.0 times outside"):
        law.predict(mixture, 16000)
    assert law.extrapolation(16000) == 4


def test_ten_thousand_rows_take_seconds():
    _, table = world(domains=5, seeds=85, noise=0.05)
    assert len(table) > 10_000
    assert fit(table).transfer.shape == (5, 5)


@pytest.mark.filterwarnings("ignore:.*no noise of the seeds explains")
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["steps", "rising", "wild", "holes"]))
@settings(max_examples=12, deadline=None)
def test_shaky_tables_are_fitted_with_a_status_or_refused_in_words(seed, kind):
    rng = np.random.default_rng(seed)
    table = simulate(
        random_law(rng, 3), budgets=BUDGETS[: rng.integers(2, 5)], mixtures=[uniform(3)], rng=rng
    )
    rows = table.to_rows()
    for row in rows:
        if kind == "steps" and row["budget"] > 500:
            row["loss"] *= 0.1
        if kind == "rising":
            row["loss"] *= row["budget"] ** 0.8
        if kind == "wild":
            row["loss"] = float(rng.choice([0.0, 1e-12, 1.0, 1e6]))
    if kind == "holes":
        rows = [row for row in rows if rng.random() < 0.7]
    method = str(rng.choice(["two-stage", "joint"]))
    try:
        law = fit(MeasurementTable.from_rows(rows, domains=table.domains), law="diversity", method=method)
    except InputError:
        assert kind in ("holes", "wild")  # too little is left, or every loss is 0
        return
    assert np.all(np.isfinite(law.evaluate(uniform(3), 8000)))
    assert all(item.message for item in law.problems())
    if kind in ("rising", "wild"):
        assert law.problems()
