"""How well a law foretold measured mixtures: against SciPy, sums by hand and known noise."""

import numpy as np
import pytest
from known_laws import known_law
from scipy.stats import kendalltau

from voxmix.errors import InputError
from voxmix.law import fit
from voxmix.law.seeds import SeedEffects
from voxmix.law.simulate import simulate
from voxmix.scores import judge_law
from voxmix.scores.forecast import GUESS, judge, judge_as_uniform, kendall
from voxmix.scores.measured import Measured

NAMES = ("uniform", "b", "c", "d")


def found(
    loss: np.ndarray, seeds: tuple[int, ...] | None = None, names: tuple[str, ...] | None = None
) -> Measured:
    strategies, count, targets = loss.shape
    return Measured(
        budget=100,
        strategies=names or NAMES[:strategies],
        seeds=seeds or tuple(range(count)),
        targets=tuple("ABC"[:targets]),
        loss=loss,
    )


def world(noise: float, *, seeds: int = 3, seed: int = 0, values=(1.0, 0.9, 0.8, 0.85)) -> Measured:
    rng = np.random.default_rng(seed)
    logs = noise * rng.standard_normal((len(values), seeds, 2)) + 0.3 * rng.standard_normal((1, seeds, 1))
    return found(np.array(values)[:, None, None] * np.exp(logs) * np.array([1.0, 0.1]))


def test_kendall_is_scipy_s_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (40, 7)).astype(float)
    other = rng.standard_normal(7)
    assert kendall(other, rows) == pytest.approx([kendalltau(other, row)[0] for row in rows], nan_ok=True)
    rows[:, 2] = np.nan
    left = np.delete(other, 2)
    assert kendall(other, rows) == pytest.approx(
        [kendalltau(left, np.delete(row, 2))[0] for row in rows], nan_ok=True
    )
    assert np.isnan(kendall(np.ones(3), np.arange(3.0)))


def test_level_error_regret_and_gain_by_hand() -> None:
    loss = np.array([[0.4, 0.04], [0.3, 0.05], [0.2, 0.03], [0.5, 0.01]])[:, None, :]
    loss = loss * np.exp(1e-6 * np.random.default_rng(0).standard_normal((4, 2, 2)))
    predicted = np.array([[0.5, 0.05], [0.2, 0.02], [0.3, 0.03], [0.6, 0.06]])
    item = judge(found(loss), predicted)
    seen = loss.mean(axis=1)
    assert item.mean_error == pytest.approx(np.abs(predicted / seen - 1).mean(), rel=1e-4)
    plain, relative = item.by("mean"), item.by("relative")
    assert plain is not None
    assert relative is not None
    assert plain.level == pytest.approx(predicted.mean() / seen.mean() - 1, rel=1e-3)
    assert (plain.choice, plain.best) == ("b", "c")
    means = seen.mean(axis=1)
    assert plain.regret == pytest.approx(means[1] / means[2] - 1, rel=1e-4)
    assert plain.gain == pytest.approx((means[0] - means[1]) / (means[0] - means[2]), rel=1e-3)
    assert plain.best_share == 0
    over = seen / seen[0]
    assert relative.measured == pytest.approx(over.mean(axis=1), rel=1e-4)
    assert relative.regret == pytest.approx(over.mean(axis=1)[1] / over.mean(axis=1).min() - 1, rel=1e-4)
    assert plain.kendall == pytest.approx(kendalltau(predicted.mean(axis=1), means)[0])
    assert item.right_pairs == pytest.approx((plain.kendall + 1) / 2)


def test_predictions_are_for_the_seeds_that_ran() -> None:
    """The law speaks of the average of three seeds; mixtures were trained with the worst of them, and one with another."""
    effects = SeedEffects(
        seeds=(0, 1, 2), effect=np.array([-0.1, -0.1, 0.2]), error=np.zeros((3, 3)), freedom=3, groups=1
    )
    truth = np.array([[1.0, 0.1], [0.9, 0.2], [0.8, 0.3]])
    loss = truth[:, None, :] * np.exp(effects.effect[[1, 2]])[None, :, None]
    alone = judge(found(loss[:, 1:], seeds=(2,)), truth, effects=effects)
    assert alone.mean_error == pytest.approx(0, abs=1e-9)
    assert judge(found(loss[:, 1:], seeds=(2,)), truth).mean_error == pytest.approx(1 - np.exp(-0.2))
    gap = loss.copy()
    gap[0, 0] = np.nan  # one lacks the better seed
    assert judge(found(gap, seeds=(1, 2)), truth, effects=effects).mean_error == pytest.approx(0, abs=1e-9)
    new = judge(found(loss[:, :1], seeds=(7,)), truth, effects=effects)  # a seed that the fit does not know
    assert new.mean_error == pytest.approx(np.exp(0.1) - 1)


