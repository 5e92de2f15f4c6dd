"""What a prepared volume consists of is counted right, judged sensibly, and said with the line that mends it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError
from voxmix.phantoms.domains import write_phantoms
from voxmix.settings import checked
from voxmix.volumes import IntensityRule, Manifest, PreparedCache, Recipe, VolumeRecord
from voxmix.volumes.auditing.audit import audit
from voxmix.volumes.auditing.fields import GOOD_PADDING, Fields, padded_share, propose, see_fields
from voxmix.volumes.auditing.fill import Fill, find_offset, measure_volume
from voxmix.volumes.auditing.fitness import Fitness, judge_fills, refuse_hopeless
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.intensity import SOFT_TISSUE_WINDOW, Z_SCORE
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.recipe import spell_out
from voxmix.volumes.volume import UnreadableVolumeError, Volume

WINDOW = IntensityRule(kind="window", low=0, high=100)


def fill_of(data: np.ndarray, rule: IntensityRule, *, least: int = 1, spacing: float = 1.0) -> Fill:
    recipe = Recipe(spacing_mm=spacing, min_shape=(least,) * 3, intensity={"X": rule}, crop_foreground=False)
    volume = Volume(data=data.astype(np.float32), affine=np.eye(4))
    array, geometry = prepare_volume(volume, recipe=recipe, domain="X")
    return measure_volume(array, geometry, volume=volume, rule=rule)


def ct(seed: int, *, air: float = 0.3, shape: tuple[int, int, int] = (24, 24, 24)) -> np.ndarray:
    """Return HU of air, fat, soft tissue and bone, with the soft edges that scanners give."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, shape, p=[air, 0.2, 0.75 - air, 0.05])
    return np.array([-1000.0, -100.0, 40.0, 700.0])[kind] + rng.normal(0, 15, shape)


def test_shares_are_counted_over_the_voxels_that_exist() -> None:
    data = np.full((4, 5, 5), 50.0)
    data[0] = -7  # 25 voxels below the window
    data[1, :2] = 300  # 10 above it
    fill = fill_of(data, WINDOW, least=10)
    assert fill.size == (4, 5, 5)
    assert fill.padding == pytest.approx(1 - 100 / 1000)
    assert (fill.at_low, fill.at_high) == (0.25, 0.1)
    assert (fill.commonest, fill.value) == (0.65, 0.5)
    assert fill.voxel_mm == (1, 1, 1)
    assert fill.percentiles is not None
    assert fill.percentiles[1] == 50
    assert Fill.from_dict(json.loads(json.dumps(fill.as_dict()))) == fill


def test_counting_slab_by_slab_is_counting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).uniform(-20, 120, (9, 7, 8))
    whole = fill_of(data, WINDOW)
    monkeypatch.setattr("voxmix.volumes.auditing.fill._SLAB", 1)
    assert fill_of(data, WINDOW) == whole


