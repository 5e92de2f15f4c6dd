"""The bootstrap repeats itself, narrows with the noise, and is as wide as the estimates scatter."""

from dataclasses import replace

import numpy as np
import pytest

from voxmix import Mixture, allocate, fit
from voxmix.law.simulate import random_law, simulate

BUDGETS = (500, 1000, 2000, 4000)


def table(seed, noise, law=None):
    rng = np.random.default_rng(seed)
    truth = random_law(np.random.default_rng(9), 2, rho=0.7) if law is None else law
    return simulate(truth, budgets=BUDGETS, seeds=2, noise=noise, mixtures=[np.full(2, 0.5)], rng=rng)


def test_same_seed_same_draws_and_another_seed_others():
    data = table(0, 0.02)
    a, b, c = (fit(data, law="diversity", bootstrap=30, seed=s).bootstrap.transfer for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_intervals_grow_with_the_noise():
    mixture = Mixture.uniform(("D0", "D1"))
    laws = [fit(table(3, noise), law="diversity", bootstrap=40) for noise in (0.04, 0.004)]
    wide, narrow = (np.ptp(law.predicted_interval(mixture, 2000), axis=1).mean() for law in laws)
    assert 4 < wide / narrow < 25


def test_a_law_without_noise_has_no_width():
    law = fit(table(0, 0.0), law="diversity", bootstrap=20)
    for name, interval in law.intervals().items():
        size = np.abs(interval).max() if name == "amplitude" else 1.0  # the only number that is above 1
        assert np.ptp(interval, axis=-1).max() < 1e-4 * size, name


@pytest.mark.parametrize("method", ["two-stage", "joint"])
def test_draws_scatter_as_estimates_do(method):
    laws = [fit(table(k, 0.01), law="diversity", method=method, bootstrap=20, seed=k) for k in range(16)]
    for pick in (lambda p: p.transfer[..., 0, 1], lambda p: p.transfer[..., 1, 0], lambda p: p.rho[..., 0]):
        scatter = np.std([pick(law.parameters) for law in laws])
        width = np.mean([np.std(pick(law.bootstrap)) for law in laws])
        assert 0.5 < width / scatter < 2


def test_weights_and_predictions_get_intervals_that_hold_the_answer():
    law = fit(table(1, 0.02), law="diversity", bootstrap=60)
    found = allocate(law, budget=8000)
    assert np.all(found.intervals[:, 0] <= found.mixture.weights + 0.02)
    assert np.all(found.intervals[:, 1] >= found.mixture.weights - 0.02)
    interval = law.predicted_interval(Mixture.uniform(law.domains), 4000)
    value = law.evaluate(np.full(2, 0.5), 4000)
    assert np.all((interval[:, 0] < value) & (value < interval[:, 1]))
    assert set(found.told_apart) == {"uniform"}


@pytest.mark.parametrize(("method", "plain"), [("joint", True), ("two-stage", False)])
def test_after_a_joint_fit_nine_tenths_of_the_resamples_lie_in_the_interval_of_each_share(method, plain):
    """Half of the rest on either side; after two stages the correction moves the interval."""
    law = fit(table(1, 0.02), law="diversity", method=method, bootstrap=100)
    found = allocate(law, budget=8000)
    shares = []
    for k in range(100):
        one = replace(law, parameters=law.bootstrap.take(k), bootstrap=None)
        shares.append(allocate(one, budget=8000).mixture.weights)
    below, above = (np.mean(shares < found.intervals[:, 0], 0), np.mean(shares > found.intervals[:, 1], 0))
    assert np.all((below > 0.03) & (below < 0.07) & (above > 0.03) & (above < 0.07)) == plain


def test_no_draws_no_intervals():
    law = fit(table(1, 0.02))
    assert law.intervals() is None
    assert law.predicted_interval(Mixture.uniform(law.domains), 4000) is None
    assert allocate(law, budget=4000).intervals is None
