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
        (",,findings,,0,1,0.7", "line 2: a row without an objective is a reference and needs a name"),
    ],
)
def test_a_cell_that_cannot_be_used_is_named(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{HEAD}\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_score_table(path)
