"""A table of scores that a user writes: read, fitted, and refused in one sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.errors import InputError
from voxmix.scaling import fit_score_laws
from voxmix.scaling.score_rows import read_score_table

HEAD = "objective,start,task,samples,seed,compute,score"


def _table(path: Path, slopes: dict[str, float], *, noise: float = 0.0) -> Path:
    rng = np.random.default_rng(0)
    rows = [HEAD, ",open weights,findings,0,0,1,0.7"]
    for objective, slope in slopes.items():
        for samples in (64, 256, 1024, 4096):
            for seed in range(3):
                error = 0.4 * (samples / 64) ** -slope * np.exp(noise * rng.standard_normal())
                rows.append(f"{objective},scratch,findings,{samples},{seed},1,{1 - error}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_known_slope_and_crossing_come_back(tmp_path: Path) -> None:
    laws = fit_score_laws(
        read_score_table(_table(tmp_path / "t.csv", {"clip": 0.2, "dino": 0.05}, noise=0.01))
    )
    found = {one.objective: one for one in laws.series}
    assert found["clip"].elasticity.value == pytest.approx(0.2, abs=0.02)
    assert found["dino"].elasticity.value == pytest.approx(0.05, abs=0.02)
    crossing = next(one for one in laws.crossings if one.objective == "clip")
    assert crossing.samples.value == pytest.approx(64 * (0.4 / 0.3) ** (1 / 0.2), rel=0.15)


def test_scale_reads_a_table_and_writes_its_laws(tmp_path: Path) -> None:
    table, out = _table(tmp_path / "t.csv", {"clip": 0.2}, noise=0.01), tmp_path / "laws.json"
    done = CliRunner().invoke(app, ["scale", str(table), "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["series"][0]["objective"] == "clip"
    assert json.loads(out.read_text(encoding="utf-8"))["sentences"] == told["sentences"]
    shown = CliRunner().invoke(app, ["scale", str(table)])
    assert "less error per doubling" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("clip,scratch,findings,many,0,1,0.7", "line 2: samples should be a number, got 'many'"),
        ("clip,scratch,findings,64,0,1,", "line 2: score should be a number, got ''"),
        ("clip,scratch,findings,,0,1,0.7", "line 2: samples is missing"),
        ("clip,scratch,findings,1.5,0,1,0.7", "line 2: samples should be a number of images"),
        ("clip,scratch,findings,64,0.5,1,0.7", "line 2: seed should be a whole number, got '0.5'"),
        ("clip,scratch,findings,64,0,0,0.7", "line 2: compute should be above 0"),
        ("clip,scratch,findings,64,0,-1,0.7", "line 2: compute should be above 0"),
        ("clip,scratch,findings,64,0,1,85", "line 2: score 85 is above 1; scores are shares of 1"),
        (",,findings,,0,1,0.7", "line 2: a row without an objective is a reference and needs a name"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_score_table(path)


def test_rows_with_and_without_a_task_are_refused_together(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}\nclip,scratch,findings,64,0,1,0.7\nclip,scratch,,64,0,1,0.7\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3: some rows name their task and some do not"):
        read_score_table(path)
    path.write_text(f"{HEAD},outside\nclip,scratch,findings,64,0,1,0.7,maybe\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: outside should be yes or no"):
        read_score_table(path)


def test_predict_and_plan_take_laws_of_scores(tmp_path: Path) -> None:
    table, out = _table(tmp_path / "t.csv", {"clip": 0.2, "dino": 0.05}, noise=0.01), tmp_path / "scores.json"
    run = CliRunner().invoke
    assert run(app, ["scale", str(table), "-o", str(out)]).exit_code == 0
    done = run(
        app, ["predict", str(out), "--samples", "500", "--samples", "9999", "--objective", "clip", "--json"]
    )
    assert done.exit_code == 0, done.output
    inside, beyond = json.loads(done.stdout)["predicted"]
    assert inside["low"] < 0.4 * (500 / 64) ** -0.2 < inside["high"]
    assert "outside" in beyond["status"]
    (change,), (other,) = inside["changes"], inside["equivalents"]
    assert (change["reference"], other["objective"]) == ("open weights", "dino")
    assert change["low"] < 0.4 * (500 / 64) ** -0.2 / 0.3 - 1 < change["high"]
    told = run(app, ["predict", str(out), "--samples", "500", "--objective", "clip", "--objective", "dino"])
    assert "Change of the error of a reference" in told.output
    _, worth = told.output.split("Samples of another that are worth as much")
    assert "beyond the largest size" in " ".join(worth.split())
    assert "reaches what" not in worth, "its row says whose samples they are"
    done = run(app, ["plan", str(out), "--error", "findings=0.3", "--learned-by", "clip", "--json"])
    (needed,) = json.loads(done.stdout)["needed"]
    assert needed["low"] < 64 * (0.4 / 0.3) ** (1 / 0.2) < needed["high"]
    assert "outside" in run(app, ["predict", str(out), "--samples", "9999"]).output
    for words, told in (
        (["predict", str(out)], "--samples"),
        (["predict", str(out), "--budget", "10"], "no meaning"),
        (["predict", str(out), "--samples", "9", "--task", "no"], "no task"),
        (["predict", str(out), "--samples", "0"], "must be above 0"),
        (["predict", str(out), "--samples", "1" + 20 * "0"], "must be above 0 and below 1e+15"),
        (["scale", str(table), "-o", str(tmp_path)], "is a folder; give the name of a file"),
        (["plan", str(out)], "--error"),
        (["plan", str(out), "--loss", "a=1"], "no meaning"),
        (["plan", str(out), "--error", "findings=7"], "between 0 and 1"),
    ):
        refused = run(app, words)
        assert refused.exit_code == 2
        assert told in refused.output
