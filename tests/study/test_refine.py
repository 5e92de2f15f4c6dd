"""Refine: the law's choice is trained and judged, without a volume: runs are written by a stub."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.study import Study, StudyView, refine, refining, runs_left

Finish = Callable[[], int]


@pytest.fixture
def trained(finished_study: Path, finish_proxies: Finish, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each round trained."""
    counts: list[int] = []
    monkeypatch.setattr(refining, "train_runs", lambda *args: counts.append(finish_proxies()))
    return counts


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
    finished_study: Path, finish_proxies: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(refining, "train_runs", die)
    with pytest.raises(KeyboardInterrupt):
        refine(finished_study, rounds=1)
    kept = (finished_study / "refine.json").read_text()
    monkeypatch.setattr(refining, "train_runs", lambda *args: finish_proxies())
    refine(finished_study, rounds=1)
    assert (finished_study / "refine.json").read_text() == kept  # proposed before it was trained
    assert len(json.loads(kept)["rounds"]) == 1


def test_draws_are_never_overspent(finished_study: Path, trained: list[int]) -> None:
    found = refine(finished_study, draws=1000, tolerance=1e-9)
    assert found.stopped in ("draws", "agreed")
    assert found.draws <= 1000
    assert trained[0] == 1  # the choice alone: no neighbour fits


def test_its_runs_are_proxy_runs_of_their_own_kind(finished_study: Path, trained: list[int]) -> None:
    refine(finished_study, rounds=1)
    view = StudyView(Study.open(finished_study))
    assert len(view.proxies_by_kind["refine runs"]) == sum(trained)
    assert not any(len(specs) for kind, specs in runs_left(view).items() if kind != "mixture runs")
    assert set(view.table.run) >= {spec.run_id for spec in view.proxies_by_kind["refine runs"]}


def test_rounds_below_one_are_refused(finished_study: Path) -> None:
    with pytest.raises(InputError, match="rounds"):
        refine(finished_study, rounds=0)
