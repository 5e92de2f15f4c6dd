"""Sheared grids become straight ones with every landmark in its place, and predictions find back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.volumes.grids.geometry import Geometry, restore
from voxmix.volumes.grids.labels import prepare_labels
from voxmix.volumes.grids.shear import is_sheared, move, straight_grid
from voxmix.volumes.grids.transform import prepare_volume
from voxmix.volumes.intensity import IntensityRule
from voxmix.volumes.recipe import Recipe
from voxmix.volumes.volume import UnreadableVolumeError, Volume

RECIPE = Recipe(
    spacing_mm=2.0,
    min_shape=(8, 8, 8),
    crop_foreground=True,
    intensity={"D": IntensityRule(kind="window", low=0, high=1)},
)


@st.composite
def tilted(draw: st.DrawFn) -> np.ndarray:
    """Rotated grids whose one axis leans by 5 to 35 degrees, as a gantry does."""
    angles = [draw(st.integers(-1500, 1500)) / 1000 for _ in range(3)]
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    lean = np.radians(draw(st.integers(5, 35))) * draw(st.sampled_from([-1, 1]))
    axis = draw(st.integers(0, 2))
    other = (axis + 1) % 3
    columns = turn.copy()
    columns[:, axis] = np.cos(lean) * turn[:, axis] + np.sin(lean) * turn[:, other]
    affine = np.eye(4)
    affine[:3, :3] = columns * [draw(st.integers(10, 30)) / 10 for _ in range(3)]
    affine[:3, 3] = [draw(st.integers(-100, 100)) for _ in range(3)]
    return affine


def blob(shape: tuple[int, int, int], affine: np.ndarray, index: np.ndarray, width_mm: float) -> np.ndarray:
    """A ball in patient space, so round only when the grid is taken for what it is."""
    places = np.stack([*np.indices(shape), np.ones(shape)], axis=-1) @ affine.T
    offset = (places - affine @ [*index, 1])[..., :3]
    return np.exp(-0.5 * (offset**2).sum(-1) / width_mm**2).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(affine=tilted(), place=st.tuples(*[st.integers(40, 60)] * 3))
def test_landmark_and_roundness_survive_straightening(
    affine: np.ndarray, place: tuple[int, int, int]
) -> None:
    shape = (31, 29, 33)
    index = np.array(place) / 100 * (np.array(shape) - 1)
    data = blob(shape, affine, index, 3.5)
    array, geometry = prepare_volume(Volume(data=data, affine=affine), recipe=RECIPE, domain="D")
    assert geometry.source is not None
    assert Geometry.from_dict(geometry.as_dict()) == geometry
    weights = array.astype(np.float64)
    centers = np.indices(array.shape).reshape(3, -1)
    middle = (centers * weights.ravel()).sum(1) / weights.sum()
    world = geometry.prepared_affine @ [*middle, 1]
    assert np.linalg.norm((world - affine @ [*index, 1])[:3]) < RECIPE.spacing_mm / 2
    spread = (centers - middle[:, None]) * np.sqrt(weights.ravel() / weights.sum())
    axes = np.linalg.eigvalsh(spread @ spread.T)
    assert axes.max() / axes.min() < 1.5


@settings(max_examples=25, deadline=None)
@given(affine=tilted())
def test_labels_follow_and_find_back(affine: np.ndarray) -> None:
    shape = (25, 24, 26)
    width = 4.0 * np.linalg.norm(affine[:3, :3], axis=0).max()
    data = blob(shape, affine, (np.array(shape) - 1) / 2, width)
    labels = (data > 0.5).astype(np.uint8) * 3
    fine = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8), intensity=RECIPE.intensity)
    array, geometry = prepare_volume(Volume(data=data, affine=affine), recipe=fine, domain="D")
    moved, notes = prepare_labels(Volume(data=labels, affine=affine), geometry)
    assert notes == ()
    assert set(np.unique(moved)) == {0, 3}
    inside = array > 0.5
    overlap = 2 * (inside & (moved == 3)).sum() / (inside.sum() + (moved == 3).sum())
    assert overlap > 0.86
    back = restore(moved, geometry)
    assert back.shape == shape
    assert back.dtype == np.uint8
    assert 2 * ((back == 3) & (labels == 3)).sum() / ((back == 3).sum() + (labels == 3).sum()) > 0.9


def test_straight_grids_are_left_alone() -> None:
    shape = (40, 50, 60)
    affine = np.array([[0, -2.0, 0, 5], [1.0, 0, 0, 7], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    assert not is_sheared(shape, affine)
    rounded = affine.copy()
    rounded[:3, :3] += 1e-4
    assert not is_sheared(shape, rounded)
    leaning = affine.copy()
    leaning[0, 2] = 0.3
    assert is_sheared(shape, leaning)


def test_straight_grid_holds_the_sheared_one() -> None:
    affine = np.array([[1.0, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    shape, straight = straight_grid((10, 10, 10), affine)
    assert shape == (15, 10, 10)
    np.testing.assert_allclose(straight[:3, :3], np.diag([1, 1, 2.0]), atol=1e-12)
    ones = move(np.ones((10, 10, 10), np.uint8), affine, shape, straight)
    assert ones.sum() == pytest.approx(1000, rel=0.1)


def test_label_of_the_straight_grid_is_refused() -> None:
    affine = np.array([[1.0, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])
    data = blob((10, 10, 10), affine, np.array([4, 5, 5]), 3.0)
    _, geometry = prepare_volume(Volume(data=data, affine=affine), recipe=RECIPE, domain="D")
    with pytest.raises(UnreadableVolumeError, match="was its header lost"):
        prepare_labels(Volume(data=np.zeros((10, 10, 10), np.uint8), affine=np.eye(4)), geometry)
