"""Preparing keeps every point of the patient where it was: against SimpleITK, on any affine."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from voxmix.errors import InputError
from voxmix.volumes.grids.geometry import (
    Geometry,
    crop_and_pad,
    foreground_box,
    nearest_ras,
    reorder,
    resample,
    resample_labels,
    resampled_shape,
    restore,
)
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import Volume

IDENTITY_RULE = IntensityRule(kind="window", low=0, high=1)


def recipe(spacing_mm: float = 2.0, **options: object) -> Recipe:
    values = {"min_shape": (1, 1, 1), "crop_foreground": False, "intensity": {"D": IDENTITY_RULE}, **options}
    return Recipe(spacing_mm=spacing_mm, **values)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any rotation, any order and direction of axes, spacing from 0.7 to 5 mm, far origins."""
    # Thousandths: ITK stumbles over the subnormal numbers that floats() likes.
    angles = [draw(st.integers(-3142, 3142)) / 1000 for _ in range(3)]
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    if draw(st.booleans()):
        turn[:, 0] *= -1
    affine = np.eye(4)
    affine[:3, :3] = turn * [draw(st.floats(0.7, 5.0)) for _ in range(3)]
    affine[:3, 3] = [draw(st.integers(-3000, 3000)) / 10 for _ in range(3)]
    return affine


ToITK = Callable[[np.ndarray, np.ndarray], sitk.Image]


def smooth(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32) * 0.8 + 0.1


