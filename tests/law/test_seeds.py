"""Seeds are blocks: their effects are found by twins, taken out of the fit, and no decision or number suffers from them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix import FittedLaw, MeasurementTable, Mixture, allocate, fit
from voxmix.cli import app
from voxmix.law.cells import gather
from voxmix.law.forms import predict
from voxmix.law.seeds import NO_EFFECTS, SeedEffects, SeedLosses, judge_seeds
from voxmix.law.simulate import random_law, simulate

BUDGETS = (500, 1000, 2000, 4000)
EVEN = np.full(3, 1 / 3)
CORNERS = [0.05 + 0.85 * row for row in np.eye(3)]


def truth(rho=0.7):
    return random_law(np.random.default_rng(5), 3, rho=rho)


def judged(cell, seed, loss):
    """Return the effects of losses (run,) or (run, target) on targets that every mixture holds."""
    loss = np.reshape(loss, (len(cell), -1))
    targets = loss.shape[1]
    losses = SeedLosses(
        cell=np.repeat(cell, targets),
        target=np.tile(np.arange(targets), len(cell)),
        seed=np.repeat(seed, targets),
        loss=loss.reshape(-1),
    )
    return judge_seeds(losses, np.ones((max(cell) + 1, targets), dtype=bool))


def world(effects=(0.0, 0.0), *, noise=0.0, together=0.3, seed=0, law=None, second=True):
    """Return pure runs, corners and the uniform mixture; without ``second`` only the last has other seeds than 0."""
    table = simulate(
        law or truth(),
        budgets=BUDGETS,
        seeds=len(effects),
        seed_effects=effects,
        noise=noise,
        together=together,
        mixtures=[EVEN, *CORNERS],
        rng=np.random.default_rng(seed),
    )
    uniform = np.isclose(table.weights, 1 / 3).all(axis=1)
    return table if second else table.select((table.seed == 0) | uniform)


def numbers(law):
    return {name: array for name, array in law.parameters.by_draw().items() if name != "repeats"}


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize(
    ("form", "method", "loss"),
    [
        ("transfer", "two-stage", "mse"),
        ("diversity", "two-stage", "log"),
        ("diversity", "joint", "relative-huber"),
        ("diversity", "joint", "mse"),
    ],
)
def test_a_law_is_recovered_as_that_of_the_average_seed(form, method, loss, second):
    true = truth(1.0 if form == "transfer" else 0.7)
    law = fit(world((-0.04, 0.06), law=true, second=second), law=form, method=method, loss=loss)
    np.testing.assert_allclose(law.seed_effects.effect, [-0.05, 0.05], atol=1e-9)
    level = np.exp(0.01)
    np.testing.assert_allclose(law.transfer, true.transfer, rtol=2e-3)
    np.testing.assert_allclose(law.exponent, true.exponent, rtol=2e-3)
    np.testing.assert_allclose(law.irreducible_loss, level * true.irreducible_loss, rtol=4e-3)
    np.testing.assert_allclose(law.rho, true.rho, rtol=2e-3)


def test_without_effects_rho_takes_what_the_seeds_of_the_anchors_did():
    """The world of the test above does bias a fit that averages seeds: else it would prove nothing."""
    table = world((-0.04, 0.06), second=False)
    averaged = {}
    for key in zip(table.weights.tolist(), table.budget, table.target, table.loss, strict=True):
        averaged.setdefault((tuple(key[0]), key[1], key[2]), []).append(key[3])
    rows = [
        {"run": f"{w}{b}", "seed": 0, "budget": b, "target": t, "loss": np.mean(losses)}
        | {f"weight:{d}": share for d, share in zip(table.domains, w, strict=True)}
        for (w, b, t), losses in averaged.items()
    ]
    biased = fit(MeasurementTable.from_rows(rows), law="diversity", method="joint")
    assert abs(biased.rho[0] - 0.7) > 0.01


def test_one_seed_and_no_twins_keep_every_bit():
    table = world((0.0,), noise=0.03)
    cells = gather(table)
    assert cells.effects is NO_EFFECTS
    np.testing.assert_array_equal(np.sort(cells.loss, axis=None), np.sort(table.loss))
    renamed = replace(
        table, seed=np.unique(table.run, return_inverse=True)[1]
    )  # each run has a seed of its own
    laws = [fit(t, law="diversity", bootstrap=5, holdout_budget="largest") for t in (table, renamed)]
    a, b = (law.to_dict() | {"table_digest": ""} for law in laws)
    assert a == b
    assert not laws[0].seed_effects.seeds


def test_where_every_run_has_every_seed_the_fit_stays_the_same():
    effects = (-0.02, 0.03)
    blocked = fit(world(effects, noise=0.01), law="diversity", method="joint")
    cells = gather(world(effects, noise=0.01))
    plain = cells.measured.means(cells.loss.shape, cells.measured.loss)
    np.testing.assert_allclose(cells.loss / plain, np.mean(np.exp([-0.025, 0.025])) ** -1, rtol=2e-3)
    np.testing.assert_allclose(cells.loss, plain, rtol=1e-3)
    assert blocked.seed_effects.effect[1] == pytest.approx(0.025, abs=0.004)


def test_effects_equal_a_reference_with_a_free_mean_per_cell():
    """Incomplete blocks of three seeds, against dense least squares with one column per cell and seed."""
    rng = np.random.default_rng(3)
    cell, seed = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 4]), np.array([7, 8, 8, 9, 7, 9, 7, 8, 9, 7])
    loss = np.exp(rng.normal(0, 0.1, len(cell)))
    found = judged(cell, seed, loss)
    design = np.concatenate([np.eye(5)[cell], np.eye(3)[seed - 7]], axis=1)
    best = np.linalg.lstsq(np.vstack([design, [0] * 5 + [1] * 3]), [*np.log(loss), 0.0], rcond=None)[0]
    left = np.log(loss) - design @ best
    cover = np.sum(left**2) / (10 - 7) * np.linalg.pinv(design.T @ design)[5:, 5:]
    center = np.eye(3) - 1 / 3
    np.testing.assert_allclose(found.effect, best[5:], atol=1e-12)
    np.testing.assert_allclose(found.error, center @ cover @ center, atol=1e-12)
    assert (found.seeds, found.freedom, found.groups) == ((7, 8, 9), 3, 1)


def test_seeds_that_no_twins_connect_sum_to_zero_apart():
    cell, seed = np.repeat(np.arange(4), 2), np.array([0, 1, 0, 1, 2, 3, 2, 3])
    losses = np.exp([0.0, 0.2, 0.1, 0.3, 1.0, 1.4, 2.0, 2.4])
    found = judged(cell, seed, losses)
    np.testing.assert_allclose(found.effect, [-0.1, 0.1, -0.2, 0.2], atol=1e-12)
    assert found.groups == 2


def test_one_pair_of_twins_tells_no_effect_from_its_own_noise():
    cell, seed = np.array([0, 0, 1, 2]), np.array([0, 1, 0, 1])
    assert judged(cell, seed, np.array([1.0, 1.5, 2.0, 3.0])) is NO_EFFECTS


def test_a_loss_that_is_missing_or_zero_does_not_pass_for_an_effect():
    """A run counts by the targets that all its twins have: targets differ tenfold in their losses."""
    table = world((0.0, 0.0))
    kept = (table.seed == 0) | (np.array(table.target) != "D1") | (table.budget != 500)
    effects = gather(table.select(kept)).effects
    np.testing.assert_allclose(effects.effect, 0.0, atol=1e-12)
    zeroed = replace(table, loss=np.where(kept, table.loss, 0.0))
    np.testing.assert_allclose(gather(zeroed).effects.effect, 0.0, atol=1e-12)


def test_what_pure_runs_do_to_targets_they_never_saw_is_no_effect_of_seeds():
    table = world((-0.02, 0.02))
    pure = (table.weights > 0).sum(axis=1) == 1
    foreign = pure & (table.source != table.target_index)
    wandered = replace(table, loss=np.where(foreign & (table.seed == 1), 0.9, 1.0) * table.loss)
    np.testing.assert_allclose(gather(wandered).effects.effect, [-0.02, 0.02], atol=1e-12)


def test_what_is_held_out_has_no_say_in_the_effects():
    table = world((-0.03, 0.03), noise=0.01)
    broken = replace(table, loss=np.where((table.budget == 4000) & (table.seed == 1), 1.3, 1.0) * table.loss)
    laws = [fit(t, law="diversity", holdout_budget="largest", keep_outliers=True) for t in (table, broken)]
    for name, value in numbers(laws[0]).items():
        np.testing.assert_array_equal(value, numbers(laws[1])[name])
    np.testing.assert_array_equal(laws[0].seed_effects.effect, laws[1].seed_effects.effect)


def test_a_held_out_budget_is_predicted_for_the_seeds_that_ran_it():
    table = world((-0.03, 0.03))
    table = table.select((table.budget < 4000) | (table.seed == 1))
    law = fit(table, law="diversity", method="joint", holdout_budget="largest")
    np.testing.assert_allclose(law.holdout.predicted, law.holdout.observed, rtol=2e-4)


def test_noise_is_what_is_left_without_the_seeds():
    blocked = fit(world((-0.05, 0.05), noise=0.004, second=False), law="diversity", method="joint")
    assert blocked.noise.max() < 0.012


def test_decisions_do_not_hang_on_the_seeds_level_and_losses_do():
    quiet, loud = (
        fit(world(effects, noise=0.002), law="diversity", method="joint", bootstrap=40)
        for effects in ((0.0, 0.0), (-0.03, 0.03))
    )
    mixture = Mixture.uniform(quiet.domains)
    widths = [np.ptp(law.predicted_interval(mixture, 4000), axis=1) for law in (quiet, loud)]
    assert np.all(widths[1] > 10 * widths[0])
    shares = [np.ptp(allocate(law, budget=8000).intervals, axis=1) for law in (quiet, loud)]
    np.testing.assert_allclose(shares[1], shares[0], atol=5e-3)


def test_a_third_seed_narrows_what_a_new_seed_may_be():
    def effects(values):
        effect = np.array(values) - np.mean(values)
        size = len(values)
        return SeedEffects(
            seeds=tuple(range(size)), effect=effect, error=np.zeros((size, size)), freedom=9, groups=1
        )

    two, three = effects([0.0, 0.02]), effects([0.0, 0.02, 0.01])
    assert two.spread == pytest.approx(0.02 / np.sqrt(2))
    assert two.doubt(0.9, new_seed=True) == pytest.approx(6.314 * two.spread * np.sqrt(1.5), rel=1e-3)
    assert three.doubt(0.9, new_seed=True) == pytest.approx(2.920 * three.spread * np.sqrt(4 / 3), rel=1e-3)
    assert NO_EFFECTS.doubt(0.9, new_seed=True) == 0
    assert "17% either way" in effects([0.0, 0.0288]).caution
    assert "a factor of" in effects([0.0, 7.0]).caution  # a seed in other units
    assert (
        effects([0.0, 1e-9]).caution
        == effects(np.linspace(-0.02, 0.02, 9)).caution
        == NO_EFFECTS.caution
        == ""
    )
    value = np.array([1.0, 2.0, 0.0])
    point = two.widened(np.stack([value, value], axis=-1), value, 0.9, new_seed=True)
    np.testing.assert_allclose(
        np.log(point[:2] / value[:2, None]), two.doubt(0.9, new_seed=True) * np.array([[-1, 1]] * 2)
    )
    np.testing.assert_array_equal(point[2], 0.0)
    loose = np.array([[0.5, 2.0], [0.0, 9.0], [0.0, 1.0]])  # far wider than the seeds: as good as unchanged
    wide = two.widened(loose, value, 0.9, new_seed=True)
    np.testing.assert_allclose(wide, loose, rtol=1e-2)
    assert np.all((wide[:, 0] <= loose[:, 0]) & (wide[:, 1] >= loose[:, 1]))
    assert NO_EFFECTS.widened(loose, value, 0.9, new_seed=True) is loose


@pytest.mark.parametrize("count", [2, 3])
def test_the_level_of_all_seeds_and_of_a_new_one_lies_inside_nine_times_of_ten(count):
    """Only the first seed ran every cell; four targets, noise of 1% that the targets of a run share in part."""
    rng = np.random.default_rng(count)
    cell, seed = np.array([(c, s) for c in range(12) for s in range(count if c < 4 else 1)]).T
    average, new = [], []
    for _ in range(800):
        true = rng.normal(0, 0.03, count + 1)
        noise = 0.007 * (rng.standard_normal((len(cell), 1)) + rng.standard_normal((len(cell), 4)))
        loss = np.exp(true[seed][:, None] + noise)
        found = judged(cell, seed, loss)
        level = true[:count].mean()
        average.append(abs(level) <= found.doubt(0.9, new_seed=False))
        new.append(abs(level - true[count]) <= found.doubt(0.9, new_seed=True))
    assert 0.85 < np.mean(average) < 0.93  # the errors of the effects are not in it, but in the bootstrap
    assert 0.85 < np.mean(new) < 0.93


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_the_doubts_of_law_and_seeds_add_up_to_intervals_that_cover_nine_of_ten(count, ratio):
    """Errors of a law of known size, beside seeds whose spread is known from so few."""
    rng = np.random.default_rng(count)
    true = 0.02 * rng.standard_normal((2000, count + 1))
    own = 0.02 * np.sqrt(ratio)
    law = np.exp(true[:, :-1].mean(axis=1) + own * rng.standard_normal(2000))
    interval = law[:, None] * np.exp([-1.6449 * own, 1.6449 * own])
    hits = []
    for k in range(2000):
        effects = SeedEffects(
            seeds=tuple(range(count)),
            effect=true[k, :-1] - true[k, :-1].mean(),
            error=np.zeros((count, count)),
            freedom=9,
            groups=1,
        )
        low, high = effects.widened(interval[k : k + 1], law[k : k + 1], 0.9, new_seed=True)[0]
        hits.append(low <= np.exp(true[k, -1]) <= high)
    assert 0.88 < np.mean(hits) < 0.955


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_intervals_hold_the_truth_with_and_without_a_real_effect_of_seeds(spread):
    """The share of truths in 90% intervals over worlds whose other seeds ran the anchors only."""
    hits = {"new seed": [], "transfer": [], "amplitude": []}
    true = truth(1.0)
    for k in range(12):
        rng = np.random.default_rng(1000 + k)
        effects = rng.normal(0, spread, 4)
        table = world(tuple(effects[:3]), noise=0.01, seed=k, second=False, law=true)
        law = fit(table, bootstrap=60, seed=k)
        loss = predict(true, EVEN[None], np.array([4000.0]))[0, 0] * np.exp(effects[3])
        sure = law.intervals() | {"new seed": law.predicted_interval(Mixture.uniform(law.domains), 4000)}
        for name, value in (("new seed", loss), ("transfer", true.transfer), ("amplitude", true.amplitude)):
            low, high = np.moveaxis(sure[name], -1, 0)
            hits[name].append(np.mean((low <= value) & (value <= high)))
    found = {name: float(np.mean(values)) for name, values in hits.items()}
    assert min(found.values()) > 0.75, found


def test_the_command_line_says_the_effects_and_what_one_more_seed_may_do(tmp_path):
    runner = CliRunner()
    world((-0.01, 0.02)).to_csv(tmp_path / "runs.csv")
    out = str(tmp_path / "law.json")
    shown = runner.invoke(app, ["fit", str(tmp_path / "runs.csv"), "-o", out, "--bootstrap", "5"])
    assert shown.exit_code == 0, shown.output
    flat = " ".join(shown.output.split())
    assert "losses of seed 1 are 3.0% higher than those of seed 0 on every target" in flat
    assert "told by 2 seeds only" in flat
    command = ["predict", out, "--budget", "4000", "--weights", "D0=0.5", "--weights", "D1=0.5"]
    assert "told by 2 seeds only" in " ".join(runner.invoke(app, command).output.split())
    value = json.loads(runner.invoke(app, [*command, "--json"]).stdout)
    assert value["seed_doubt"] == pytest.approx(6.3138 * 0.03 / np.sqrt(2) * np.sqrt(1.5), rel=1e-4)


def test_the_effects_are_said_and_saved_and_old_laws_open(tmp_path):
    law = fit(world((-0.01, 0.02)), law="diversity", bootstrap=5)
    assert "seed 1 are 3.0% higher than those of seed 0 on every target" in law.seed_effects.sentence
    assert "seed 1" in repr(law)
    law.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json")
    assert again.to_dict() == law.to_dict()
    mixture = Mixture.uniform(law.domains)
    np.testing.assert_array_equal(
        again.predicted_interval(mixture, 4000), law.predicted_interval(mixture, 4000)
    )
    value = json.loads((tmp_path / "law.json").read_text(encoding="utf-8"))
    del value["seed_effects"]
    assert FittedLaw.from_dict(value).seed_effects is NO_EFFECTS
