"""A study whose finished runs are of other prepared volumes, or of losses that counted padding, says so."""

import json
from pathlib import Path

from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.study import Study

SAID = "are of other prepared volumes, or of a voxmix whose losses counted padding"


def voxmix(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def test_finished_runs_of_an_earlier_loss_are_named_and_kept(finished_study: Path) -> None:
    for verb in ("status", "report"):
        assert SAID not in voxmix(verb, finished_study)[1]
    assert json.loads(voxmix("status", finished_study, "--json")[1])["notes"] == []
    index = finished_study / "cache" / "index.json"
    value = json.loads(index.read_text(encoding="utf-8"))
    value["volumes"][0]["box"] = [[4, 0, 0], [8, 16, 16]]
    index.write_text(json.dumps(value), encoding="utf-8")
    runs = len(list(Study.open(finished_study).runs_dir.glob("*/result.json")))
    for verb in ("status", "report", "fit"):
        code, said = voxmix(verb, finished_study)
        assert (code == 0) == (verb != "fit")
        assert f"{runs} finished run(s) {SAID}" in said
    state = json.loads(voxmix("status", finished_study, "--json")[1])
    assert SAID in state["notes"][0]
    assert state["next"] == f"voxmix run {finished_study}"
