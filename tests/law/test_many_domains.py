"""Joint fits of many domains: blocks that are never built give the steps of those that are, and batches take little."""

from dataclasses import replace

import numpy as np
import pytest
from dense_derivatives import jacobian

from voxmix.law import bounded_least_squares, uncertainty
from voxmix.law.bounded_least_squares import refine
from voxmix.law.cells import gather
from voxmix.law.forms import predict
from voxmix.law.joint import solve
from voxmix.law.search_problem import Freedom, Problem
from voxmix.law.simulate import random_law, simulate
from voxmix.law.twostage import FitOptions

BUDGETS = (500, 1000, 2000, 4000)
DOMAINS = 24
JOINT = FitOptions(law="diversity", method="joint", loss="relative-huber")


@pytest.fixture(scope="module")
def cells():
    """Pure runs of many domains, and one mixture."""
    rng = np.random.default_rng(3)
    law = replace(random_law(rng, DOMAINS), rho=np.full(DOMAINS, 0.7))
    uniform = np.full(DOMAINS, 1 / DOMAINS)
    return gather(simulate(law, budgets=BUDGETS, mixtures=[uniform], noise=0.003, rng=rng))


@pytest.fixture(scope="module")
def law(cells):
    return solve(cells, np.nan_to_num(cells.loss)[None], JOINT)[0]


def around(law, cells, draws: int) -> np.ndarray:
    noise = 0.003 * np.random.default_rng(7).standard_normal((draws, *cells.loss.shape))
    return predict(law, cells.weights, cells.budget)[0] * np.exp(noise)


def step_by_whole_matrices(problem, theta, value, slope, slopes, damping, border_at):
    """Return the step by every target's whole normal equations, the shared number's among them."""
    value, slope = problem.rooted(value, slope)
    columns, border = jacobian(problem, theta, problem.rho, problem.losses(theta, problem.rho))
    columns, border = columns * slope[..., None], border * slope
    targets, size = theta.shape[1:]
    rows = np.zeros((value.shape[1] * targets, targets * size + 1))
    for j in range(targets):
        own = slice(j * value.shape[1], (j + 1) * value.shape[1])
        rows[own, j * size : (j + 1) * size] = columns[0, :, j]
        rows[own, -1] = border[0, :, j]
    left = value[0].T.reshape(-1)
    normal, pull = rows.T @ rows, rows.T @ left
    flat, low, high = (a[0].reshape(-1) for a in (theta, problem.low, problem.high))
    moves = problem.moves.reshape(-1)
    pressed = ((flat <= low) & (pull[:-1] > 0)) | ((flat >= high) & (pull[:-1] < 0)) | ~moves
    go = np.append(~pressed, True)
    diagonal = np.diag(normal)[:-1].reshape(targets, size)
    scale = np.maximum(diagonal, 1e-9 * diagonal.max(axis=1, keepdims=True)).reshape(-1)
    normal = normal + np.diag(np.append(scale, normal[-1, -1]) * damping[0, 0])
    found = np.zeros(len(go))
    found[go] = np.linalg.solve(normal[np.ix_(go, go)], -pull[go])
    return found[:-1].reshape(1, targets, size), found[-1]


def test_a_step_is_that_of_the_whole_normal_equations(cells, law, monkeypatch):
    rows = ~np.isnan(cells.loss)
    free = Freedom(curve=True, transfer=True, budget_term=False, rho="shared", rows=rows)
    loss = around(law, cells, 1)
    problem = Problem(cells, loss, law, free, "mse", 2.0, 1.0)
    there = problem.losses(problem.theta, problem.rho)
    slopes = problem.slopes(problem.theta, problem.rho, there)
    value, slope = problem.residual(there.loss)
    given = (
        problem.theta,
        value,
        slope,
        slopes,
        np.full((1, 1), 1e-3),
        problem.border(problem.theta, problem.rho),
    )
    want, shared = step_by_whole_matrices(problem, *given)
    solved = []
    arrow = bounded_least_squares._arrow
    monkeypatch.setattr(bounded_least_squares, "_arrow", lambda *parts: solved.append(1) or arrow(*parts))
    for expected in (1, 0):  # eliminated, then by whole blocks
        solved.clear()
        move, step = bounded_least_squares._step(problem, *given)
        assert len(solved) == expected
        assert step[0] == pytest.approx(np.full(DOMAINS, np.clip(shared, -0.3, 0.3)), rel=1e-6)
        assert move == pytest.approx(want, rel=1e-6, abs=1e-9)
        monkeypatch.setattr(bounded_least_squares._Blocks, "_is_arrow", False)


