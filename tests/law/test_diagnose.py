"""Held-out budgets, choice among laws, profiles, repetition: right where the truth is known."""

import json

import numpy as np
import pytest

from voxmix import FittedLaw, fit
from voxmix.errors import InputError
from voxmix.law import profile
from voxmix.law.cells import gather
from voxmix.law.diagnose import spearman
from voxmix.law.forms import LawParameters, predict, worth
from voxmix.law.simulate import random_law, simulate

BUDGETS = (500, 1000, 2000, 4000)
EVEN = np.full(4, 0.25)
SKEWED = np.array([0.7, 0.1, 0.1, 0.1])


def table(seed=2, rho=0.6, noise=0.02, mixtures=(EVEN,), budgets=BUDGETS, law=None):
    rng = np.random.default_rng(seed)
    truth = random_law(rng, 4, rho=rho) if law is None else law
    return simulate(truth, budgets=budgets, mixtures=list(mixtures), noise=noise, rng=rng)


def test_held_out_budget_is_not_fitted_and_is_predicted():
    data = table(noise=0.0)
    law = fit(data, law="diversity", holdout_budget="largest")
    assert law.budget_range == (500, 2000)
    assert set(law.holdout.budget) == {4000}
    np.testing.assert_allclose(law.holdout.predicted, law.holdout.observed, rtol=1e-5)
    assert law.holdout.correlation == pytest.approx(1)
    plain = fit(data, law="transfer", holdout_budget=4000)
    assert plain.holdout.mixture_error > 0.1
    again = FittedLaw.from_dict(json.loads(json.dumps(law.to_dict())))
    assert again.to_dict() == law.to_dict()


def test_rank_correlation_of_held_out_mixtures():
    rng = np.random.default_rng(0)
    data = table(noise=0.0, mixtures=[EVEN, SKEWED, *rng.dirichlet(np.ones(4), 2)])
    assert fit(data, law="diversity", holdout_budget="largest").holdout.rank_correlation == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([10.0, 30, 20, 40])) == pytest.approx(0.8)
    assert np.isnan(spearman(np.array([1.0, 2]), np.array([1.0, 2])))


@pytest.mark.parametrize(
    ("holdout", "words"), [(700, "largest or one of"), ("smallest", "largest or one of")]
)
def test_unknown_holdout_is_refused(holdout, words):
    with pytest.raises(InputError, match=words):
        fit(table(), holdout_budget=holdout)


def test_auto_chooses_diversity_where_variety_counts_and_says_why():
    law = fit(table(rho=0.6), law="auto")
    assert law.law == "diversity"
    assert law.rho[0] == pytest.approx(0.6, abs=0.02)
    assert "transfer (two-stage)" in law.notes[0]
    assert law.comparison["chosen"]["law"] == "diversity"


def test_auto_prefers_the_simpler_law_where_variety_does_not_count():
    law = fit(table(seed=3, rho=1.0, noise=0.01), law="auto")
    assert law.law in {"transfer", "shared-exponent"}


def test_auto_without_mixtures_names_the_run_that_would_tell():
    law = fit(table(mixtures=()), law="auto")
    assert "rho" in law.notes[0]
    assert "uniform mixture at 4,000 draws" in law.notes[0]


def test_profile_of_the_exponent_holds_the_truth_and_widens_with_noise():
    widths = []
    for noise in (0.003, 0.05):
        rng = np.random.default_rng(1)
        truth = random_law(rng, 2)
        data = simulate(truth, budgets=(250, 500, 1000, 2000, 4000, 8000), noise=noise, rng=rng)
        cells = gather(data)
        found = profile(cells, fit(data).parameters, "exponent", target="D0")
        assert found.low <= truth.exponent[0] <= found.high
        widths.append(found.high - found.low)
    assert widths[0] < widths[1]


def test_profile_of_a_transfer_holds_the_fitted_value():
    data = table(noise=0.02)
    law = fit(data)
    found = profile(gather(data), law.parameters, "transfer", target="D0", source="D1")
    assert found.low < law.transfer[1, 0] < found.high
    assert found.bounded


