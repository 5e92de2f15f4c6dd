"""Allocations are optimal, certified, feasible, and follow their domains through any relabeling."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from voxmix import Allocation, allocate, fit
from voxmix.allocation.interior import best_vertex, certificate, solve
from voxmix.errors import InputError
from voxmix.law.forms import Landscape, LawParameters
from voxmix.law.simulate import random_law, simulate

# SLSQP, the peer, says so in SciPy before 1.16.
pytestmark = pytest.mark.filterwarnings("ignore:Values in x were outside bounds:RuntimeWarning")
BUDGETS = (500, 1000, 2000, 4000)


def fitted(seed=0, domains=5, rho=1.0, law="transfer", **kwargs):
    rng = np.random.default_rng(seed)
    truth = random_law(rng, domains, rho=rho)
    mixtures = [np.full(domains, 1 / domains)]
    return fit(simulate(truth, budgets=BUDGETS, mixtures=mixtures, rng=rng), law=law, **kwargs)


def objective(law, weights, budget):
    return law.evaluate(weights, budget).mean()


@pytest.mark.parametrize(("law", "rho"), [("transfer", 1.0), ("diversity", 0.5)])
def test_no_restart_of_slsqp_finds_less(law, rho):
    found = fitted(seed=2, rho=rho, law=law)
    best = allocate(found, budget=10_000)
    rng = np.random.default_rng(0)
    landscape = Landscape(found.parameters, 10_000)
    values = []
    for _ in range(100):
        result = minimize(
            lambda w: landscape.loss(w[None])[0].mean() * 100,
            0.05 + 0.75 * rng.dirichlet(np.ones(5)),
            jac=lambda w: landscape.curvature(w[None]).slope[0].mean(axis=1) * 100,
            method="SLSQP",
            bounds=[(0.05, 1)] * 5,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-12},
        )
        values.append(result.fun / 100)
    assert best.objective <= min(values) * (1 + 1e-9)
    assert best.objective >= min(values) - best.gap - 1e-9
    assert best.gap <= 1e-6 * best.objective


def test_published_mixture_is_not_the_optimum_of_its_naive_half():
    """The gap of a mixture that is not optimal bounds what allocate gains on it."""
    law = fitted(seed=4)
    landscape = Landscape(law.parameters, 10_000)
    cost, low, high = np.full((1, 5), 0.2), np.full((1, 5), 0.05), np.ones((1, 5))
    uniform = np.full((1, 5), 0.2)
    value, gap = certificate(landscape, cost, uniform, low, high)
    best = allocate(law, budget=10_000)
    assert best.objective < value[0]
    assert value[0] - gap[0] <= best.objective


@given(seed=st.integers(0, 10_000), domains=st.integers(2, 12), log_budget=st.floats(2, 8))
@settings(max_examples=25, deadline=None)
def test_weights_feasible_and_gap_small_on_random_laws(seed, domains, log_budget):
    rng = np.random.default_rng(seed)
    law = random_law(rng, domains, rho=rng.choice([1.0, rng.uniform(0.2, 1)]))
    least = rng.uniform(0, 1 / domains)
    found = solve(
        Landscape(law, 10**log_budget),
        rng.dirichlet(np.ones(domains))[None],
        lower=np.full(domains, least),
        upper=np.ones(domains),
    )
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    assert found.weights.min() >= least
    assert 0 <= found.gap[0] <= 1e-6 * found.objective[0]


@given(seed=st.integers(0, 10_000), share=st.booleans(), again=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_form_is_midpoint_convex_in_the_weights(seed, share, again):
    rng = np.random.default_rng(seed)
    base = random_law(rng, 4)
    law = LawParameters.make(
        irreducible_loss=base.irreducible_loss,
        amplitude=base.amplitude,
        exponent=rng.uniform(0.05, 2, 4),
        transfer=base.transfer * rng.uniform(0.5, 3),
        rho=rng.uniform(0.1, 1, 4),
        budget_amplitude=np.full(4, float(share)),
        budget_exponent=np.full(4, 0.4),
        by_share=share,
        unique=np.where(rng.random(4) < 0.7, rng.uniform(10, 2000, 4), np.inf)
        if again
        else np.full(4, np.inf),
        repeats=np.full(4, rng.uniform(0.5, 20)),
    )
    landscape = Landscape(law, 8000)
    a, b = rng.dirichlet(np.ones(4), (2, 1))
    middle = landscape.loss((a + b) / 2)
    assert np.all(middle <= (landscape.loss(a) + landscape.loss(b)) / 2 * (1 + 1e-12))
    curved = landscape.curvature(a).hessian(np.ones((1, 4)))[0]
    assert np.linalg.eigvalsh(curved).min() >= -1e-9 * np.abs(curved).max()


@given(st.permutations(range(5)))
@settings(max_examples=5, deadline=None)
def test_relabeling_permutes_the_allocation(order):
    rng = np.random.default_rng(1)
    table = simulate(random_law(rng, 5), budgets=BUDGETS, noise=0.02, rng=rng)
    straight = allocate(fit(table), budget=9000)
    moved = allocate(fit(table.reorder([table.domains[i] for i in order])), budget=9000)
    for name in table.domains:
        assert moved.mixture[name] == pytest.approx(straight.mixture[name], abs=1e-6)


def test_transposed_transfer_gives_another_mixture():
    law = random_law(np.random.default_rng(3), 5)
    tau = np.eye(5)
    tau[0] = 0.9  # domain 0 helps all; nobody helps it
    tau[0, 0] = 1
    weights = []
    for matrix in (tau, tau.T):
        laws = LawParameters.make(
            irreducible_loss=law.irreducible_loss,
            amplitude=np.ones(5),
            exponent=np.full(5, 0.4),
            transfer=matrix,
        )
        found = solve(Landscape(laws, 1e4), np.full((1, 5), 0.2), lower=np.full(5, 0.05), upper=np.ones(5))
        weights.append(found.weights[0])
    assert weights[0][0] > 0.7
    assert weights[1][0] < 0.3


def test_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    laws = [random_law(rng, 4, rho=0.7) for _ in range(5)]
    batch = LawParameters.make(
        **{
            name: np.stack([getattr(law, name) for law in laws])
            for name in ("irreducible_loss", "amplitude", "exponent", "transfer", "rho")
        }
    )
    cost, low, high = np.full((1, 4), 0.25), np.full(4, 0.05), np.ones(4)
    together = solve(Landscape(batch, 5000), cost, lower=low, upper=high)
    for k, law in enumerate(laws):
        alone = solve(Landscape(law, 5000), cost, lower=low, upper=high)
        assert together.objective[k] == pytest.approx(alone.objective[0], rel=1e-8)


def test_vertex_is_the_least_of_all_orders():
    rng = np.random.default_rng(0)
    slope = rng.standard_normal((1, 4))
    low, high = np.full((1, 4), 0.05), np.full((1, 4), 0.4)
    vertex = best_vertex(slope, low, high)
    assert vertex.sum() == pytest.approx(1)
    for _ in range(2000):
        point = low + rng.dirichlet(np.ones(4)) * (1 - low.sum())
        if np.all(point <= high):
            assert slope[0] @ vertex[0] <= slope[0] @ point[0] + 1e-12


def test_near_optimal_ends_cost_just_the_tolerance():
    law = fitted(seed=1, domains=4)
    best = allocate(law, budget=20_000, tolerance=0.01)
    landscape = Landscape(law.parameters, 20_000)
    for i in range(4):
        for side in range(2):
            trial = best.near_optimal[i, side]
            low, high = np.full(4, 0.05), np.ones(4)
            at_bound = trial in (0.05, pytest.approx(1 - 3 * 0.05))
            low[i] = high[i] = trial
            value = solve(landscape, np.full((1, 4), 0.25), lower=low, upper=high).objective[0]
            assert value <= best.objective * 1.01 * (1 + 1e-6)
            if not at_bound:
                assert value == pytest.approx(best.objective * 1.01, rel=1e-3)
    assert np.all(best.near_optimal[:, 0] <= best.mixture.weights)
    assert np.all(best.near_optimal[:, 1] >= best.mixture.weights)


def test_target_weights_move_the_mixture_to_the_target():
    law = fitted(seed=5)
    plain = allocate(law, budget=10_000)
    heavy = allocate(law, budget=10_000, target_weights={"D3": 50})
    assert heavy.predicted_loss[3] < plain.predicted_loss[3]


def test_one_feasible_point_is_given_back():
    law = fitted()
    found = allocate(law, budget=5000, min_weight=0.2)
    assert found.mixture.weights == pytest.approx(np.full(5, 0.2))
    assert found.gap == 0


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"min_weight": 0.3}, "1.50 of the budget"),
        ({"min_weight": -0.1}, "min_weight"),
        ({"budget": 0}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"target_weights": {"LUNG": 2.0}}, "LUNG"),
    ],
)
def test_impossible_requests_are_refused(option, words):
    with pytest.raises(InputError, match=words):
        allocate(fitted(), **({"budget": 5000} | option))


def test_whiskers_hold_each_share_by_itself_and_together_says_how_often_all():
    """Truth of the report's sentence: the shares of the resamples are found anew, one law at a time."""
    rng = np.random.default_rng(4)
    truth = random_law(rng, 5, rho=0.7)
    table = simulate(truth, budgets=BUDGETS, mixtures=[np.full(5, 0.2)], noise=0.03, rng=rng)
    law = fit(table, law="diversity", bootstrap=60)
    found = allocate(law, budget=9000)
    shares = []
    for k in range(60):
        one = replace(law, parameters=law.bootstrap.take(k), bootstrap=None)
        shares.append(allocate(one, budget=9000).mixture.weights)
    inside = (shares >= found.intervals[:, 0] - 2e-4) & (shares <= found.intervals[:, 1] + 2e-4)
    assert found.together == pytest.approx(inside.all(axis=1).mean(), abs=0.04)
    assert found.together < inside.mean(axis=0).min()  # so "90% of the mixtures" would be false
    assert Allocation.from_dict(found.to_dict()).together == found.together
    old = {name: value for name, value in found.to_dict().items() if name != "together"}
    assert Allocation.from_dict(old).together is None
    assert allocate(replace(law, bootstrap=None), budget=9000).together is None


def test_round_trip_and_json(tmp_path):
    law = fitted(bootstrap=20)
    found = allocate(law, budget=9000, volumes={f"D{i}": 10.0 * (i + 1) for i in range(5)})
    found.save(tmp_path / "a.json")
    again = Allocation.load(tmp_path / "a.json")
    assert again.to_dict() == found.to_dict()
    value = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert value["effective_budget"]["D1"]["D0"] == found.contributions[0, 1]
    assert value["baselines"]["data-proportional"]["weights"]["D4"] == pytest.approx(5 / 15)
    assert set(value["intervals"]) == set(law.domains)
    assert "2.2 times outside" in value["notes"][0]
    with pytest.raises(InputError, match="format 7"):
        Allocation.from_dict(value | {"format": 7})
