"""Label maps on other grids land where they were drawn, never get new values, and strangers are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError
from voxmix.volumes import IntensityRule, Manifest, Recipe, VolumeRecord
from voxmix.volumes.grids.labels import prepare_labels
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.manifest_files import read_table, write_table
from voxmix.volumes.preparing.inverse import find_prepared, write_prediction
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.reading.read import read_labels, read_volume
from voxmix.volumes.volume import UnreadableVolumeError, Volume

RULE = IntensityRule(kind="window", low=0, high=1)
RECIPE = Recipe(spacing_mm=1.5, min_shape=(8, 8, 8), intensity={"D": RULE})


def turned(angles: tuple[float, float, float], spacing: tuple[float, float, float]) -> np.ndarray:
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    return affine


def centered(
    affine: np.ndarray, shape: tuple[int, int, int], middle: tuple[float, float, float]
) -> np.ndarray:
    result = affine.copy()
    result[:3, 3] = middle - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return result


def ball(shape: tuple[int, int, int], affine: np.ndarray, middle: np.ndarray, radius_mm: float) -> np.ndarray:
    places = np.stack([*np.indices(shape), np.ones(shape)], axis=-1) @ affine.T
    return np.linalg.norm(places[..., :3] - middle, axis=-1) < radius_mm


ToITK = Callable[[np.ndarray, np.ndarray], sitk.Image]
ANGLE = st.integers(-1500, 1500).map(lambda n: n / 1000)
EDGE = st.integers(8, 30).map(lambda n: n / 10)


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(ANGLE, ANGLE, ANGLE), own=st.tuples(EDGE, EDGE, EDGE), other=st.tuples(EDGE, EDGE, EDGE)
)
def test_a_label_map_of_any_other_grid_equals_simpleitk(
    to_itk: ToITK,
    angles: tuple[float, float, float],
    own: tuple[float, float, float],
    other: tuple[float, float, float],
) -> None:
    middle = np.array([12.0, -40.0, 7.0])
    shape = (31, 30, 32)
    image_affine = centered(turned(angles, own), shape, middle)
    image = ball(shape, image_affine, middle, 12).astype(np.float32)
    geometry = prepare_volume(Volume(data=image, affine=image_affine), recipe=RECIPE, domain="D")[1]
    size = (29, 33, 28)
    label_affine = centered(turned(angles[::-1], other), size, middle)
    drawn = ball(size, label_affine, middle, 6).astype(np.uint8) * 3
    moved, notes = prepare_labels(Volume(data=drawn, affine=label_affine), geometry)
    assert len(notes) == 1
    assert "another grid" in notes[0]
    assert moved.dtype == np.uint8
    assert moved.shape == geometry.padded
    grid = to_itk(np.zeros(geometry.padded, np.uint8), geometry.prepared_affine)
    reference = sitk.GetArrayFromImage(
        sitk.Resample(to_itk(drawn, label_affine), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    ).T
    # Halfway between two voxels either may be taken, and that is all they may differ in.
    index = np.argwhere(moved != reference)
    to_label = np.linalg.inv(label_affine) @ geometry.prepared_affine
    places = index @ to_label[:3, :3].T + to_label[:3, 3]
    assert np.all(np.abs(places % 1 - 0.5).min(axis=1) < 1e-3) if len(index) else True
    assert moved.max() == 3


def prepared_ball(spacing_mm: float = 1.5) -> tuple[Volume, object]:
    shape, affine = (20, 22, 24), np.diag([-2.0, 2.0, 1.5, 1.0])
    volume = Volume(
        data=ball(shape, affine, affine[:3] @ [9, 11, 12, 1], 12).astype(np.float32), affine=affine
    )
    return volume, prepare_volume(volume, recipe=replace(RECIPE, spacing_mm=spacing_mm), domain="D")[1]


def test_a_map_of_the_same_box_with_other_axes_is_the_same_map() -> None:
    volume, geometry = prepared_ball(1.37)  # No voxel halfway between two others.
    labels = (volume.data > 0.5).astype(np.uint8)
    straight, none = prepare_labels(Volume(data=labels, affine=volume.affine), geometry)
    flipped = volume.affine.copy()
    flipped[:, 0] *= -1
    flipped[:3, 3] += volume.affine[:3, 0] * (labels.shape[0] - 1)
    turned_map = Volume(data=np.ascontiguousarray(labels[::-1]), affine=flipped)
    other, notes = prepare_labels(turned_map, geometry)
    assert none == ()
    assert notes
    np.testing.assert_array_equal(straight, other)


def test_a_map_cropped_to_its_organ_is_put_back_and_said() -> None:
    volume, geometry = prepared_ball(1.37)
    labels = (volume.data > 0.5).astype(np.uint8)
    whole, _ = prepare_labels(Volume(data=labels, affine=volume.affine), geometry)
    shifted = volume.affine.copy()
    shifted[:3, 3] = (volume.affine @ [2, 3, 2, 1])[:3]
    part, notes = prepare_labels(Volume(data=labels[2:18, 3:20, 2:22], affine=shifted), geometry)
    assert "0 outside its field" in notes[0]
    np.testing.assert_array_equal(part, whole)


def test_a_rounded_header_is_laid_on_its_image() -> None:
    volume, geometry = prepared_ball()
    labels = (volume.data > 0.5).astype(np.uint8)
    near = volume.affine.copy()
    near[0, 3] += 0.5
    moved, notes = prepare_labels(Volume(data=labels, affine=near), geometry)
    assert "0.33 voxels off its image" in notes[0]
    np.testing.assert_array_equal(
        moved, prepare_labels(Volume(data=labels, affine=volume.affine), geometry)[0]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"affine": np.eye(4)}, "was its header lost"),
        ({"affine": np.diag([-2.0, 2.0, 1.5, 1.0]) + np.eye(4, k=3) * 30}, "was its header lost"),
        ({"data": np.ones((20, 22, 30), np.uint8)}, "20% of its labeled voxels lie outside its image"),
    ],
)
def test_strangers_are_refused(change: dict[str, np.ndarray], reason: str) -> None:
    volume, geometry = prepared_ball()
    labels = Volume(data=(volume.data > 0.5).astype(np.uint8), affine=volume.affine)
    with pytest.raises(UnreadableVolumeError, match=reason):
        prepare_labels(replace(labels, **change), geometry)


def test_an_empty_map_anywhere_is_an_empty_map() -> None:
    _, geometry = prepared_ball()
    empty = Volume(data=np.zeros((5, 5, 5), np.uint8), affine=np.diag([9.0, 9, 9, 1]))
    moved, _ = prepare_labels(empty, geometry)
    assert moved.shape == geometry.padded
    assert not moved.any()


def write_pair(folder: Path, seed: int) -> VolumeRecord:
    """A CT-like image and a label map that was drawn on a finer grid."""
    shape, affine = (18, 20, 16), np.diag([-2.0, 2.0, 3.0, 1.0])
    middle = affine[:3] @ [9, 10, 8, 1]
    rng = np.random.default_rng(seed)
    values = ball(shape, affine, middle, 14) * rng.uniform(0.4, 1, shape)
    fine, fine_affine = (36, 40, 48), np.diag([-1.0, 1.0, 1.0, 1.0])
    folder.mkdir(parents=True)
    nibabel.Nifti1Image(values.astype(np.float32), affine).to_filename(folder / "image.nii.gz")
    drawn = ball(fine, fine_affine, middle, 8).astype(np.uint8)
    nibabel.Nifti1Image(drawn, fine_affine).to_filename(folder / "drawn.nii.gz")
    return VolumeRecord(
        path=folder / "image.nii.gz", domain="D", subject=folder.name, label=folder / "drawn.nii.gz"
    )


def test_notes_of_labels_are_said_again_when_nothing_is_made_anew(tmp_path: Path) -> None:
    manifest = Manifest(records=tuple(write_pair(tmp_path / f"p{i}", i) for i in range(3))).split(seed=0)
    first = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    again = prepare(manifest, recipe=RECIPE, root=tmp_path / "cache")
    assert (again.made, len(again.cache.volumes)) == (0, 3)
    assert first.notes == again.notes
    assert [note for _, note in first.notes if "another grid" in note]
    assert len(first.notes) == 3


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_prediction_lies_over_the_original_file(tmp_path: Path, suffix: str) -> None:
    """Predict the labels themselves: written back, they overlap what was drawn, in the file's own geometry."""
    records = tuple(write_pair(tmp_path / f"p{i}", i) for i in range(3))
    fine = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity={"D": RULE})
    cache = prepare(Manifest(records=records).split(seed=0), recipe=fine, root=tmp_path / "cache").cache
    volume = find_prepared(cache, records[1])
    labels = cache.labels(volume)
    assert labels is not None
    write_prediction(np.asarray(labels), cache.geometry(volume), tmp_path / f"back{suffix}")
    back = nibabel.load(tmp_path / f"back{suffix}")
    original = nibabel.load(records[1].path)
    assert back.shape == original.shape
    np.testing.assert_allclose(back.affine, original.affine, atol=1e-5)
    assert back.get_data_dtype() == np.uint8
    middle = original.affine[:3] @ [9, 10, 8, 1]
    found = np.asarray(back.dataobj) == 1
    # Nearest neighbor twice, on voxels of 1 mm: each moves a border by at most half their diagonal.
    off = 2 * np.sqrt(3) / 2
    assert found[ball(original.shape, original.affine, middle, 8 - off)].all()
    assert not found[~ball(original.shape, original.affine, middle, 8 + off)].any()
    assert not list(tmp_path.glob(".*"))


