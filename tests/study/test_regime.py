"""Whether data matter is shown by the verbs and the report of a study."""

import json
from pathlib import Path

from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.study import Study, StudyView, report_content


def said(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_fit_status_and_report_say_the_same(finished_study: Path) -> None:
    regime = StudyView(Study.open(finished_study)).regime
    assert regime is not None
    assert [item.curve for item in regime.targets] == ["its pure runs"] * 3
    assert json.loads(said("status", str(finished_study), "--json"))["regime"]["summary"] == regime.summary
    fitted = json.loads(said("fit", str(finished_study), "--json"))
    assert set(fitted) == {"laws", "regime"}
    assert set(fitted["laws"]) == set(StudyView(Study.open(finished_study)).laws)
    assert fitted["regime"]["summary"] == regime.summary
    for verb in ("status", "fit"):
        assert regime.summary in said(verb, str(finished_study))
    content = report_content(Study.open(finished_study))
    assert content.regime is not None
    assert content.regime.sentences == regime.sentences


def test_a_study_without_a_run_says_nothing_of_it(finished_study: Path) -> None:
    for path in (finished_study / "runs").glob("*/result.json"):
        path.unlink()
    assert StudyView(Study.open(finished_study)).regime is None
    assert json.loads(said("status", str(finished_study), "--json"))["regime"] is None


def test_some_finished_runs_are_enough(finished_study: Path) -> None:
    view = StudyView(Study.open(finished_study))
    for spec in view.proxies:
        if spec.budget > 400:
            (view.study.run_dir(spec) / "result.json").unlink()
    regime = StudyView(view.study).regime
    assert regime is not None
    assert {item.budgets for item in regime.targets} == {(100.0, 200.0, 400.0)}
