"""Structure, plan, path and suggest: equal to what they are made of."""

import numpy as np
import pytest

from voxmix import Mixture, allocate, fit
from voxmix.allocation import AllocationSettings, path, plan, roles, structure, suggest
from voxmix.errors import InputError
from voxmix.law.simulate import random_law, simulate


@pytest.fixture(scope="module")
def law():
    rng = np.random.default_rng(2)
    table = simulate(
        random_law(rng, 4, rho=0.7),
        budgets=(500, 1000, 2000, 4000),
        mixtures=[np.full(4, 0.25)],
        noise=0.03,
        rng=rng,
    )
    return fit(table, law="diversity", bootstrap=120)


def test_structure_is_transfer_averaged_without_the_diagonal(law):
    found = structure(law)
    others = law.transfer.copy()
    np.fill_diagonal(others, np.nan)
    np.testing.assert_allclose(found.outgoing, np.nanmean(others, axis=1))
    np.testing.assert_allclose(found.incoming, np.nanmean(others, axis=0))
    assert found.roles[law.domains[int(found.outgoing.argmax())]] == "hub"
    np.testing.assert_allclose(found.amplification, found.effective / found.direct)
    value = found.to_dict()
    assert value["effective_budget"]["D1"]["D0"] == found.contributions[0, 1]


def test_roles_belong_to_the_law_whatever_the_mixture(law):
    skewed = Mixture.from_dict({"D0": 0.85, "D1": 0.05, "D2": 0.05, "D3": 0.05})
    assert structure(law, mixture=skewed, budget=700).roles == structure(law).roles == roles(law)


def test_of_two_domains_neither_is_a_hub():
    rng = np.random.default_rng(0)
    two = fit(simulate(random_law(rng, 2), budgets=(500, 1000, 2000)))
    assert set(structure(two).roles.values()) == {""}


def test_fall_rate_is_the_exponent_where_nothing_is_irreducible(law):
    found = structure(law)
    loss = law.evaluate(np.full(4, 0.25), law.budget_range[1])
    expected = law.exponent * (loss - law.irreducible_loss) / loss
    np.testing.assert_allclose(found.rate, expected, rtol=1e-4)


def test_plan_reaches_the_losses_with_nothing_to_spare(law):
    wanted = {"D0": 0.03, "D2": 0.04}
    found = plan(law, loss=wanted)
    got = dict(zip(law.targets, found.predicted_loss, strict=True))
    assert all(got[name] <= value * (1 + 1e-5) for name, value in wanted.items())
    assert any(got[name] == pytest.approx(value, rel=1e-4) for name, value in wanted.items())
    assert found.budget < found.uniform_budget
    assert found.mixture.weights.min() >= 0.05 - 1e-7
    rng = np.random.default_rng(0)
    trials = 0.05 + 0.8 * rng.dirichlet(np.ones(4), 5000)
    losses = law.evaluate(trials, found.budget * 0.999)
    assert not np.any((losses[:, 0] <= 0.03) & (losses[:, 2] <= 0.04))


def test_plan_below_the_irreducible_loss_is_refused(law):
    with pytest.raises(InputError, match="irreducible"):
        plan(law, loss={"D1": float(law.irreducible_loss[1])})
    with pytest.raises(InputError, match="LUNG"):
        plan(law, loss={"LUNG": 0.1})


def test_a_plan_far_outside_the_fitted_budgets_is_a_guess_and_an_absurd_one_is_refused(law):
    best = {
        n: allocate(law, budget=n, target_weights={"D0": 1, "D1": 0, "D2": 0, "D3": 0}) for n in (1e5, 1e7)
    }
    reached = {n: float(found.predicted_loss[0]) * 1.0001 for n, found in best.items()}
    found = plan(law, loss={"D0": reached[1e5]})
    assert found.budget == pytest.approx(1e5, rel=0.05)
    assert "25" in found.notes[0]
    assert "so it is a guess" in found.notes[0]
    with pytest.raises(
        InputError, match=r"about 1e\+07 draws .* 2e\+03 times the largest fitted budget \(4,000\)"
    ):
        plan(law, loss={"D0": reached[1e7]})


