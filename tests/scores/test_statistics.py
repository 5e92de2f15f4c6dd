"""Intervals and tests against planted truths, hand-computed values and SciPy."""

import numpy as np
import pytest
from scipy import stats

from voxmix.scores.metric import AUC, SURFACE, mean_of
from voxmix.scores.statistics import bootstrap_interval, crossed_test, holm, pseudovalues, seed_noise


def planted(
    rng: np.random.Generator, *, cases: int, seeds: int, case: float, seed: float, both: float, worlds: int
) -> np.ndarray:
    """Differences (world, case, seed) of equals, with the given standard deviations."""
    return (
        rng.normal(0, case, (worlds, cases, 1))
        + rng.normal(0, seed, (worlds, 1, seeds))
        + rng.normal(0, both, (worlds, cases, seeds))
    )


def test_holm_equals_values_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested() -> None:
    found = holm([0.02, float("nan"), 0.01])
    assert found[0] == pytest.approx(0.02)
    assert found[2] == pytest.approx(0.02)
    assert np.isnan(found[1])


def test_without_noise_of_seeds_the_test_is_the_paired_t_test() -> None:
    differences = np.random.default_rng(1).normal(0.1, 1, 9)
    found = crossed_test(np.repeat(differences[:, None], 3, axis=1), level=0.9)
    expected = stats.ttest_1samp(differences, 0)
    interval = expected.confidence_interval(0.9)
    assert found.p == pytest.approx(float(expected.pvalue))
    assert (found.low, found.high) == pytest.approx((float(interval.low), float(interval.high)))


def test_without_noise_of_cases_it_is_the_t_test_over_seeds() -> None:
    by_seed = np.array([0.1, 0.3, 0.25])
    found = crossed_test(np.repeat(by_seed[None, :], 12, axis=0), level=0.95)
    expected = stats.ttest_1samp(by_seed, 0)
    assert found.p == pytest.approx(float(expected.pvalue))


def test_mean_squares_of_a_table_worked_out_by_hand() -> None:
    # Means of cases 2, 4; of seeds 2, 4; of all 3. MS_seed = 2*(1+1)/1 = 4, MS_case = 4, MS_both = 4 from
    # residuals of 1: the cases add nothing beyond the interaction, so the variance is 4 / (2*2).
    found = crossed_test(np.array([[2.0, 2.0], [2.0, 6.0]]), level=0.95)
    assert found.difference == 3
    assert found.high - found.difference == pytest.approx(float(stats.t.ppf(0.975, 1)) * 1.0)


def test_noise_of_seeds_is_the_residual_of_a_two_way_table() -> None:
    # Rows 1 2 3 and 2 3 7: means 2 and 4, columns 1.5 2.5 5, all 3. Residuals +-0.5, +-0.5, -+1 make 3; over
    # (2-1)(3-1) degrees of freedom, twice for a difference: 3. The differences 1, 1, 4 have that variance.
    variance, freedom = seed_noise(np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 7.0]]))
    assert (variance, freedom) == pytest.approx((3.0, 2.0))
    assert np.var([1, 1, 4], ddof=1) == pytest.approx(3.0)


def test_noise_of_seeds_bears_gaps_and_grows_surer_with_initializations() -> None:
    rng = np.random.default_rng(7)
    worlds = rng.normal(0, 1, (800, 4, 3)) + rng.normal(0, 5, (800, 1, 3)) + rng.normal(0, 5, (800, 4, 1))
    worlds[:, 1, 2] = np.nan
    found = np.array([seed_noise(world) for world in worlds])
    assert (found[:, 1] == 5).all()
    assert found[:, 0].mean() == pytest.approx(2, rel=0.1)
    assert seed_noise(np.array([[1.0], [2.0]]))[1] == 0
    assert seed_noise(np.full((2, 2), np.nan))[1] == 0


def test_one_initialization_under_two_names_is_one_witness() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 7.0], [1.0, 2.0, 3.0]])
    assert seed_noise(scores) == pytest.approx(seed_noise(scores[:2]))


def test_a_pair_alone_has_its_own_noise_of_seeds() -> None:
    first, second = np.random.default_rng(8).normal(0, 1, (2, 9, 3))
    alone = crossed_test(first - second, level=0.95)
    pooled = crossed_test(
        first - second, level=0.95, noise=seed_noise(np.stack([first.mean(axis=0), second.mean(axis=0)]))
    )
    assert (pooled.p, pooled.low, pooled.high) == pytest.approx((alone.p, alone.low, alone.high))


@pytest.mark.parametrize("seed", [0.0, 0.5, 1.0])
def test_families_of_equals_are_ranked_no_more_often_than_promised(seed: float) -> None:
    rng, wrong, worlds = np.random.default_rng(9), 0, 400
    for _ in range(worlds):
        scores = (
            rng.normal(0, 0.7, (4, 10, 1)) + rng.normal(0, seed, (4, 1, 3)) + rng.normal(0, 0.7, (4, 10, 3))
        )
        noise = seed_noise(scores.mean(axis=1))
        pairs = [scores[a] - scores[b] for a in range(4) for b in range(a)]
        found = holm([crossed_test(pair, level=0.95, noise=noise).p for pair in pairs])
        wrong += min(found) < 0.05
    assert wrong / worlds < 0.08