@settings(max_examples=40, deadline=None)
@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(4, 17)] * 3),
    spacing=st.floats(0.8, 6.0),
    seed=st.integers(0, 99),
)
def test_resampling_equals_simpleitk(
    to_itk: ToITK, affine: np.ndarray, shape: tuple[int, int, int], spacing: float, seed: int
) -> None:
    data = smooth(shape, seed)
    prepared, geometry = prepare_volume(Volume(data=data, affine=affine), recipe=recipe(spacing), domain="D")
    grid = to_itk(np.zeros(prepared.shape, np.float32), geometry.prepared_affine)
    assert grid.GetSpacing() == pytest.approx((spacing,) * 3)
    outside = -9.0
    reference = sitk.GetArrayFromImage(
        sitk.Resample(to_itk(data, affine), grid, sitk.Transform(), sitk.sitkLinear, outside)
    ).T
    known = reference != outside
    assert known.mean() > 0.5 or min(prepared.shape) < 4
    np.testing.assert_allclose(prepared[known], reference[known], atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(affine=affines(), shape=st.tuples(*[st.integers(8, 15)] * 3), spacing=st.floats(0.8, 2.5))
def test_grid_keeps_the_box_and_its_center(
    affine: np.ndarray, shape: tuple[int, int, int], spacing: float
) -> None:
    prepared, geometry = prepare_volume(
        Volume(data=smooth(shape, 0), affine=affine), recipe=recipe(spacing), domain="D"
    )
    middle = geometry.prepared_affine @ [*((np.array(prepared.shape) - 1) / 2), 1]
    np.testing.assert_allclose(middle, affine @ [*((np.array(shape) - 1) / 2), 1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(geometry.prepared_affine[:3, :3], axis=0), spacing)
    extent = np.array(geometry.ras_shape) * np.linalg.norm(geometry.ras_affine[:3, :3], axis=0)
    assert np.all(
        np.abs(np.array(prepared.shape) * spacing - extent)
        <= np.maximum(spacing / 2, spacing - extent) + 1e-6
    )


@settings(max_examples=25, deadline=None)
@given(affine=affines(), spacing=st.floats(1.0, 4.0), off=st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_landmarks_stay_within_half_a_voxel(
    affine: np.ndarray, spacing: float, off: tuple[float, float, float]
) -> None:
    size = np.linalg.norm(affine[:3, :3], axis=0)
    width = 1.2 * max(spacing, size.max())
    shape = tuple(int(n) for n in np.ceil(8.4 * width / size) + 4)
    index = (np.array(shape) - 1) / 2 + off
    distance = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - index
    blob = np.exp(-0.5 * ((distance * size) ** 2).sum(-1) / width**2)
    options = {"crop_foreground": True, "min_shape": (40, 40, 40)}
    prepared, geometry = prepare_volume(
        Volume(data=blob.astype(np.float32), affine=affine), recipe=recipe(spacing, **options), domain="D"
    )
    weights = prepared.astype(np.float64)
    found = [np.average(axis, weights=weights) for axis in np.indices(prepared.shape)]
    world = affine @ [*index, 1]
    assert np.linalg.norm((geometry.prepared_affine @ [*found, 1] - world)[:3]) < spacing / 2


@settings(max_examples=40, deadline=None)
@given(affine=affines(), shape=st.tuples(*[st.integers(3, 9)] * 3))
def test_axes_become_right_anterior_superior(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    axes, flipped = nearest_ras(affine)
    assert sorted(axes) == [0, 1, 2]
    geometry = prepare_volume(Volume(data=smooth(shape, 1), affine=affine), recipe=recipe(0.7), domain="D")[1]
    index = np.array([1, 2, 0])
    data = np.zeros(shape)
    data[tuple(index)] = 1
    moved = np.argwhere(reorder(data, geometry) == 1)[0]
    np.testing.assert_allclose(geometry.ras_affine @ [*moved, 1], affine @ [*index, 1], atol=1e-6)
    cosines = geometry.ras_affine[:3, :3] / np.linalg.norm(geometry.ras_affine[:3, :3], axis=0)
    assert np.trace(cosines) >= 1 - 1e-9
    assert (axes, flipped) == (geometry.axes, geometry.flipped)


@settings(max_examples=30, deadline=None)
@given(
    affine=affines(),
    shape=st.tuples(*[st.integers(3, 12)] * 3),
    spacing=st.floats(0.7, 5.0),
    seed=st.integers(0, 9),
)
def test_labels_are_never_made_up_and_follow_the_image(
    to_itk: ToITK, affine: np.ndarray, shape: tuple[int, int, int], spacing: float, seed: int
) -> None:
    voxel_mm = np.linalg.norm(affine[:3, :3], axis=0)
    # What shrinks to a single voxel is refused as constant, rightly.
    assume(max(resampled_shape(shape, voxel_mm, spacing_mm=spacing)) > 1)
    labels = np.random.default_rng(seed).choice(np.array([0, 3, 200], np.uint8), shape)
    geometry = prepare_volume(
        Volume(data=smooth(shape, 1), affine=affine), recipe=recipe(spacing), domain="D"
    )[1]
    moved = resample_labels(reorder(labels, geometry), geometry.resampled, step=geometry.step)
    assert moved.dtype == np.uint8
    assert set(np.unique(moved)) <= set(np.unique(labels))
    grid = to_itk(moved, geometry.prepared_affine)
    reference = sitk.GetArrayFromImage(
        sitk.Resample(to_itk(labels, affine), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 99)
    ).T
    known = reference != 99
    # A point halfway between two voxels may go to either: leave those out.
    for axis, (size, new) in enumerate(zip(geometry.ras_shape, moved.shape, strict=True)):
        place = (size - 1) / 2 + (np.arange(new) - (new - 1) / 2) * geometry.step[axis]
        tie = np.abs(place % 1 - 0.5) < 1e-3
        known &= ~tie.reshape([-1 if k == axis else 1 for k in range(3)])
    np.testing.assert_array_equal(moved[known], reference[known])


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_restoring_undoes_preparing_exactly_at_the_files_spacing(crop: bool, dtype: type) -> None:
    affine = np.array([[0, 0, -2.0, 5], [2.0, 0, 0, 7], [0, -2.0, 0, 9], [0, 0, 0, 1]])
    data = np.zeros((9, 12, 7), dtype=np.float32)
    data[2:7, 3:9, 1:5] = np.random.default_rng(0).integers(1, 2, (5, 6, 4)) * 0.75
    options = {"crop_foreground": crop, "min_shape": (16, 5, 16)}
    prepared, geometry = prepare_volume(
        Volume(data=data, affine=affine), recipe=recipe(2.0, **options), domain="D"
    )
    assert prepared.shape == ((16, 9, 16) if not crop else (16, 5, 16))
    scaled = (prepared.astype(np.float32) * 4).astype(dtype)
    np.testing.assert_array_equal(restore(scaled, geometry), data * 4)


@settings(max_examples=30, deadline=None)
@given(affine=affines(), shape=st.tuples(*[st.integers(6, 14)] * 3), spacing=st.floats(0.7, 1.5))
def test_restored_labels_overlap_when_prepared_finer(
    affine: np.ndarray, shape: tuple[int, int, int], spacing: float
) -> None:
    labels = np.zeros(shape, np.uint8)
    labels[2:-2, 2:-2, 2:-2] = 7
    geometry = prepare_volume(
        Volume(data=smooth(shape, 1), affine=affine), recipe=recipe(spacing), domain="D"
    )[1]
    moved = resample_labels(reorder(labels, geometry), geometry.resampled, step=geometry.step)
    back = restore(crop_and_pad(moved, geometry, fill=0), geometry)
    assert back.shape == shape
    if spacing <= np.linalg.norm(affine[:3, :3], axis=0).min():
        np.testing.assert_array_equal(back, labels)


def test_restore_refuses_another_shape() -> None:
    volume = Volume(data=smooth((5, 5, 5), 0), affine=np.eye(4))
    geometry = prepare_volume(volume, recipe=recipe(), domain="D")[1]
    with pytest.raises(InputError, match="does not fit"):
        restore(np.zeros((2, 2, 2)), replace(geometry, padded=(3, 3, 3)))


def test_geometry_survives_json() -> None:
    import json

    volume = Volume(data=smooth((5, 6, 7), 0), affine=np.diag([-2.0, 1, 3, 1]))
    geometry = prepare_volume(volume, recipe=recipe(), domain="D")[1]
    assert Geometry.from_dict(json.loads(json.dumps(geometry.as_dict()))) == geometry


def test_foreground_box_ignores_single_voxels() -> None:
    data = np.zeros((50, 60, 70), np.float32)
    data[10:30, 20:40, 30:50] = 1
    data[49, 59, 69] = 1
    assert foreground_box(data, threshold=0.5) == ((10, 20, 30), (20, 20, 20))
    assert foreground_box(data, threshold=2) == ((0, 0, 0), (50, 60, 70))


def test_constant_stays_constant() -> None:
    data = np.full((5, 6, 7), 0.3, np.float32)
    assert np.allclose(resample(data, (3, 9, 7), step=(1.7, 0.6, 1.0)), 0.3)


def test_slices_that_resampling_takes_away_are_told() -> None:
    affine = np.diag([2.0, 0.4, 2.0, 1.0])
    thin = Volume(data=smooth((9, 3, 9), 0), affine=affine)
    _, geometry = prepare_volume(thin, recipe=recipe(1.5, min_shape=(8, 8, 8)), domain="D")
    assert geometry.notes == ("3 slices of 0.4 mm become 1 of 1.5 mm; the rest of the array is padding",)
    _, geometry = prepare_volume(thin, recipe=recipe(0.8), domain="D")
    assert geometry.notes == ("3 slices of 0.4 mm become 2 of 0.8 mm",)
    thick = Volume(data=smooth((9, 9, 3), 0), affine=np.diag([0.5, 0.5, 12.0, 1.0]))
    assert prepare_volume(thick, recipe=recipe(1.5), domain="D")[1].notes == ()
