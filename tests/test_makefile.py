"""``make clean`` removes what make has made, and nothing that a variable names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
MAKE = shutil.which("make")
pytestmark = [
    pytest.mark.skipif(MAKE is None, reason="make is not installed"),
    pytest.mark.skipif(not MAKEFILE.exists(), reason="there is no Makefile beside the tests"),
]


def make(folder: Path, *arguments: str, **variables: str) -> str:
    """Return what make says in a folder with no environment but these variables."""
    assert MAKE is not None
    environment = {"PATH": os.environ["PATH"], **variables}
    command = [MAKE, "-f", str(MAKEFILE), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_clean_leaves_what_variables_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("mine", "mine-light", "mine-pin", "mine-peers"):
        (tmp_path / name).mkdir()
    for variable in ("STUDY", "VENV", "BIN", "MADE"):
        assert str(mine) not in make(tmp_path, "-n", "clean", f"{variable}={mine}")
        assert str(mine) not in make(tmp_path, "-n", "clean", **{variable: str(mine)})
        make(tmp_path, "clean", f"{variable}={mine}")
        make(tmp_path, "-e", "clean", **{variable: str(mine)})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mine",
        "mine-light",
        "mine-peers",
        "mine-pin",
    ]


def test_clean_removes_the_demo_that_make_has_made_and_no_other(tmp_path: Path) -> None:
    own, made = tmp_path / "own" / "demo-study", tmp_path / "made" / "demo-study"
    for study in (own, made):
        study.mkdir(parents=True)
        (study / "study.yaml").touch()
        (study.parent / ".venv").mkdir()
    (made / ".made-by-make").touch()
    for study in (own, made):
        make(study.parent, "clean")
        assert not (study.parent / ".venv").exists()
    assert (own / "study.yaml").exists()
    assert not made.exists()


def test_demo_marks_the_study_that_it_begins_and_leaves_one_that_was_there(tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "voxmix"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nmkdir -p "$2" && touch "$2/study.yaml"\n', encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    own, made = tmp_path / "own", tmp_path / "demo-study"
    own.mkdir()
    for study in (own, made):
        make(tmp_path, "-o", ".venv/.installed", "demo", f"STUDY={study.name}")
        assert (study / "study.yaml").exists()
    assert not (own / ".made-by-make").exists()
    assert (made / ".made-by-make").exists()
