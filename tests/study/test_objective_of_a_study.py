"""Strategies are judged by the study's objective, and with costs they are trained at equal money."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from voxmix.allocation import AllocationSettings
from voxmix.mixture import Mixture
from voxmix.report import Check, ReportContent
from voxmix.report.figures import answer_data, forecasts, means_data
from voxmix.report.findings import measured
from voxmix.report.ranking import rank_by_objective
from voxmix.scores import ScoreTable
from voxmix.scores.measured import measure_of
from voxmix.study import Study, StudyView, allocate_strategies, answer_content, proxy_losses, study_status
from voxmix.study.report_contents import _recommend

DOMAINS = ("loud", "quiet")
LOSSES = {"uniform": (1.0, 0.010), "quiet-first": (1.1, 0.007), "loud-first": (0.9, 0.015)}
SHARES = {"uniform": 0.5, "quiet-first": 0.2, "loud-first": 0.8}


def content(**asked: object) -> ReportContent:
    return ReportContent(
        study="s",
        budget=100,
        asked=AllocationSettings(budget=100, **asked),  # type: ignore[arg-type]
        strategies={name: Mixture.from_dict({"loud": w, "quiet": 1 - w}) for name, w in SHARES.items()},
        checks=tuple(
            Check(strategy=name, budget=100, seed=seed, target=target, loss=loss * (1 + 0.02 * seed))
            for name, losses in LOSSES.items()
            for seed in (0, 1)
            for target, loss in zip(DOMAINS, losses, strict=True)
        ),
    )


@pytest.mark.parametrize(
    ("asked", "words", "by_hand"),
    [
        ({}, "mean loss", {"uniform": 0.505, "quiet-first": 0.5535, "loud-first": 0.4575}),
        (
            {"objective": "relative"},
            "mean of relative losses",
            {"uniform": 1.0, "quiet-first": (1.1 + 0.7) / 2, "loud-first": (0.9 + 1.5) / 2},
        ),
        (
            {"objective": "minimax"},
            "worst relative loss",
            {"uniform": 1.0, "quiet-first": 1.1, "loud-first": 1.5},
        ),
        (
            {"objective": "relative", "target_weights": {"loud": 9}},
            "weighted mean of relative losses",
            {"uniform": 1.0, "quiet-first": 0.9 * 1.1 + 0.1 * 0.7, "loud-first": 0.9 * 0.9 + 0.1 * 1.5},
        ),
        (
            {"target_weights": {"loud": 0}},
            "weighted mean loss",
            {"uniform": 0.010, "quiet-first": 0.007, "loud-first": 0.015},
        ),
    ],
)
def test_measured_strategies_are_ranked_by_what_the_study_minimizes(
    asked: dict, words: str, by_hand: dict[str, float]
) -> None:
    found = content(**asked)
    ranking = rank_by_objective(found, measured(found, budget=100))
    assert ranking.measure.words == words
    assert ranking.strategies == tuple(sorted(by_hand, key=lambda name: by_hand[name]))
    values = dict(zip(ranking.strategies, ranking.values.tolist(), strict=True))
    scale = values["uniform"] / by_hand["uniform"]  # the geometric mean over seeds
    assert values == pytest.approx({name: value * scale for name, value in by_hand.items()})


def test_a_target_that_does_not_count_may_be_missing() -> None:
    found = content(target_weights={"loud": 0})
    some = replace(found, checks=tuple(check for check in found.checks if check.target == "quiet"))
    assert len(rank_by_objective(some, measured(some, budget=100)).strategies) == 3


def test_the_recommendation_follows_the_objective() -> None:
    loser = {"recommended": "loud-first"}
    assert _recommend(replace(content(), **loser)).answer == "loud-first"
    assert _recommend(replace(content(objective="relative"), **loser)).answer != "loud-first"


def test_relative_losses_without_uniform_are_over_the_other_strategies() -> None:
    found = measured(content(), budget=100)
    alone = replace(found, strategies=found.strategies[1:], loss=found.loss[1:])
    weights = measure_of(alone, "relative", {}).weights
    assert 0.5 / weights == pytest.approx(np.exp(np.log(alone.adjusted).mean(axis=0)))


def changed(study: Path, **values: object) -> None:
    text = yaml.safe_load((study / "study.yaml").read_text(encoding="utf-8"))
    text["allocation"] |= values
    (study / "study.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")


def test_with_costs_every_strategy_gets_the_same_money(
    finished_study: Path, finish_checks: Callable[[], int]
) -> None:
    prices = {"ABD-CT": 3.0, "HN-CT": 0.5}
    changed(finished_study, cost=prices)
    study = Study.open(finished_study)
    allocate_strategies(study)
    view = StudyView(study)
    for specs in view.checks_by_strategy.values():
        for spec in specs:
            price = sum(w * prices.get(name, 1.0) for name, w in spec.mixture.as_dict().items())
            assert spec.budget == int(2000 / price)
            assert 2000 - price < spec.budget * price <= 2000
    uniform = view.checks_by_strategy["uniform"][0]
    assert uniform.budget == int(2000 / 1.5)
    assert finish_checks() > 0
    found = answer_content(StudyView(study))
    assert found.unit == "price units"
    assert {check.budget for check in found.checks} == {2000}
    assert len(means_data(found, budget=2000).ranking.strategies) == len(found.strategies)
    for item in forecasts(found, budget=2000):
        law = found.laws[item.law]
        row = item.predicted[item.strategies.index("uniform")]
        assert row == pytest.approx(law.evaluate(np.full(3, 1 / 3), 2000 / 1.5))
    answer = answer_data(found)
    bought = found.strategies[answer.strategy].draws
    assert answer.budget == round(bought)


def test_proxy_losses_are_the_objective_of_the_study(finished_study: Path) -> None:
    study = Study.open(finished_study)
    table = ScoreTable.read(study.downstream_dir)
    run = StudyView(study).checks_by_strategy["uniform"][0]
    path = study.downstream_dir / "organs" / "scratch" / "seed-0" / "result.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace('"checkpoint": null', f'"checkpoint": "{study.run_dir(run).name}"'), encoding="utf-8"
    )
    table = ScoreTable.read(study.downstream_dir)
    (mean,) = proxy_losses(StudyView(study), table)["organs", "scratch"]
    result = StudyView(study).result(study.run_dir(run))
    losses = {name: item["loss"] for name, item in result.losses.items()}
    assert mean == pytest.approx(np.mean(list(losses.values())))
    changed(finished_study, target_weights={"HN-CT": 2.0})
    again = Study.open(finished_study)
    (weighted,) = proxy_losses(StudyView(again), table)["organs", "scratch"]
    assert weighted == pytest.approx((sum(losses.values()) + losses["HN-CT"]) / 4)
    changed(finished_study, target_weights={}, objective="relative")
    again = Study.open(finished_study)
    assert proxy_losses(StudyView(again), table) == {}, "no mixtures yet: nothing is relative"
    allocate_strategies(again)
    (relative,) = proxy_losses(StudyView(again), table)["organs", "scratch"]
    assert relative == pytest.approx(1.0), "uniform's own losses over themselves"


def test_a_report_of_other_mixtures_is_to_be_written_again(finished_study: Path) -> None:
    changed(finished_study, tolerance=0.02)
    study = Study.open(finished_study)
    allocate_strategies(study)
    states = {state.name: state.done for state in study_status(study)}
    assert states["pretrain"], "the mixtures are the same"
    assert not states["report"]
