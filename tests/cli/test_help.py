"""Help fills the terminal at any width, and shells complete verbs and options."""

import contextlib
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from voxmix.cli import app


def verbs(group: Any, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, command in group.commands.items():
        words = (*before, name)
        found |= verbs(command, words) if hasattr(command, "commands") else {words: command}
    return found


ROOT = typer.main.get_command(app)  # made once: it takes longer than any help
VERBS = verbs(ROOT)


def helped(words: tuple[str, ...]) -> str:
    """Return the help of a verb."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        ROOT.main([*words, "--help"], prog_name="voxmix", standalone_mode=False)
    return told.getvalue()


def paragraphs(text: str) -> list[list[str]]:
    """Return the lines of each paragraph above the tables of options."""
    above = text.split("\n╭")[0]
    return [[line.strip() for line in part.splitlines()] for part in re.split(r"\n\s*\n", above)]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_is_ragged_at_no_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line but a paragraph's last is full: the next word would not have fitted. No word is broken, no line too long."""
    monkeypatch.setenv("COLUMNS", str(width))
    for words, command in VERBS.items():
        told = helped(words)
        assert max(map(len, told.splitlines())) <= width, words
        shown = paragraphs(told)
        for text in (part for part in command.help.split("\n\n") if not part.startswith(" ")):
            (lines,) = [lines for lines in shown if " ".join(lines) == text]
            for line, following in itertools.pairwise(lines):
                assert len(line) + 1 + len(following.split()[0]) > width - 2, (words, line)


def test_no_paragraph_of_help_has_line_breaks() -> None:
    for words, command in VERBS.items():
        parts = command.help.split("\n\n")
        assert all("\n" not in part for part in parts if not part.startswith(" ")), words


def asked(shell: str, typed: list[str]) -> str:
    """Return what the command gives a shell that asks for completions, as its completion script asks."""
    line = " ".join(typed)
    extra = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(typed) - 1), "_VOXMIX_COMPLETE": "complete_bash"},
        "zsh": {"_TYPER_COMPLETE_ARGS": line, "_VOXMIX_COMPLETE": "complete_zsh"},
        "fish": {
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_VOXMIX_COMPLETE": "complete_fish",
        },
    }[shell]
    code = "import sys; sys.argv[0] = 'voxmix'; from voxmix.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **extra}, capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_shell_is_told(shell: str) -> None:
    assert "allocate" in asked(shell, ["voxmix", "al"])
    assert "--min-weight" in asked(shell, ["voxmix", "allocate", "--min"])
    assert "verify" in asked(shell, ["voxmix", "cache", "ver"])


ASK = {
    "bash": """
source {script}
COMP_WORDS=(voxmix {word}); COMP_CWORD=1
_voxmix_completion voxmix
echo "${{COMPREPLY[@]}}"
""",
    "zsh": """
autoload -U compinit; compinit -D; source {script}
_arguments() {{ print -- ${{1//[\\"():]/ }} }}
[[ $_comps[voxmix] == _voxmix_completion ]] || exit 1
words=(voxmix {word}); CURRENT=2; _voxmix_completion
""",
    "fish": "source {script}; complete -C 'voxmix {word}'",
}


@pytest.mark.parametrize("shell", sorted(ASK))
def test_the_script_works_in_the_shell(shell: str, tmp_path: Path) -> None:
    """The script that --show-completion prints is sourced by the real shell, and completes a verb."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed on this machine")
    code = "import sys; sys.argv[0] = 'voxmix'; from voxmix.cli import main; main()"
    env = {**os.environ, "_VOXMIX_COMPLETE": f"source_{shell}"}
    script = tmp_path / "script"
    script.write_text(
        subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
        ).stdout,
        encoding="utf-8",
    )
    assert "voxmix" in script.read_text(encoding="utf-8")
    program = tmp_path / "bin" / "voxmix"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" {program.parent}/start.py "$@"\n', encoding="utf-8"
    )
    (program.parent / "start.py").write_text(
        "import sys; sys.argv[0] = 'voxmix'\nfrom voxmix.cli import main\nmain()\n", encoding="utf-8"
    )
    program.chmod(0o755)
    done = subprocess.run(
        [shell, "-c", ASK[shell].format(script=script, word="alloc")],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "_VOXMIX_COMPLETE": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "allocate" in done.stdout.split(), done.stderr
