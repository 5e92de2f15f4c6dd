"""Agreement of proxy losses and scores: planted agreement, planted disagreement, and what cannot be decided."""

from math import factorial

import numpy as np
import pytest
from scipy.stats import spearmanr

from voxmix.scores import ScoreTable, compare, proxy_agreement, rank_correlation

NAMES = ("single", "uniform", "data-proportional", "transfer-naive", "transfer-aware")


def world(make, table_of, *, names=NAMES, step: float = 0.08, tasks=("organs", "tumor"), seeds: int = 3):
    runs = [
        make(name, seed=s, task=task, effect=-0.15 + step * k)
        for task in tasks
        for k, name in enumerate(names)
        for s in range(1, seeds + 1)
    ]
    return compare(
        table_of(*runs, *(make("scratch", seed=s, task=t) for t in tasks for s in (1, 2, 3))), resamples=100
    )


def falling(names=NAMES, tasks=("organs", "tumor")):
    return {(t, n): [0.05 - 0.005 * k, 0.0501 - 0.005 * k] for t in tasks for k, n in enumerate(names)}


def test_rank_correlation_equals_scipy_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (2, 30, 7)).astype(float)
    a[rng.random(a.shape) < 0.1] = np.nan
    for row, other, found in zip(a, b, rank_correlation(a, b), strict=True):
        known = np.isfinite(row)
        assert found == pytest.approx(float(spearmanr(row[known], other[known]).statistic))


def test_rank_correlation_of_too_few_or_of_equals_is_not_known() -> None:
    assert np.isnan(rank_correlation(np.array([1.0, 2.0]), np.array([2.0, 3.0])))
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_planted_agreement_is_found(make_segmentation, table_of) -> None:
    found = proxy_agreement(world(make_segmentation, table_of), falling(), resamples=300)
    assert found is not None
    assert found.inits == NAMES  # from scratch there is no proxy
    assert found.correlation == pytest.approx([1, 1])
    assert (found.mean, found.low > 0.8, found.high) == (1, True, 1)
    assert found.p == pytest.approx(1 / factorial(5))
    assert found.decidable
    assert found.right == found.told_apart > 0


def test_seeds_that_differ_more_than_mixtures_do_not_hide_their_order(make_segmentation, table_of) -> None:
    """Pretraining seeds are shared: the second is worse for every mixture alike."""
    losses = {key: [values[0], values[0] + 0.1] for key, values in falling().items()}
    found = proxy_agreement(world(make_segmentation, table_of), losses, resamples=300)
    assert found is not None
    assert (found.mean, found.low > 0.8, found.high) == (1, True, 1)


def test_planted_disagreement_is_found(make_segmentation, table_of) -> None:
    losses = {key: [1 / v for v in values] for key, values in falling().items()}
    found = proxy_agreement(world(make_segmentation, table_of), losses, resamples=300)
    assert found is not None
    assert found.mean == -1
    assert found.p == 1
    assert found.right == 0 < found.told_apart


def test_noise_widens_the_interval(make_segmentation, table_of) -> None:
    found = proxy_agreement(world(make_segmentation, table_of, step=0.0), falling(), resamples=300)
    assert found is not None
    assert found.high - found.low > 0.5
    assert found.told_apart == 0


def test_three_initializations_cannot_decide(make_segmentation, table_of) -> None:
    comparison = world(make_segmentation, table_of, names=NAMES[:3])
    found = proxy_agreement(comparison, falling(NAMES[:3]), resamples=100)
    assert found is not None
    assert found.mean == 1
    assert found.p == found.least_p == pytest.approx(1 / 6)
    assert not found.decidable


def test_a_single_domain_has_another_loss_on_every_task(make_segmentation, table_of) -> None:
    losses = falling()
    losses["tumor", "single"] = [0.01]  # the best there, and the worst elsewhere
    found = proxy_agreement(world(make_segmentation, table_of), losses, resamples=100)
    assert found is not None
    assert found.correlation[0] == pytest.approx(1)
    assert found.correlation[1] == pytest.approx(float(spearmanr([5, 1, 2, 3, 4], range(5)).statistic))


def test_without_two_encoders_on_a_task_there_is_nothing_to_compare(make_segmentation, table_of) -> None:
    comparison = world(make_segmentation, table_of)
    assert proxy_agreement(comparison, {("organs", "single"): [0.1], ("tumor", "uniform"): [0.1]}) is None
    assert proxy_agreement(compare(ScoreTable(results=())), {}) is None
