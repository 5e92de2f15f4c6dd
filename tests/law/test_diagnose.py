"""Held-out budgets, choice among laws, profiles, repetition: right where the truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest

from voxmix import FittedLaw, fit
from voxmix.errors import InputError
from voxmix.law import compare, law_form, profile
from voxmix.law.cells import gather
from voxmix.law.forms import LawParameters, predict, worth
from voxmix.law.holdout import spearman
from voxmix.law.joint import solve, solve_folds
from voxmix.law.simulate import random_law, simulate
from voxmix.law.twostage import FitOptions

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
    assert "mean error on held-out runs; " in law.notes[0]
    assert " others up to " in law.notes[0]
    assert law.comparison["chosen"]["law"] == "diversity"


def test_auto_prefers_the_simpler_law_where_variety_does_not_count():
    law = fit(table(seed=3, rho=1.0, noise=0.01), law="auto")
    assert law.law in {"transfer", "shared-exponent"}


VERTICES = [np.where(np.arange(3) == i, 0.9, 0.05) for i in range(3)]


def runs_with_vertices(law=None, **options):
    rng = np.random.default_rng(3)
    return simulate(
        random_law(rng, 3, rho=0.7) if law is None else law,
        budgets=(500, 1000, 2000, 4000),
        mixtures=[np.full(3, 1 / 3), *VERTICES],
        pure=False,
        noise=0.005,
        rng=rng,
        **options,
    )


def test_auto_holds_out_what_allocation_asks():
    """The largest budget, mixtures inside the hull of the other runs, and both at once."""
    cells = gather(runs_with_vertices())
    last = cells.budget == 4000
    inner = np.ptp(cells.weights, axis=1) < 1e-6
    folds = compare._folds(cells, last, compare._mixtures(cells))
    assert folds.kinds == ("budget", "mixtures", "both")
    assert np.array_equal(folds.keep, [~last, ~inner, ~(last | inner)])
    assert [set(rows) for rows in folds.asked] == [
        set(np.flatnonzero(rows)) for rows in (last, inner, last & inner)
    ]
    with_pure = gather(
        simulate(random_law(np.random.default_rng(0), 3), budgets=(500, 1000, 2000, 4000), mixtures=VERTICES)
    )
    assert len(compare._mixtures(with_pure)) == 3  # pure runs surround the vertices
    only = gather(runs_with_vertices().select(np.ptp(runs_with_vertices().weights, axis=1) > 0.1))
    assert len(compare._mixtures(only)) == 3  # none lies inside: all are held out


def test_folds_are_fitted_to_what_they_keep_alone():
    cells = gather(runs_with_vertices())
    folds = compare._folds(cells, cells.budget == 4000, compare._mixtures(cells))
    for law in ("transfer", "diversity", "offset"):
        options = FitOptions(law=law, method="joint", loss="relative-huber")
        together = solve_folds(cells, folds.cells, folds.keep, options)
        for k, fold in enumerate(folds.cells):
            alone = solve(fold, np.nan_to_num(fold.loss)[None], options)[0]
            assert predict(together.take(k), fold.weights, fold.budget) == pytest.approx(
                predict(alone.take(0), fold.weights, fold.budget), rel=2e-3
            )


def test_auto_takes_mixtures_alone_and_ties_go_to_the_law_that_the_family_prefers():
    found = fit(runs_with_vertices(), law="auto")
    scores = {
        (item["law"], item["method"], item["loss"]): item["score"] for item in found.comparison["candidates"]
    }
    assert {method for _, method, _ in scores} == {"joint"}
    best = min(score for score in scores.values() if score is not None)
    tied = [key for key, score in scores.items() if score is not None and 0.9 * score <= best]
    assert (found.law, found.method, found.loss) == min(tied, key=lambda key: law_form(key[0]).preference)


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
        found = profile(fit(data), "exponent", target="D0")
        assert found.low <= truth.exponent[0] <= found.high
        widths.append(found.high - found.low)
    assert widths[0] < widths[1]


@pytest.mark.parametrize("parameter", ["irreducible_loss", "amplitude", "exponent"])
def test_profile_equals_a_reference_search(parameter):
    """The least misfit with one number held, by SciPy's bounded least squares from several starts."""
    from scipy.optimize import least_squares

    law = fit(table(noise=0.01), law="transfer")
    found = profile(law, parameter, target="D1")
    rows = law.quality.pure_rows(1, 1)
    budget, loss = law.quality.budget[rows], law.quality.observed[rows, 1]
    place = ["irreducible_loss", "amplitude", "exponent"].index(parameter)

    def misfit(held):
        def residual(free):
            values = np.insert(np.exp(free), place, held)
            return (values[0] + values[1] * budget ** -values[2] - loss) / (law.noise[1] * loss)

        starts = [
            np.delete(np.log([e, a, b]), place) for e in (1e-4, 0.005) for a, b in ((0.5, 0.3), (3, 0.7))
        ]
        bounds = np.delete([[-20, 0.0], [-12, 12.0], [np.log(1e-3), np.log(2)]], place, axis=0).T
        return min(2 * least_squares(residual, s, bounds=bounds, xtol=1e-12).cost for s in starts)

    best = min(misfit(v) for v in np.linspace(found.low, found.high, 25))
    for value in (found.low, found.high):
        if value > 0:
            assert misfit(value) - best == pytest.approx(2.706, abs=0.15)  # 90% of chi-squared, 1 degree


