"""Every table of losses of the shared case 20: right, or named, or refused in words; never a traceback."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app

pytestmark = pytest.mark.shared

TAU = np.array([[1, 0.3, 0.1], [0.5, 1, 0.2], [0.15, 0.4, 1.0]])

REFUSED = {
    "nan": r"row 4, column loss: empty.*\(8, 12\).*diverged",
    "onebudget": "all runs have one budget",
    "mixonly": "no domain was trained alone",
    "percentw": "divide them by 100",
    "unicode": r"'Übersicht/MR' holds \['/'\]",
    "wide": "voxmix table",
}

NAMED = {
    "good": "",
    "decimal": "",
    "epochs": "",
    "floatbudget": "",
    "huge": "",
    "irregular": "",
    "percent": "",
    "renamed": "",
    "tiny": "",
    "unbalanced": "",
    "missing": "no pure run of CT was measured on PET",
    "sumoff": "96 of 96 rows do not sum to 1",
    "constantcol": "no run was trained on any US",
    "outlier": r"run r14 \(seed 1, 2,000 draws of PET\) on MR: 2\.03 where about 0\.04\d* was expected",
    "zero": r"run r2 \(seed 1, 1,000 draws of CT\) on PET: a loss of exactly 0",
    "seeds": "",
    "twobudgets": "held at 0",
    "rising": "losses of MR rise",
    "flat": "losses of MR do not fall",
    "accuracy": "as scores do",
    "perfect": "fall faster than any exponent up to 2",
    "floor": "not identified|the pure runs leave the",
    "tokens": "not identified|the pure runs leave the",
}
"""What the words of fit hold. Tables of a clean law are held to the truth as well."""

RIGHT = ("good", "decimal", "floatbudget", "huge", "irregular", "missing", "outlier", "percent", "renamed", "sumoff",
         "tiny", "unbalanced", "zero")  # fmt: skip


def call(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.stderr + done.stdout


@pytest.fixture(scope="module")
def tables(write_case: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case("case20", tmp_path_factory.mktemp("case20"))


def test_every_table_has_a_verdict(tables: Path) -> None:
    assert {path.stem for path in tables.glob("*.csv")} == {*REFUSED, *NAMED}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(tables: Path, name: str) -> None:
    code, words = call("fit", str(tables / f"{name}.csv"), "--bootstrap", "0")
    assert code == 2
    assert re.search(REFUSED[name], words.replace("\n", " ")), words


@pytest.mark.parametrize("name", NAMED)
def test_fitted_and_what_is_odd_is_named(tables: Path, name: str) -> None:
    path = tables / f"{name}.json"
    code, words = call("fit", str(tables / f"{name}.csv"), "-o", str(path), "--bootstrap", "40")
    assert code == 0, words
    assert re.search(NAMED[name], words), words
    law = json.loads(path.read_text(encoding="utf-8"))
    named = law["domains"][:3]
    if name in RIGHT:
        for i, source in enumerate(named):
            for j, target in enumerate(named):
                if (name, source, target) != ("missing", "CT", "PET"):
                    assert law["transfer"][source][target] == pytest.approx(
                        TAU[i, j], rel=0.4
                    )  # floatbudget: three budgets
        assert "set aside" in words if name in ("outlier", "zero") else "set aside" not in words
    budget = str(int(2 * law["budget_range"][1]))
    code, words = call("allocate", str(path), "--budget", budget)
    assert code == 0, words
    assert "2.0 times outside" in words
    if name == "constantcol":
        assert "no run was trained on any US" in words
    if name in ("accuracy", "rising", "flat"):
        assert "do not fall in the runs of the fit" in words
    shares = ("--weights", f"{named[0]}=0.5", "--weights", f"{named[1]}=0.5")
    assert call("predict", str(path), "--budget", budget, *shares)[0] == 0
    best = min(row[0] for row in law["fit"]["cells"]["observed"] if row[0] is not None)
    for share in (0.99, 0.9, 0.5, 0.1):
        code, words = call("plan", str(path), "--loss", f"{named[0]}={best * share}", "--json")
        assert code in (0, 2), words
        if code == 0:
            assert json.loads(words[words.index("{") :])["budget"] <= 1000 * law["budget_range"][1]


def test_with_the_diverged_run_mixtures_are_those_without_it(tables: Path) -> None:
    found = {}
    for name in ("good", "outlier"):
        path = tables / f"{name}-law.json"
        assert call("fit", str(tables / f"{name}.csv"), "-o", str(path), "--bootstrap", "0")[0] == 0
        code, words = call("allocate", str(path), "--budget", "16000", "--json")
        assert code == 0
        found[name] = list(json.loads(words[words.index("{") :])["weights"].values())
    assert found["outlier"] == pytest.approx(found["good"], abs=0.08)  # two worlds of different noise
