"""Planted truths are what they are said to be, and leave everything else as it was."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from voxmix.encoder_study.config import ImageData, MadeRadiographs
from voxmix.errors import InputError
from voxmix.radiographs import make_radiographs
from voxmix.radiographs.persons import plan_film
from voxmix.radiographs.planted import SENTENCES, Planted, planted_labels
from voxmix.radiographs.writing import LABELS, Radiograph, make_radiograph
from voxmix.settings import checked, parse_yaml

EDGE = 48
ALL = Planted(drain=0.5, texture=0.5, coin=0.5, shortcut="effusion")


def films(planted: Planted | None, count: int, *, edge: int = EDGE) -> list[Radiograph]:
    return [make_radiograph(n, seed=5, edge=edge, planted=planted) for n in range(count)]


@pytest.fixture(scope="module")
def many() -> list[tuple[str, dict[str, int]]]:
    """Center and labels of films that are not drawn."""
    found = []
    for number in range(800):
        plan = plan_film(number, seed=5)
        labels = {"effusion": int("effusion" in plan.findings), **planted_labels(plan, ALL, seed=5)}
        found.append((plan.center.name, labels))
    return found


def test_nothing_planted_changes_nothing() -> None:
    for plain, bare in zip(films(None, 6), films(Planted(), 6), strict=True):
        np.testing.assert_array_equal(plain.film.image, bare.film.image)
        assert (plain.report, plain.labels) == (bare.report, bare.labels)
        assert tuple(plain.labels) == LABELS


def test_a_film_changes_inside_the_maps_and_the_report_in_its_first_sentences_alone() -> None:
    told = Planted(
        drain=0.5, drain_named=1, texture=0.5, texture_named=1, coin=0.5, shortcut="effusion", stamp_named=1
    )
    seen = set()
    for plain, silent, named in zip(films(None, 12), films(ALL, 12), films(told, 12), strict=True):
        assert silent.report.text == plain.report.text
        np.testing.assert_array_equal(silent.film.image, named.film.image)
        text = named.report.text
        for name, sentence in SENTENCES.items():
            assert (sentence in text) == bool(named.labels[name])
            text = text.replace(f"{sentence} ", "")
        assert text == plain.report.text
        maps = {name: silent.film.maps[name] for name in SENTENCES if name in silent.film.maps}
        assert set(maps) == {name for name in SENTENCES if silent.labels[name]}
        seen |= set(maps)
        shown = np.zeros_like(plain.film.image, dtype=bool)
        for name, pixels in maps.items():
            grown = np.pad(pixels, 4)
            reach = 4 if name == "wide_drain" else 0  # the detector's blur
            for down in range(-reach, reach + 1):
                for across in range(-reach, reach + 1):
                    shown |= np.roll(grown, (down, across), (0, 1))[4:-4, 4:-4]
        np.testing.assert_array_equal(silent.film.image[~shown], plain.film.image[~shown])
    assert seen == set(SENTENCES)


def test_texture_leaves_the_mean_of_the_lungs_and_adds_to_their_spread() -> None:
    for plain, striped in zip(films(None, 6), films(Planted(texture=1), 6), strict=True):
        lung = striped.film.maps["texture"]
        before, after = plain.film.image[lung].astype(float), striped.film.image[lung].astype(float)
        assert after.mean() == pytest.approx(before.mean(), abs=0.2)
        assert np.std(after - before) > 7
        assert np.abs((after - before).sum()) < 0.02 * np.abs(after - before).sum()


def test_no_texture_lies_where_another_does() -> None:
    """Directions and phases differ, so that no sum of pixels tells texture from none."""
    pairs = list(zip(films(None, 20), films(Planted(texture=1), 20), strict=True))
    rows = min(plain.film.image.shape[0] for plain, _ in pairs)
    added = np.array(
        [(b.film.image[:rows].astype(float) - a.film.image[:rows])[8:36, 8:40].ravel() for a, b in pairs]
    )
    alone = np.linalg.norm(added, axis=1).mean()
    assert np.linalg.norm(added.mean(axis=0)) < 0.45 * alone


def test_truths_come_at_their_rates_and_apart_from_each_other(many: list[tuple[str, dict[str, int]]]) -> None:
    for name in ("wide_drain", "texture", "coin"):
        there = np.array([labels[name] for _, labels in many])
        assert there.mean() == pytest.approx(0.5, abs=0.08)
        for other in ("wide_drain", "texture", "coin", "effusion"):
            if other != name:
                with_it = there[[bool(labels[other]) for _, labels in many]]
                assert with_it.mean() == pytest.approx(0.5, abs=0.15)


def test_the_shortcut_is_reversed_in_the_second_center(many: list[tuple[str, dict[str, int]]]) -> None:
    for center, expected in (("CXR-A", 0.9), ("CXR-B", 0.1)):
        here = [labels for domain, labels in many if domain == center]
        agree = np.mean([row["stamp"] == row["effusion"] for row in here])
        assert len(here) > 150
        assert agree == pytest.approx(expected, abs=0.06)


def test_the_folder_has_their_columns_and_says_what_reports_say(tmp_path: Path) -> None:
    planted = Planted(drain=0.5, drain_named=0.5, coin=0.5)
    table = make_radiographs(tmp_path, count=16, seed=5, edge=EDGE, planted=planted)
    with table.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    said = set()
    for row, film in zip(rows, truth["films"], strict=True):
        assert [name for name in row if name not in LABELS][-3:] == ["wide_drain", "coin", "masks"]
        with np.load(tmp_path / film["maps"]) as maps:
            assert ("wide_drain" in maps) == (row["wide_drain"] == "1")
            assert "coin" not in maps
            assert bool(row["masks"]) == bool(maps.files)
        said.add((row["wide_drain"], film["mentions"]["wide_drain"]))
    assert said == {("0", "silent"), ("1", "mentioned"), ("1", "left out")}
    with pytest.raises(InputError, match="films of other settings"):
        make_radiographs(tmp_path, count=16, seed=5, edge=EDGE)


def test_bad_truths_are_refused() -> None:
    with pytest.raises(InputError, match="drain_named must be a share from 0 to 1, got 2"):
        Planted(drain_named=2)
    with pytest.raises(InputError, match=r"shortcut must be one of effusion, .*, got 'gout'"):
        Planted(shortcut="gout")


def test_a_study_keeps_them_and_older_studies_keep_their_ids() -> None:
    plain = ImageData(radiographs=MadeRadiographs(count=5))
    assert plain.identity()["radiographs"] == {"count": 5, "seed": 0, "edge": 96}
    told = parse_yaml("{radiographs: {planted: {drain: 0.3, shortcut: edema}}}", where="here")
    read = checked(ImageData, told, where="here")
    assert read.radiographs is not None
    assert read.radiographs.planted == Planted(drain=0.3, shortcut="edema")
    assert read.identity()["radiographs"]["planted"]["drain"] == 0.3
    with pytest.raises(InputError, match="texture must be a share from 0 to 1"):
        checked(ImageData, {"radiographs": {"planted": {"texture": 3}}}, where="here")