def test_profile_of_a_transfer_holds_the_truth_and_knows_the_curve_is_uncertain():
    law = fit(table(noise=0.01, seed=2), law="transfer")
    truth = random_law(np.random.default_rng(2), 4)
    inside = widest = 0
    for i, j in ((1, 0), (2, 3), (3, 1), (0, 2)):
        found = profile(law, "transfer", target=f"D{j}", source=f"D{i}")
        inside += found.low <= truth.transfer[i, j] <= found.high
        widest = max(widest, found.high / found.low)
    assert inside >= 3
    assert 1.02 < widest < 4


def test_profile_needs_something_to_judge_by():
    law = fit(simulate(random_law(np.random.default_rng(0), 2), budgets=(500, 1000)))
    with pytest.raises(InputError, match="2 budgets of its own"):
        profile(law, "exponent", target="D0")
    with pytest.raises(InputError, match="no profile of 'rho'"):
        profile(fit(table()), "rho", target="D0")


def test_profiles_stand_in_the_json():
    value = fit(table(noise=0.02), law="transfer").to_dict()["profile"]
    assert value["exponent"]["D0"]["low"] < value["exponent"]["D0"]["high"]
    assert set(value["transfer"]["D2"]) == {"D0", "D1", "D3"}


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


def test_rates_of_each_domain_are_recovered_and_the_untold_ones_named():
    few = {"D0": 10.0, "D1": 60.0, "D2": 1e6, "D3": 1e6}
    base = saturating(30.0)
    truth = replace(base, unique=np.array(list(few.values())), repeats=np.array([8.0, 60.0, np.inf, np.inf]))
    data = table(law=truth, noise=0.0, budgets=(500, 1000, 2000, 4000, 8000))
    law = fit(data, law="diversity", max_transfer=3, repetition="per-domain", volumes=few)
    np.testing.assert_allclose(law.parameters.repeats[:2], [8.0, 60.0], rtol=0.1)
    assert np.all(np.isinf(law.parameters.repeats[2:]))
    states = {s.source: s.state for s in law.status if s.parameter == "repeats"}
    assert states == {"D0": "ok", "D1": "ok", "D2": "not identified", "D3": "not identified"}
    one = fit(data, law="diversity", max_transfer=3, repetition="fitted", volumes=few)
    assert np.abs(law.quality.residuals).max() < np.abs(one.quality.residuals).max()


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
