"""The site of the documentation: every page is in it, links hold there, verbs and keys are documented, new pages run."""

import re
import runpy
import shlex
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxmix.errors import VoxmixWarning

ROOT = Path(__file__).resolve().parents[1]
SITE = runpy.run_path(str(ROOT / "docs" / "site_links.py"))
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class _Lenient(yaml.SafeLoader):
    """Reads the site's settings without making the functions that they name."""


_Lenient.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def settings() -> dict[str, Any]:
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Lenient)  # noqa: S506


def leaves(part: Any) -> Iterator[str]:
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from leaves(inner)
    if isinstance(part, str):
        yield part


def commands(page: str) -> list[str]:
    text = "\n".join(FENCED.findall((ROOT / page).read_text(encoding="utf-8")))
    return [line.split("  #")[0] for line in text.splitlines() if line.startswith("voxmix ")]


def run_python(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, page, "exec"), names)
    return names


def test_every_page_is_in_the_navigation_once() -> None:
    listed = list(leaves(settings()["nav"]))
    assert len(listed) == len(set(listed))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert set(listed) == pages | set(SITE["PROJECT"].values()), "name it in mkdocs.yml"


def test_links_of_the_repository_become_links_of_the_site() -> None:
    linked = SITE["with_site_links"]
    text = "[a](../README.md#limits) [b](how-to/training.md) [c](../tests/conftest.py) [`d`](law.md)\n```\n[e](../README.md)\n```\n"
    assert linked(text, "docs/faq.md", "faq.md") == (
        "[a](project/readme.md#limits) [b](how-to/training.md) c (`tests/conftest.py`) [`d`](law.md)\n```\n[e](../README.md)\n```\n"
    )
    assert linked("[x](docs/faq.md) ![y](docs/images/report.png)", "README.md", "project/readme.md") == (
        "[x](../faq.md) ![y](../images/report.png)"
    )


def test_the_site_asks_no_network() -> None:
    told = settings()
    assert told["theme"]["font"] is False
    assert any("iframe-worker" in script for script in told["extra"]["polyfills"])
    assert not [one for one in leaves(told["extra"]) if "//" in one]
    assert (ROOT / "docs" / told["extra"]["polyfills"][0]).is_file()


@pytest.mark.skipif(
    find_spec("material") is None, reason="mkdocs-material is not installed; make docs builds the site"
)
def test_the_site_is_built_with_its_links_checked(tmp_path: Path) -> None:
    import subprocess
    import sys

    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert "https://unpkg.com" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_every_verb_is_shown_outside_the_reference() -> None:
    from typer.main import get_command

    from voxmix.cli import app

    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages if page.parent.name != "reference")
    verbs = [
        f"{name} {inner}" if hasattr(command, "commands") else name
        for name, command in get_command(app).commands.items()
        for inner in getattr(command, "commands", [""])
    ]
    assert len(verbs) > 25
    assert [verb for verb in verbs if f"voxmix {verb}" not in text] == []


def test_every_key_of_a_new_study_is_in_the_reference(tmp_path: Path) -> None:
    from voxmix.study import start_study

    study = start_study(tmp_path / "new", phantoms=True, domains=["ABD-CT", "HN-PET"]).study
    page = (ROOT / "docs/reference/study-file.md").read_text(encoding="utf-8")
    sections = {
        head: set(re.findall(r"^\| `(\w+)`", body, re.MULTILINE))
        for head, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }
    written = yaml.safe_load(study.path.read_text(encoding="utf-8"))
    known = set().union(*sections.values(), *(re.findall(r"\w+", head) for head in sections))
    for key, value in written.items():
        assert key in known, key
        assert set(value if isinstance(value, dict) else ()) <= known, key


def test_the_first_five_minutes_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from voxmix.cli import app

    monkeypatch.chdir(tmp_path)
    run_python("docs/start.md")
    lines = commands("docs/start.md")
    assert [line.split()[1] for line in lines] == ["fit", "allocate", "predict", "plan"]
    for line in lines:
        done = CliRunner().invoke(app, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}: {done.output}"
    assert (tmp_path / "mixture.json").is_file()


def test_the_tutorial_on_phantoms_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("nibabel")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VoxmixWarning)  # runs that are far too short
        names = run_python("docs/tutorials/phantoms.md")
    assert (tmp_path / "small" / "report.html").is_file()
    shown = capsys.readouterr().out
    assert "Mixture(ABD-CT" in shown
    assert "['transfer-aware', 'uniform']" in shown
    assert names["law"].transfer.shape == (3, 3)


READS = ("status", "compare", "report", "estimate", "work")
"""Verbs that a study with every step done answers without volumes."""
ELSEWHERE = {
    "--task ": "a task that the study of the test has not",
    "mystudy/runs": "a run's own folder",
}


def test_shown_commands_on_a_finished_study_run(
    finished_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every page, not on one: what is shown for `mystudy` ends well on a study with every step done."""
    pytest.importorskip("torch")  # estimate trains a little
    from typer.testing import CliRunner

    from voxmix.cli import app

    finished_study.rename(finished_study.parent / "mystudy")
    monkeypatch.chdir(finished_study.parent)
    pages = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("docs/**/*.md"), ROOT / "README.md")]
    lines = {line.split(" > ")[0].strip() for page in sorted(pages) for line in commands(page)}
    wanted = sorted(
        line
        for line in lines
        if re.match(rf"voxmix ({'|'.join(READS)}) mystudy\b|voxmix export mystudy --mixture-for", line)
        and not any(word in line for word in ELSEWHERE)
    )
    assert len(wanted) >= 15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VoxmixWarning)
        for line in wanted:
            done = CliRunner().invoke(app, shlex.split(line)[1:])
            assert done.exit_code == 0, f"{line}: {done.output}"
