"""Scores over mixtures: tables of them are read, the mixture for a score is found again, and set beside that of the losses."""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from voxmix.allocation import Allocation, allocate
from voxmix.allocation.beside import beside
from voxmix.cli import app
from voxmix.cli.response_words import ResponseWords
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law import FittedLaw, forms
from voxmix.law.fit import fit
from voxmix.law.forms import LawParameters
from voxmix.law.simulate import simulate
from voxmix.measurement import MeasurementTable
from voxmix.mixture_scores import read_scores
from voxmix.response import Response

DOMAINS = ("CHEST", "HAND", "SKULL")
TASKS = ("findings", "tubes")
BUDGETS = (500, 2000, 8000)
LOOK_AHEAD = 20_000.0

SCORES = LawParameters.make(
    irreducible_loss=np.array([0.05, 0.04]),
    amplitude=np.array([2.0, 2.5]),
    exponent=np.array([0.4, 0.45]),
    transfer=np.array([[0.2, 0.1], [1.0, 0.6], [0.1, 1.0]]),
    rho=np.ones(2),
)
"""Errors of two tasks, for which hands and skulls are worth most."""
LOSSES = LawParameters.make(
    irreducible_loss=np.array([0.02, 0.02, 0.02]),
    amplitude=np.array([2.0, 0.5, 0.5]),
    exponent=np.array([0.5, 0.5, 0.5]),
    transfer=np.array([[1.0, 0.5, 0.5], [0.02, 1.0, 0.02], [0.02, 0.02, 1.0]]),
    rho=np.ones(3),
)
"""Losses of a proxy, for which chests are worth most."""


def _mixtures(count: int = 9) -> list[np.ndarray]:
    return list(np.random.default_rng(3).dirichlet(np.ones(3), count))


def _errors(noise: float = 0.01) -> MeasurementTable:
    rng = np.random.default_rng(5)
    return simulate(SCORES, budgets=BUDGETS, seeds=2, noise=noise, mixtures=_mixtures(), pure=False, domains=DOMAINS, targets=TASKS, rng=rng)  # fmt: skip


