"""What the documents show works: commands parse, links lead somewhere, make targets exist."""

import ast
import csv
import re
import shlex
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from shown import PAGES, ROOT, cases, shell_lines

from voxmix.errors import VoxmixWarning


@pytest.mark.parametrize(("page", "line"), cases("voxmix"))
def test_shown_commands_parse(page: str, line: str) -> None:
    from typer.main import get_command

    from voxmix.cli import app

    arguments = shlex.split(line.split(" > ")[0], comments=True)[1:]
    command = get_command(app)
    context = command.make_context("voxmix", ["--help"], resilient_parsing=True)
    while hasattr(command, "commands") and arguments and arguments[0] in command.commands:
        command = command.commands[arguments.pop(0)]
    assert not hasattr(command, "commands") or arguments in (["--help"], ["--version"]), (
        f"{page}: no verb in {line!r}"
    )
    command.make_context("voxmix", arguments, parent=context, resilient_parsing="--help" in arguments)


@pytest.mark.parametrize(("page", "line"), cases("make"))
def test_shown_make_targets_exist(page: str, line: str) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
    assert set(wanted) <= set(targets), f"{page}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_local_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_a_heading_lead_to_one(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            there = (page.parent / target if target else page).read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.+)$", there, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, anchor


_GROUPS = tuple(  # of entry points, which are no modules
    f"voxmix.{kind}"
    for kind in (
        "trackers",
        "objectives",
        "backbones",
        "steps",
        "works",
        "laws",
        "strategies",
        "data_sets",
        "networks",
        "engines",
        "table_formats",
        "encoder_steps",
        "encoder_presets",
        "study_kinds",
        "text_scores",
        "probe_heads",
    )
)


_GONE = {"voxmix.store", "voxmix.analysis", "voxmix.law.Comparison", "voxmix.allocation.Path"}
"""Former names, which CHANGELOG.md alone says."""


def test_names_of_modules_are_those_of_today() -> None:
    """What a page calls voxmix.a.b.c is a file of the package, or is defined in one."""
    for page in PAGES:
        for name in set(re.findall(r"`(voxmix\.[a-zA-Z_.]+)`", page.read_text(encoding="utf-8"))):
            told = page.name == "CHANGELOG.md" and name in _GONE
            assert told or name in _GROUPS or _is_there(name), f"{page.name} names {name}"


def _is_there(name: str) -> bool:
    place = ROOT / "src"
    for at, part in enumerate(parts := name.split(".")):
        if (place / part).is_dir():
            place /= part
            continue
        module = place / f"{part}.py"
        rest = parts[at + 1 :] if module.exists() else parts[at:]
        text = (module if module.exists() else place / "__init__.py").read_text(encoding="utf-8")
        return all(re.search(rf"\b{word}\b", text) for word in rest)
    return True


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {
        (index.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#]+\.md)", index.read_text(encoding="utf-8"))
    }
    assert {page for page in ROOT.glob("docs/**/*.md") if page != index} <= listed


def test_the_first_commands_of_the_readme() -> None:
    lines = [line for line in shell_lines(ROOT / "README.md") if line]
    assert lines[:2] == ["make demo", "make test"]


def test_the_page_on_tables_runs_as_it_stands(tmp_path, monkeypatch, capsys) -> None:
    """Every command and the Python of the page, on a table that a known law gives."""
    import numpy as np
    from typer.testing import CliRunner

    from voxmix import FittedLaw
    from voxmix.cli import app
    from voxmix.law.simulate import random_law, simulate

    page = ROOT / "docs/how-to/law-from-a-table.md"
    rng = np.random.default_rng(4)
    truth = random_law(rng, 2)
    names = ("ABD-CT", "HN-PET")
    table = simulate(truth, budgets=(500, 1000, 2000, 4000), seeds=2, noise=0.01, domains=names, rng=rng)
    table = replace(table, volumes=np.tile([300.0, 700.0], (len(table), 1)))
    table.to_csv(tmp_path / "runs.csv")
    swarm = simulate(
        random_law(rng, 3),
        budgets=(500, 1000, 2000),
        mixtures=list(rng.dirichlet(np.ones(3), size=6)),
        pure=False,
        domains=("ABD-CT", "HN-PET", "CH-MR"),
        targets=("ABD-CT", "HN-PET", "CLINIC"),
    )
    swarm.to_csv(tmp_path / "swarm.csv")
    with (tmp_path / "scores.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = [row | {"bpb": row.pop("loss")} for row in table.to_rows()]
        rows = [row | {"auc": 1 - row["bpb"], "dice_percent": 100 - row["bpb"]} for row in rows]
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    judged = [
        {key: row[key] for key in ("run", "seed", "budget")}
        | {key: value for key, value in row.items() if key.startswith("weight:")}
        | {"task": row["target"], "score": 1 - row["loss"]}
        for row in swarm.to_rows()
    ]
    wide: dict[object, dict[str, object]] = {}
    for row in judged:
        own = wide.setdefault(row["run"], {k: v for k, v in row.items() if k not in ("task", "score")})
        own[f"auc_{row['task']}"] = row["score"]
    for name, found in (("downstream.csv", judged), ("by-task.csv", list(wide.values()))):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(found[0]))
            writer.writeheader()
            writer.writerows(found)
    monkeypatch.chdir(tmp_path)
    lines = [line for line in shell_lines(page) if line.startswith("voxmix ") and "mystudy" not in line]
    assert len(lines) >= 10
    for line in lines:
        found = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert found.exit_code == 0, f"{line}: {found.output}"
        assert found.stdout.strip(), line
    allocating, reading = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    last = FittedLaw.load("law.json").bootstrap
    names: dict[str, object] = {}
    exec(compile(reading, str(page), "exec"), names)
    assert last is not None
    np.testing.assert_array_equal(names["draws"], last.transfer)
    exec(compile(allocating, str(page), "exec"), {})
    shown = capsys.readouterr().out
    assert "Allocation(" in shown
    assert float(shown.split()[-1]) < 1e-6


def test_the_page_on_python_shows_every_step_and_what_it_needs() -> None:
    from voxmix.study import STEPS

    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"^\| `voxmix\.study\.(\w+)\(study[^`]*\)` \| ([^|]*?) ?\| ([^|]*) \| `", page, re.MULTILINE
    )
    assert shown == [(row.name, ", ".join(row.needs), row.sentence) for row in STEPS.in_order()]