FLIPS = st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)


@settings(max_examples=20, deadline=None)
@given(angles=st.tuples(ANGLE, ANGLE, ANGLE), own=st.tuples(EDGE, EDGE, EDGE), flips=FLIPS)
def test_a_landmark_comes_back_to_its_place_in_simpleitk(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    own: tuple[float, float, float],
    flips: tuple[float, float, float],
) -> None:
    """File, prepared array, prediction, file: SimpleITK finds the landmark of both files at one place."""
    folder = tmp_path_factory.mktemp("landmark")
    shape, middle = (31, 34, 29), np.array([-20.0, 15.0, 70.0])
    affine = centered(turned(angles, own) @ np.diag([*flips, 1.0]), shape, middle)
    image = ball(shape, affine, middle + np.array([3.0, -2.0, 4.0]), 7).astype(np.float32)
    nibabel.Nifti1Image(image, affine).to_filename(folder / "a.nii.gz")
    array, geometry = prepare_volume(read_volume(folder / "a.nii.gz"), recipe=RECIPE, domain="D")
    write_prediction(array, geometry, folder / "b.nii.gz")

    def place(name: str) -> np.ndarray:
        read = sitk.ReadImage(str(folder / name), sitk.sitkFloat64)
        assert read.GetSize() == shape
        values = sitk.GetArrayFromImage(read).T
        index = [float(np.average(axis, weights=values)) for axis in np.indices(shape)]
        return np.array(read.TransformContinuousIndexToPhysicalPoint(index))

    coarsest = max(RECIPE.spacing_mm, *own)
    assert np.linalg.norm(place("a.nii.gz") - place("b.nii.gz")) < coarsest / 2


