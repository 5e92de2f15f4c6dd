"""The command line starts at once, explains itself, and turns mistakes into sentences."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from voxmix import __version__
from voxmix.cli import app


def _verbs(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every verb of the command line by its words."""
    for name, found in command.commands.items():
        if hasattr(found, "commands"):
            yield from _verbs(found, (*before, name))
        else:
            yield (*before, name)


VERBS = tuple(_verbs(typer.main.get_command(app)))


def voxmix(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voxmix", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, timeout=120, check=False
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['voxmix', '--help']\n"
        "from voxmix.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'monai', 'scipy', 'pandas', 'numpy', 'matplotlib', 'pydantic', 'nibabel'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    for verb in VERBS:
        assert f" {verb[0]} " in done.stdout


def test_help_answers_in_half_a_second() -> None:
    """By the processor's time, which other work on the machine does not lengthen as it does the wall clock's."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert voxmix("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_all_verbs_are_found() -> None:
    assert {("fit",), ("finetune",), ("compare",), ("study", "run"), ("cache", "prune")} < set(VERBS)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself(verb: tuple[str, ...]) -> None:
    done = voxmix(*verb, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout


def test_the_version_is_said() -> None:
    assert voxmix("--version").stdout.startswith(f"voxmix {__version__}")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "nowhere"), "nowhere is not a study"),
        (("run", "nowhere"), "voxmix init"),
        (("init", "s"), "give either --data DIR"),
        (("init", "s", "--phantoms", "--preset", "huge"), "unknown preset 'huge'"),
        (("init", "s", "--phantoms", "--domain", "KNEE-MR"), "KNEE-MR"),
        (("init", "s", "--phantoms", "--domain", "ABD-CT"), "two or more domains"),
        (("init", "s", "--data", "missing"), "no such file"),
        (("init", "s", "--phantoms", "--data", "."), "give either"),
    ],
)
def test_mistakes_give_one_sentence_and_exit_2(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    done = voxmix(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_edited_study_file_is_checked(tmp_path: Path) -> None:
    assert voxmix("init", "s", "--phantoms", cwd=tmp_path).returncode == 0
    path = tmp_path / "s" / "study.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("\n  budget: ", "\n  budgt: ", 1), encoding="utf-8"
    )
    done = voxmix("status", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "budgt: unknown key; did you mean 'budget'?" in done.stderr
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace("budgt: ", "budget: ")
        .replace("spacing_mm: ", "spacng_mm: "),
        encoding="utf-8",
    )
    done = voxmix("prepare", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "spacng_mm: unknown key; did you mean 'spacing_mm'?" in done.stderr