def test_the_page_on_python_runs_as_it_stands(finished_study, monkeypatch, capsys) -> None:
    """Its code, on a study whose volumes are prepared and whose runs are finished."""
    from voxmix.study import STEPS

    finished_study.rename(finished_study.parent / "mystudy")
    monkeypatch.chdir(finished_study.parent)
    monkeypatch.setattr("voxmix.study.preparing.prepare_volumes", lambda view, hear: None)
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    try:
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(code, "python.md", "exec"), names)
    finally:
        STEPS.remove("count")
    shown = capsys.readouterr().out
    assert "writing the report: 1 of 1" in shown
    assert "report ReportContent" in shown
    assert "report True report.html" in shown
    assert shown.splitlines()[-1] == "12"
    assert (Path("mystudy") / "count.txt").read_text(encoding="utf-8") == "12"


def test_the_table_of_what_can_be_added_names_files_of_today() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`tests/" in line]
    assert len(rows) >= 8
    for path in re.findall(r"`([\w/]+\.py)`", "\n".join(rows)):
        folder = ROOT if path.startswith("tests/") else ROOT / "src" / "voxmix"
        assert (folder / path).is_file(), path


def test_the_page_on_objectives_runs_as_it_stands(capsys) -> None:
    """Its code, and what it prints of subsets; every row of the table of objectives is on the page."""
    from voxmix.objective_rows import OBJECTIVES

    page = (ROOT / "docs/concepts/objectives.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "objectives.md", "exec"), {})
    shown = capsys.readouterr().out
    (told,) = re.findall(r"^```\n\n```\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    assert shown.endswith(told)
    (table,) = re.findall(r"^\| objective \| what has.*?\n\n", page, re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(OBJECTIVES.names())


def test_messages_of_encoder_studies_use_the_words_of_the_notation() -> None:
    """What is raised says image and person; picture, photo, patient and subject are other words for them."""
    rooms = ("images", "texts", "radiographs", "encoders", "objectives/images", "objectives/dino")
    said = [
        (path.name, part.value)
        for room in (*rooms, "objectives/contrastive")
        for path in (ROOT / "src/voxmix" / room).rglob("*.py")
        for raised in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(raised, ast.Raise)
        for part in ast.walk(raised)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    assert len(said) > 200
    assert [each for each in said if re.search(r"\b(picture|photo|patient|subject)s?\b", each[1])] == []


def test_the_tutorial_on_radiographs_runs_as_it_stands(tmp_path, monkeypatch, capsys) -> None:
    """Its code, from made films to the laws of scores and the report."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/tutorials/radiographs.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VoxmixWarning)  # alarms of runs that are far too short
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(code, "radiographs.md", "exec"), names)
    shown = capsys.readouterr().out
    assert "128 images to learn from" in shown
    assert "12 runs" in shown
    assert "clip from scratch (" in shown
    assert "mae from scratch (" in shown
    for name in ("report.html", "scores.csv", "scores.json", "runs.csv"):
        assert (tmp_path / "cxr" / name).is_file(), name


def test_the_page_on_notebooks_runs_as_it_stands(tmp_path, monkeypatch, capsys) -> None:
    """Its code, and its table of plots names every one."""
    import matplotlib.pyplot as plt

    from voxmix import plots

    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    page = (ROOT / "docs/how-to/notebooks.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    try:
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            exec(compile(code, "notebooks.md", "exec"), names)
    finally:
        plt.close("all")
    assert capsys.readouterr().out.startswith("['ABD-CT', 'BRAIN-MR', 'HN-PET']")
    assert (tmp_path / "answer.svg").is_file()
    assert set(re.findall(r"^\| `(\w+)\(", page, re.MULTILINE)) == set(plots.__all__)
