"""Heads carried to another center: a shortcut that is reversed there is found, and nobody of there trains the head."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.probes.carried import Carried
from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.task_cases import probe_data
from voxmix.scores import ScoreTable, compare

SETTINGS = ProbeSettings(penalties=(1e-3, 1e-1), inner=0.25)
TASK = ProbeTask(kind="labels", labels=("bright",), images="away", outside=True)
CARRIED = ProbeTask(kind="labels", labels=("bright",), images="away", outside=True, carried=True)


def away_of(change: Callable[..., Any], source: Any) -> Any:
    """Return the same images of other persons, with the label "bright" turned around."""
    return change(
        source,
        key=lambda item: f"away-{item.key}",
        person=lambda item: f"away-{item.person}",
        labels=lambda item: {name: 1 - value for name, value in item.labels.items()},
    )


def test_a_reversed_shortcut_is_found_only_by_a_head_that_is_carried(
    make_pictures: Any,
    change_pictures: Any,
    encoder: LoadedEncoder,
    judged: JudgedEncoder,
    tmp_path: Path,
) -> None:
    home = make_pictures(60)
    away = away_of(change_pictures, make_pictures(60, seed=1))
    areas = {}
    for task, source in ((TASK, away), (CARRIED, Carried(home=home, away=away))):
        data = probe_data(task, "bright", source)
        found = judge(
            data,
            encoder,
            judged,
            store=FeatureStore(tmp_path / "features"),
            folder=tmp_path / f"probe-{task.carried}",
            settings=SETTINGS,
        ).result
        areas[task.carried] = compare(ScoreTable(results=(found,)), resamples=50).estimates[0].value
    assert areas[False] > 0.99
    assert areas[True] < 0.01


def test_all_of_the_other_center_judge_and_none_of_it_trains(
    make_pictures: Any, change_pictures: Any
) -> None:
    home = make_pictures()
    away = away_of(change_pictures, make_pictures(seed=1))
    data = probe_data(CARRIED, "bright", Carried(home=home, away=away))
    known = {item.key for item in away.items if "bright" in item.labels}
    assert {case.case for case in data.part("test")} == known
    assert {case.case for case in data.part("train")} == {
        item.key for item in home.items if item.split == "train" and "bright" in item.labels
    }
    assert data.own


def test_domains_speak_of_the_other_center_alone(make_pictures: Any, change_pictures: Any) -> None:
    home = change_pictures(make_pictures(), domain=lambda item: "HOME")
    away = away_of(change_pictures, make_pictures(seed=1))
    data = probe_data(replace(CARRIED, domains=("B",)), "bright", Carried(home=home, away=away))
    assert {case.domain for case in data.part("train")} == {"HOME"}
    assert {case.domain for case in data.part("test")} == {"B"}


def test_a_person_at_home_and_away_is_refused(make_pictures: Any, change_pictures: Any) -> None:
    home = make_pictures()
    away = change_pictures(make_pictures(seed=1), person=lambda item: home.items[-1].person)
    with pytest.raises(
        InputError, match="1 persons are among those that train the probe and those that judge"
    ):
        probe_data(CARRIED, "bright", Carried(home=home, away=away))


@pytest.mark.parametrize(
    "task", [{"kind": "labels"}, {"kind": "masks", "images": "away"}, {"kind": "retrieval", "images": "away"}]
)
def test_what_cannot_be_carried_is_refused(task: dict[str, Any]) -> None:
    with pytest.raises(
        InputError, match="carried: true is of kind labels or classes and has images of its own"
    ):
        ProbeTask(**task, carried=True)


def test_tasks_that_were_there_before_keep_their_digest() -> None:
    assert "carried" not in TASK.as_dict()
    assert CARRIED.as_dict()["carried"] is True
