"""Swarms at several budgets in worlds of other laws: unseen mixtures beyond the largest budget are predicted within 1.5%."""

import numpy as np
import pytest

from voxmix import MeasurementTable, fit

DOMAINS, LARGEST, BEYOND = 5, 8000.0, 2.7
NAMES = tuple(f"D{i}" for i in range(DOMAINS))


def world(seed):
    """Losses of an additive law of shares and budget (Shukor et al. 2025), in which no sum of draws is right."""
    rng = np.random.default_rng(seed)
    near = rng.uniform(0.05, 0.5, (DOMAINS, DOMAINS))
    np.fill_diagonal(near, 1.0)
    floor, gain = rng.uniform(1.2, 2.0, DOMAINS), rng.uniform(0.2, 0.6, (DOMAINS, DOMAINS))
    term, power = rng.uniform(0.2, 0.6, DOMAINS), rng.uniform(0.25, 0.4, DOMAINS)

    def losses(weights, budget):
        shares = 1 / np.einsum("ij,rij->rj", 2.5 * near, weights[:, :, None] ** gain)
        return floor + shares + term * (budget[:, None] / LARGEST) ** -power

    return losses


def swarm(seed, *, mixtures=45, noise=0.002):
    rng = np.random.default_rng(100 + seed)
    weights = np.repeat(rng.dirichlet(np.ones(DOMAINS), mixtures), 4, axis=0)
    budget = np.tile(LARGEST / np.array([8, 4, 2, 1]), mixtures)
    loss = world(seed)(weights, budget) * np.exp(noise * rng.standard_normal((len(weights), DOMAINS)))
    return MeasurementTable.from_rows(
        {"run": f"r{k}", "seed": 0, "budget": budget[k], "target": NAMES[j], "loss": loss[k, j]}
        | {f"weight:{name}": w for name, w in zip(NAMES, weights[k], strict=True)}
        for k in range(len(weights))
        for j in range(DOMAINS)
    )


def error_beyond(law, seed):
    held = np.random.default_rng(200 + seed).dirichlet(np.ones(DOMAINS), 20)
    truth = world(seed)(held, np.full(20, BEYOND * LARGEST))
    return float(np.mean(np.abs(law.evaluate(held, BEYOND * LARGEST) / truth - 1)))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_budget_law_predicts_unseen_mixtures_beyond_the_largest_budget(seed):
    law = fit(swarm(seed), law="budget-diversity", method="joint", loss="relative-huber")
    assert error_beyond(law, seed) < 0.006
    assert law.suspects == ()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_auto_finds_a_law_with_a_term_of_the_budget_which_errs_by_less_than_half():
    table = swarm(2, mixtures=24)
    law = fit(table, law="auto")
    assert error_beyond(law, 2) < 0.015
    assert law.form.by_share
    plain = fit(table, law="transfer", method="joint", loss="relative-huber")
    assert error_beyond(plain, 2) > 2 * error_beyond(law, 2)
