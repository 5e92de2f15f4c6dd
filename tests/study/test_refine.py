"""Refine: the law's choice is trained and judged, without a volume: runs are written by a stub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from voxmix.errors import InputError, StepPendingError
from voxmix.report.refine_section import rounds_table
from voxmix.report.table import percent_text
from voxmix.study import (
    Study,
    StudyView,
    allocate_strategies,
    fit_laws,
    make_report,
    refine,
    refining,
    report_content,
    runs_left,
    study_status,
)
from voxmix.study.exports import exported_strategy
from voxmix.study.listener import Listener

Train = Callable[..., None]


@pytest.fixture
def trained(train_without_torch: Train, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each round trained."""
    counts: list[int] = []

    def train(view: StudyView, specs: Any, *others: object) -> None:
        counts.append(len(view.study.pending(specs)))
        train_without_torch(view, specs)

    monkeypatch.setattr(refining, "train_runs", train)
    return counts


def changed(root: Path, section: str, **values: Any) -> StudyView:
    """Return the study with other settings in its file."""
    path = root / "study.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings[section] |= values
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return StudyView(Study.open(root))


def with_refined(root: Path) -> StudyView:
    names = Study.open(root).config.allocation.strategies
    return changed(root, "allocation", strategies=[*names, "refined"])


def pending_runs(root: Path, told: list[str] | None = None) -> list[str]:
    """Return the strategies whose mixture runs are pending, after the steps before."""
    hear = Listener.calling(None, None if told is None else told.append)
    view = StudyView(Study.open(root))
    fit_laws(view, hear)
    allocate_strategies(view, hear)
    view = StudyView(Study.open(root))
    return [name for name, specs in view.checks_by_strategy.items() if view.study.pending(specs)]


def test_it_agrees_with_a_world_that_the_law_describes_and_trains_nothing_twice(
    finished_study: Path, trained: list[int]
) -> None:
    found = refine(finished_study, tolerance=0.3)
    assert found.stopped == "agreed", found.rounds
    assert found.rounds[-1].agrees
    assert found.rounds[-1].move <= 0.3
    assert abs(found.rounds[-1].gap) < 0.1
    count = sum(trained)
    again = refine(finished_study, tolerance=0.3)
    assert sum(trained) == count
    assert again.choice == found.choice
    assert len(again.rounds) == len(found.rounds)


