"""Every verb that is done and every error names the command that comes next, and that command exists."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.cli.following import AFTER, following

TOLD_BY_ITSELF = {"status", "export"}
LAW = "LAW"


def verbs() -> dict[str, Any]:
    """Return the functions behind all verbs, by the name of the function."""
    found: dict[str, Any] = {}

    def collect(group: Any, before: tuple[str, ...] = ()) -> None:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                collect(command, (*before, name))
            else:
                found["_".join((*before, name))] = command

    collect(typer.main.get_command(app))
    return found


def voxmix(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def is_verb(command: str) -> bool:
    words = shlex.split(command)
    assert words[0] == "voxmix"
    return words[1] in verbs() or "_".join(words[1:3]) in verbs()


def test_every_verb_has_a_command_after_it() -> None:
    known = set(AFTER) | TOLD_BY_ITSELF
    assert set(AFTER) <= set(verbs())
    assert set(verbs()) - known <= {"work", "doctor", "schema"}


@pytest.mark.parametrize("verb", sorted(AFTER))
@pytest.mark.parametrize("written", [None, Path("new.json")])
def test_the_command_exists(verb: str, written: Path | None) -> None:
    given = {name: Path("some where") for name in ("study", "path", "law", "source", "losses", "cache")}
    command = following(verb, {**given, "sources": [Path("a b")], "out": written, "output": written})
    assert command is None or is_verb(command)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("fit", "STUDY"), "voxmix allocate STUDY"),
        (("report", "STUDY"), "voxmix export STUDY"),
        (("path", "LAW"), "voxmix structure LAW"),
        (("allocate", "LAW", "--budget", "4k"), "voxmix path LAW"),
        (("compare", "STUDY"), "voxmix report STUDY"),
        (("cache", "list", "STUDY"), "voxmix cache verify STUDY"),
        (("plan", "STUDY"), "voxmix plan --help"),
        (("fit", "nothing.csv"), "voxmix fit --help"),
    ],
)
def test_it_is_the_last_line(finished_study: Path, arguments: tuple[str, ...], command: str) -> None:
    def named(text: str) -> str:
        return text.replace("STUDY", str(finished_study)).replace(
            "LAW", str(finished_study / "laws/transfer.json")
        )

    _, _, told = voxmix(*map(named, arguments))
    assert told.splitlines()[-1] == f"next: {named(command)}"


def test_a_report_without_an_answer_leads_on_to_one(tmp_path: Path) -> None:
    assert voxmix("init", tmp_path / "s", "--phantoms")[0] == 0
    code, _, told = voxmix("report", tmp_path / "s")
    assert (code, told.splitlines()[-1]) == (0, f"next: voxmix study run {tmp_path / 's'}")


def test_a_damaged_study_file_is_to_be_edited(tmp_path: Path) -> None:
    assert voxmix("init", tmp_path / "s", "--phantoms")[0] == 0
    path = tmp_path / "s" / "study.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("\ndesign:", "\ndesgin:"), encoding="utf-8")
    for verb in ("status", "run"):
        code, _, told = voxmix(verb, tmp_path / "s")
        assert code == 2
        assert "desgin: unknown key; did you mean 'design'?" in told
        assert told.splitlines()[-1] == f"next: edit {path}, then: voxmix status {tmp_path / 's'}"


def test_a_table_in_place_of_a_law_is_to_be_fitted(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("run,loss\na,1\n", encoding="utf-8")
    for verb in (("allocate", "--budget", "4k"), ("structure",)):
        code, _, told = voxmix(verb[0], tmp_path / "runs.csv", *verb[1:])
        assert code == 2
        assert f"voxmix fit {tmp_path / 'runs.csv'} -o law.json" in told


def test_json_says_nothing_more(finished_study: Path) -> None:
    assert "next:" not in voxmix("structure", finished_study, "--json")[2]
