"""The table of steps: status, errors, the run of a study and the documents follow it, also where a row is added."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import voxmix
from voxmix._io import digest
from voxmix.cli import app
from voxmix.errors import InputError, StepPendingError, VoxmixWarning
from voxmix.study import Listener, Progress, Step, Study, StudyView, run_step, run_steps, study_status
from voxmix.study.step import steps_table
from voxmix.study.steps import STEPS

ROOT = Path(__file__).resolve().parents[2]


def table_rows(page: Path) -> list[str]:
    return [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `voxmix ")]


def test_the_readme_shows_the_table_of_steps() -> None:
    rows = steps_table(STEPS.of_a_run())[2:]
    assert len(rows) == 6
    assert table_rows(ROOT / "README.md")[: len(rows)] == rows


def test_the_help_of_study_run_names_its_steps_in_order() -> None:
    names = ", ".join(row.name for row in STEPS.of_a_run())
    found = CliRunner().invoke(app, ["study", "run", "--help"], env={"COLUMNS": "200"})
    assert f"in order: {names}." in " ".join(found.output.split())


def test_every_step_names_work_that_exists_and_steps_that_come_before() -> None:
    from importlib import import_module

    rows = STEPS.in_order()
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for place, row in enumerate(rows):
        assert set(row.needs) <= set(names[:place])
        assert isinstance(row.work, str)
        module, _, function = row.work.partition(":")
        assert callable(getattr(import_module(module), function))
        assert callable(getattr(import_module("voxmix.study"), row.name))  # one call per step


def test_an_unknown_step_names_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown step 'alocate'; did you mean 'allocate'"):
        STEPS["alocate"]


def count_row(asked: list[str]) -> Step:
    """A step from outside: writes how many proxy runs there are, once for the same runs."""

    def work(view: StudyView, hear: Listener) -> int:
        asked.append(view.root.name)
        (view.root / "count.txt").write_text(str(len(view.proxies)), encoding="utf-8")
        return len(view.proxies)

    def progress(view: StudyView) -> Progress:
        done = view.is_made("count")
        return Progress(done=done, detail="counted" if done else "to be counted")

    return Step(
        name="count",
        needs=("fit",),
        sentence="counts the proxy runs",
        work=work,
        inputs=lambda view: digest([spec.run_id for spec in view.proxies]),
        progress=progress,
        todo="after fit",
        missing="the proxy runs are not counted",
    )


def test_a_step_added_in_the_table_is_run_shown_and_named(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    STEPS.add("count", count_row(asked))
    try:
        _follow_the_new_row(finished_study, monkeypatch)
    finally:
        STEPS.remove("count")
    assert asked == ["study"]


def _follow_the_new_row(finished_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.open(finished_study)
    before = {state.name: state for state in study_status(study)}
    assert (before["count"].done, before["count"].detail) == (False, "to be counted")
    assert (before["allocate"].done, before["allocate"].detail) == (False, "to be found")
    shown = json.loads(CliRunner().invoke(app, ["status", str(finished_study), "--json"]).stdout)
    assert shown["next"] == f"voxmix study run {finished_study}"

    monkeypatch.setattr("voxmix.study.preparing.prepare_volumes", lambda view, hear: None)  # no volumes here
    outcomes = dict(run_steps(StudyView(study)))
    assert list(outcomes) == ["prepare", "run", "fit", "count", "allocate", "pretrain", "report"]
    assert outcomes["count"] == int((finished_study / "count.txt").read_text(encoding="utf-8")) == 12
    assert all(state.done for state in study_status(study))  # the pipeline has marked it
    assert "| `voxmix study run mystudy` | counts the proxy runs |" in steps_table(STEPS.in_order())


def test_a_step_that_needs_another_says_which_comes_first(finished_study: Path) -> None:
    study = Study.open(finished_study)
    changed = replace(study.config, fit=replace(study.config.fit, max_transfer=0.5))
    view = StudyView(replace(study, config=changed))
    with pytest.raises(StepPendingError, match=r"no law is fitted .*; first: voxmix fit "):
        run_step("allocate", view)
    (study.run_dir(view.proxies[0]) / "result.json").unlink()
    with pytest.raises(StepPendingError, match=r"1 of 12 proxy runs are not done.*; first: voxmix run "):
        voxmix.study.fit(finished_study)


def test_notes_of_a_step_are_warnings_unless_somebody_listens(finished_study: Path) -> None:
    law = finished_study / "laws" / "transfer.json"
    law.write_text("{", encoding="utf-8")
    with pytest.warns(VoxmixWarning, match="fitted again now"):
        voxmix.study.fit(finished_study)
    heard: list[tuple[str, int, int]] = []
    law.unlink()
    with pytest.warns(VoxmixWarning, match="fitted again now"):
        voxmix.study.fit(str(finished_study), progress=lambda *step: heard.append(step))
    assert [step[1:] for step in heard if step[0] == "fitting"] == [(0, 2), (1, 2), (2, 2)]


def test_commands_in_messages_are_verbs_of_the_command_line() -> None:
    from typer.main import get_command

    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    for row in STEPS.in_order():
        words = re.split(r"\s+", row.call("mystudy"))
        assert words[0] == "voxmix"
        assert words[1] in verbs


def test_what_is_good_to_know_is_told_to_who_listens_and_is_no_warning() -> None:
    Listener.calling(None, None).inform("needs up to 1.1 MB more disk space")  # warnings are errors here
    heard: list[str] = []
    Listener.calling(None, heard.append).inform("needs up to 1.1 MB more disk space")
    assert heard == ["needs up to 1.1 MB more disk space"]
