"""The offset law, ``L = E + A (kappa + n)**-beta``: known truth comes back, and all that a law can do it can do."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dense_derivatives import jacobian
from known_laws import known_law
from typer.testing import CliRunner

from voxmix import FittedLaw, MeasurementTable, Mixture, allocate, fit
from voxmix.allocation import path, plan, structure
from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.law import Formula, compare, law_form
from voxmix.law.cells import gather
from voxmix.law.compare import Candidate, compare_laws
from voxmix.law.forms import Landscape, LawParameters, predict
from voxmix.law.holdout import holdout_of
from voxmix.law.reducible import OFFSET, POWER
from voxmix.law.search_problem import Freedom, Problem
from voxmix.law.simulate import simulate
from voxmix.law.twostage import FitOptions

BUDGETS = (100, 400, 1600, 6400, 25600)
DOMAINS = ("D0", "D1", "D2")
VERTICES = [np.where(np.arange(3) == i, 0.9, 0.05) for i in range(3)]
MIXTURES = [
    np.full(3, 1 / 3),
    np.array([0.6, 0.3, 0.1]),
    np.array([0.1, 0.3, 0.6]),
    np.array([0.2, 0.7, 0.1]),
]
KAPPA = np.array([300.0, 800.0, 150.0])
LAWS = {"offset": 1.0, "offset-diversity": 0.7}
NUMBERS = ("irreducible_loss", "amplitude", "exponent", "rho", "kappa")


def truth(rho: float = 0.7, kappa: np.ndarray = KAPPA) -> LawParameters:
    return known_law(rho, fall=OFFSET, formula_numbers={"kappa": kappa})


def power(rho: float = 0.7) -> LawParameters:
    return replace(truth(rho), fall=POWER, formula_numbers={})


def table(rho: float = 0.7, *, mixtures=MIXTURES, **options) -> MeasurementTable:
    return simulate(truth(rho), budgets=BUDGETS, mixtures=mixtures, **options)


def without_pure(losses: MeasurementTable) -> MeasurementTable:
    return losses.select(np.asarray(losses.source) < 0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("loss", ["mse", "relative-huber", "log"])
def test_known_numbers_come_back_from_exact_losses(law, loss):
    want = truth(LAWS[law])
    found = fit(table(LAWS[law]), law=law, method="joint", loss=loss)
    for name in NUMBERS:
        tolerance = {"rel": 2e-2} if name != "irreducible_loss" else {"rel": 0.1, "abs": 2e-4}
        assert found.parameters.by_target()[name] == pytest.approx(want.by_target()[name], **tolerance), name
    assert found.transfer == pytest.approx(want.transfer, rel=0.05)
    assert not np.allclose(found.transfer.T, want.transfer, rtol=0.5)
    assert found.quality.relative_error.max() < 1e-3


@pytest.mark.parametrize("law", LAWS)
def test_mixtures_alone_tell_it(law):
    want = truth(LAWS[law])
    found = fit(
        without_pure(table(LAWS[law], mixtures=[*MIXTURES, *VERTICES])), law=law, method="joint", loss="log"
    )
    assert found.targets == DOMAINS
    assert found.parameters.formula_numbers["kappa"] == pytest.approx(KAPPA, rel=0.05)
    assert found.transfer == pytest.approx(want.transfer, rel=0.1, abs=2e-3)
    assert found.evaluate(MIXTURES[1], 50_000.0) == pytest.approx(
        predict(want, MIXTURES[1][None], np.array([50_000.0]))[0, 0], rel=2e-3
    )


@pytest.mark.parametrize("law", ["diversity", "transfer"])
def test_other_joint_laws_fit_mixtures_alone_too_and_two_stages_say_how(law):
    rho = 0.7 if law == "diversity" else 1.0
    runs = without_pure(simulate(power(rho), budgets=BUDGETS, mixtures=[*MIXTURES, *VERTICES]))
    found = fit(runs, law=law, method="joint", loss="log")
    assert found.transfer == pytest.approx(power(rho).transfer, rel=0.1, abs=2e-3)
    with pytest.raises(InputError, match="method joint"):
        fit(runs, law=law)


def test_a_target_that_mixtures_alone_do_not_tell_is_named():
    runs = without_pure(table(mixtures=[*MIXTURES, *VERTICES]))
    fewer = runs.select((np.asarray(runs.target) != "D2") | (runs.budget == BUDGETS[0]))
    found = fit(fewer, law="offset", method="joint", loss="log")
    assert found.targets == DOMAINS[:2]
    assert any("two budgets" in item.message for item in found.status if item.target == "D2")


@pytest.mark.parametrize("law", LAWS)
def test_noisy_losses_leave_predictions_near_the_truth_and_intervals_around_it(law):
    noisy = table(LAWS[law], noise=0.01, seeds=2, rng=np.random.default_rng(3))
    found = fit(noisy, law=law, method="joint", loss="relative-huber", bootstrap=30)
    want = predict(truth(LAWS[law]), np.full((1, 3), 1 / 3), np.array([12_000.0]))[0, 0]
    mixture = Mixture.uniform(DOMAINS)
    assert found.evaluate(mixture.weights, 12_000.0) == pytest.approx(want, rel=0.02)
    low, high = found.intervals()["kappa"].T
    assert np.sum((low <= KAPPA) & (high >= KAPPA)) >= 2
    assert np.all(high > low)
    best, true = (allocate(one, budget=6400, min_weight=0.05) for one in (found, exact(law)))
    assert best.mixture.weights == pytest.approx(true.mixture.weights, abs=0.08)
    assert np.all(best.intervals[:, 0] <= best.mixture.weights + 0.02)
    assert np.all(best.intervals[:, 1] >= best.mixture.weights - 0.02)


def exact(law: str) -> FittedLaw:
    return fit(table(LAWS[law]), law=law, method="joint", loss="log")


def test_at_kappa_0_it_is_the_law_without():
    runs = simulate(power(), budgets=BUDGETS, mixtures=MIXTURES)
    plain = fit(runs, law="diversity", method="joint", loss="log")
    found = fit(runs, law="offset-diversity", method="joint", loss="log")
    zero = truth(kappa=np.zeros(3))
    weights = np.array(MIXTURES)
    budget = np.full(len(weights), 3000.0)
    assert predict(zero, weights, budget) == pytest.approx(predict(power(), weights, budget), rel=1e-12)
    assert found.evaluate(weights, 3000.0) == pytest.approx(plain.evaluate(weights, 3000.0), rel=2e-3)
    assert np.all(found.parameters.formula_numbers["kappa"] < 2)  # least effective budget: about 5 draws
    kappa = [item for item in found.status if item.parameter == "kappa"]
    assert [item.target for item in kappa] == list(DOMAINS)
    assert all(item.state != "ok" and item.message for item in kappa if found_kappa(found, item) == 0)


def found_kappa(law: FittedLaw, item) -> float:
    return float(law.parameters.formula_numbers["kappa"][law.targets.index(item.target)])


def test_a_plateau_that_no_run_shows_is_not_identified():
    short = (100, 200, 400, 800)  # all on the plateau
    runs = simulate(truth(1.0, np.full(3, 1e5)), budgets=short, mixtures=MIXTURES)
    found = fit(runs, law="offset", method="joint", loss="log")
    kappa = [item for item in found.status if item.parameter == "kappa"]
    assert [item.state for item in kappa] == ["not identified"] * 3
    assert all("add a larger budget" in item.message for item in kappa)
    shown = exact("offset").status
    assert [item.state for item in shown if item.parameter == "kappa"] == ["ok"] * 3


@pytest.mark.parametrize("kappa", [KAPPA, np.array([0.0, 800.0, 0.0]), np.array([3e4, 1e5, 8e3])])
@pytest.mark.parametrize("rho", [1.0, 0.6])
def test_derivatives_by_weights_agree_with_differences(rho, kappa):
    there, at, step = Landscape(truth(rho, kappa), 2000), np.array([[0.5, 0.2, 0.3]]), 1e-4
    cost = np.array([[1.0, 0.5, 2.0]])
    point = there.curvature(at)
    hessian = point.hessian(cost)[0]
    assert np.linalg.eigvalsh(hessian).min() > -1e-9 * np.abs(hessian).max()
    for i in range(3):
        up, down = (there.curvature(at + sign * step * np.eye(3)[[i]]) for sign in (1, -1))
        assert point.slope[0, i] == pytest.approx((up.loss - down.loss)[0] / (2 * step), rel=1e-4)
        bend = (up.slope - down.slope)[0] @ cost[0] / (2 * step)
        assert hessian[i] == pytest.approx(bend, rel=1e-4)


@pytest.mark.parametrize("kappa", [KAPPA, np.array([1e-3, 800.0, 5e4])])
@pytest.mark.parametrize("rho", [1.0, 0.6])
def test_derivatives_by_the_numbers_agree_with_differences(rho, kappa):
    cells = gather(table(rho))
    rows = ~np.isnan(cells.loss)
    free = Freedom(curve=True, transfer=True, budget_term=False, rho="shared", rows=rows)
    law = truth(rho, kappa).batched()
    problem = Problem(cells, np.nan_to_num(cells.loss)[None], law, free, "mse", 2.0, 1.0)
    theta, rhos = problem.theta, problem.rho
    assert problem.law(law, theta, rhos).formula_numbers["kappa"][0] == pytest.approx(kappa, rel=1e-9)
    columns, _ = jacobian(problem, theta, rhos, problem.losses(theta, rhos))
    for k in range(theta.shape[-1]):
        move = np.zeros_like(theta)
        move[..., k] = 1e-6
        rise = problem.losses(theta + move, rhos).loss - problem.losses(theta - move, rhos).loss
        want = np.where(problem.moves[:, k], rise / 2e-6, 0.0)
        smooth = np.abs(want - columns[..., k]) <= 1e-5 * np.abs(want) + 1e-8
        assert smooth.all(), k


def test_losses_are_convex_in_the_weights_on_random_segments_and_finite_where_nothing_is_drawn():
    rng = np.random.default_rng(0)
    for _ in range(200):
        law = LawParameters.make(
            irreducible_loss=rng.uniform(0, 1, 3),
            amplitude=rng.uniform(0.1, 3, 3),
            exponent=rng.uniform(0.02, 2, 3),
            transfer=rng.uniform(0, 1, (3, 3)),
            rho=np.full(3, rng.uniform(0.1, 1)),
            fall=OFFSET,
            formula_numbers={"kappa": 10 ** rng.uniform(-2, 5, 3)},
        )
        ends = rng.dirichlet(np.full(3, 0.5), size=2)
        share = rng.uniform(0, 1)
        points = np.array([*ends, share * ends[0] + (1 - share) * ends[1]])
        a, b, between = predict(law, points, np.full(3, 10 ** rng.uniform(2, 5)))[0]
        assert np.all(between <= share * a + (1 - share) * b + 1e-9 * (a + b))
    nothing = predict(replace(truth(), transfer=np.eye(3)), np.array([[1.0, 0.0, 0.0]]), np.array([500.0]))[
        0, 0
    ]
    assert nothing[1] == pytest.approx(0.01 + 2.5 * 800.0**-0.6, rel=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_its_mixture_is_proven_best_and_beats_a_fine_grid(law):
    found = exact(law)
    best = allocate(found, budget=3000, min_weight=0.05)
    assert best.gap < 1e-6 * best.objective
    grid = [(a, b, 1 - a - b) for a in np.arange(0.05, 0.91, 0.02) for b in np.arange(0.05, 0.96 - a, 0.02)]
    losses = predict(found.parameters, np.array(grid), np.full(len(grid), 3000.0))[0].mean(axis=1)
    assert best.objective <= losses.min() * (1 + 1e-9)
    assert best.objective == pytest.approx(losses.min(), rel=2e-3)


@pytest.mark.parametrize("budget", [50, 800, 20_000])
def test_the_best_mixture_of_curves_on_their_plateaus_is_proven_too(budget):
    law = replace(exact("offset-diversity"), parameters=truth(0.5, np.array([3e4, 1e5, 8e3])))
    best = allocate(law, budget=budget, min_weight=0.05)
    assert best.gap < 1e-6 * best.objective
    grid = [(a, b, 1 - a - b) for a in np.arange(0.05, 0.91, 0.05) for b in np.arange(0.05, 0.96 - a, 0.05)]
    losses = predict(law.parameters, np.array(grid), np.full(len(grid), float(budget)))[0].mean(axis=1)
    assert best.objective <= losses.min() * (1 + 1e-9)


def test_it_is_saved_planned_and_followed_like_the_others(tmp_path):
    found = fit(table(), law="offset-diversity", method="joint", loss="log", bootstrap=8)
    found.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json")
    assert again.to_dict() == found.to_dict()
    assert again.intervals()["kappa"].shape == (3, 2)
    assert again.bootstrap.formula_numbers["kappa"].shape == (8, 3)
    budgets = (1000.0, 4000.0, 16000.0)
    followed = path(again, budgets=budgets)
    assert np.all(np.diff(followed.objective) < 0)
    assert np.all(followed.gap < 1e-6 * followed.objective)
    wanted = dict(zip(DOMAINS, again.evaluate(np.full(3, 1 / 3), 6000), strict=True))
    assert plan(again, loss=wanted).uniform_budget == pytest.approx(6000, rel=1e-3)
    assert structure(again).to_dict()["roles"]


@pytest.mark.parametrize("law", LAWS)
def test_repeats_lose_their_worth_in_it_too(law):
    want = replace(truth(LAWS[law]), unique=np.array([500.0, 2000.0, 1000.0]), repeats=np.full(3, 5.0))
    runs = simulate(want, budgets=BUDGETS, mixtures=MIXTURES)
    volumes = {"D0": 500.0, "D1": 2000.0, "D2": 1000.0}
    found = fit(runs, law=law, method="joint", loss="log", repetition=5.0, volumes=volumes)
    assert found.parameters.repeats == pytest.approx(np.full(3, 5.0))
    assert found.parameters.formula_numbers["kappa"] == pytest.approx(KAPPA, rel=0.05)


def test_two_stages_are_no_way_to_it_and_a_note_says_so():
    found = fit(table(), law="offset")
    assert found.method == "joint"
    assert any("fitted jointly" in note for note in found.notes)
    assert not any("fitted jointly" in note for note in fit(table(), law="offset", method="joint").notes)


def test_auto_tries_it_and_strategies_follow_from_the_rows(monkeypatch):
    tried = []

    def note(cells, wanted, folds):
        tried.append(wanted.law)
        held = holdout_of(cells.targets, cells.weights, cells.budget, cells.loss, cells.loss)
        return Candidate(law=wanted.law, method=wanted.method, loss=wanted.loss, budget=held, mixtures=held)

    monkeypatch.setattr(compare, "_try", note)
    compare_laws(gather(table()), FitOptions())
    assert {"diversity", *LAWS} <= set(tried)
    assert [law_form(name).strategy for name in LAWS] == ["offset-aware", "offset-diversity-aware"]
    assert isinstance(law_form("offset").fall, Formula)


def test_the_command_line_fits_and_allocates_by_it(tmp_path):
    table().to_csv(tmp_path / "runs.csv")
    file, run = tmp_path / "law.json", CliRunner().invoke
    done = run(
        app,
        ["fit", str(tmp_path / "runs.csv"), "--law", "offset-diversity", "-o", str(file), "--bootstrap", "0"],
    )
    assert done.exit_code == 0, done.output
    assert "kappa" in done.output
    done = run(app, ["allocate", str(file), "--budget", "3000", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["law"] == "offset-diversity"


def bank(shared_data: Path, name: str, kinds: tuple[str, ...]) -> MeasurementTable:
    """Return the losses of seed 0 of some kinds of runs; fit itself knows no kinds."""
    file = shared_data / "mixtures" / "voxmix_bank" / f"{name}.csv"
    if not file.is_file():
        pytest.skip("the bank of measured mixtures (../shared/data/mixtures) is not on this machine")
    with file.open() as lines:
        wanted = {row["run"] for row in csv.DictReader(lines) if row["kind"] in kinds and row["seed"] == "0"}
    read = MeasurementTable.read_csv(file)
    return read.select(np.array([run in wanted for run in read.run]))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore::voxmix.errors.VoxmixWarning")
@pytest.mark.parametrize(
    ("name", "law", "level", "error"),
    [
        ("phantoms_demo", "offset-diversity", 0.03, 0.05),
        ("phantoms_demo", "offset", 0.035, 0.055),
        ("real_seven", "offset-diversity", 0.03, 0.05),
        ("real_seven", "offset", 0.03, 0.05),
    ],
)
def test_measured_mixtures_beyond_the_fitted_budgets_are_predicted(shared_data, name, law, level, error):
    found = fit(bank(shared_data, name, ("vertex", "anchor")), law=law, method="joint", loss="relative-huber")
    test = bank(shared_data, name, ("test",))
    assert len(test) >= 60
    place = np.array([found.targets.index(target) for target in test.target])
    losses = predict(found.parameters, test.weights, test.budget)[0][np.arange(len(test)), place]
    assert np.mean(losses) / np.mean(test.loss) - 1 == pytest.approx(0, abs=level)
    assert np.mean(np.abs(losses / test.loss - 1)) < error