def test_the_noise_is_that_of_other_runs_of_the_same_strategies() -> None:
    """What one study says of its noise, against what many studies of the same truth do."""
    predicted = np.array([1.0, 0.9, 0.84, 0.83])[:, None] * np.array([1.0, 0.1])
    many = [judge(world(0.06, seed=seed), predicted).decisions[0] for seed in range(100)]
    taus = np.std([item.kendall for item in many])
    assert np.mean([item.kendall_noise for item in many]) == pytest.approx(taus, rel=0.25)
    behind = np.std([item.measured[3] / item.measured[2] for item in many])
    assert np.mean([item.regret_noise for item in many if item.best == "c"]) == pytest.approx(
        behind, rel=0.15
    )
    wins = np.mean([item.best == item.choice for item in many])
    assert np.mean([item.best_share for item in many]) == pytest.approx(wins, abs=0.1)
    quiet = judge(world(1e-5), predicted).decisions[0]
    assert [quiet.kendall_noise, quiet.repeat, quiet.regret_noise] == pytest.approx([0, 1, 0], abs=1e-4)
    one = judge(world(0.05, seeds=1), predicted).decisions[0]
    assert np.isnan([one.kendall_noise, one.regret_noise, one.best_share, one.repeat, one.gain]).all()
    assert np.isfinite([one.kendall, one.regret, one.level]).all()


def test_the_guess_has_no_order_and_chooses_uniform() -> None:
    item = judge_as_uniform(world(0.001))
    assert item is not None
    assert item.law == GUESS
    plain = item.by("mean")
    assert plain is not None
    assert np.isnan(plain.kendall)
    assert np.isnan(item.right_pairs)
    assert (plain.choice, plain.best, plain.gain) == ("uniform", "c", 0)
    assert plain.regret == pytest.approx(0.25, abs=0.01)
    assert judge_as_uniform(found(np.ones((2, 1, 1)), names=("a", "b"))) is None


def test_runs_under_two_names_count_once_and_half_measured_ones_not() -> None:
    loss = world(0.001).loss
    twice = np.concatenate([loss, loss[:1]])
    predicted = np.array([1.1, 0.9, 0.84, 0.83])[:, None] * np.array([1.0, 0.1])
    item = judge(found(twice, names=(*NAMES, "again")), np.concatenate([predicted, predicted[:1]]))
    assert item.mean_error == pytest.approx(judge(found(loss), predicted).mean_error)
    assert item.decisions[0].strategies == NAMES
    torn = loss.copy()
    torn[1, 0, 0] = torn[1, 1:, 1] = np.nan  # no run of b has both losses
    assert judge(found(torn), predicted).decisions[0].strategies == ("uniform", "c", "d")
    nothing = judge(found(np.full((2, 1, 2), np.nan)), np.ones((2, 2)))
    assert nothing.decisions == ()
    assert np.isnan(nothing.mean_error)
    part = np.where(np.arange(2) == 0, predicted, np.nan)  # a law of target A alone
    assert judge(found(loss), part).decisions[0].measured == pytest.approx(
        np.exp(np.log(loss[:, :, 0]).mean(axis=1))
    )


def test_a_law_of_a_table_is_judged_by_another_table() -> None:
    law = fit(simulate(known_law(), budgets=(500, 1000, 2000, 4000)), law="transfer")
    mixtures = [np.array(w) for w in ((0.6, 0.2, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.1, 0.2, 0.7))]
    later = simulate(known_law(), budgets=(8000,), mixtures=mixtures, pure=False)
    item = judge_law(law, later)
    assert item.mean_error < 1e-3
    assert item.budget == 8000
    assert item.strategies[1] == "uniform"
    assert [part.kendall for part in item.decisions] == [1, 1]
    assert [part.regret for part in item.decisions] == [0, 0]
    both = simulate(known_law(), budgets=(4000, 8000), mixtures=mixtures, pure=False)
    with pytest.raises(InputError, match=r"at one budget, the table has 2: \[4000.0, 8000.0\]; select one"):
        judge_law(law, both)