@pytest.mark.parametrize("shape", [(1, 3), (8, 1), (0, 3)])
def test_one_seed_or_one_case_tells_nothing(shape: tuple[int, int]) -> None:
    found = crossed_test(np.full(shape, 0.2), level=0.95)
    assert np.isnan([found.p, found.low, found.high]).all()


def test_an_interval_holds_no_difference_that_cannot_be() -> None:
    """Two seeds that disagree leave one degree of freedom: t reaches far beyond what two shares can differ by."""
    found = crossed_test(np.array([[0.9, -0.5], [0.7, -0.6], [0.8, -0.4]]), level=0.95)
    assert found.low < -1 < 1 < found.high
    cut = found.within(AUC.widest)
    assert (cut.low, cut.high) == (-1.0, 1.0)
    assert (cut.difference, cut.p) == (found.difference, found.p)
    assert found.within(SURFACE.widest) == found
    unknown = crossed_test(np.full((1, 3), 0.2), level=0.95).within(1.0)
    assert np.isnan([unknown.low, unknown.high]).all()


def test_a_planted_effect_is_found() -> None:
    rng = np.random.default_rng(2)
    worlds = planted(rng, cases=12, seeds=3, case=1, seed=0.1, both=1, worlds=400) + 1.6
    found = [crossed_test(world, level=0.95) for world in worlds]
    assert np.mean([item.p < 0.05 for item in found]) > 0.9
    assert np.mean([item.difference for item in found]) == pytest.approx(1.6, abs=0.05)


@pytest.mark.parametrize(
    ("cases", "seed"), [(8, 0.0), (8, 0.5), (8, 1.0), (35, 0.3), (35, 1.0)], ids=lambda v: str(v)
)
def test_equals_are_called_different_about_as_often_as_promised(cases: int, seed: float) -> None:
    rng = np.random.default_rng(3)
    worlds = planted(rng, cases=cases, seeds=3, case=1, seed=seed, both=1, worlds=1500)
    found = [crossed_test(world, level=0.95) for world in worlds]
    wrong = np.mean([item.p < 0.05 for item in found])
    covered = np.mean([item.low <= 0 <= item.high for item in found])
    assert wrong < 0.09  # nominal 0.05; three seeds leave two degrees of freedom
    assert covered == pytest.approx(1 - wrong, abs=0.002)
    over_cases = stats.ttest_1samp(worlds.mean(axis=2), 0, axis=1).pvalue
    if seed >= 0.5:
        assert (over_cases < 0.05).mean() > 1.5 * max(wrong, 0.05)  # why cases alone will not do


@pytest.mark.parametrize("cases", [6, 12, 40])
def test_bootstrap_intervals_cover_the_truth_about_as_often_as_promised(cases: int) -> None:
    rng = np.random.default_rng(4)
    truth, hits = 2 / (2 + 1), 0
    for _ in range(300):
        values = rng.beta(2, 1, cases)  # skewed to the left, as Dice is
        low, high = bootstrap_interval([mean_of(values)], np.eye(cases), level=0.95, resamples=600, rng=rng)
        hits += low <= truth <= high
    assert 0.9 < hits / 300 < 0.985


def test_bootstrap_resamples_the_cases_that_runs_share() -> None:
    # Two runs that err in opposite directions on the same case: their mean does not vary.
    values = np.random.default_rng(5).random(20)
    low, high = bootstrap_interval(
        [mean_of(values), mean_of(1 - values)],
        np.eye(20),
        level=0.95,
        resamples=200,
        rng=np.random.default_rng(0),
    )
    assert (low, high) == pytest.approx((0.5, 0.5))


def test_two_cases_have_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(
        bootstrap_interval([mean_of(np.ones(2))], np.eye(2), level=0.95, resamples=10, rng=rng)
    ).all()


def test_pseudovalues_of_a_mean_are_its_values() -> None:
    values = np.random.default_rng(6).random(7)
    assert pseudovalues(mean_of(values), np.eye(7)) == pytest.approx(values)


def test_cases_of_one_subject_count_as_one_witness() -> None:
    """Ten subjects whose four cases say the same: the interval is that of ten cases, not of forty."""
    values = np.random.default_rng(7).random(10)
    given = {"level": 0.95, "resamples": 500}
    once = bootstrap_interval([mean_of(values)], np.eye(10), rng=np.random.default_rng(0), **given)
    subjects = np.repeat(np.eye(10), 4, axis=1)
    again = bootstrap_interval(
        [mean_of(np.repeat(values, 4))], subjects, rng=np.random.default_rng(0), **given
    )
    assert again == pytest.approx(once)
    assert pseudovalues(mean_of(np.repeat(values, 4)), subjects) == pytest.approx(values)
    naive = bootstrap_interval(
        [mean_of(np.repeat(values, 4))], np.eye(40), rng=np.random.default_rng(0), **given
    )
    assert naive[1] - naive[0] < 0.6 * (once[1] - once[0])