def test_a_draw_is_fitted_alike_alone_and_in_a_batch(cells, law):
    loss = around(law, cells, 6)
    loss[4] = loss[4] * 1.3  # one that takes other steps
    near = law.take(0)
    together, converged = solve(cells, loss, JOINT, near=near)
    for k in range(len(loss)):
        alone, told = solve(cells, loss[[k]], JOINT, near=near)
        assert told[0] == converged[k]
        for name, array in alone.by_draw().items():
            assert together.by_draw()[name][k] == pytest.approx(array[0], rel=1e-4, abs=1e-6), name


def test_draws_that_rest_are_left_alone(cells, law, monkeypatch):
    """A batch does not go on with all draws until the slowest rests: the losses that are computed are counted."""
    free = Freedom(curve=True, transfer=True, budget_term=False, rho="shared", rows=~np.isnan(cells.loss))
    loss, bounds = around(law, cells, 4), {"kind": "mse", "max_exponent": 2.0, "max_transfer": 1.0}
    start = law.each(lambda array: np.repeat(array, 4, axis=0))
    there = refine(cells, loss, start, free, **bounds).law
    far = np.arange(4)[:, None] == 3
    there = there.changed({"exponent": np.where(far, 0.5 * there.exponent, there.exponent)})
    counted = []
    losses = Problem.losses
    monkeypatch.setattr(
        Problem, "losses", lambda self, theta, rho: counted.append(len(theta)) or losses(self, theta, rho)
    )
    refine(cells, loss, there, free, **bounds)
    assert counted == sorted(counted, reverse=True)
    assert counted[0] == 4
    assert counted[-1] == 1


def test_the_start_of_draws_ends_where_the_longer_one_does_or_better(cells, law):
    loss = around(law, cells, 4)
    near, whole = (solve(cells, loss, JOINT, near=given)[0] for given in (law.take(0), None))

    def misfit(found):
        away = np.abs(predict(found, cells.weights, cells.budget) / loss - 1)
        return np.where(away <= 0.02, away**2, 0.04 * away - 0.0004).sum(axis=(1, 2))

    assert np.all(misfit(near) <= misfit(whole) * (1 + 1e-6))


def test_batches_of_a_bootstrap_are_counted_in_bytes(cells, law, monkeypatch):
    from voxmix.law.noise import Noise

    noise = Noise(relative=np.full(DOMAINS, 0.003), spread=0.003 * np.nan_to_num(cells.loss), common=0.0)
    sizes: list[int] = []

    def solver(cells, loss, options):
        sizes.append(len(loss))
        return law.each(lambda array: np.repeat(array, len(loss), axis=0)), np.ones(len(loss), dtype=bool)

    each = uncertainty.bytes_of_a_draw(cells)
    for room, expected in ((10 * each, [10, 10, 5]), (1, [1] * 25), (1e12, [25])):
        sizes.clear()
        monkeypatch.setattr(uncertainty, "_BYTES", int(room))
        found = uncertainty.resample(
            cells, law.take(0), noise, JOINT, solver, draws=25, seed=0, progress=lambda done, total: None
        )
        assert sizes == expected
        assert found.draws == 25


def test_long_strides_end_where_single_steps_do_and_sooner(monkeypatch):
    """Huber's loss of pairs whose losses all lie far out: single steps creep, to the same end."""
    rng = np.random.default_rng(0)
    truth = random_law(rng, 16, rho=0.7)
    cells = gather(simulate(truth, budgets=BUDGETS, mixtures=[np.full(16, 1 / 16)], rng=rng))
    loss = np.nan_to_num(cells.loss) * np.exp(0.05 * rng.standard_normal((8, *cells.loss.shape)))
    counted, found, begin = [], [], solve(cells, loss, replace(JOINT, loss="mse"))[0]
    free = Freedom(curve=True, transfer=True, budget_term=False, rho="shared", rows=~np.isnan(cells.loss))
    losses = Problem.losses
    monkeypatch.setattr(
        Problem, "losses", lambda self, theta, rho: counted.append(len(theta)) or losses(self, theta, rho)
    )
    for longest in (bounded_least_squares._LONGEST, 1.0):
        monkeypatch.setattr(bounded_least_squares, "_LONGEST", longest)
        before = sum(counted)
        end = refine(
            cells,
            loss,
            begin,
            free,
            kind="relative-huber",
            max_exponent=2.0,
            max_transfer=1.0,
            steps=4000,
        )
        found.append((end.cost.sum(axis=1), sum(counted) - before))
    (long, few), (single, many) = found
    np.testing.assert_allclose(long, single, rtol=1e-6)
    assert few < 0.8 * many
