"""A study with vertex runs: what is to run, what is fitted, and what a change of min_weight does."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.law import FittedLaw
from voxmix.study import Study, StudyView, answer_content, fit_laws, runs_left, study_status

Edit = Callable[[str, str], None]


@pytest.fixture
def root(finished_study: Path, edit: Edit) -> Path:
    """The finished study, with vertex runs asked for and not made."""
    edit("vertex_seeds: 0", "vertex_seeds: 1")
    return finished_study


def view_of(root: Path) -> StudyView:
    return StudyView(Study.open(root))


def state(root: Path, name: str) -> tuple[bool, str]:
    (found,) = (item for item in study_status(Study.open(root)) if item.name == name)
    return found.done, found.detail


def status(root: Path) -> dict:
    done = CliRunner().invoke(app, ["status", str(root), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def left(root: Path) -> dict[str, int]:
    return {kind: len(specs) for kind, specs in runs_left(Study.open(root)).items() if specs}


def test_vertex_runs_are_what_is_left_of_a_study_that_asks_for_them(
    root: Path, finish_proxies: Callable[[], int]
) -> None:
    assert state(root, "run") == (False, "12 of 24 proxy runs; left: 12 vertex runs")
    assert left(root)["vertex runs"] == 12
    assert "pure runs" not in left(root)
    assert finish_proxies() == 12
    assert state(root, "run") == (True, "24 of 24 proxy runs")
    assert state(root, "fit") == (False, "to be fitted")


def test_joint_fits_read_vertex_runs_and_the_papers_two_stages_read_pure_runs_alone(
    root: Path, finish_proxies: Callable[[], int]
) -> None:
    finish_proxies()
    view = view_of(root)
    before = {name: FittedLaw.load(view.study.law_path(name)) for name in ("transfer", "naive")}
    assert not view.study.law_path("diversity").exists()
    laws = fit_laws(view)
    assert laws["diversity"].method == "joint"  # vertices are mixtures: variety can be told
    assert (laws["diversity"].quality.weights > 0).all(axis=1).sum() == 12
    for name, old in before.items():
        assert laws[name].method == "two-stage"
        assert laws[name].table_digest != old.table_digest
        for number in ("irreducible_loss", "amplitude", "exponent", "transfer"):
            assert np.array_equal(getattr(laws[name], number), getattr(old, number)), number
    kinds = answer_content(view_of(root)).kinds
    assert sorted(set(kinds.values())) == ["pure runs", "vertex runs"]


def test_without_pure_runs_every_law_is_fitted_jointly(
    root: Path, edit: Edit, finish_proxies: Callable[[], int]
) -> None:
    edit("  seeds: 1\n  vertex_seeds", "  seeds: 0\n  vertex_seeds")
    edit("diversity-aware", "budget-aware, diversity-aware")
    edit("anchor_seeds: 0", "anchor_seeds: 1")
    finish_proxies()
    view = view_of(root)
    assert len(view.proxies) == 16
    assert "budget" not in view.laws_wanted
    assert "budget-aware" not in view.strategies_wanted
    laws = fit_laws(view)
    assert {law.method for law in laws.values()} == {"joint"}
    assert set(laws) >= {"naive", "transfer", "diversity"}
    assert all(law.targets == view.domains for law in laws.values())


def test_a_change_of_min_weight_says_what_runs_again_and_what_is_kept(
    root: Path, edit: Edit, finish_proxies: Callable[[], int]
) -> None:
    finish_proxies()
    fit_laws(view_of(root))
    assert status(root)["notes"] == []
    edit("min_weight: 0.05", "min_weight: 0.02")
    assert state(root, "run") == (False, "12 of 24 proxy runs; left: 12 vertex runs")
    (note,) = status(root)["notes"]
    assert note == (
        "12 finished vertex run(s) of min_weight 0.05 are kept and not fitted, because the study file asks for "
        "min_weight 0.02; to fit them too, set design.min_weight to [0.02, 0.05]; to fit them instead, to 0.05"
    )
    told = CliRunner().invoke(app, ["fit", str(root)])
    assert told.exit_code == 2
    assert "12 of 24 proxy runs are not done (12 finished vertex run(s) of min_weight 0.05" in " ".join(
        told.output.split()
    )


@pytest.mark.parametrize(
    ("own", "runs", "pending"), [("0.05", 24, 0), ("[0.02, 0.05]", 36, 12), ("[0.05, 0.05]", 24, 0)]
)
def test_vertex_runs_of_another_min_weight_are_fitted_where_the_study_file_says_so(
    root: Path, edit: Edit, finish_proxies: Callable[[], int], own: str, runs: int, pending: int
) -> None:
    finish_proxies()
    fit_laws(view_of(root))
    edit("min_weight: 0.05", "min_weight: 0.02")
    edit("min_weight: null", f"min_weight: {own}")
    view = view_of(root)
    assert status(root)["notes"] == []
    assert (len(view.proxies), len(view.study.pending(view.proxies))) == (runs, pending)
    if not pending:  # the same runs, so the same laws
        assert state(root, "fit") == (True, "up to date")
        assert state(root, "allocate") == (False, "to be found")
    else:
        finish_proxies()
        laws = fit_laws(view_of(root))
        assert (laws["diversity"].quality.weights > 0).all(axis=1).sum() == 24


def test_vertices_without_a_min_weight_are_the_pure_runs_that_exist(root: Path, edit: Edit) -> None:
    edit("min_weight: 0.05", "min_weight: 0.0")
    assert state(root, "run") == (True, "12 of 12 proxy runs")
    assert "diversity" not in view_of(root).laws_wanted


def test_damaged_runs_are_no_vertex_runs(root: Path, edit: Edit, finish_proxies: Callable[[], int]) -> None:
    finish_proxies()
    vertices = view_of(root).proxies_by_kind["vertex runs"]
    edit("min_weight: 0.05", "min_weight: 0.02")
    study = Study.open(root)
    (study.run_dir(vertices[0]) / "spec.json").write_text("{", encoding="utf-8")
    (study.run_dir(vertices[1]) / "result.json").unlink()
    assert "10 finished vertex run(s)" in view_of(root).former_vertices_sentence
    edit("batch_size: 4", "batch_size: 2")  # those are other runs altogether
    assert view_of(root).former_vertices_sentence == ""
