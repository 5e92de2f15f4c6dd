"""Pure runs that get worse at other domains are named where shares rest on them, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from voxmix import MeasurementTable, allocate, fit
from voxmix.law.forgetting import forgetting_sentence, rise_against_law
from voxmix.law.simulate import random_law, simulate

BUDGETS = (500, 1000, 2000, 4000)
COUNT = 3
SAID = "models get worse at what they never see"


def measured(gain, *, vertices=False, noise=0.01, seed=3):
    """Return losses of a law; those of foreign pure runs gain ``gain`` of log loss per e-fold of the budget."""
    rng = np.random.default_rng(seed)
    mixtures = [np.full(COUNT, 1 / COUNT)]
    if vertices:
        mixtures += [np.where(np.arange(COUNT) == i, 0.9, 0.05) for i in range(COUNT)]
    table = simulate(random_law(rng, COUNT), budgets=BUDGETS, noise=noise, mixtures=mixtures, rng=rng)
    foreign = (table.source >= 0) & (table.source != table.target_index)
    names = ("domains", "run", "target", "weights", "budget", "seed", "loss_se", "volumes")
    loss = table.loss * np.exp(np.where(foreign, gain * np.log(table.budget / BUDGETS[0]), 0.0))
    return MeasurementTable(**{name: getattr(table, name) for name in names}, loss=loss)


@pytest.mark.parametrize("method", ["two-stage", "joint"])
def test_fit_and_allocate_say_that_shares_rest_on_runs_that_forget(method):
    law = fit(measured(0.1), law="transfer", method=method)
    assert any(SAID in note for note in law.notes)
    assert any("vertex runs mend it" in note for note in allocate(law, budget=8000).notes)


@pytest.mark.parametrize("world", [{"gain": 0.0}, {"gain": 0.1, "vertices": True}, {"gain": -0.1}])
def test_nothing_is_said_of_runs_that_obey_the_law_or_beside_vertex_runs(world):
    law = fit(measured(**world), law="transfer", method="joint")
    assert not any(SAID in note for note in law.notes)
    assert not any("vertex" in note for note in allocate(law, budget=8000).notes)


def test_a_law_without_transfers_rests_on_no_foreign_run():
    assert not any(SAID in note for note in fit(measured(0.1), law="naive").notes)


def test_the_rise_is_that_of_the_residuals():
    """Of losses that lie where the law is, but for a rise that is known."""
    law = fit(measured(0.0, noise=0.0), law="transfer")
    quality, foreign = law.quality, ~np.eye(COUNT, dtype=bool)
    rise = np.where(foreign, 0.05, 0.0)
    source = np.argmax(quality.weights, axis=1)
    pure = (quality.weights > 0).sum(axis=1) == 1
    gained = np.where(pure[:, None], rise[source], 0.0) * np.log(quality.budget[:, None])
    risen = replace(quality, observed=quality.predicted * np.exp(gained))
    assert rise_against_law(risen, law.own, law.noise) == pytest.approx(0.05)
    assert "4% for twice the draws" in forgetting_sentence(0.05)
    lost = np.where(pure[:, None] & foreign[source], np.nan, quality.predicted)  # transfers of 0
    rising = replace(quality, observed=np.exp(gained), predicted=lost)
    assert rise_against_law(rising, law.own, law.noise) == pytest.approx(0.05)
    assert rise_against_law(replace(risen, observed=quality.predicted), law.own, law.noise) == 0