def _rows(table: MeasurementTable, *, by: str = "weight") -> list[dict[str, Any]]:
    """Return a wide table of scores: a row for each run, an AUC for each task."""
    rows: dict[str, dict[str, Any]] = {}
    for i, run in enumerate(table.run):
        row = rows.setdefault(run, {"run": run, "seed": int(table.seed[i])})
        share = dict(zip(DOMAINS, table.weights[i].tolist(), strict=True))
        if by == "weight":
            row |= {"budget": table.budget[i], **{f"weight:{name}": v for name, v in share.items()}}
        else:
            row |= {f"samples:{name}": v * table.budget[i] for name, v in share.items()}
        row[f"auc_{table.target[i]}"] = 1 - table.loss[i]
        row[f"auc_{table.target[i]}_se"] = 0.01
    return list(rows.values())


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _best(law: LawParameters, budget: float, least: float = 0.05) -> tuple[np.ndarray, float]:
    """Return the mixture of least mean error of all on a fine grid, and that error."""
    steps = np.arange(least, 1 - 2 * least + 1e-9, 0.01)
    grid = np.array(
        [(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if 1 - a - b >= least - 1e-9]
    )
    means = forms.predict(law, grid, np.full(len(grid), budget))[0].mean(axis=1)
    return grid[means.argmin()], float(means.min())


def _true_mean(law: LawParameters, weights: np.ndarray, budget: float) -> float:
    return float(forms.predict(law, weights[None], np.array([budget]))[0].mean())


@pytest.fixture(scope="module")
def score_law(tmp_path_factory: pytest.TempPathFactory) -> FittedLaw:
    path = _write(tmp_path_factory.mktemp("scores") / "scores.csv", _rows(_errors()))
    return fit(read_scores(path, ["auc_*"]), method="joint", bootstrap=60)


@pytest.fixture(scope="module")
def loss_law() -> FittedLaw:
    table = simulate(LOSSES, budgets=BUDGETS, seeds=2, noise=0.01, mixtures=_mixtures(), domains=DOMAINS)
    return fit(table, method="joint", bootstrap=60)


def test_the_mixture_for_a_score_is_found_and_is_not_that_of_the_losses(
    score_law: FittedLaw, loss_law: FittedLaw
) -> None:
    found = allocate(score_law, budget=LOOK_AHEAD)
    weights, least = _best(SCORES, LOOK_AHEAD)
    assert np.abs(found.mixture.weights - weights).max() < 0.08
    assert _true_mean(SCORES, found.mixture.weights, LOOK_AHEAD) < 1.01 * least
    assert found.predicted.mean() == pytest.approx(1 - least, abs=0.01)
    other = allocate(loss_law, budget=LOOK_AHEAD)
    compared = beside(score_law, found, other)
    assert compared.difference[0] < -0.2
    assert compared.apart is not None
    assert compared.apart[0]
    lost = _true_mean(SCORES, other.mixture.weights, LOOK_AHEAD) - _true_mean(
        SCORES, found.mixture.weights, LOOK_AHEAD
    )
    assert compared.here - compared.there == pytest.approx(lost, rel=0.25)
    assert "CHEST" in compared.sentences()[0]


def test_beside_takes_domains_in_any_order_and_one_law_agrees_with_itself(score_law: FittedLaw) -> None:
    found = allocate(score_law, budget=LOOK_AHEAD)
    same = beside(score_law, found, found)
    assert not same.difference.any()
    assert same.apart is not None
    assert not same.apart.any()
    assert same.here == pytest.approx(same.there)
    table = _errors()
    turned = fit(table.reorder(DOMAINS[::-1]), method="joint", bootstrap=20)
    straight = fit(table, method="joint", bootstrap=20)
    crossed = beside(straight, allocate(straight, budget=LOOK_AHEAD), allocate(turned, budget=LOOK_AHEAD))
    assert crossed.other.domains == DOMAINS
    assert np.abs(crossed.difference).max() < 0.01
    assert Allocation.from_dict(crossed.other.to_dict()).domains == DOMAINS


def test_samples_of_each_domain_are_shares_and_a_budget(tmp_path: Path, score_law: FittedLaw) -> None:
    rows = _rows(_errors(), by="samples")
    rows.append({**rows[0], "run": "open weights", **{f"samples:{name}": 0 for name in DOMAINS}})
    with pytest.warns(VoxmixWarning, match="1 rows have no samples"):
        table = read_scores(_write(tmp_path / "s.csv", rows), ["auc_*"])
    assert table.response == Response(name="auc", direction="max", unit="samples")
    assert sorted({round(b) for b in table.budget}) == list(BUDGETS)
    assert set(table.loss_se.tolist()) == {0.01}
    law = fit(table, method="joint")
    assert law.exponent == pytest.approx(score_law.exponent, rel=1e-3)
    assert FittedLaw.from_dict(law.to_dict()).response == law.response
    table.to_csv(tmp_path / "again.csv")
    again = read_scores(tmp_path / "again.csv", ["auc"])
    assert again.response == table.response
    assert again.loss == pytest.approx(table.loss)
    assert again.weights == pytest.approx(table.weights, abs=1e-6)
    assert again.loss_se == pytest.approx(table.loss_se)


def test_a_row_for_each_run_and_task(tmp_path: Path) -> None:
    base = {"run": "a", "seed": 1, "budget": 100, "weight:X": 1, "weight:Y": 0}
    rows = [base | {"task": t, "dice": 0.5, "standard_error": 0.1} for t in ("one", "two")]
    table = read_scores(_write(tmp_path / "t.csv", rows), ["dice"])
    assert table.targets == ("one", "two")
    assert table.loss.tolist() == [0.5, 0.5]
    assert table.loss_se.tolist() == [0.1, 0.1]
    named = [base | {"dice:one": 0.5, "dice:two": 0.25}]
    assert read_scores(_write(tmp_path / "n.csv", named), ["dice"]).loss.tolist() == [0.5, 0.75]
    several = [base | {"lung": 50, "heart": 25}]
    found = read_scores(_write(tmp_path / "p.csv", several), ["lung", "heart"], best=100)
    assert (found.targets, found.loss.tolist()) == (("lung", "heart"), [50, 75])
    falling = read_scores(_write(tmp_path / "e.csv", [base | {"wrong": 0.2}]), ["wrong"], direction="min")
    assert falling.loss.tolist() == [0.2]


@pytest.mark.parametrize(
    ("change", "score", "sentence"),
    [
        ({"auc": 1.2}, "auc", "line 2, column auc: 1.2 is no score between 0 and 1; if these are percent"),
        ({"auc": -0.1}, "auc", "-0.1 is no score between 0 and 1"),
        ({"auc": "high"}, "auc", "'high' is not a number"),
        ({"auc": ""}, "auc", "no score in auc"),
        ({}, "dice", "no column of scores 'dice'"),
        ({}, "dice_*", "no column of scores"),
        ({"samples:X": 5}, "auc", "by samples and by weights"),
        ({"task": "t"}, "a*", "names the task of each row"),
        ({"weight:X": 0.7}, "auc", "line 2 on auc: columns weight:*: weights sum to 0.7"),
        ({"budget": 0}, "auc", "expected at least 1"),
    ],
)
def test_what_is_no_table_of_scores_is_one_sentence(
    tmp_path: Path, change: dict[str, Any], score: str, sentence: str
) -> None:
    row = {"run": "a", "seed": 1, "budget": 100, "weight:X": 1, "weight:Y": 0, "auc": 0.7} | change
    with pytest.raises(InputError) as caught:
        read_scores(_write(tmp_path / "t.csv", [row]), [score])
    assert sentence in str(caught.value)


def test_words_of_a_score() -> None:
    said = ResponseWords(response=Response(name="auc", direction="max", unit="samples"), names=("bone loss",))
    assert said("Losses of bone loss fall: the irreducible loss, plan --loss X") == "Errors of bone loss fall: the irreducible error, plan --loss X"  # fmt: skip
    assert said("4,000 volume draws, 1 draw, 5% of the bootstrap draws") == "4,000 samples, 1 sample, 5% of the bootstrap draws"  # fmt: skip
    assert ResponseWords(response=Response())("loss of 3 draws") == "loss of 3 draws"
    kept = {
        "run": "a loss 1",
        "predicted_loss": 0.5,
        "targets": [{"target": "low loss", "sentence": "1 loss fell"}],
    }
    assert said.in_json(kept) == kept | {"targets": [{"target": "low loss", "sentence": "1 error fell"}]}


def _texts(value: Any) -> list[str]:
    """Return every text of JSON-like data, but for keys."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


def _run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_verbs_say_error_and_samples(tmp_path: Path, loss_law: FittedLaw) -> None:
    table = _write(tmp_path / "scores.csv", _rows(_errors(), by="samples"))
    law, proxy = tmp_path / "score-law.json", tmp_path / "law.json"
    loss_law.save(proxy)
    fitted = _run("fit", table, "-o", law, "--score", "auc_*", "--bootstrap", 8)
    assert fitted.exit_code == 0, fitted.output
    assert "irreducible error" in fitted.stdout
    told = fitted.stdout.replace("predicted_loss", "")
    assert "loss" not in told
    assert "draws" not in told.replace("bootstrap draws", "")
    assert "fitted jointly" in fitted.stderr
    found = _run("allocate", law, "--budget", LOOK_AHEAD, "--beside", proxy)
    assert found.exit_code == 0, found.output
    assert "Mixture for 20,000 samples" in found.stdout
    assert "Beside the law transfer of loss at 8,000 draws" in found.stdout
    assert "for the auc" in found.stdout
    assert "counts draws, not samples" in found.stderr
    value = json.loads(_run("allocate", law, "--budget", LOOK_AHEAD, "--beside", proxy, "--json").stdout)
    assert value["response"]["unit"] == "samples"
    assert set(value["beside"]["apart"]) == set(DOMAINS)
    assert value["error"] == "1 - auc"
    assert value["predicted_error"] == value["predicted_loss"] == pytest.approx({t: 1 - v for t, v in value["predicted"].items()})  # fmt: skip
    assert "error" not in value["beside"]["allocation"]
    again = json.loads(_run("fit", table, "--score", "auc_*", "--bootstrap", 4, "--json").stdout)
    assert again["error"] == "1 - auc"
    sentences = [text for text in _texts(again) if " " in text]
    assert any("the law is of the error 1 - auc" in text for text in sentences)
    assert any("the error of every target" in text for text in sentences)
    assert not [
        text for text in sentences if "loss" in text or " draws" in text.replace("bootstrap draws", "")
    ]
    capped = json.loads(_run("allocate", law, "--budget", LOOK_AHEAD, "--volumes", "HAND=2000", "--volumes", "SKULL=20000", "--volumes", "CHEST=20000", "--json").stdout)  # fmt: skip
    assert capped["weights"]["HAND"] <= 0.1 + 1e-6
    for arguments, part in (
        (("allocate", law, "--budget", 100, "--max-epochs", 3), "each image is one sample"),
        (("allocate", law), "the samples to allocate"),
        (("fit", table, "--score", "auc_*", "--response", "auc"), "give one of them"),
        (("fit", table, "--score", "auc_*", "--repetition", "fitted"), "leave --repetition out"),
    ):
        result = _run(*arguments)
        assert result.exit_code == 2
        assert part in " ".join(result.stderr.split())
    for arguments in (("predict", law, "--budget", 5000, "--weights", "HAND=1"), ("plan", law, "--loss", "tubes=0.9"), ("structure", law)):  # fmt: skip
        result = _run(*arguments)
        assert result.exit_code == 0, result.output
        assert " draws" not in result.stdout