def test_profile_needs_something_to_judge_by():
    data = table(budgets=(500, 1000, 2000))
    with pytest.raises(InputError, match="add a budget"):
        profile(gather(data), fit(data).parameters, "exponent", target="D0")


def test_worth_is_the_published_saturation():
    """Equation 5 of Muennighoff et al. 2023: four epochs of 100 volumes at R = 15.4."""
    unique, rate = np.array([100.0]), np.array([15.4])
    assert worth(np.array([400.0]), unique, rate)[0] == pytest.approx(
        100 + 100 * 15.4 * (1 - np.exp(-3 / 15.4))
    )
    assert worth(np.array([60.0]), unique, rate)[0] == 60
    assert worth(np.array([1e9]), unique, rate)[0] == pytest.approx(100 * 16.4)
    n = np.linspace(1, 5000, 400)[:, None]
    step = 1e-3
    slope = (worth(n + step, unique, rate) - worth(n - step, unique, rate)) / (2 * step)
    np.testing.assert_allclose(worth(n, unique, rate, order=1), slope, atol=1e-5)
    assert np.all(np.diff(slope[:, 0]) <= 1e-9)


UNIQUE = {"D0": 10.0, "D1": 200.0, "D2": 500.0, "D3": 50.0}


def saturating(repeats):
    base = random_law(np.random.default_rng(4), 4, rho=0.7)
    tau = base.transfer.copy()
    tau[0] = [1, 1.5, 1.2, 1.3]
    return LawParameters.make(
        **{n: getattr(base, n) for n in ("irreducible_loss", "amplitude", "exponent", "rho")},
        transfer=tau,
        unique=np.array(list(UNIQUE.values())),
        repeats=np.full(4, repeats),
    )


def test_rate_of_saturation_is_recovered_and_spares_the_hub_of_ten_volumes():
    truth = saturating(30.0)
    data = table(law=truth, noise=0.0, budgets=(500, 1000, 2000, 4000, 8000))
    options = {"law": "diversity", "max_transfer": 3}
    law = fit(data, repetition="fitted", volumes=UNIQUE, **options)
    assert law.parameters.repeats == pytest.approx(np.full(4, 30), rel=0.02)
    np.testing.assert_allclose(law.transfer, truth.transfer, rtol=0.03)  # R is searched to about 1%
    given = fit(data, repetition=30.0, volumes=UNIQUE, **options)
    np.testing.assert_allclose(given.transfer, truth.transfer, rtol=1e-5)
    from voxmix import allocate

    careful, naive = (allocate(item, budget=32_000) for item in (law, fit(data, **options)))
    assert careful.mixture["D0"] < naive.mixture["D0"]
    outcome = [predict(truth, a.mixture.weights[None], np.array([32_000.0])).mean() for a in (careful, naive)]
    assert outcome[0] < outcome[1]
    again = FittedLaw.from_dict(json.loads(json.dumps(law.to_dict())))
    np.testing.assert_array_equal(again.evaluate(EVEN, 9000), law.evaluate(EVEN, 9000))


def test_repeats_that_lose_nothing_are_not_identified():
    data = table(law=saturating(np.inf), noise=0.01)
    law = fit(data, repetition="fitted", volumes=UNIQUE, law="diversity", max_transfer=3)
    (status,) = (s for s in law.status if s.parameter == "repeats")
    assert status.state == "not identified"
    assert "max_epochs" in status.message
    assert np.all(np.isinf(law.parameters.repeats))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"repetition": "fitted"}, "how many volumes exist"),
        ({"repetition": -1.0, "volumes": UNIQUE}, "above 0"),
        ({"repetition": "often", "volumes": UNIQUE}, "'often'"),
        ({"repetition": 5.0, "volumes": {"LUNG": 3.0}}, "LUNG"),
    ],
)
def test_repetition_without_what_it_needs_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        fit(table(), **options)