def test_probabilities_are_written_as_float32(tmp_path: Path) -> None:
    volume, geometry = prepared_ball()
    array = prepare_volume(volume, recipe=RECIPE, domain="D")[0]
    write_prediction(array, geometry, tmp_path / "p.nii.gz")
    back = nibabel.load(tmp_path / "p.nii.gz")
    assert back.get_data_dtype() == np.float32
    inside = ball(volume.data.shape, volume.affine, volume.affine[:3] @ [9, 11, 12, 1], 10)
    assert back.get_fdata()[inside].min() > 0.7
    with pytest.raises(InputError, match=r"should end in \.nii"):
        write_prediction(array, geometry, tmp_path / "p.nrrd")


def test_a_file_that_was_not_prepared_is_not_found(tmp_path: Path) -> None:
    records = tuple(write_pair(tmp_path / f"p{i}", i) for i in range(3))
    cache = prepare(Manifest(records=records[:2]).split(seed=0), recipe=RECIPE, root=tmp_path / "cache").cache
    with pytest.raises(InputError, match="is not among the prepared volumes of domain D"):
        find_prepared(cache, records[2])


def test_one_of_several_label_maps_in_a_file_is_chosen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 3, (16, 17, 18, 3)).astype(np.uint8)
    for person in ("p0", "p1"):
        (tmp_path / person).mkdir()
        for name, data in (("ct", rng.random((16, 17, 18)).astype(np.float32)), ("seg", maps)):
            image = nibabel.Nifti1Image(data, np.diag([1.5, 1.5, 1.5, 1]))
            image.to_filename(tmp_path / person / f"{name}.nii.gz")
    recipe = replace(RECIPE, crop_foreground=False)

    def prepared(chosen: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
        table = tmp_path / "table.csv"
        table.write_text(
            "path,domain,subject,split,label,label_volume\n"
            f"p0/ct.nii.gz,D,p0,train,p0/seg.nii.gz,{chosen}\n"
            f"p1/ct.nii.gz,D,p1,validation,p1/seg.nii.gz,{chosen}\n",
            encoding="utf-8",
        )
        manifest = read_table(table)
        write_table(manifest, tmp_path / "again.csv")
        assert read_table(tmp_path / "again.csv") == manifest
        found = prepare(manifest, recipe=recipe, root=tmp_path / "cache")
        return found.cache.labels(found.cache.select("D", "train")[0]), tuple(
            aside.reason for aside in found.set_aside
        )

    for chosen in (0, 2):
        labels, reasons = prepared(str(chosen))
        assert labels is not None
        assert np.array_equal(labels, maps[..., chosen])
        assert reasons == ()
    labels, reasons = prepared("")
    assert labels is None
    assert set(reasons) == {
        "label map: 4D: 3 volumes in one file; choose one by label_volume, in the table or the task"
    }
    assert set(prepared("3")[1]) == {"label map: volume 3 was asked for, the file has 3 (from 0)"}
    with pytest.raises(InputError, match="has label_volume '-1'; give which one of a 4D file, from 0"):
        prepared("-1")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([-1.0, 0, 1], "the lowest is -1; if it marks what is unknown, .* the task's `ignore`"),
        ([0.0, 0.4, 0.9], "are they probabilities"),
        ([0.0, 1.4, 2], "not whole numbers from 0 to 65535$"),
        ([0.0, 1, np.inf], "not whole numbers from 0 to 65535$"),
        ([0.0, 1, 70000], "not whole numbers from 0 to 65535$"),
        ([np.nan, np.nan, np.nan], "not whole numbers from 0 to 65535$"),
    ],
)
def test_values_that_are_no_labels_are_refused_with_words(
    tmp_path: Path, values: list[float], said: str
) -> None:
    np.save(tmp_path / "a.npy", np.resize(np.array(values), (3, 3, 3)))
    with pytest.raises(UnreadableVolumeError, match=said):
        read_labels(tmp_path / "a.npy")


def test_nan_is_background_and_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.resize(np.array([np.nan, 1.00003, 2035]), (3, 3, 3)))
    found = read_labels(tmp_path / "a.npy")
    assert found.data.dtype == np.uint16
    assert sorted(np.unique(found.data)) == [0, 1, 2035]
    assert "label map: 33.3% of its voxels are NaN, taken as 0" in found.notes


def test_nan_in_a_label_map_is_said_when_preparing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(2):
        folder = tmp_path / "D" / str(number)
        folder.mkdir(parents=True)
        np.save(folder / "a.npy", rng.uniform(size=(9, 9, 9)).astype(np.float32))
        np.save(folder / "a_seg.npy", np.resize(np.array([np.nan, 1]), (9, 9, 9)))
    done = prepare(read_folder(tmp_path).split(seed=0), recipe=RECIPE, root=tmp_path / "cache")
    assert sum("NaN, taken as 0" in note for _, note in done.notes) == 2
