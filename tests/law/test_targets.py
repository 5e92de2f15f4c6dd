"""Targets that are no source: read, fitted up to the scale of their row, predicted, allocated, kept."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix import FittedLaw, MeasurementTable, Mixture, allocate, fit
from voxmix.allocation import path, plan, structure, suggest
from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.law.cells import gather
from voxmix.law.forms import LawParameters, predict
from voxmix.law.reducible import OFFSET, POWER
from voxmix.law.simulate import simulate

BUDGETS = (200, 800, 3200, 12800)
DOMAINS, TARGETS = ("A", "B", "C"), ("A", "B", "C", "CLINIC", "REGISTRY")
RNG = np.random.default_rng(5)
SWARM = [0.05 + 0.85 * w for w in RNG.dirichlet(np.ones(3), size=14)]


def truth(law: str = "transfer", targets: int = 5) -> LawParameters:
    own = np.array([[1.0, 0.3, 0.1], [0.05, 1.0, 0.4], [0.5, 0.02, 1.0]])
    foreign = np.array([[1.0, 0.2], [0.15, 1.0], [0.4, 0.6]])
    offset = law.startswith("offset")
    kept = slice(0, targets) if targets > 3 else slice(0, 3)
    return LawParameters.make(
        irreducible_loss=np.array([0.02, 0.01, 0.03, 0.05, 0.04])[kept],
        amplitude=np.array([1.5, 2.5, 1.0, 2.0, 0.8])[kept],
        exponent=np.array([0.45, 0.6, 0.5, 0.4, 0.55])[kept],
        transfer=np.concatenate([own, foreign], axis=1)[:, kept],
        rho=np.full(5, 0.7 if law.endswith("diversity") else 1.0)[kept],
        fall=OFFSET if offset else POWER,
        formula_numbers={"kappa": np.array([300.0, 500.0, 150.0, 400.0, 200.0])[kept]} if offset else {},
    )


def table(law: str = "transfer", **options) -> MeasurementTable:
    given = {"budgets": BUDGETS, "mixtures": SWARM, "domains": DOMAINS, "targets": TARGETS} | options
    return simulate(truth(law), **given)


def only_mixtures(losses: MeasurementTable) -> MeasurementTable:
    return losses.select(np.asarray(losses.source) < 0)


def test_targets_are_the_domains_in_their_order_then_the_others_as_first_met():
    rows = [
        {"run": run, "seed": 0, "budget": 100, "source": source, "target": target, "loss": 0.5}
        for run, source in (("a", "A"), ("b", "B"))
        for target in ("Z", "B", "Y", "A")
    ]
    losses = MeasurementTable.from_rows(rows, domains=("A", "B", "C"))
    assert losses.targets == ("A", "B", "Z", "Y")
    assert [losses.targets[j] for j in losses.target_index] == list(losses.target)
    cells = gather(losses)
    assert cells.own.tolist() == [0, 1, -1, -1]
    assert cells.loss.shape == (2, 4)
    assert not len(cells.alone(2))


@pytest.mark.parametrize("name", ["abd-ct", "ABD CT", "ABD_CT"])
def test_a_target_that_is_almost_a_domain_is_refused(name):
    row = {"run": "a", "seed": 0, "budget": 100, "source": "ABD-CT", "target": name, "loss": 0.5}
    with pytest.raises(InputError, match=r"row 1, column target: .*no domain, but 'ABD-CT' is"):
        MeasurementTable.from_rows([row])


@pytest.mark.parametrize("loss", ["mse", "relative-huber", "log"])
@pytest.mark.parametrize("law", ["transfer", "diversity", "offset", "offset-diversity"])
@pytest.mark.parametrize("pure", [True, False])
def test_the_whole_row_comes_back_up_to_its_scale(law, loss, pure):
    want = truth(law)
    losses = table(law) if pure else only_mixtures(table(law))
    found = fit(losses, law=law, method="joint", loss=loss)
    assert (found.domains, found.targets) == (DOMAINS, TARGETS)
    assert found.own.tolist() == [0, 1, 2, -1, -1]
    assert found.transfer[:, 3:].max(axis=0) == pytest.approx(1.0)
    assert any(note.startswith("CLINIC and REGISTRY are evaluated and no source") for note in found.notes)
    assert found.transfer[:, :3].diagonal() == pytest.approx(1.0)
    assert found.transfer == pytest.approx(want.transfer, rel=0.1, abs=5e-3)
    far = np.array([[0.7, 0.1, 0.2], [0.05, 0.9, 0.05]])
    assert [found.evaluate(w, 50_000.0) for w in far] == pytest.approx(
        predict(want, far, np.full(2, 50_000.0))[0], rel=0.02
    )


def test_the_scale_changes_no_prediction_whatever_the_unit_of_the_truth():
    """Draws of a target that is no source have no unit of their own: a tenfold row with another A is the same law."""
    one = truth("offset")
    unit = np.array([1.0, 1.0, 1.0, 10.0, 10.0])
    other = replace(
        one,
        transfer=one.transfer * unit,
        amplitude=one.amplitude * unit**one.exponent,
        formula_numbers={"kappa": one.formula_numbers["kappa"] * unit},
    )
    tables = [
        simulate(law, budgets=BUDGETS, mixtures=SWARM, domains=DOMAINS, targets=TARGETS)
        for law in (one, other)
    ]
    assert tables[0].loss == pytest.approx(tables[1].loss, rel=1e-12)
    times, numbers = OFFSET.in_units(unit, other.exponent, other.formula_numbers)
    assert times * other.amplitude == pytest.approx(one.amplitude)
    assert numbers["kappa"] == pytest.approx(one.formula_numbers["kappa"])


def test_budget_laws_fit_them_too():
    want = replace(
        truth(),
        by_share=True,
        amplitude=np.array([0.05, 0.03, 0.06, 0.09, 0.04]),
        budget_amplitude=np.array([0.5, 0.8, 0.4, 0.9, 0.3]),
        budget_exponent=np.array([0.4, 0.5, 0.3, 0.35, 0.45]),
    )
    losses = simulate(want, budgets=BUDGETS, mixtures=SWARM, pure=False, domains=DOMAINS, targets=TARGETS)
    found = fit(losses, law="budget", loss="relative-huber")
    assert found.targets == TARGETS
    assert found.quality.relative_error.max() < 2e-3
    assert found.transfer == pytest.approx(want.transfer, rel=0.2, abs=0.02)
    assert found.transfer[:, 3:].max(axis=0) == pytest.approx(1.0)


def test_a_domain_that_is_never_a_target_is_a_source_only():
    losses = table()
    kept = losses.select(np.array([name not in ("B", "REGISTRY") for name in losses.target]))
    found = fit(kept, law="transfer", method="joint", loss="log")
    assert (found.domains, found.targets) == (DOMAINS, ("A", "C", "CLINIC"))
    assert found.transfer == pytest.approx(truth().transfer[:, [0, 2, 3]], rel=0.1, abs=5e-3)
    assert any("source and no target" in item.message for item in found.status if item.target == "B")


def test_two_stages_and_laws_without_transfer_say_what_to_do():
    with pytest.raises(InputError, match=r"CLINIC and REGISTRY are no source.*method joint"):
        fit(table(), law="transfer")
    with pytest.raises(InputError, match="naive knows no transfer; fit another law"):
        fit(table(), law="naive", method="joint")


def test_noisy_losses_have_intervals_around_the_truth():
    noisy = table(noise=0.01, seeds=2, rng=np.random.default_rng(3))
    found = fit(noisy, law="transfer", method="joint", loss="relative-huber", bootstrap=60)
    low, high = np.moveaxis(found.intervals()["transfer"], -1, 0)
    inside = (low <= truth().transfer + 1e-9) & (high >= truth().transfer - 1e-9)
    assert inside[:, 3:].mean() >= 0.5
    assert np.all(high[:, 3:] <= 1 + 1e-9)
    assert found.predicted_interval(Mixture.uniform(DOMAINS), 5000.0).shape == (5, 2)


@pytest.fixture(scope="module")
def law() -> FittedLaw:
    noisy = table(noise=0.01, seeds=2, rng=np.random.default_rng(3))
    return fit(noisy, law="transfer", method="joint", loss="relative-huber", bootstrap=60)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"target_weights": {"CLINIC": 5.0, "A": 0.0}},
        {"objective": "relative"},
        {"target_weights": {"A": 0.0, "B": 0.0, "C": 0.0, "REGISTRY": 0.0}},
    ],
)
def test_the_mixture_is_the_best_of_a_search_over_the_simplex(law, changed):
    found = allocate(law, budget=20_000, **changed)
    steps = 86
    grid = np.array(
        [
            [0.05 + 0.01 * a, 0.05 + 0.01 * b, 0.05 + 0.01 * (steps - 1 - a - b)]
            for a, b in itertools.product(range(steps), repeat=2)
            if a + b < steps
        ]
    )
    losses = law.evaluate(grid, 20_000.0)
    weights = np.array([changed.get("target_weights", {}).get(name, 1.0) for name in TARGETS])
    if changed.get("objective") == "relative":
        weights = weights / law.evaluate(np.full(3, 1 / 3), 20_000.0)
    best = grid[int((losses @ weights).argmin())]
    assert found.mixture.weights == pytest.approx(best, abs=0.011)
    assert found.gap < 1e-6 * found.objective
    assert found.targets == TARGETS
    assert found.intervals.shape == (3, 2)


def test_every_question_to_the_law_knows_them(law):
    assert structure(law).direct.tolist()[3:] == [0.0, 0.0]
    assert np.isinf(structure(law).amplification[3:]).all()
    assert set(structure(law).roles) == set(DOMAINS)
    wanted = float(law.evaluate(np.full(3, 1 / 3), 8000.0)[3])
    reached = plan(law, loss={"CLINIC": wanted})
    assert reached.budget < 8000 * 1.001
    assert path(law, budgets=[1000.0, 9000.0]).predicted_loss.shape == (2, 5)
    assert len(suggest(law, budget=20_000))
    with pytest.raises(InputError, match="unknown targets"):
        allocate(law, budget=20_000, target_weights={"WARD": 1.0})


def test_json_keeps_them(law, tmp_path):
    law.save(tmp_path / "law.json")
    again = FittedLaw.load(tmp_path / "law.json")
    assert again.targets == TARGETS
    assert again.own.tolist() == law.own.tolist()
    assert again.to_dict() == law.to_dict()
    assert again.evaluate(SWARM[0], 5000.0) == pytest.approx(law.evaluate(SWARM[0], 5000.0), rel=1e-12)


def test_a_csv_keeps_them(tmp_path):
    losses = table()
    losses.to_csv(tmp_path / "runs.csv")
    again = MeasurementTable.read(tmp_path / "runs.csv")
    assert (again.domains, again.targets, again.digest) == (losses.domains, losses.targets, losses.digest)


def test_one_budget_of_mixtures_is_fitted_at_that_budget():
    swarm = simulate(truth(), budgets=[2000], mixtures=SWARM, pure=False, domains=DOMAINS, targets=TARGETS)
    found = fit(swarm, law="transfer", method="joint", loss="log")
    assert found.targets == TARGETS
    assert found.quality.relative_error.max() < 1e-3
    fresh = np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
    assert [found.evaluate(w, 2000.0) for w in fresh] == pytest.approx(
        predict(truth(), fresh, np.full(2, 2000.0))[0], rel=5e-3
    )
    assert {
        i.target for i in found.status if i.parameter == "exponent" and i.state == "not identified"
    } == set(TARGETS)
    assert "one budget of the fitted runs, 2,000" in found.beyond(4000.0)
    assert any("was not measured, so it is a guess" in note for note in allocate(found, budget=4000).notes)
    assert not any("guess" in note for note in allocate(found, budget=2000).notes)
    for law in ("budget", "budget-diversity"):
        with pytest.raises(InputError, match=r"all runs have one budget .*fit transfer or diversity"):
            fit(swarm, law=law)
    with pytest.raises(InputError, match="--method joint"):
        fit(swarm)
    alone = simulate(truth("transfer", 3), budgets=[2000], domains=DOMAINS)
    with pytest.raises(InputError, match="add pure runs at two more budgets"):
        fit(alone, method="joint")


def test_auto_chooses_among_joint_laws():
    swarm = simulate(
        truth("diversity"),
        budgets=[2000],
        mixtures=SWARM[:6],
        pure=False,
        domains=DOMAINS,
        targets=TARGETS,
        noise=0.002,
    )
    found = fit(swarm, law="auto")
    assert found.method == "joint"
    assert {item["method"] for item in found.comparison["candidates"]} == {"joint"}
    assert not any("budget" in item["law"] for item in found.comparison["candidates"])
    assert found.targets == TARGETS


def test_the_commands_take_such_a_table_to_the_end(tmp_path):
    only_mixtures(table(noise=0.005)).to_csv(tmp_path / "swarm.csv")
    cli, file = CliRunner(), str(tmp_path / "law.json")
    refused = cli.invoke(app, ["fit", str(tmp_path / "swarm.csv"), "-o", file])
    assert refused.exit_code == 2
    assert "--method joint" in refused.output
    fitted = cli.invoke(
        app, ["fit", str(tmp_path / "swarm.csv"), "-o", file, "--method", "joint", "--bootstrap", "50"]
    )
    assert fitted.exit_code == 0, fitted.output
    assert "CLINIC" in fitted.output
    assert "method joint" not in fitted.output
    for line in (
        ["predict", file, "--budget", "5000", "--weights", "A=1", "--json"],
        ["allocate", file, "--budget", "5000", "--target-weight", "CLINIC=3", "--json"],
        ["plan", file, "--loss", "CLINIC=0.2", "--json"],
        ["path", file, "--json"],
        ["structure", file, "--json"],
        ["suggest", file, "--budget", "5000", "--json"],
    ):
        done = cli.invoke(app, line)
        assert done.exit_code == 0, (line, done.output)
        said = json.loads(done.stdout)
        if line[0] in ("predict", "allocate", "path"):
            assert "CLINIC" in said["predicted_loss"]
        shown = cli.invoke(app, line[:-1])
        assert shown.exit_code == 0, (line, shown.output)
