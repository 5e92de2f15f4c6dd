"""A probe from images to scores: known answers, nothing computed twice, and what cannot be judged is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.probes.done import is_done, probe_folder
from voxmix.probes.encoder import LoadedEncoder
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.task_cases import probe_data
from voxmix.scores import ScoreTable, compare, main_score

SETTINGS = ProbeSettings(penalties=(1e-3, 1e-1), neighbors=(1, 5), inner=0.25)
LABELS = ProbeTask(kind="labels", labels=("bright", "coin"))
SIDE = ProbeTask(kind="classes", column="side")


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_a_label_that_pixels_show_is_found_and_a_coin_is_not(
    head: str, encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    data = probe_data(replace(LABELS, head=head), "findings", make_pictures(100))
    found = judge(
        data, encoder, judged, store=FeatureStore(tmp_path / "f"), folder=tmp_path / "p", settings=SETTINGS
    ).result
    assert found.kind == "labels"
    assert found.judged == judged
    by_label = {
        item.label: item.value for item in compare(ScoreTable(results=(found,)), resamples=50).by_class
    }
    assert by_label["bright"] > 0.99
    assert abs(by_label["coin"] - 0.5) < 3 * 0.065  # standard error of an area of 40 with and 40 without


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_a_class_that_pixels_show_is_found(
    head: str, encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    data = probe_data(replace(SIDE, head=head), "side", make_pictures())
    found = judge(
        data, encoder, judged, store=FeatureStore(tmp_path / "f"), folder=tmp_path / "p", settings=SETTINGS
    ).result
    assert found.kind == "classification"
    assert found.classes == ("left", "right")
    assert main_score(found) > 0.95


def test_a_linear_head_that_was_stopped_says_so(
    encoder: LoadedEncoder,
    judged: JudgedEncoder,
    make_pictures: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = probe_data(SIDE, "side", make_pictures())
    given: dict[str, Any] = {"store": FeatureStore(tmp_path / "f"), "settings": SETTINGS}
    assert judge(data, encoder, judged, folder=tmp_path / "whole", **given).notes == ()
    monkeypatch.setattr("voxmix.probes.logistic._MOST_STEPS", 1)
    (note,) = judge(data, encoder, judged, folder=tmp_path / "cut", **given).notes
    assert "did not reach its minimum" in note


def test_every_image_goes_through_the_encoder_once_for_all_tasks_and_what_is_done_is_not_made_again(
    encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    source = make_pictures()
    both = [probe_data(LABELS, "findings", source), probe_data(SIDE, "side", source)]
    store = FeatureStore(tmp_path / "features")
    folders = [probe_folder(tmp_path / "probes", data, judged) for data in both]
    for data, folder in zip(both, folders, strict=True):
        assert not is_done(folder, data, judged, settings=SETTINGS)
        assert judge(data, encoder, judged, store=store, folder=folder, settings=SETTINGS).made
        assert is_done(folder, data, judged, settings=SETTINGS)
    assert sorted(source.reads) == sorted(item.key for item in source.items)
    again = FeatureStore(tmp_path / "features")
    for data, folder in zip(both, folders, strict=True):
        written = (folder / "result.json").stat().st_mtime_ns
        assert not judge(data, encoder, judged, store=again, folder=folder, settings=SETTINGS).made
        assert (folder / "result.json").stat().st_mtime_ns == written
    other = replace(SETTINGS, penalties=(1e-2,))
    assert judge(both[0], encoder, judged, store=again, folder=folders[0], settings=other).made
    assert again.computed == 0
    table = ScoreTable.read(tmp_path / "probes")
    assert table.tasks == ("findings", "side")
    assert not table.set_aside


def test_a_damaged_result_is_made_again(
    encoder: LoadedEncoder, judged: JudgedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    data = probe_data(SIDE, "side", make_pictures())
    given: dict[str, Any] = {
        "store": FeatureStore(tmp_path / "f"),
        "folder": tmp_path / "p",
        "settings": SETTINGS,
    }
    first = judge(data, encoder, judged, **given)
    path = tmp_path / "p" / "result.json"
    path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    second = judge(data, encoder, judged, **given)
    assert second.made
    assert second.result.cases == first.result.cases
