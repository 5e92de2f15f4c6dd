"""Inside a study a verb is for that study; elsewhere the study is missing, which is said with what to do."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix.cli import app


def voxmix(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(("folder", "said"), [(".", "."), ("runs", "..")])
def test_a_verb_is_for_the_study_that_one_is_in(
    finished_study: Path, folder: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_study / folder)
    assert voxmix("status", "--json")[1] == voxmix("status", said, "--json")[1]
    code, out, _ = voxmix("predict", "--budget", "1.6k", "--weights", "ABD-CT=1", "--json")
    assert code == 0
    assert json.loads(out)["budget"] == 1600


@pytest.mark.parametrize(
    "verb", [["status"], ["fit"], ["allocate"], ["path"], ["cache", "list"], ["study", "run"]]
)
def test_elsewhere_it_is_missing(verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, told = voxmix(*verb)
    assert code == 2
    assert out == ""
    assert "voxmix init STUDY" in " ".join(told.replace("│", "").split())


def test_a_new_study_is_never_the_one_that_one_is_in(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished_study)
    code, _, told = voxmix("init", "--phantoms")
    assert code == 2
    assert "Missing argument 'STUDY'" in told


def test_what_is_no_amount_is_named(finished_study: Path) -> None:
    code, _, told = voxmix("predict", str(finished_study), "--budget", "8q", "--weights", "ABD-CT=1")
    assert code == 2
    assert "'8q' is no amount; give a number such as 16000, 16k or 1e5" in " ".join(
        told.replace("│", "").split()
    )