def test_a_path_that_was_interrupted_goes_on_as_if_it_was_not(
    finished_study: Path, train_without_torch: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(refining, "train_runs", die)
    with pytest.raises(KeyboardInterrupt):
        refine(finished_study, rounds=1)
    kept = json.loads((finished_study / "refine.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(refining, "train_runs", train_without_torch)
    refine(finished_study, rounds=1)
    ended = json.loads((finished_study / "refine.json").read_text(encoding="utf-8"))
    assert ended["rounds"] == kept["rounds"]  # proposed before it was trained
    assert len(kept["rounds"]) == 1
    assert (kept["path"]["stopped"], bool(ended["path"]["stopped"])) == ("", True)


def test_draws_are_never_overspent(finished_study: Path, trained: list[int]) -> None:
    found = refine(finished_study, draws=1000, tolerance=1e-9)
    assert found.stopped in ("draws", "agreed")
    assert found.draws <= 1000
    assert trained[0] == 1  # the choice alone: no neighbour fits


def test_its_runs_are_fitted_where_the_study_says_so(finished_study: Path, trained: list[int]) -> None:
    before = study_status(Study.open(finished_study))
    assert StudyView(Study.open(finished_study)).refine_words == ""
    found = refine(finished_study, rounds=1)
    assert StudyView(Study.open(finished_study)).refine_words == found.sentence
    assert study_status(Study.open(finished_study))[:5] == before[:5]  # refine makes no step old
    view = changed(finished_study, "fit", refine_runs=True)
    assert len(view.proxies_by_kind["refine runs"]) == sum(trained)
    assert not any(len(specs) for kind, specs in runs_left(view).items() if kind != "mixture runs")
    assert set(view.table.run) >= {spec.run_id for spec in view.proxies_by_kind["refine runs"]}
    assert not view.is_made("fit")


def test_rounds_below_one_are_refused(finished_study: Path) -> None:
    with pytest.raises(InputError, match="rounds"):
        refine(finished_study, rounds=0)


def test_the_refined_mixture_is_trained_beside_strategies_that_were_trained_before(
    finished_study: Path, trained: list[int], finish_checks: Callable[[], int]
) -> None:
    assert pending_runs(finished_study) == []
    found = refine(finished_study, rounds=1)
    view = with_refined(finished_study)
    assert pending_runs(finished_study) == ["refined"]
    assert StudyView(view.study).allocations["refined"] == found.choice
    assert finish_checks() == view.config.allocation.seeds
    content = make_report(Study.open(finished_study))
    assert "refined" in {check.strategy for check in content.checks}
    assert not content.notes
    text = (finished_study / "report.html").read_text(encoding="utf-8")
    assert f"at {view.config.allocation.budget:,} draws".capitalize() in text
    assert "measured was" in text  # of the refined mixture, beside what was predicted for it


def test_a_refined_strategy_without_rounds_is_named_and_blocks_no_other(
    finished_study: Path, trained: list[int]
) -> None:
    view, told = with_refined(finished_study), list[str]()
    assert pending_runs(finished_study, told) == []
    assert [line.split(",")[0] for line in told] == ["strategy refined is pending"]
    said = next(step for step in study_status(view) if step.name == "pretrain")
    assert said.done
    assert "refined is pending, no round of refine is finished; first: voxmix refine" in said.detail
    assert any("refined is not shown" in note for note in report_content(view).notes)
    with pytest.raises(StepPendingError, match="first: voxmix refine"):
        exported_strategy(view, "refined")
    with pytest.raises(StepPendingError, match="first: voxmix refine"):
        view.encoder_runs("refined", domain="ABD-CT")


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("fit", {"max_transfer": 0.5}, "fit"),
        ("design", {"budgets": [100, 200, 400]}, "design"),
        ("allocation", {"min_weight": 0.1}, "allocation"),
    ],
)
def test_rounds_of_other_settings_give_no_mixture_and_the_path_begins_again(
    finished_study: Path, trained: list[int], section: str, values: dict[str, Any], words: str
) -> None:
    with_refined(finished_study)
    refine(finished_study, rounds=1)
    assert StudyView(Study.open(finished_study)).strategies_pending == {}
    view = changed(finished_study, section, **values)
    assert words in view.strategies_pending["refined"]
    told: list[str] = []
    found = refine(finished_study, rounds=1, tell=told.append)
    assert len(found.rounds) == 1
    assert any(f"1 round(s) of refine are of another {words}" in line for line in told)
    assert StudyView(Study.open(finished_study)).strategies_pending == {}


def test_the_refined_mixture_keeps_to_limits_at_the_budget_where_it_is_used(
    finished_study: Path, trained: list[int]
) -> None:
    changed(finished_study, "allocation", max_epochs=100)  # 8 volumes, 2000 draws: at most 40%
    assert max(refine(finished_study, rounds=1).choice.weights) <= 0.4 + 1e-9


def test_the_interval_of_the_mean_is_narrower_than_the_mean_of_the_intervals(
    finished_study: Path, trained: list[int]
) -> None:
    changed(finished_study, "fit", bootstrap=50)
    found = refine(finished_study, rounds=1)
    (item, *_) = found.rounds
    row, end = rounds_table(found).text_rows()
    assert row[:2] == ("1", "800")
    assert row[4:7] == (
        percent_text(item.gap, signed=True),
        percent_text(item.move),
        "yes" if item.agrees else "no",
    )
    assert end[0] == "end"
    loss, low, high = item.mean
    assert low < loss < high
    assert loss == pytest.approx(sum(told[0] for told in item.predicted.values()) / 3)
    assert high - low < sum(told[2] - told[1] for told in item.predicted.values()) / 3
    assert item.measured_mean == pytest.approx(sum(item.measured.values()) / 3)
