"""A law is one row of the family's table: one from outside is fitted, allocated, saved and shown like the others."""

import json

import numpy as np
import pytest
from dense_derivatives import jacobian
from known_laws import known_law
from typer.testing import CliRunner

from voxmix import FittedLaw, allocate, fit
from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.law import LAWS, Formula, FormulaNumber, LawForm, law_form, law_forms, register, unregister
from voxmix.law.cells import gather
from voxmix.law.forms import Landscape, LawParameters, predict
from voxmix.law.reducible import POWER
from voxmix.law.search_problem import Freedom, Problem
from voxmix.law.simulate import simulate

# An asymmetric law with a plateau: what the model can do before it has learned anything.
HEAD_START = Formula(
    value=lambda n, beta, start: (start + n) ** -beta,
    by_reach=lambda n, beta, start: (
        -beta * (start + n) ** (-beta - 1),
        beta * (beta + 1) * (start + n) ** (-beta - 2),
    ),
    by_number=lambda n, beta, start: {
        "exponent": -np.log(start + n) * (start + n) ** -beta,
        "start": -beta * (start + n) ** (-beta - 1),
    },
    numbers=(FormulaNumber(name="start", low=1e-3, high=1e2, starts=(0.05, 0.5), in_draws=True),),
)
ROW = LawForm(
    name="head-start",
    label="a plateau before the first draws tell",
    free=("irreducible_loss", "amplitude", "exponent", "transfer", "rho"),
    fall=HEAD_START,
    strategy="head-start-aware",
    preference=0,
)
BUDGETS = (100, 400, 1600, 6400, 25600)
MIXTURES = [
    np.full(3, 1 / 3),
    np.array([0.6, 0.3, 0.1]),
    np.array([0.1, 0.3, 0.6]),
    np.array([0.2, 0.7, 0.1]),
]


@pytest.fixture(autouse=True)
def row():
    register(ROW)
    yield ROW
    unregister(ROW.name)


def truth(rho: float = 0.7) -> LawParameters:
    return known_law(rho, fall=HEAD_START, formula_numbers={"start": np.array([300.0, 800.0, 150.0])})


@pytest.fixture(scope="module")
def table():
    return simulate(truth(), budgets=BUDGETS, mixtures=MIXTURES)


@pytest.fixture
def law(table) -> FittedLaw:
    return fit(table, law=ROW.name, loss="log", bootstrap=0)


def test_its_numbers_are_recovered_from_exact_losses(law):
    want = truth()
    assert law.method == "joint"
    for name, array in want.by_target().items():
        assert law.parameters.by_target()[name] == pytest.approx(array, rel=2e-3), name
    assert law.transfer == pytest.approx(want.transfer, rel=5e-3)
    assert not law.problems()


def test_the_power_law_cannot_fit_its_plateau(table, law):
    power = fit(table, law="diversity", method="joint", loss="log")
    assert law.quality.relative_error.max() < 1e-4
    assert power.quality.relative_error.max() > 0.02


def test_its_mixture_is_proven_best_and_beats_a_fine_grid(law):
    best = allocate(law, budget=3000, min_weight=0.05)
    assert best.gap < 1e-6 * best.objective
    grid = [(a, b, 1 - a - b) for a in np.arange(0.05, 0.91, 0.01) for b in np.arange(0.05, 0.96 - a, 0.01)]
    losses = predict(law.parameters, np.array(grid), np.full(len(grid), 3000.0))[0].mean(axis=1)
    assert best.objective <= losses.min() * (1 + 1e-9)
    assert best.objective == pytest.approx(losses.min(), rel=1e-3)


def test_it_is_saved_and_read_with_its_own_numbers_and_draws(table, tmp_path):
    law = fit(table, law=ROW.name, loss="log", bootstrap=8)
    law.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json")
    assert again.to_dict() == law.to_dict()
    assert again.evaluate(MIXTURES[1], 777.0) == pytest.approx(law.evaluate(MIXTURES[1], 777.0), rel=1e-12)
    assert again.intervals()["start"].shape == (3, 2)
    assert again.bootstrap.formula_numbers["start"].shape == (8, 3)


def test_a_saved_law_without_its_row_is_refused_by_name(law, tmp_path):
    law.save(tmp_path / "law.json")
    unregister(ROW.name)
    with pytest.raises(InputError, match=r"head-start.*register"):
        FittedLaw.load(tmp_path / "law.json")


