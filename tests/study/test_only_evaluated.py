"""Domains that a study only evaluates (data.targets): prepared and measured, in no mixture and no pure run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.study import (
    Study,
    StudyView,
    allocate_strategies,
    fit_laws,
    make_report,
    study_domains,
    study_problems,
)

SOURCES, TARGET = ("ABD-CT", "BRAIN-T1"), "HN-CT"


@pytest.fixture
def study(finished_study: Path, edit: Callable[[str, str], None], finish_proxies: Callable[[], int]) -> Path:
    edit("targets: []", f"targets: [{TARGET}]")
    edit("anchor_seeds: 0", "anchor_seeds: 1")
    edit("target_weights: {}", f"target_weights: {{{TARGET}: 3}}")
    assert finish_proxies() > 0
    return finished_study


def test_it_is_in_no_mixture_and_in_every_measurement(study: Path):
    opened = Study.open(study)
    view = StudyView(opened)
    assert view.domains == SOURCES == study_domains(view)
    assert view.targets == (*SOURCES, TARGET)
    assert set(view.counts) == set(SOURCES)
    assert {spec.mixture.domains for spec in view.proxies} == {SOURCES}
    assert view.table.domains == SOURCES
    assert view.table.targets == (*SOURCES, TARGET)
    assert not study_problems(opened)


def test_whether_it_moves_is_judged_too(study: Path):
    regime = StudyView(Study.open(study)).regime
    assert regime is not None
    assert [item.target for item in regime.targets] == [*SOURCES, TARGET]
    assert regime[SOURCES[0]].curve == "the uniform mixture"
    assert regime[TARGET].curve == "the uniform mixture"  # none trains on it: the most even one


def test_volumes_stay_as_they_were_prepared(study: Path):
    view = StudyView(Study.open(study))
    assert view.is_made("prepare")


def test_joint_laws_know_it_and_two_stages_say_that_they_do_not(study: Path):
    view = StudyView(Study.open(study))
    laws = fit_laws(view)
    assert laws["diversity"].targets == (*SOURCES, TARGET)
    assert laws["diversity"].own.tolist() == [0, 1, -1]
    for name in ("transfer", "naive"):
        assert laws[name].targets == SOURCES
        assert any(f"says nothing of {TARGET}" in note for note in laws[name].notes)
    found = allocate_strategies(view.after("fit"))
    assert found["diversity-aware"].targets == (*SOURCES, TARGET)
    assert found["diversity-aware"].mixture.domains == SOURCES
    assert found["transfer-aware"].targets == SOURCES
    content = make_report(view.after("allocate"))
    assert content.target_names == (*SOURCES, TARGET)
    assert f"to {TARGET}" in (study / "report.html").read_text(encoding="utf-8")


def test_the_commands_know_it(study: Path):
    cli = CliRunner()
    assert cli.invoke(app, ["fit", str(study)]).exit_code == 0
    for words in (
        ["predict", str(study), "--law", "diversity", "--budget", "800", "--weights", "ABD-CT=1"],
        ["allocate", str(study), "--target-weight", f"{TARGET}=9"],
        ["path", str(study), "--law", "diversity"],
        ["plan", str(study), "--law", "diversity", "--loss", f"{TARGET}=0.2"],
        ["structure", str(study), "--law", "diversity"],
    ):
        done = cli.invoke(app, [*words, "--json"])
        assert done.exit_code == 0, (words, done.output)
        assert TARGET in done.stdout
    status = cli.invoke(app, ["status", str(study), "--json"])
    assert status.exit_code == 0, status.output
    assert json.loads(status.stdout)["next"] is not None


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("[HNCT]", "data.targets names the unknown domain 'HNCT'"),
        ("[HN-CT, BRAIN-T1]", "only one domain (ABD-CT) besides those of data.targets"),
    ],
)
def test_what_cannot_be_is_named(
    finished_study: Path, edit: Callable[[str, str], None], targets: str, words: str
):
    edit("targets: []", f"targets: {targets}")
    assert any(words in line for line in study_problems(Study.open(finished_study)))


def test_a_mixture_cannot_hold_it(finished_study: Path, edit: Callable[[str, str], None]):
    edit("targets: []", f"targets: [{TARGET}]")
    edit("max_weight: {}", f"max_weight: {{{TARGET}: 0.4}}")
    problems = study_problems(Study.open(finished_study))
    assert any(f"allocation.max_weight names the unknown domain '{TARGET}'" in line for line in problems)
