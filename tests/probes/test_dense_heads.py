"""Attention and masks from images to scores: known answers, whatever the order; what is not known is not scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.backbone_rows import VitSettings
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask
from voxmix.probes.data import ProbeData
from voxmix.probes.encoder import LoadedEncoder, untrained_encoder
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.mask_head import dice_of
from voxmix.probes.predicted_masks import PREDICTED_FILE, read_predicted, shown_cases, write_predicted
from voxmix.probes.task_cases import probe_data
from voxmix.scores import ScoreTable, compare, mean_score
from voxmix.scores.result import DownstreamResult, SegmentedCase

SETTINGS = ProbeSettings(layers=2, rates=(3e-3, 1e-2), epochs=20, inner=0.25)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """An Item whose array and masks are kept beside it."""

    key: str
    person: str
    split: str
    pixels: Any
    known: Mapping[str, np.ndarray]
    domain: str = "A"
    has_text: bool = False
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.pixels.shape)

    @property
    def masks(self) -> tuple[str, ...]:
        return tuple(self.known)


@dataclass(frozen=True, kw_only=True)
class Drawings:
    """A Source of drawn images in memory."""

    items: tuple[Drawn, ...]
    axes: int = 2
    tokenizer: str = ""
    digest: str = "drawings"
    pictures: str = "drawings"
    mask_digest: str = "masks"
    label_names: tuple[str, ...] = ()

    def array(self, item: Drawn) -> np.ndarray:
        return np.asarray(item.pixels, dtype=np.float16)

    def masks(self, item: Drawn) -> Mapping[str, np.ndarray]:
        return item.known

    def tokens(self, item: Drawn) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)

    label_tokens = tokens


def discs(count: int = 50, *, rows: int = 24, columns: int = 30, unknown: int = 0) -> Drawings:
    """Images with a bright disc; of the first few of each part nobody has drawn it. "nothing" is an empty mask."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :columns]
    items = []
    for number in range(count):
        row, column, radius = rng.uniform(7, rows - 7), rng.uniform(7, columns - 7), rng.uniform(4, 6)
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        pixels = 0.2 + 0.6 * inside + rng.normal(scale=0.03, size=inside.shape)
        masks = {} if number % (count // 2) < unknown else {"disc": inside}
        items.append(
            Drawn(
                key=f"k{number:03d}",
                person=f"p{number}",
                split="validation" if number < count // 3 else "train",
                pixels=pixels.clip(0, 1),
                known=masks | {"nothing": np.zeros_like(inside)},
            )
        )
    return Drawings(items=tuple(items))


def judged_on(
    data: ProbeData, encoder: LoadedEncoder, folder: Path, settings: ProbeSettings = SETTINGS
) -> DownstreamResult:
    named = JudgedEncoder(name="untrained", encoder=encoder.digest)
    store = FeatureStore(folder / "features")
    return judge(data, encoder, named, store=store, folder=folder / "probe", settings=settings).result


def test_attention_reads_labels_and_classes(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path
) -> None:
    source = make_pictures(100)
    labels = probe_data(
        ProbeTask(kind="labels", labels=("bright", "coin"), head="attention"), "findings", source
    )
    found = judged_on(labels, encoder, tmp_path)
    by_label = {
        item.label: item.value for item in compare(ScoreTable(results=(found,)), resamples=50).by_class
    }
    assert by_label["bright"] > 0.95
    assert abs(by_label["coin"] - 0.5) < 3 * 0.065
    side = probe_data(ProbeTask(kind="classes", column="side", head="attention"), "side", source)
    assert (mean_score(judged_on(side, encoder, tmp_path / "side")) or 0) > 0.9


@pytest.mark.parametrize("kind", ["labels", "masks"])
def test_the_order_of_cases_changes_nothing(
    encoder: LoadedEncoder, make_pictures: Any, tmp_path: Path, kind: str
) -> None:
    source = make_pictures(20) if kind == "labels" else discs(20)
    task = (
        ProbeTask(kind="labels", labels=("bright",), head="attention")
        if kind == "labels"
        else ProbeTask(kind="masks")
    )
    other = replace(source, items=source.items[::-1])
    few = replace(SETTINGS, epochs=3)
    first, second = (
        judged_on(probe_data(task, "task", one), encoder, tmp_path / str(k), few)
        for k, one in enumerate((source, other))
    )
    assert {case.case: case for case in first.cases} == {case.case: case for case in second.cases}


def test_discs_are_found_on_the_images_own_grid(tmp_path: Path) -> None:
    encoder = untrained_encoder(VitSettings(image=16, patch=4, width=24, depth=1, heads=2))
    data = probe_data(ProbeTask(kind="masks"), "discs", discs(unknown=4))
    found = judged_on(data, encoder, tmp_path)
    cases = [case for case in found.cases if isinstance(case, SegmentedCase)]
    assert found.classes == ("disc", "nothing")
    unknown = {case.case for case in data.part("test") if "disc" not in case.item.masks}
    assert len(unknown) == 4
    assert {case.case for case in cases if case.dice["disc"] is None} == unknown
    assert np.mean([case.dice["disc"] for case in cases if case.dice["disc"] is not None]) > 0.8
    assert {case.dice["nothing"] for case in cases} == {None}
    value = (tmp_path / "probe/result.json").read_text(encoding="utf-8")
    assert "no training image has a pixel in mask nothing" in value
    assert "no image of persons held out has a pixel in mask nothing" in value
    kept = read_predicted(tmp_path / "probe" / PREDICTED_FILE)
    shown = shown_cases(data)
    assert list(kept) == [case.case for case in data.part("test") if case in shown]
    assert not {case.case for case in shown} & unknown  # those with most masks are shown
    scored = {case.case: case.dice for case in cases}
    for case in shown:  # what is kept is what was scored, on the image's own grid
        again = dice_of(kept[case.case], data.masks(case))
        assert again["disc"] == pytest.approx(scored[case.case]["disc"], abs=1e-9)
        assert kept[case.case]["disc"].shape == data.pixels(case).shape
    assert b"p0" not in (tmp_path / "probe" / PREDICTED_FILE).read_bytes()


def test_kept_masks_are_read_again_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / PREDICTED_FILE
    assert read_predicted(path) == {}
    rng = np.random.default_rng(0)
    masks = {
        case: {name: rng.random(shape) > 0.5 for name in ("lung", "a/tube")}
        for case, shape in (("x", (5, 7)), ("y", (3, 3)))
    }
    write_predicted(path, masks)
    read = read_predicted(path)
    assert list(read) == ["x", "y"]
    assert all(
        np.array_equal(read[case][name], mask) for case, own in masks.items() for name, mask in own.items()
    )
    whole = path.read_bytes()
    for damaged in (whole[:200], b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            read_predicted(path)


def test_dice_by_hand() -> None:
    mask, none = np.zeros((4, 5), dtype=bool), np.zeros((4, 5), dtype=bool)
    mask[:2] = True
    half = mask.copy()
    half[:, 2:] = False
    assert dice_of({"a": half, "b": mask}, {"a": mask}) == {"a": pytest.approx(2 * 4 / (4 + 10))}
    assert dice_of({"a": none, "b": mask, "c": none}, {"a": none, "b": none, "c": mask}) == {
        "a": None,
        "b": 0.0,
        "c": 0.0,
    }
    assert dice_of({"a": mask}, {}) == {}


def test_a_mask_without_use_is_refused() -> None:
    source = discs(20)
    with pytest.raises(InputError, match="no image has the mask 'disk'"):
        probe_data(ProbeTask(kind="masks", masks=("disk",)), "discs", source)
    items = tuple(
        item if item.split == "train" else replace(item, known={"nothing": item.known["nothing"]})
        for item in source.items
    )
    short = replace(source, items=items)
    with pytest.raises(InputError, match="mask disc is known for no image among persons held out"):
        probe_data(ProbeTask(kind="masks", masks=("disc",)), "discs", short)
    assert probe_data(ProbeTask(kind="masks"), "discs", short).names == ("nothing",)
    bare = replace(source, items=tuple(replace(item, known={}) for item in source.items))
    with pytest.raises(
        InputError, match="the images have no masks; give a table with a column that ends in mask"
    ):
        probe_data(ProbeTask(kind="masks"), "discs", bare)


def test_the_digest_of_a_task_of_masks_follows_the_masks_and_no_label_or_text() -> None:
    def of(source: Drawings) -> str:
        return probe_data(ProbeTask(kind="masks"), "discs", source).digest

    source = discs(12)
    assert of(replace(source, digest="other labels")) == of(source)
    assert of(replace(source, mask_digest="other masks")) != of(source)


def test_maps_are_computed_once(encoder: LoadedEncoder, tmp_path: Path) -> None:
    data = probe_data(ProbeTask(kind="masks"), "discs", discs(12))
    store = FeatureStore(tmp_path)
    first = store.maps(encoder, data)
    assert store.computed == 12
    second = FeatureStore(tmp_path)
    assert np.array_equal(second.maps(encoder, data).levels[0], first.levels[0])
    assert second.computed == 0
    assert [len(frames) for frames in first.frames] == [2] * 12  # 16 x 20 in tiles of 16