def test_the_command_line_fits_and_allocates_by_it(table, tmp_path):
    table.to_csv(tmp_path / "runs.csv")
    run = CliRunner().invoke
    file = tmp_path / "law.json"
    done = run(
        app, ["fit", str(tmp_path / "runs.csv"), "--law", ROW.name, "-o", str(file), "--bootstrap", "0"]
    )
    assert done.exit_code == 0, done.output
    assert "start" in done.output
    done = run(app, ["allocate", str(file), "--budget", "3000", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["law"] == ROW.name


def test_auto_tries_it(table):
    chosen = fit(table, law="auto")
    assert chosen.law == ROW.name


def test_loss_falls_to_the_plateau_where_nothing_is_drawn():
    nothing = predict(truth(), np.array([[1.0, 0.0, 0.0]]), np.array([1e-9]))[0, 0]
    want = truth()
    plateau = want.irreducible_loss + want.amplitude * want.formula_numbers["start"] ** -want.exponent
    assert nothing == pytest.approx(plateau, rel=1e-6)


@pytest.mark.parametrize("rho", [1.0, 0.6])
def test_derivatives_by_weights_agree_with_differences(rho):
    there, at, step = Landscape(truth(rho), 2000), np.array([[0.5, 0.2, 0.3]]), 1e-4
    cost = np.array([[1.0, 0.5, 2.0]])
    point = there.curvature(at)
    hessian = point.hessian(cost)[0]
    for i in range(3):
        up, down = (there.curvature(at + sign * step * np.eye(3)[[i]]) for sign in (1, -1))
        assert point.slope[0, i] == pytest.approx((up.loss - down.loss)[0] / (2 * step), rel=1e-4)
        bend = (up.slope - down.slope)[0] @ cost[0] / (2 * step)
        assert hessian[i] == pytest.approx(bend, rel=1e-4)


@pytest.mark.parametrize("fall", [POWER, HEAD_START])
def test_derivatives_by_the_numbers_agree_with_differences(table, fall):
    cells = gather(table)
    law = (truth() if fall is HEAD_START else LawParameters.make(**power())).batched()
    rows = ~np.isnan(cells.loss)
    free = Freedom(curve=True, transfer=True, budget_term=False, rho="shared", rows=rows)
    problem = Problem(cells, np.nan_to_num(cells.loss)[None], law, free, "mse", 2.0, 1.0)
    theta, rho = problem.theta, problem.rho
    columns, by_rho = jacobian(problem, theta, rho, problem.losses(theta, rho))
    for k in range(theta.shape[-1]):
        move = np.zeros_like(theta)
        move[..., k] = 1e-6
        rise = problem.losses(theta + move, rho).loss - problem.losses(theta - move, rho).loss
        want = np.where(problem.moves[:, k], rise / 2e-6, 0.0)
        assert columns[..., k] == pytest.approx(want, rel=1e-5, abs=1e-8), k
    rise = problem.losses(theta, rho + 1e-6).loss - problem.losses(theta, rho - 1e-6).loss
    assert by_rho == pytest.approx(rise / 2e-6, rel=1e-5, abs=1e-8)


def power() -> dict[str, np.ndarray]:
    want = truth()
    names = ("irreducible_loss", "amplitude", "exponent", "transfer", "rho")
    return {name: getattr(want, name) for name in names}


def test_names_are_taken_once():
    with pytest.raises(InputError, match="head-start"):
        register(ROW)
    with pytest.raises(InputError, match="law of voxmix"):
        unregister("transfer")
    with pytest.raises(InputError, match="auto"):
        register(LawForm(name="auto", label="", free=(), strategy="x", preference=9))
    with pytest.raises(InputError, match="kappa"):
        LawForm(name="other", label="", free=("kappa",), strategy="x", preference=9)


def test_every_law_has_a_row_and_one_place_in_the_order():
    rows = [form for form in law_forms() if form.name in LAWS]
    assert [form.name for form in rows] == list(LAWS)
    assert len({form.preference for form in rows}) == len(rows) == len({form.strategy for form in rows})
    with pytest.raises(InputError, match="shared-exponent"):
        law_form("shared-exponents")
