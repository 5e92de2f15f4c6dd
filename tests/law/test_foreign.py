"""What pure runs of other sources count in joint fits, where mixtures that hold the target were run."""

import numpy as np
import pytest
from dense_derivatives import jacobian

from voxmix import MeasurementTable, fit
from voxmix.errors import InputError
from voxmix.law.forms import LawParameters, predict
from voxmix.law.simulate import random_law, simulate
from voxmix.law.twostage import FOREIGN_WEIGHT

BUDGETS = (500, 1000, 2000, 4000)
UNIFORM = np.full(3, 1 / 3)
VERTICES = [np.where(np.arange(3) == i, 0.9, 0.05) for i in range(3)]
LAWS = ("transfer", "diversity", "offset")


def spoiled(
    *, mixtures=(UNIFORM, *VERTICES), pure=True, factor=1.5
) -> tuple[LawParameters, MeasurementTable]:
    """Return a law, and runs of it in which every foreign pure loss is ``factor`` of what the law says."""
    rng = np.random.default_rng(4)
    law = random_law(rng, 3)
    table = simulate(law, budgets=BUDGETS, mixtures=mixtures, pure=pure, noise=0.003, rng=rng)
    foreign = (table.source >= 0) & (table.source != table.target_index)
    names = ("domains", "run", "target", "weights", "budget", "seed", "loss_se", "volumes")
    loss = np.where(foreign, factor * table.loss, table.loss)
    return law, MeasurementTable(**{name: getattr(table, name) for name in names}, loss=loss)


def alike(first, second) -> bool:
    ours, theirs = first.parameters.by_draw(), second.parameters.by_draw()
    return all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("law", LAWS)
def test_left_out_they_do_not_matter_and_the_less_they_count_the_less_they_harm(law):
    truth, table = spoiled()
    _, clean = spoiled(factor=1.0)
    options = {"law": law, "method": "joint", "loss": "log"}
    left = fit(table, **options, foreign_weight=0.0)
    rows = np.array([UNIFORM, *VERTICES, [0.5, 0.3, 0.2]])
    want = predict(truth, rows, np.full(len(rows), 8000.0))[0]

    def error(weight: float) -> float:
        found = fit(table, **options, foreign_weight=weight)
        return float(np.abs(found.evaluate(rows, 8000.0) / want - 1).mean())

    errors = [error(weight) for weight in (0.0, 0.05, 0.3, 1.0)]
    assert errors[0] < 0.03
    assert errors[0] < errors[2] < errors[3]
    assert errors[1] < errors[3]
    spared = fit(clean, **options, foreign_weight=0.0)
    assert left.evaluate(rows, 8000.0) == pytest.approx(spared.evaluate(rows, 8000.0), rel=1e-3)


def test_a_weight_counts_like_that_share_of_runs():
    """Foreign runs at half weight are like every other run counted twice."""
    from voxmix.law.cells import gather
    from voxmix.law.joint import solve, what_counts
    from voxmix.law.search_problem import Freedom, Problem
    from voxmix.law.twostage import FitOptions

    _, table = spoiled()
    cells, options = (
        gather(table),
        FitOptions(law="transfer", method="joint", loss="relative-huber", foreign_weight=0.5),
    )
    loss = np.nan_to_num(cells.loss)[None]
    weight = what_counts(cells, options)
    foreign = ~cells.mixed[:, None] & (cells.source[:, None] != cells.own)
    assert np.array_equal(weight, np.where(foreign, 0.5, 1.0))
    law = solve(cells, loss, options)[0]
    free = Freedom(
        curve=True, transfer=True, budget_term=False, rho="held", rows=~np.isnan(cells.loss), weight=weight
    )
    problem = Problem(cells, loss, law, free, "relative-huber", 2.0, 1.0)
    there = problem.losses(problem.theta, problem.rho)
    value, slope = problem.residual(there.loss)
    size = np.abs(there.loss / loss - 1)
    huber = np.where(size <= 0.02, size**2, 0.04 * size - 0.0004)
    assert problem.cost(value)[0] == pytest.approx((weight * huber).sum(axis=1)[0])
    columns, _ = jacobian(problem, problem.theta, problem.rho, there)
    value, slope = problem.rooted(value, slope)
    pull = np.einsum("dkj,dkjn->djn", value * slope, columns)
    for number in range(columns.shape[-1]):
        step = np.zeros_like(problem.theta)
        step[..., number] = 1e-6
        up, down = (
            problem.cost(problem.residual(problem.losses(problem.theta + s * step, problem.rho).loss)[0])
            for s in (1, -1)
        )
        seen = np.where(problem.moves[:, number], (up - down) / 4e-6, 0.0)
        assert pull[..., number] == pytest.approx(seen, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("law", ["transfer", "offset"])
def test_tables_of_pure_runs_and_two_stages_count_them_whole(law):
    _, table = spoiled(mixtures=())
    options = {"law": law, "method": "joint", "loss": "log"}
    assert alike(fit(table, **options, foreign_weight=0.0), fit(table, **options, foreign_weight=1.0))
    _, table = spoiled()
    assert alike(
        fit(table, law="diversity", foreign_weight=0.0), fit(table, law="diversity", foreign_weight=1.0)
    )


def test_a_target_that_no_mixture_holds_keeps_them():
    without_third = [np.array([0.5, 0.5, 0.0]), np.array([0.9, 0.1, 0.0]), np.array([0.1, 0.9, 0.0])]
    _, table = spoiled(mixtures=without_third)
    options = {"law": "transfer", "method": "joint", "loss": "log"}
    left, whole = (fit(table, **options, foreign_weight=weight) for weight in (0.0, 1.0))
    assert left.transfer[:, 2] == pytest.approx(whole.transfer[:, 2], rel=1e-5)  # as far as a search goes
    assert not np.allclose(left.transfer[:, :2], whole.transfer[:, :2], rtol=0.05)


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan")])
def test_other_weights_are_refused(weight):
    with pytest.raises(InputError, match="foreign_weight must be from 0"):
        fit(spoiled()[1], foreign_weight=weight)


def test_the_default_is_what_was_chosen_by_held_out_runs():
    _, table = spoiled()
    options = {"law": "diversity", "method": "joint", "loss": "log"}
    assert alike(fit(table, **options), fit(table, **options, foreign_weight=FOREIGN_WEIGHT))
