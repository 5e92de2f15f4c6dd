"""A law and strategies that are one row each go through every step of a study that needs no training."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from voxmix import Mixture, allocate
from voxmix.allocation import Strategy, register_strategy, unregister_strategy
from voxmix.allocation.strategies import finetuned_strategies
from voxmix.cli import app
from voxmix.law import LAWS, Formula, FormulaNumber, LawForm, register, unregister
from voxmix.study import Study, StudyView

ASKED = ("uniform", "temperature-2", "single-HN-CT", "head-start-aware", "half", "shared-exponent")


@pytest.fixture
def rows() -> Iterator[None]:
    """The law h = (start + n)**-beta, and a strategy between uniform and the paper's law."""
    formula = Formula(
        value=lambda n, beta, start: (start + n) ** -beta,
        by_reach=lambda n, beta, start: (
            -beta * (start + n) ** (-beta - 1),
            beta * (beta + 1) * (start + n) ** (-beta - 2),
        ),
        by_number=lambda n, beta, start: {
            "exponent": -np.log(start + n) * (start + n) ** -beta,
            "start": -beta * (start + n) ** (-beta - 1),
        },
        numbers=(FormulaNumber(name="start", low=1e-3, high=1e2, starts=(0.1,), in_draws=True),),
    )
    free = ("irreducible_loss", "amplitude", "exponent", "transfer")
    law = LawForm(
        name="head-start", label="", free=free, fall=formula, strategy="head-start-aware", preference=9
    )
    half = Strategy(
        name="half",
        label="",
        law="transfer",
        mixture=lambda now: Mixture(
            domains=now.domains, weights=(allocate(now.law, now.settings).mixture.weights + 1 / 3) / 2
        ),
    )
    register(law)
    register_strategy(half)
    yield
    unregister(law.name)
    unregister_strategy(half.name)


def voxmix(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def asked_for(study: Path, strategies: tuple[str, ...]) -> None:
    values = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    values["allocation"]["strategies"] = list(strategies)
    (study / "study.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def test_a_study_fits_allocates_and_reports_them(finished_study: Path, rows: None) -> None:
    asked_for(finished_study, ASKED)
    laws = json.loads(voxmix("fit", finished_study, "--json"))["laws"]
    assert set(laws) == {"naive", "transfer", "shared-exponent", "head-start"}
    assert set(laws["head-start"]["start"]) == {"ABD-CT", "BRAIN-T1", "HN-CT"}
    mixtures = json.loads(voxmix("allocate", finished_study, "--json"))
    assert tuple(mixtures) == ASKED
    assert mixtures["temperature-2"]["weights"] == pytest.approx(
        mixtures["uniform"]["weights"]
    )  # 8 volumes each
    assert mixtures["single-HN-CT"]["weights"]["HN-CT"] == 1
    assert mixtures["head-start-aware"]["law"] == "head-start"
    assert mixtures["head-start-aware"]["gap"] < 1e-6
    study = Study.open(finished_study)
    found = {tuple(spec.mixture.weights) for spec in StudyView(study).checks}
    assert (0.0, 0.0, 1.0) in found
    assert tuple(mixtures["half"]["weights"].values()) in found
    voxmix("report", finished_study)
    page = (finished_study / "report.html").read_text(encoding="utf-8")
    for name in ASKED:
        assert name in page, name


def test_nothing_of_today_is_fitted_again(finished_study: Path, rows: None) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished_study / "laws").glob("*.json")}
    laws = json.loads(voxmix("fit", finished_study, "--json"))["laws"]
    assert set(laws) == {"naive", "transfer"}
    assert {path: path.stat().st_mtime_ns for path in (finished_study / "laws").glob("*.json")} == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("single-HN-TC", "no domain 'HN-TC'; did you mean 'HN-CT'?"),
        ("single", "write single-DOMAIN"),
        ("temperature-cold", "no temperature; give a number above 0"),
        ("transfer-awar", "did you mean 'transfer-aware'?"),
    ],
)
def test_a_wrong_strategy_in_a_study_names_what_is_possible(
    finished_study: Path, name: str, says: str
) -> None:
    asked_for(finished_study, ("uniform", name))
    done = CliRunner().invoke(app, ["allocate", str(finished_study)])
    assert done.exit_code == 2
    assert says in done.output.replace("\n", " ")


def test_help_of_finetune_names_what_it_starts_from() -> None:
    text = " ".join(CliRunner(env={"COLUMNS": "300"}).invoke(app, ["finetune", "--help"]).output.split())
    assert f"Left out: {', '.join(finetuned_strategies())}." in text


def test_help_of_fit_names_every_law() -> None:
    text = " ".join(CliRunner(env={"COLUMNS": "300"}).invoke(app, ["fit", "--help"]).output.split())
    assert all(name in text for name in LAWS)