def test_path_over_budgets_is_allocate_at_each(law):
    found = path(law, budgets=[1000, 10_000, 100_000])
    for k, budget in enumerate(found.values):
        np.testing.assert_allclose(found.weights[k], allocate(law, budget=budget).mixture.weights, atol=1e-6)
    assert np.all(np.diff(found.objective) < 0)


def test_objective_rises_with_min_weight_and_kinks_are_where_domains_come_to_rest(law):
    found = path(law, min_weights=np.linspace(0, 0.25, 26).tolist(), budget=20_000)
    assert np.all(np.diff(found.objective) >= -1e-9)
    np.testing.assert_allclose(found.weights[-1], 0.25)
    assert found.kinks
    for at, name in found.kinks:
        place = law.domains.index(name)
        before, after = (
            allocate(law, budget=20_000, min_weight=at + shift).mixture.weights[place] - (at + shift)
            for shift in (-1e-3, 1e-3 if at < 0.249 else 0)
        )
        assert min(before, after) < 1e-6 < max(before, after)


@pytest.mark.parametrize(
    "options", [{"budgets": [1], "min_weights": [0.1]}, {"min_weights": [0.1]}, {"budgets": [0.0]},
                {"min_weights": [0.3], "budget": 10}],
)  # fmt: skip
def test_paths_without_one_axis_are_refused(law, options):
    with pytest.raises(InputError):
        path(law, **options)


def test_suggestions_are_worth_at_most_perfect_knowledge(law):
    found = suggest(law)
    assert all(0 <= item.share <= 1.05 for item in found)
    assert found[0].gain_per_draw == max(item.gain_per_draw for item in found)
    names = [item.name for item in found]
    hubs = [f"D{i} 85%, others 5%" for i in range(4)]
    assert set(names) >= {"D0", "D1", "D2", "D3", "uniform", *hubs}
    alone = [item.name for item in suggest(law, min_weight=0.0)]
    assert not any("others" in name for name in alone)  # vertices are pure then, and asked for once
    assert len(alone) == len(names) - 3 * 4


def test_a_run_without_news_is_worth_next_to_nothing(law):
    noisy = suggest(law, noise=100.0)
    sharp = suggest(law, noise=0.001)
    assert max(item.share for item in noisy) < 0.25 * max(item.share for item in sharp)


def test_suggestions_are_for_the_decision_that_is_asked_for(law):
    asked = AllocationSettings(
        budget=9000, max_weight={"D0": 0.2}, objective="relative", target_weights={"D3": 5}
    )
    found = suggest(law, asked)
    assert [item.to_dict() for item in found] == [
        item.to_dict()
        for item in suggest(
            law, budget=9000, max_weight={"D0": 0.2}, objective="relative", target_weights={"D3": 5}
        )
    ]
    mixed = [item.mixture for item in found if "others" not in item.name and ", " in item.name]
    assert mixed
    assert all(item["D0"] <= 0.2 + 1e-6 for item in mixed)
    ratios = suggest(law, budget=9000, objective="relative")
    losses = suggest(law, budget=9000)
    assert ratios[0].gain > 3 * losses[0].gain, "of ratios near 1, not of losses near a tenth"


def test_suggest_needs_bootstrap_draws():
    rng = np.random.default_rng(0)
    plain = fit(simulate(random_law(rng, 3), budgets=(500, 1000, 2000)))
    with pytest.raises(InputError, match="bootstrap"):
        suggest(plain)


def test_structure_at_another_mixture(law):
    mixture = Mixture.from_dict({"D0": 0.7, "D1": 0.1, "D2": 0.1, "D3": 0.1})
    found = structure(law, mixture=mixture, budget=1000)
    assert found.direct.tolist() == pytest.approx([700, 100, 100, 100])
