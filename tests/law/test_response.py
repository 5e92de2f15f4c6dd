"""Responses: other columns than loss, and scores of which more is better."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix import FittedLaw, MeasurementTable, Mixture, allocate, fit
from voxmix.allocation import Allocation, plan
from voxmix.cli import app
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law.simulate import random_law, simulate
from voxmix.response import LOSS, Response

BUDGETS = (200, 800, 3200, 12800)
DOMAINS = ("A", "B", "C")
MIXTURES = [np.full(3, 1 / 3), np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])]


@pytest.fixture(scope="module")
def losses() -> MeasurementTable:
    law = random_law(np.random.default_rng(2), 3)
    return simulate(law, budgets=BUDGETS, mixtures=MIXTURES, domains=DOMAINS, noise=0.002, seeds=2)


def as_scores(table: MeasurementTable, best: float = 1.0, column: str = "auc") -> list[dict]:
    rows = table.to_rows()
    for row in rows:
        row[column] = best - row.pop("loss")
    return rows


def written(rows: list[dict], path) -> str:
    names = list(rows[0])
    lines = [",".join(names)] + [
        ",".join("" if row[n] is None else str(row[n]) for n in names) for row in rows
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("best", [1.0, 100.0])
@pytest.mark.parametrize("options", [{}, {"law": "diversity", "method": "joint", "loss": "relative-huber"}])
def test_a_law_of_scores_is_the_law_of_best_less_the_score(losses, best, options):
    table = MeasurementTable.from_rows(as_scores(losses, best), response="auc", direction="max", best=best)
    assert table.loss == pytest.approx(losses.loss, rel=1e-9)
    ours, theirs = fit(table, bootstrap=20, **options), fit(losses, bootstrap=20, **options)
    assert ours.transfer == pytest.approx(theirs.transfer, rel=1e-3, abs=1e-6)
    mixture = Mixture.uniform(DOMAINS)
    assert ours.predict(mixture, 5000.0) == pytest.approx(best - theirs.predict(mixture, 5000.0), rel=1e-6)
    low, high = ours.predicted_interval(mixture, 5000.0).T
    below, above = theirs.predicted_interval(mixture, 5000.0).T
    assert low == pytest.approx(best - above, rel=1e-4)
    assert high == pytest.approx(best - below, rel=1e-4)
    mine, other = allocate(ours, budget=9000), allocate(theirs, budget=9000)
    assert mine.mixture.weights == pytest.approx(other.mixture.weights, abs=1e-3)
    assert mine.predicted == pytest.approx(best - other.predicted_loss, rel=1e-6)
    assert mine.said(mine.objective).startswith("mean auc")
    assert other.said(other.objective).startswith("mean loss")
    assert any(f"the loss {best:g} - auc" in note for note in ours.notes)


def test_direction_may_be_given_to_fit(losses):
    scores = MeasurementTable.from_rows(as_scores(losses, column="loss"))
    ours = fit(scores, direction="max")
    assert ours.response == Response(direction="max")
    assert ours.response.label == "score"
    assert ours.irreducible_loss == pytest.approx(fit(losses).irreducible_loss, rel=1e-6)
    read = MeasurementTable.from_rows(as_scores(losses), response="auc", direction="max")
    assert fit(read, direction="max").response.name == "auc"
    with pytest.raises(InputError, match="read with direction max"):
        fit(read, direction="min")
    with pytest.raises(InputError, match="direction must be min"):
        fit(losses, direction="up")
    with pytest.raises(InputError, match="best is for responses"):
        fit(losses, best=100.0)


def test_another_column_of_losses_is_read_by_its_name(losses):
    rows = losses.to_rows()
    for k, row in enumerate(rows):
        row["BPB"] = row["loss"]
        row["loss"] = 5.0 + k
    table = MeasurementTable.from_rows(rows, response="bpb")
    assert table.loss == pytest.approx(losses.loss)
    assert fit(table).response == Response(name="bpb")
    with pytest.raises(InputError, match=r"column 'auc' is missing \(needed: .*'auc'"):
        MeasurementTable.from_rows(rows, response="auc")
    with pytest.raises(InputError, match="is no response"):
        MeasurementTable.from_rows(rows, response="budget")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.01, r"row 3, column auc: got 1.01, above the best that is possible, 1; .*\(--best 100\)"),
        (float("inf"), "row 3, column auc: got inf"),
        ("high", "row 3, column auc: 'high' is not a number"),
        (None, "row 3, column auc: empty"),
    ],
)
def test_scores_that_cannot_be_are_named(losses, value, words):
    rows = as_scores(losses)
    rows[2]["auc"] = value
    with pytest.raises(InputError, match=words):
        MeasurementTable.from_rows(rows, response="auc", direction="max")


def test_scores_below_zero_are_possible_and_losses_are_not(losses):
    rows = as_scores(losses)
    rows[0]["auc"] = -0.2
    assert MeasurementTable.from_rows(rows, response="auc", direction="max").loss[0] == pytest.approx(1.2)
    with pytest.raises(InputError, match=r"column auc: got -0.2, expected a finite number of at least 0"):
        MeasurementTable.from_rows(rows, response="auc")


def test_a_diverged_run_is_named_by_its_score(losses):
    rows = as_scores(losses)
    next(row for row in rows if row["budget"] == 800)["auc"] = -5.0
    table = MeasurementTable.from_rows(rows, response="auc", direction="max")
    with pytest.warns(VoxmixWarning, match=r"1 value of auc .*-5 where about 0\.\d+ was expected"):
        fit(table)


def test_a_table_with_the_wrong_direction_is_named(losses):
    told = fit(MeasurementTable.from_rows(as_scores(losses, column="loss"))).notes
    assert any("--direction max" in note for note in told)
    table = MeasurementTable.from_rows(losses.to_rows(), direction="max")
    assert any("leave direction max" in note for note in fit(table).notes)


def test_csv_and_json_keep_the_response_and_old_laws_are_of_losses(losses, tmp_path):
    table = MeasurementTable.from_rows(as_scores(losses), response="auc", direction="max")
    table.to_csv(tmp_path / "runs.csv")
    again = MeasurementTable.read(tmp_path / "runs.csv", response="auc", direction="max")
    assert again.loss == pytest.approx(table.loss, rel=1e-12)
    assert again.digest != losses.digest
    assert table.select(table.budget > 500).response == table.response
    assert table.reorder(("C", "A", "B")).response == table.response
    assert MeasurementTable.concatenate(
        [table.select(table.budget > 500), table.select(table.budget < 500)]
    ).response
    with pytest.raises(InputError, match="different responses"):
        MeasurementTable.concatenate([table, losses])
    law = fit(table)
    law.save(tmp_path / "law.json")
    assert FittedLaw.load(tmp_path / "law.json").response == table.response
    value = law.to_dict()
    del value["response"]
    assert FittedLaw.from_dict(value).response == LOSS
    found = allocate(law, budget=4000)
    found.save(tmp_path / "allocation.json")
    assert Allocation.load(tmp_path / "allocation.json").response == table.response
    assert found.to_dict()["predicted"]["A"] == pytest.approx(1 - found.to_dict()["predicted_loss"]["A"])
    assert "predicted" not in allocate(fit(losses), budget=4000).to_dict()


def test_a_plan_is_asked_for_in_scores(losses):
    law = fit(MeasurementTable.from_rows(as_scores(losses), response="auc", direction="max"))
    wanted = float(law.predict(Mixture.uniform(DOMAINS), 5000.0)[1])
    assert plan(law, loss={"B": wanted}).budget < 5000 * 1.001
    with pytest.raises(InputError, match=r"auc 0.9999 of B is not below"):
        plan(law, loss={"B": 0.9999})


def test_the_commands_speak_of_scores(losses, tmp_path):
    runs, file = written(as_scores(losses), tmp_path / "runs.csv"), str(tmp_path / "law.json")
    cli = CliRunner()
    refused = cli.invoke(app, ["fit", runs, "-o", file])
    assert refused.exit_code == 2
    assert "loss" in refused.output
    fitted = cli.invoke(
        app, ["fit", runs, "-o", file, "--response", "auc", "--direction", "max", "--bootstrap", "0"]
    )
    assert fitted.exit_code == 0, fitted.output
    assert "1 - auc" in fitted.output
    weights = ["--weights", "A=0.5", "--weights", "B=0.5"]
    shown = cli.invoke(app, ["predict", file, "--budget", "5000", *weights])
    assert "Predicted auc at 5,000 draws" in shown.output
    said = json.loads(cli.invoke(app, ["predict", file, "--budget", "5000", *weights, "--json"]).stdout)
    assert said["response"] == {"name": "auc", "direction": "max", "best": 1.0}
    assert said["predicted"]["A"] == pytest.approx(1 - said["predicted_loss"]["A"])
    assert said["mean"] == pytest.approx(np.mean(list(said["predicted"].values())))
    allocated = cli.invoke(app, ["allocate", file, "--budget", "5000"]).output
    assert "predicted mean auc 0.9" in allocated
    assert "an error is 1 - auc" in " ".join(allocated.split())
    reached = cli.invoke(app, ["plan", file, "--loss", "A=0.95"])
    assert "Values of auc" in reached.output
    assert "1 - auc" in cli.invoke(app, ["path", file, "--budget", "1000", "--budget", "2000"]).output
