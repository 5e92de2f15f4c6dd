"""Pilot runs: the budgets they try, the budgets they speak for, and the one line of the study file they change."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.design import RunSpec, StudyDesign
from voxmix.errors import InputError
from voxmix.study import Study, StudyView, write_budgets
from voxmix.study.config import write_config
from voxmix.study.pilot import pilot_budgets, pilot_specs, propose

GRID = (125, 250, 500, 1000, 2000, 4000, 8000)


def test_the_budgets_of_the_design_are_tried_and_some_smaller_and_larger_ones() -> None:
    design = StudyDesign(budgets=(500, 1000, 2000, 4000))
    assert pilot_budgets(design) == (125, 250, 500, 1000, 2000, 4000)
    assert pilot_budgets(design, up_to=1000) == (125, 250, 500, 1000)
    assert pilot_budgets(design, up_to=20_000) == (125, 250, 500, 1000, 2000, 4000, 8000, 16_000, 20_000)
    with pytest.raises(InputError, match="smallest budget"):
        pilot_budgets(design, up_to=400)


def falls(*steps: float, targets: int = 4) -> np.ndarray:
    return np.repeat(np.array(steps)[:, None], targets, axis=1)


@pytest.mark.parametrize(
    ("steps", "budgets"),
    [
        ((0.2, 0.2, 0.2, 0.2, 0.2, 0.2), (500, 1000, 2000, 4000, 8000)),  # cut to a factor of 16
        ((0.0, 0.0, 0.0, 0.1, 0.1, 0.1), (1000, 2000, 4000, 8000)),  # a plateau first
        ((0.2, 0.2, 0.2, 0.2, 0.01, 0.0), (125, 250, 500, 1000, 2000)),  # levels off
        ((0.0, 0.0, 0.1, 0.0, 0.0, 0.0), (500, 1000, 2000)),  # widened to a factor of 4
        ((0.0, 0.0, 0.0, 0.0, 0.0, 0.1), (2000, 4000, 8000)),
        ((0.01, 0.02, 0.0, -0.1, 0.02, 0.01), ()),
        ((0.1, 0.1, 0.0, 0.0, 0.1, 0.1), (2000, 4000, 8000)),  # the larger of two
    ],
)
def test_the_range_where_half_of_the_targets_fall_is_proposed(
    steps: tuple[float, ...], budgets: tuple[int, ...]
) -> None:
    found = propose(GRID, falls(*steps))
    assert found.budgets == budgets
    assert ("may tell more yet" in found.reason) == (steps[-1] > 0.03)


def test_half_of_the_targets_is_enough_and_a_target_that_was_not_measured_has_no_say() -> None:
    mixed = falls(*[0.1] * 6)
    mixed[:, :2] = 0.0
    assert propose(GRID, mixed).budgets
    mixed[:, 2] = 0.0
    assert not propose(GRID, mixed).budgets
    mixed[:, :2] = np.nan
    assert propose(GRID, mixed).budgets


@pytest.fixture
def study(finished_study: Path) -> Study:
    """A prepared study of three domains whose design has anchors."""
    found = Study.open(finished_study)
    design = StudyDesign(budgets=(100, 200, 400, 800), anchor_seeds=2)
    write_config(replace(found.config, design=design), found.path)
    return Study.open(finished_study)


def test_pilot_runs_at_budgets_of_the_design_are_its_anchors(study: Study) -> None:
    view = StudyView(study)
    stages = pilot_specs(view.config, view.domains, cache=view.cache_digest)
    assert [stage[0].budget for stage in stages] == [25, 50, 100, 200, 400, 800]
    anchors = {spec.run_id for spec in view.proxies if spec.mixture.source is None}
    assert {spec.run_id for stage in stages[2:] for spec in stage} == anchors


def test_budgets_that_warm_up_nearly_fills_are_not_tried(study: Study) -> None:
    config = replace(study.config, training=replace(study.config.training, warmup_steps=6))
    stages = pilot_specs(config, ("A", "B"), cache="c")
    assert [stage[0].budget for stage in stages] == [50, 100, 200, 400, 800]


def test_only_the_budgets_are_written(study: Study) -> None:
    before = "# mine\n" + study.path.read_text(encoding="utf-8").replace(
        "budgets: [100, 200, 400, 800]", "budgets: [100, 200, 400, 800] # why"
    )
    study.path.write_text(before, encoding="utf-8")
    write_budgets(study, (200, 400, 800))
    assert study.path.read_text(encoding="utf-8") == before.replace("[100, 200, 400, 800]", "[200, 400, 800]")
    assert Study.open(study.root).config.design.budgets == (200, 400, 800)


def test_a_list_of_one_budget_a_line_is_replaced_too(study: Study) -> None:
    text = study.path.read_text(encoding="utf-8")
    study.path.write_text(
        text.replace("[100, 200, 400, 800]", "\n    - 100\n    - 200\n    - 400\n    - 800"), encoding="utf-8"
    )
    write_budgets(study, (200, 400, 800))
    assert Study.open(study.root).config == replace(
        study.config, design=replace(study.config.design, budgets=(200, 400, 800))
    )


def test_a_file_without_the_line_is_left_alone_and_the_line_is_said(study: Study) -> None:
    text = "\n".join(
        line for line in study.path.read_text(encoding="utf-8").splitlines() if "budgets:" not in line
    )
    study.path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"budgets: \[200, 400\]"):
        write_budgets(study, (200, 400))
    assert study.path.read_text(encoding="utf-8") == text


def finish(study: Study, spec: RunSpec, *, slope: float, more: tuple[str, ...] = ()) -> None:
    """Make a finished run whose losses fall by ``slope`` per doubling, also on ``more`` targets."""
    rng = np.random.default_rng([spec.budget, spec.seed])
    names, targets = spec.mixture.domains, (*spec.mixture.domains, *more)
    losses = 0.05 * spec.budget ** -(slope / np.log(2)) * np.exp(0.002 * rng.standard_normal(len(targets)))
    folder = study.run_dir(spec)
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "kind": "run",
        "format": 1,
        "run_id": spec.run_id,
        "spec": spec.as_dict(),
        "losses": {
            name: {"loss": float(loss), "loss_se": None} for name, loss in zip(targets, losses, strict=True)
        },
        "draws": dict(zip(names, spec.mixture.draws(spec.budget).tolist(), strict=True)),
        "unique_volumes": dict.fromkeys(names, 1),
        "volumes": dict.fromkeys(names, 8),
        "seconds": 0.01 * spec.budget,
    }
    (folder / "result.json").write_text(json.dumps(value), encoding="utf-8")
    (folder / "spec.json").write_text(json.dumps(spec.as_dict()), encoding="utf-8")


def pilot(study: Study, *options: str) -> Any:
    done = CliRunner().invoke(app, ["run", str(study.root), "--pilot", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if "--json" in options else done.stdout


def test_finished_runs_are_read_and_their_budgets_proposed_and_written(study: Study) -> None:
    pytest.importorskip("torch", reason="what the grid costs is counted with the extra 'train'")
    view = StudyView(study)
    for stage in pilot_specs(view.config, view.domains, cache=view.cache_digest):
        for spec in stage:
            finish(study, spec, slope=0.1)
    value = pilot(study, "--json")
    assert value["budgets"] == [25, 50, 100, 200, 400, 800]
    assert value["runs"] == 12
    for steps in value["falls_per_doubling"].values():
        assert steps == pytest.approx([1 - np.exp(-0.1)] * 5, abs=0.02)
    assert {item["verdict"] for item in value["regime"]["targets"]} == {"moves"}
    assert value["proposal"]["budgets"] == [50, 100, 200, 400, 800]
    assert value["cost"]["proposed"]["seconds"] > 0
    assert Study.open(study.root).config == study.config
    assert "wrote them" in pilot(study, "--write")
    assert Study.open(study.root).config.design.budgets == (50, 100, 200, 400, 800)


def test_a_domain_that_is_only_evaluated_is_judged_too(study: Study) -> None:
    pytest.importorskip("torch", reason="what the grid costs is counted with the extra 'train'")
    config = replace(study.config, data=replace(study.config.data, targets=("HN-CT",)))
    write_config(config, study.path)
    view = StudyView(Study.open(study.root))
    for stage in pilot_specs(view.config, view.domains, cache=view.cache_digest):
        for spec in stage:
            finish(study, spec, slope=0.1, more=("HN-CT",))
    value = pilot(study, "--json")
    assert list(value["falls_per_doubling"]) == ["ABD-CT", "BRAIN-T1", "HN-CT"]
    assert value["regime"]["targets"][2]["verdict"] == "moves"


def test_budgets_that_tell_nothing_are_not_proposed(study: Study) -> None:
    pytest.importorskip("torch", reason="what the grid costs is counted with the extra 'train'")
    view = StudyView(study)
    for stage in pilot_specs(view.config, view.domains, cache=view.cache_digest):
        for spec in stage:
            finish(study, spec, slope=0.01)
    text = study.path.read_text(encoding="utf-8")
    assert "try larger budgets" in pilot(study, "--write")
    assert study.path.read_text(encoding="utf-8") == text
    assert pilot(study, "--json")["proposal"]["budgets"] == []


def test_options_of_the_pilot_without_it_are_refused(study: Study) -> None:
    done = CliRunner().invoke(app, ["run", str(study.root), "--minutes", "3", "--write"])
    assert done.exit_code == 2
    assert "--minutes, --write goes with --pilot" in done.output
    done = CliRunner().invoke(app, ["run", str(study.root), "--pilot", "--minutes", "0"])
    assert done.exit_code == 2
    assert "--minutes must be above 0" in done.output
