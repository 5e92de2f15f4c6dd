"""Tubes drawn on other films: inside their maps and nowhere else, where the chest lies."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from voxmix.errors import InputError
from voxmix.radiographs import draw_lines
from voxmix.radiographs.body import RIGHT
from voxmix.radiographs.drawing_lines import Landmarks, find_landmarks
from voxmix.radiographs.films import draw_film, film_facts, film_grid
from voxmix.radiographs.persons import plan_film
from voxmix.radiographs.tubes import TUBES, Tube


def film(number: int, *, edge: int = 160) -> np.ndarray:
    return draw_film(bare(number), seed=5, edge=edge).image


def bare(number: int):  # type: ignore[no-untyped-def]
    plan = plan_film(number, seed=5, centers=1)
    return replace(plan, findings={}, tubes={}, body=replace(plan.body, domes=(0.0, 0.0), heart=1.0))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_film_changes_inside_the_maps_and_nowhere_else(kind: type) -> None:
    before = film(1).astype(kind) * (200 if kind is np.uint16 else 1)
    kept = before.copy()
    drawn = draw_lines(before, list(TUBES), seed=1)
    np.testing.assert_array_equal(before, kept)
    assert drawn.image.dtype == before.dtype
    assert drawn.image.shape == before.shape
    assert set(drawn.maps) == set(drawn.tubes) == set(TUBES)
    union = np.any(list(drawn.maps.values()), axis=0)
    change = drawn.image.astype(float) - before
    assert not change[~ndimage.binary_dilation(union, np.ones((3, 3)), iterations=2)].any()
    assert (change >= 0).all()
    for shown in drawn.maps.values():
        assert shown.sum() > 20
        assert change[shown].mean() > 0.02 * np.ptp(before)


def test_the_seed_decides_and_tubes_may_be_given() -> None:
    image = film(2)
    one, two, other = (draw_lines(image, ["central_line"], seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.image, two.image)
    assert not np.array_equal(one.image, other.image)
    tube = Tube(name="nasogastric_tube", way="nose", position="coiled", seed=1)
    assert draw_lines(image, [tube], seed=0).tubes == {"nasogastric_tube": tube}


def test_landmarks_of_made_films_are_found() -> None:
    """The generator knows where its chests lie: on most films the search comes within a tenth of the film."""
    off = []
    for number in range(24):
        plan = bare(number)
        grid = film_grid(plan, seed=5, edge=128)
        found = find_landmarks(draw_film(plan, seed=5, edge=128).image)
        facts = film_facts(plan, seed=5, edge=128)
        places = {
            "midline": (found.midline, facts.carina[1]),
            "right wall": (found.walls[0], grid.pixels([(-128.0, 110.0)])[0][1]),
            "left wall": (found.walls[1], grid.pixels([(128.0, 110.0)])[0][1]),
            "apex": (found.apex, grid.pixels([(50.0, -9.0)])[0][0]),
            "dome": (found.dome, grid.pixels([(-66.0, plan.body.dome_top(RIGHT)[1])])[0][0]),
        }
        off.append([abs(a - b) / 128 for a, b in places.values()])
    assert (np.median(off, axis=0) < 0.06).all(), np.median(off, axis=0)
    assert (np.mean(np.array(off) < 0.1, axis=0) > 0.8).all(), np.mean(np.array(off) < 0.1, axis=0)


def test_given_landmarks_are_kept_to() -> None:
    image = np.full((200, 200), 90, dtype=np.uint8)
    where = Landmarks(midline=100, walls=(30, 170), apex=20, dome=150, carina=75)
    tube = Tube(name="endotracheal_tube", way="mouth", position="trachea", seed=2)
    drawn = draw_lines(image, [tube], seed=0, landmarks=where)
    rows, columns = np.nonzero(drawn.maps["endotracheal_tube"])
    pixel = 256 / 140
    assert 20 / pixel < 75 - rows.max() < 70 / pixel
    assert np.abs(columns - 100).max() < 16
    moved = draw_lines(image, [tube], seed=0, landmarks=replace(where, midline=90, walls=(20, 160)))
    np.testing.assert_array_equal(
        drawn.maps["endotracheal_tube"][:, 20:], moved.maps["endotracheal_tube"][:, 10:-10]
    )


def test_bad_films_are_named() -> None:
    with pytest.raises(InputError, match=r"shape \(40, 40, 3\)"):
        draw_lines(np.zeros((40, 40, 3)), ["central_line"], seed=0)
    with pytest.raises(InputError, match="at least 32 pixels"):
        draw_lines(np.zeros((20, 40)), ["central_line"], seed=0)
    with pytest.raises(InputError, match="finite numbers"):
        draw_lines(np.full((40, 40), np.nan), ["central_line"], seed=0)
    with pytest.raises(InputError, match="did you mean 'central_line'"):
        draw_lines(np.zeros((40, 40)), ["central_lime"], seed=0)
    for plain in (np.zeros((40, 40)), np.eye(64)):
        assert draw_lines(plain, ["central_line"], seed=0).image.shape == plain.shape


@pytest.mark.shared
def test_real_films_take_lines(shared_data: Path) -> None:
    paths = sorted((shared_data / "radiographs" / "nih_cxr" / "images").glob("*"))[::100]
    if not paths:
        pytest.skip("no real films on this machine")
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            image = np.asarray(opened.convert("L"))
        drawn = draw_lines(image, list(TUBES), seed=number)
        union = np.any(list(drawn.maps.values()), axis=0)
        change = drawn.image.astype(int) - image
        assert not change[~ndimage.binary_dilation(union, np.ones((3, 3)), iterations=2)].any()
        assert change[union].mean() > 8
        assert all(shown.sum() > 20 for shown in drawn.maps.values())