@pytest.mark.parametrize("air", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("outside", [None, 0.0, -2000.0])
def test_an_offset_is_told_from_hu(air: float, outside: float | None) -> None:
    hu = ct(0, air=air)
    moved = hu + 1024
    if outside is not None:  # what lies outside the scanner's field
        hu[:6], moved[:6] = -2000, outside
    assert find_offset(moved, SOFT_TISSUE_WINDOW) == 1024
    assert find_offset(hu, SOFT_TISSUE_WINDOW) == 0


@pytest.mark.parametrize(
    "data",
    [
        ct(1, air=0.0),
        np.random.default_rng(2).normal(250, 150, (16, 16, 16)),  # a piece of spongy bone
        np.random.default_rng(3).integers(0, 255, (16, 16, 16)),  # 8 bits
        np.eye(16)[..., None] * np.ones(16) * 3000,  # metal in nothing
    ],
)
def test_other_values_have_no_offset(data: np.ndarray) -> None:
    assert find_offset(data.astype(np.float32), SOFT_TISSUE_WINDOW) == 0


def test_a_rule_that_is_not_for_hu_has_no_offset() -> None:
    moved = ct(0) + 1024
    for rule in (Z_SCORE, IntensityRule(kind="window", low=849, high=1274)):
        assert find_offset(moved, rule) == 0


def fitness_of(fill: Fill, domain: str = "X-MR", rule: IntensityRule = Z_SCORE, many: int = 5) -> Fitness:
    recipe = Recipe(spacing_mm=4, min_shape=(40, 40, 40), intensity={domain: rule})
    (found,) = judge_fills([(domain, fill)] * many, recipe=recipe, crop=32)
    return found


GOOD = Fill(size=(40, 40, 40), padding=0.1, commonest=0.3, value=0.0, at_low=0.3, at_high=0.02)


@pytest.mark.parametrize(
    ("change", "domain", "rule", "kind", "hopeless"),
    [
        ({}, "X-CT", SOFT_TISSUE_WINDOW, None, False),
        ({"padding": 0.76}, "X-MR", Z_SCORE, None, False),  # a phantom's head in the demo
        ({"padding": 0.85, "size": (20, 20, 24)}, "X-MR", Z_SCORE, "padding", False),
        ({"padding": 0.985, "size": (9, 9, 12)}, "X-MR", Z_SCORE, "padding", True),
        ({"commonest": 0.85, "at_low": 0.85}, "X-CT", SOFT_TISSUE_WINDOW, None, False),  # air about a neck
        ({"commonest": 0.92, "at_low": 0.92}, "X-CT", SOFT_TISSUE_WINDOW, "blank", False),
        ({"commonest": 0.97, "at_low": 0.97}, "X-CT", SOFT_TISSUE_WINDOW, "blank", True),
        ({"commonest": 0.97, "value": 0.4, "at_low": 0.0}, "X-PET", Z_SCORE, "blank", True),
        ({"commonest": 0.94, "at_low": 0.94}, "X-PET", WINDOW, None, False),  # SUV below the window
        ({"commonest": 0.97, "at_low": 0.97}, "X-PET", WINDOW, "blank", False),
        ({"commonest": 0.995, "at_low": 0.995}, "X-PET", WINDOW, "blank", True),
        ({"at_high": 0.15}, "X-CT", SOFT_TISSUE_WINDOW, None, False),  # a skull in a narrow window
        ({"at_high": 0.28, "at_low": 0.0}, "X-CT", SOFT_TISSUE_WINDOW, "saturated", False),
        ({"at_high": 0.28, "offset": 1024.0}, "X-CT", SOFT_TISSUE_WINDOW, "offset", False),
    ],
)
def test_what_is_said_of_a_domain(
    change: dict[str, object], domain: str, rule: IntensityRule, kind: str | None, hopeless: bool
) -> None:
    found = fitness_of(replace(GOOD, **change), domain, rule)  # type: ignore[arg-type]
    assert [(c.kind, c.hopeless) for c in found.complaints] == ([(kind, hopeless)] if kind else [])
    if hopeless:
        with pytest.raises(InputError, match=r"accept_blank: true") as error:
            refuse_hopeless([found, fitness_of(GOOD)])
        assert "1 of 2 domains" in str(error.value)
    else:
        refuse_hopeless([found])


def test_the_lines_to_paste_are_lines_that_a_study_file_takes() -> None:
    moved = fitness_of(replace(GOOD, at_high=0.3, offset=1024.0), "HN-CT", SOFT_TISSUE_WINDOW)
    (line,) = re.findall("`(.*?)`", moved.complaints[0].remedy)
    assert line == "HN-CT: {kind: window, low: 849, high: 1274}"
    recipe = checked(Recipe, spell_out({"intensity": yaml.safe_load(line)}), where="test")
    assert recipe.rule("HN-CT") == IntensityRule(kind="window", low=849, high=1274)

    small = fitness_of(replace(GOOD, padding=0.985, size=(9, 9, 12)))
    spacing, least, exclude = re.findall("`(.*?)`", small.complaints[0].remedy)
    recipe = checked(Recipe, yaml.safe_load(f"{spacing}\n{least}"), where="test")
    edges = (36.0, 36.0, 48.0)
    assert padded_share(edges, spacing_mm=recipe.spacing_mm, least=recipe.min_shape[0]) <= GOOD_PADDING
    assert yaml.safe_load(exclude) == {"exclude": ["X-MR"]}


@pytest.mark.parametrize(
    ("size", "voxel_mm", "spacing"),
    [
        ((6, 6, 6), (1.0, 1.0, 1.0), "0.8"),  # 24 mm
        ((1, 50, 50), (0.6, 0.6, 0.4), None),  # three slices: nothing that they hold fills a crop
        ((1, 10, 10), (0.4, 0.4, 0.4), "0.2"),
        ((2, 2, 2), (1.0, 1.0, 1.0), None),  # eight voxels per edge
    ],
)
def test_no_spacing_is_proposed_that_the_voxels_do_not_bear(
    size: tuple[int, int, int], voxel_mm: tuple[float, float, float], spacing: str | None
) -> None:
    found = fitness_of(replace(GOOD, padding=0.97, size=size, voxel_mm=voxel_mm))
    lines = re.findall("`(.*?)`", found.complaints[0].remedy)
    expected = [f"spacing_mm: {spacing}", "min_shape: [32, 32, 32]"] if spacing else []
    assert lines == [*expected, "exclude: [X-MR]"]


def test_one_bad_volume_of_many_is_no_complaint_of_the_domain() -> None:
    bad = replace(GOOD, padding=0.99, commonest=0.99, at_high=0.9, offset=1024.0)
    recipe = Recipe(spacing_mm=4, min_shape=(40, 40, 40), intensity={"X-CT": SOFT_TISSUE_WINDOW})
    (found,) = judge_fills([("X-CT", bad)] + [("X-CT", GOOD)] * 9, recipe=recipe)
    assert found.complaints == ()


def test_what_was_not_measured_is_unknown_and_not_zero() -> None:
    (found,) = judge_fills([("X-MR", None)] * 3, recipe=Recipe(intensity={"X-MR": Z_SCORE}))
    assert (found.volumes, found.measured, found.padding, found.complaints) == (3, 0, None, ())


def test_phantoms_are_in_order(tmp_path: Path) -> None:
    counts = {"ABD-CT": 2, "ABD-MRI": 2, "BRAIN-T1": 2, "BRAIN-T2": 2, "HN-CT": 2, "HN-PET": 2}
    write_phantoms(tmp_path, counts=counts, seed=0)
    manifest = read_folder(tmp_path)
    for spacing, least in ((7.0, 40), (4.0, 40)):
        found = audit(manifest, recipe=Recipe(spacing_mm=spacing, min_shape=(least,) * 3), pictures=False)
        assert [c.message for item in found.fitness for c in item.complaints] == []
        assert {f.kind for f in found.findings} & {"offset", "saturated", "blank"} == set()
    proposal = propose(see_fields(manifest), spacing_mm=4.0, crop=32, min_shape=40, patch=8)
    assert not proposal.changed


def write(path: Path, data: np.ndarray, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    nibabel.Nifti1Image(data.astype(np.float32), affine).to_filename(path)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    for i in range(4):
        write(tmp_path / "data" / "HN-CT" / f"p{i}" / "a.nii.gz", ct(i) + 1024)
        write(
            tmp_path / "data" / "KNEE-MR" / f"q{i}" / "a.nii.gz",
            np.random.default_rng(i).gamma(3, 80, (24,) * 3),
        )
    return read_folder(tmp_path / "data").split(seed=0)


def test_preparing_measures_and_a_cache_of_an_earlier_voxmix_is_measured_from_its_arrays(
    manifest: Manifest, tmp_path: Path
) -> None:
    recipe, root = Recipe(spacing_mm=1.0, min_shape=(24, 24, 24)), tmp_path / "cache"
    made = prepare(manifest, recipe=recipe, root=root)
    first = PreparedCache.open(root)
    kinds = {item.domain: [c.kind for c in item.complaints] for item in first.fitness()}
    assert kinds == {"HN-CT": ["offset"], "KNEE-MR": []}
    assert {f.kind for f in made.findings if f.domain == "HN-CT"} >= {"offset"}

    for side in (root / "volumes").glob("*.json"):  # As an earlier voxmix left it.
        value = json.loads(side.read_text(encoding="utf-8"))
        del value["fill"]
        side.write_text(json.dumps(value), encoding="utf-8")
    index = first.as_dict()
    for volume in index["volumes"]:
        del volume["fill"]
    (root / "index.json").write_text(json.dumps(index), encoding="utf-8")
    old = PreparedCache.open(root)
    assert old.digest == first.digest
    assert {item.measured for item in old.fitness()} == {0}

    again = prepare(manifest, recipe=recipe, root=root)
    assert (again.made, len(again.cache.volumes)) == (0, 8)
    for before, after in zip(first.volumes, PreparedCache.open(root).volumes, strict=True):
        assert before.fill is not None
        assert after.fill == replace(before.fill, percentiles=None, voxel_mm=None, offset=None)
    # The offset is not known from the array; that a third of it is white, and nothing black, is.
    (complaint,) = again.cache.fitness()[0].complaints
    assert complaint.kind == "saturated"
    assert "HN-CT: {kind: window, low: 849, high: 1274}" in complaint.remedy


def test_a_rule_that_fits_the_offset_ends_the_complaint(manifest: Manifest, tmp_path: Path) -> None:
    rule = IntensityRule(kind="window", low=849, high=1274)
    recipe = Recipe(spacing_mm=1.0, min_shape=(24, 24, 24), intensity={"HN-CT": rule})
    made = prepare(manifest, recipe=recipe, root=tmp_path / "cache")
    assert [c for item in made.cache.fitness() for c in item.complaints] == []
    assert [f for f in made.findings if f.domain == "HN-CT"] == []
    assert [f for f in audit(manifest, recipe=recipe).findings if f.domain == "HN-CT"] == []


def test_a_damaged_array_of_an_earlier_cache_does_not_stop_preparing(
    manifest: Manifest, tmp_path: Path
) -> None:
    recipe, root = Recipe(spacing_mm=1.0, min_shape=(24, 24, 24)), tmp_path / "cache"
    prepare(manifest, recipe=recipe, root=root)
    side = next((root / "volumes").glob("*.json"))
    value = json.loads(side.read_text(encoding="utf-8"))
    del value["fill"]
    side.write_text(json.dumps(value), encoding="utf-8")
    side.with_suffix(".npy").write_bytes(b"damaged")
    again = prepare(manifest, recipe=recipe, root=root)
    assert sum(volume.fill is None for volume in again.cache.volumes) == 1


def test_a_copy_in_another_format_across_the_split_is_found_when_preparing(
    manifest: Manifest, tmp_path: Path
) -> None:
    record = next(r for r in manifest.records if r.split == "train" and r.domain == "KNEE-MR")
    data = np.asarray(nibabel.load(record.path).dataobj)
    copy = tmp_path / "copy.nii"
    nibabel.Nifti1Image(data, np.eye(4)).to_filename(copy)
    twin = VolumeRecord(path=copy, domain="KNEE-MR", subject="other", split="validation")
    both = replace(manifest, records=(*manifest.records, twin))
    made = prepare(both, recipe=Recipe(spacing_mm=1.0, min_shape=(24, 24, 24)), root=tmp_path / "cache")
    leaks = [f for f in made.findings if f.kind == "leak"]
    assert {f.path for f in leaks} == {record.path, copy}
    assert made.findings[0].kind == "leak"


def test_a_volume_that_its_window_turns_into_one_value_says_on_which_side() -> None:
    for value, side in ((900.0, "above"), (-900.0, "below")):
        data = np.full((8, 8, 8), value)
        data[2:4] += 20
        with pytest.raises(UnreadableVolumeError, match=rf"{side} the window -175 to 250.*1024"):
            fill_of(data, SOFT_TISSUE_WINDOW)


def fields(domain: str, edge: float, voxel: float) -> Fields:
    return Fields(domain=domain, edges=((edge, edge, edge),) * 3, voxel_mm=voxel)


def proposal_of(*seen: Fields) -> tuple[float, int, int, tuple[str, ...]]:
    found = propose(seen, spacing_mm=4.0, crop=32, min_shape=40, patch=8)
    assert found.crop % 8 == 0
    assert found.min_shape >= found.crop
    return found.spacing_mm, found.crop, found.min_shape, found.misfits


def test_spacing_and_crop_fit_the_fields() -> None:
    large = (fields("A", 250, 2.0), fields("B", 200, 1.0))
    assert proposal_of(*large) == (4.0, 32, 40, ())
    assert proposal_of(*large, fields("C", 120, 1.0)) == (4.0, 32, 32, ())  # no voxels beyond the crop
    assert proposal_of(*large, fields("C", 64, 1.0)) == (2.5, 32, 32, ()), "the coarsest that fits"
    # Finer than the data themselves makes nothing, so the crop becomes smaller.
    coarse = (fields("A", 250, 3.0), fields("B", 200, 3.0))
    assert proposal_of(*coarse, fields("C", 64, 3.0)) == (3.0, 24, 24, ())
    # A field that no choice fits does not spoil the others' choice.
    assert proposal_of(*coarse, fields("C", 20, 0.5)) == (4.0, 32, 40, ("C",))
    assert proposal_of(fields("A", 30, 0.5), fields("B", 25, 0.5)) == (0.8, 32, 32, ())
    assert proposal_of(Fields(domain="A"), Fields(domain="B")) == (4.0, 32, 40, ())  # nothing known
    # Micro-CT has spacings of its own.
    assert proposal_of(fields("A", 1.28, 0.02), fields("B", 2, 0.02)) == (0.05, 32, 32, ())


def test_a_proposal_keeps_its_promise() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        seen = [fields(str(i), float(rng.uniform(10, 400)), float(rng.uniform(0.3, 5))) for i in range(4)]
        found = propose(seen, spacing_mm=4.0, crop=32, min_shape=40, patch=8)
        for item in seen:
            if item.domain not in found.misfits:
                assert found.padding[item.domain] <= GOOD_PADDING


def test_headers_alone_say_the_fields(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path / "A-MR" / f"p{i:02}" / "a.nii.gz", np.ones((4, 5, 6)) * i, spacing=2.0)
    np.save(tmp_path / "x.npy", np.zeros((7, 8, 9), np.float32))
    table = [
        *read_folder(tmp_path).records,
        VolumeRecord(path=tmp_path / "x.npy", domain="B-MR", subject="s"),
        VolumeRecord(path=tmp_path / "gone.nii.gz", domain="C-MR", subject="s"),
    ]
    seen = {item.domain: item for item in see_fields(Manifest(records=tuple(table)))}
    assert len(seen["A-MR"].edges) == 12
    assert seen["A-MR"].median == (8, 10, 12)
    assert seen["A-MR"].voxel_mm == pytest.approx(2)
    assert seen["B-MR"].median == (7, 8, 9)
    assert seen["C-MR"].edges == ()
