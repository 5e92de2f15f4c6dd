"""Limits and objectives: optimal by another solver's word, certified, and refused by name when in conflict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from voxmix import Mixture, allocate, fit
from voxmix.errors import InputError
from voxmix.law.forms import Landscape
from voxmix.law.simulate import random_law, simulate

# SLSQP, the peer, says so in SciPy before 1.16.
pytestmark = pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
VOLUMES = {"D0": 100, "D1": 40, "D2": 300, "D3": 60, "D4": 80}
BUDGET = 20_000


@pytest.fixture(scope="module")
def laws():
    rng = np.random.default_rng(2)
    table = simulate(
        random_law(rng, 5, rho=0.7), budgets=(500, 1000, 2000, 4000), mixtures=[np.full(5, 0.2)], rng=rng
    )
    return {name: fit(table, law=name) for name in ("transfer", "diversity")}


def peer(value, start, constraints=(), low=0.05, high=1.0):
    """Best of 20 SLSQP runs."""
    rng = np.random.default_rng(0)
    best = np.inf
    for k in range(20):
        guess = start if k == 0 else 0.05 + 0.75 * rng.dirichlet(np.ones(5))
        done = minimize(
            lambda w: 100 * value(w),
            guess,
            method="SLSQP",
            bounds=list(zip(np.broadcast_to(low, 5), np.broadcast_to(high, 5), strict=True)),
            constraints=[{"type": "eq", "fun": lambda w: w.sum() - 1}, *constraints],
            options={"ftol": 1e-13, "maxiter": 300},
        )
        ok = all(np.min(c["fun"](done.x)) > -1e-7 for c in constraints) and abs(done.x.sum() - 1) < 1e-7
        best = min(best, done.fun / 100) if ok else best
    return best


@pytest.mark.parametrize("name", ["transfer", "diversity"])
def test_caps_and_fixed_weights_agree_with_slsqp(laws, name):
    law = laws[name]
    found = allocate(
        law, budget=BUDGET, max_weight={"D0": 0.2}, fixed={"D3": 0.12}, volumes=VOLUMES, max_epochs=50
    )
    high = np.array([0.2, 40 * 50 / BUDGET, 300 * 50 / BUDGET, 0.12, 80 * 50 / BUDGET])
    low = np.array([0.05, 0.05, 0.05, 0.12, 0.05])
    assert np.all(found.mixture.weights <= high + 1e-12)
    assert found.mixture["D3"] == 0.12
    expected = peer(lambda w: law.evaluate(w, BUDGET).mean(), np.full(5, 0.2), low=low, high=high)
    assert found.objective == pytest.approx(expected, rel=1e-7)
    assert 0 <= found.gap <= 1e-6 * found.objective


@pytest.mark.parametrize("name", ["transfer", "diversity"])
def test_no_worse_than_holds_for_every_target_and_agrees_with_slsqp(laws, name):
    law = laws[name]
    guard = Mixture.from_counts(VOLUMES)
    ceiling = law.evaluate(guard.weights, BUDGET)
    found = allocate(law, budget=BUDGET, volumes=VOLUMES, no_worse_than="data-proportional")
    assert np.all(found.predicted_loss <= ceiling * (1 + 2e-7))
    assert np.any(allocate(law, budget=BUDGET).predicted_loss > ceiling * 1.001)
    limit = {"type": "ineq", "fun": lambda w: 1 - law.evaluate(w, BUDGET) / ceiling}
    expected = peer(lambda w: law.evaluate(w, BUDGET).mean(), guard.weights, [limit])
    assert found.objective == pytest.approx(expected, rel=1e-5)
    assert found.gap <= 1e-6 * found.objective


def test_minimax_beats_every_random_mixture(laws):
    law = laws["transfer"]
    found = allocate(law, budget=BUDGET, objective="minimax", max_weight={"D0": 0.12})
    even = law.evaluate(np.full(5, 0.2), BUDGET)
    assert found.objective == pytest.approx(np.max(found.predicted_loss / even), rel=1e-9)
    rng = np.random.default_rng(0)
    trials = 0.05 + 0.75 * rng.dirichlet(np.ones(5), 20_000)
    trials = trials[trials[:, 0] <= 0.12]
    assert found.objective <= np.max(law.evaluate(trials, BUDGET) / even, axis=1).min()
    assert found.gap <= 1e-6


def test_relative_objective_is_the_mean_ratio_to_uniform(laws):
    law = laws["diversity"]
    found = allocate(law, budget=BUDGET, objective="relative")
    even = law.evaluate(np.full(5, 0.2), BUDGET)
    assert found.objective == pytest.approx(np.mean(found.predicted_loss / even), rel=1e-12)
    assert found.baselines["uniform"].objective == pytest.approx(1)
    assert found.objective < 1


def test_costs_spend_the_budget_and_agree_with_slsqp(laws):
    law = laws["diversity"]
    price = np.array([3.0, 1.0, 1.0, 0.5, 1.0])
    found = allocate(law, budget=BUDGET, cost={"D0": 3.0, "D3": 0.5})
    drawn = found.mixture.weights * found.draws
    assert drawn @ price == pytest.approx(BUDGET)
    assert found.mixture.weights.min() >= 0.05 - 1e-9

    def value(w):
        return law.evaluate(w, BUDGET / (w @ price)).mean()

    assert found.objective == pytest.approx(value(found.mixture.weights), rel=1e-9)
    assert found.objective == pytest.approx(peer(value, np.full(5, 0.2)), rel=1e-6)
    assert found.mixture["D0"] < allocate(law, budget=BUDGET).mixture["D0"]
    assert found.gap <= 1e-6 * found.objective


def test_cost_of_one_everywhere_changes_nothing(laws):
    same = allocate(laws["transfer"], budget=BUDGET, cost=dict.fromkeys(VOLUMES, 1.0))
    assert same.mixture == allocate(laws["transfer"], budget=BUDGET).mixture


@pytest.mark.parametrize(("domain", "cap"), [("D0", 0.1), ("D4", 0.07)])
def test_shadow_price_is_what_one_more_draw_gains(laws, domain, cap):
    law = laws["diversity"]
    found, more = (
        allocate(law, budget=BUDGET, max_weight={domain: cap + extra / BUDGET}) for extra in (0, 20)
    )
    place = law.domains.index(domain)
    assert found.shadow_price[place] == pytest.approx((found.objective - more.objective) / 20, rel=0.02)
    assert found.shadow_price[place] > 0
    free = [i for i in range(5) if i != place and found.mixture.weights[i] > 0.0501]
    assert np.all(found.shadow_price[free] == 0)


def test_forced_draws_have_a_negative_price(laws):
    found = allocate(laws["diversity"], budget=BUDGET, fixed={"D2": 0.6})
    less = allocate(laws["diversity"], budget=BUDGET, fixed={"D2": 0.6 + 1e-3})
    assert found.shadow_price[2] == pytest.approx(
        (found.objective - less.objective) / (1e-3 * BUDGET), rel=0.05
    )
    assert found.shadow_price[2] < 0


def test_a_domain_can_be_left_out(laws):
    found = allocate(laws["diversity"], budget=BUDGET, fixed={"D1": 0.0})
    assert found.mixture["D1"] == 0
    assert np.all(np.isfinite(found.predicted_loss))


@given(
    seed=st.integers(0, 9999),
    objective=st.sampled_from(["mean", "relative", "minimax"]),
    guarded=st.booleans(),
    costly=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_any_combination_is_feasible_and_certified(seed, objective, guarded, costly):
    rng = np.random.default_rng(seed)
    table = simulate(random_law(rng, 4), budgets=(500, 1000, 2000), rng=rng)
    law = fit(table)
    cap = float(rng.uniform(0.3, 0.6))
    found = allocate(
        law,
        budget=8000,
        min_weight=0.02,
        max_weight={"D0": cap},
        objective=objective,
        no_worse_than="uniform" if guarded else None,
        cost={"D1": 2.0, "D2": 0.7} if costly else None,
    )
    assert found.mixture.weights.min() >= 0.02 - 1e-7
    assert found.mixture["D0"] <= cap + 1e-7
    assert 0 <= found.gap <= 1e-5 * found.objective
    if guarded:
        uniform = found.baselines["uniform"].predicted_loss
        assert np.all(found.predicted_loss <= uniform * (1 + 1e-6))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"fixed": {"D0": 0.9}}, r"fixed D0=0.9, min_weight 0.05 for 4 domains conflict"),
        ({"max_weight": dict.fromkeys(VOLUMES, 0.1)}, r"max_weight D0=0.1.*allow only 0.500"),
        ({"volumes": VOLUMES, "max_epochs": 20}, r"min_weight 0.05 and max_epochs 20 of D1 conflict"),
        (
            {"volumes": VOLUMES, "max_epochs": 20, "min_weight": 0.01},
            r"max_epochs 20 conflict.*0.580 of the budget",
        ),
        ({"max_epochs": 20}, r"max_epochs needs.*volumes"),
        ({"max_weight": {"LUNG": 0.1}}, r"max_weight.*LUNG"),
        ({"max_weight": {"D0": 1.5}}, r"max_weight of D0.*1.5"),
        ({"cost": {"D0": 0.0}}, r"cost of D0 must be a price above 0"),
        ({"objective": "best"}, r"objective 'best'"),
        ({"no_worse_than": "data-proportional"}, r"needs volumes of every domain"),
        ({"no_worse_than": "temperature"}, r"no_worse_than 'temperature'"),
        (
            {"no_worse_than": "uniform", "max_weight": {"D0": 0.06}},
            r"no_worse_than conflicts.*D\d.*% worse",
        ),
    ],
)
def test_conflicts_are_named(laws, option, words):
    with pytest.raises(InputError, match=words):
        allocate(laws["diversity"], **({"budget": BUDGET} | option))


def test_landscape_in_money_matches_draws(laws):
    law = laws["diversity"].parameters
    price = np.array([2.0, 1, 1, 1, 0.5])
    money = np.array([[0.2, 0.2, 0.2, 0.3, 0.1]])
    bought = money / price
    plain = Landscape(law, BUDGET * bought.sum()).loss(bought / bought.sum())
    np.testing.assert_allclose(Landscape(law, BUDGET, price).loss(money), plain)
