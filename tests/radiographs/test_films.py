"""Made radiographs are what they stand for: the same whoever makes them, and maps that say where the picture changed."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from voxmix.errors import InputError
from voxmix.radiographs import make_radiographs
from voxmix.radiographs.body import LEFT, RIGHT, Body
from voxmix.radiographs.detector import CENTERS
from voxmix.radiographs.films import draw_film
from voxmix.radiographs.findings import FINDINGS, Finding
from voxmix.radiographs.persons import FilmPlan, person_of, plan_film
from voxmix.radiographs.tubes import POSITIONS, TUBES, WAYS, Tube, way_of
from voxmix.radiographs.writing import LABELS, make_radiograph

EDGE = 96


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def healthy(number: int, *, center: int, portable: bool = True, **body: object) -> FilmPlan:
    """A film of a person without findings and tubes, of one center."""
    plan = plan_film(number, seed=5)
    bare = replace(plan.body, arms=portable, domes=(0.0, 0.0), heart=1.0, **body)
    return replace(plan, center=CENTERS[center], portable=portable, findings={}, tubes={}, body=bare)


PLACES = {"consolidation": "middle", "atelectasis": "plate", "nodule": "middle mass"}


def finding(name: str, *, side: int = RIGHT, size: float = 0.6, place: str | None = None) -> Finding:
    both = name in ("edema", "cardiomegaly")
    return Finding(
        name=name,
        side=0 if both else side,
        size=size,
        place=PLACES.get(name, "") if place is None else place,
        seed=3,
    )


def tube(name: str) -> Tube:
    return Tube(name=name, way=WAYS[name][0], position=POSITIONS[name][0], seed=3)


def near(shown: np.ndarray, pixels: int) -> np.ndarray:
    return ndimage.binary_dilation(shown, np.ones((3, 3)), iterations=pixels)


def test_more_films_only_add_and_workers_do_not_matter(tmp_path: Path) -> None:
    make_radiographs(tmp_path / "five", count=5, seed=7, edge=48)
    make_radiographs(tmp_path / "two", count=2, seed=7, edge=48)
    kept = tmp_path / "two" / "films" / "000001.png"
    stamp = kept.stat().st_mtime_ns
    (tmp_path / "two" / "films" / "000000.png").unlink()  # as if the call had been killed
    make_radiographs(tmp_path / "two", count=5, seed=7, edge=48, workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "five")
    assert kept.stat().st_mtime_ns == stamp
    make_radiographs(tmp_path / "other", count=2, seed=8, edge=48)
    assert contents(tmp_path / "other")["films/000000.png"] != contents(tmp_path / "five")["films/000000.png"]


def test_a_film_is_a_function_of_seed_and_number() -> None:
    one, two = (make_radiograph(11, seed=2, edge=48) for _ in range(2))
    np.testing.assert_array_equal(one.film.image, two.film.image)
    assert one.report == two.report
    assert one.plan == two.plan


def test_progress_counts_films(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_radiographs(tmp_path, count=3, seed=0, edge=32, progress=lambda *at: seen.append(at))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1, got 0"):
        make_radiographs(tmp_path, count=0, seed=0)
    with pytest.raises(InputError, match="at least 32 pixels, got 8"):
        make_radiographs(tmp_path, count=1, seed=0, edge=8)
    with pytest.raises(InputError, match="1 to 2, got 3"):
        make_radiographs(tmp_path, count=1, seed=0, centers=3)
    make_radiographs(tmp_path, count=1, seed=0, edge=32)
    with pytest.raises(InputError, match="other settings"):
        make_radiographs(tmp_path, count=1, seed=1, edge=32)


def test_films_are_gray_pngs_with_maps_of_their_own_size(tmp_path: Path) -> None:
    make_radiographs(tmp_path, count=6, seed=1, edge=64)
    truth = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))
    seen = set()
    for film in truth["films"]:
        with Image.open(tmp_path / film["image"]) as image:
            assert (image.mode, image.format, min(image.size)) == ("L", "PNG", 64)
            assert not image.info
            size = image.size[::-1]
        with np.load(tmp_path / film["maps"]) as maps:
            assert set(maps) == {*film["findings"], *film["tubes"]}
            for shown in maps.values():
                assert shown.shape == size
                assert shown.dtype == bool
            seen |= set(maps)
    assert len(seen) >= 4


@pytest.mark.parametrize("center", range(len(CENTERS)))
@pytest.mark.parametrize("name", TUBES)
def test_a_tube_changes_the_film_inside_its_map_and_nowhere_else(name: str, center: int) -> None:
    plan = healthy(4, center=center)
    without = draw_film(plan, seed=5, edge=128)
    with_it = draw_film(replace(plan, tubes={name: tube(name)}), seed=5, edge=128)
    shown = with_it.maps[name]
    change = with_it.image.astype(int) - without.image
    blurred = near(shown, int(np.ceil(3 * CENTERS[center].blur)))
    assert not change[~blurred].any()
    assert (change[shown] >= 0).all()  # a tube only adds to what the beam must pass
    assert change[shown].mean() > 4
    assert np.abs(change[blurred & ~shown]).mean() < change[shown].mean()
    assert 5 < shown.sum() < 0.12 * shown.size


def test_tubes_are_one_to_two_pixels_wide_at_128() -> None:
    plan = healthy(4, center=0)
    for name in ("nasogastric_tube", "central_line"):
        film = draw_film(replace(plan, tubes={name: tube(name)}), seed=5, edge=128)
        lengthwise = film.maps[name].any(axis=1).sum()
        assert film.maps[name].sum() / lengthwise < 4.5


@pytest.mark.parametrize("name", [n for n in FINDINGS if n not in ("cardiomegaly", "atelectasis")])
def test_a_finding_changes_the_film_where_its_map_is(name: str) -> None:
    plan = healthy(4, center=0, portable=False)
    without = draw_film(plan, seed=5, edge=EDGE).image.astype(int)
    film = draw_film(replace(plan, findings={name: finding(name)}), seed=5, edge=EDGE)
    change = np.abs(film.image - without)
    shown = film.maps[name]
    assert shown.sum() > 15
    assert change[shown].mean() > 10
    # Outside only what the map's threshold leaves: thin edges, blur, and lung that is squeezed.
    assert change[~near(shown, 3)].mean() < 0.15 * change[shown].mean()


@pytest.mark.parametrize("name", ["effusion", "pneumothorax", "consolidation", "atelectasis", "nodule"])
@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_findings_lie_on_their_side(name: str, side: int) -> None:
    plan = healthy(4, center=0)
    film = draw_film(replace(plan, findings={name: finding(name, side=side)}), seed=5, edge=EDGE)
    columns = np.nonzero(film.maps[name])[1]
    middle = film.image.shape[1] / 2
    assert ((columns < middle) == (side == RIGHT)).mean() > 0.95


def test_findings_look_as_they_should() -> None:
    plan = healthy(4, center=0, portable=False)
    bare = draw_film(plan, seed=5, edge=EDGE).image.astype(int)

    def change(name: str, **given: object) -> np.ndarray:
        film = draw_film(replace(plan, findings={name: finding(name, **given)}), seed=5, edge=EDGE)
        return (film.image - bare)[film.maps[name]]

    assert np.median(change("pneumothorax")) < 0  # air is black
    for name in ("effusion", "consolidation", "nodule", "edema"):
        assert np.median(change(name)) > 0  # water is white
    sizes = [change("effusion", size=size).size for size in (0.1, 0.5, 0.9)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 3 * sizes[0]


def test_a_large_heart_is_wider_than_half_of_the_chest() -> None:
    def ratio(heart: float) -> float:
        plan = healthy(4, center=0, portable=False)
        plan = replace(
            plan,
            body=replace(plan.body, heart=heart, turn=0.0),
            findings={"cardiomegaly": finding("cardiomegaly")},
        )
        wide = np.ptp(np.nonzero(draw_film(plan, seed=5, edge=256).maps["cardiomegaly"])[1])
        return float(wide / (2 * 137 / 370 * 256))

    assert ratio(1.0) < 0.55
    assert ratio(1.35) > ratio(1.0) + 0.1


def test_an_endotracheal_tube_ends_where_its_position_says() -> None:
    body = Body()
    for position, low, high in [
        ("trachea", 20, 70), ("low", 0, 20), ("high", 70, 110), ("right main bronchus", -40, 0)
    ]:  # fmt: skip
        for seed in range(10):
            tip = way_of(body, Tube(name="endotracheal_tube", way="mouth", position=position, seed=seed)).tip
            assert low < body.carina[1] - tip[1] < high
            assert position != "right main bronchus" or tip[0] < body.carina[0] - 8


def test_misplaced_tubes_end_elsewhere() -> None:
    body = Body()
    where = {
        position: way_of(body, Tube(name="nasogastric_tube", way="nose", position=position, seed=1)).tip
        for position in POSITIONS["nasogastric_tube"]
    }
    top = body.dome_top(LEFT)[1]
    assert where["stomach"][1] > top
    assert where["esophagus"][1] < top
    assert where["right lower lobe"][0] < -30
    for position in POSITIONS["central_line"][:3]:
        for way in WAYS["central_line"]:
            tip = way_of(body, Tube(name="central_line", way=way, position=position, seed=1)).tip
            assert position == "brachiocephalic vein" or abs(tip[0] + 23) < 8


def test_persons_have_one_to_four_films_and_keep_their_chest() -> None:
    films: dict[int, list[int]] = {}
    for number in range(240):
        first, order = person_of(number, seed=3)
        films.setdefault(first, []).append(number)
        assert number - first == order
    counts = [len(numbers) for numbers in films.values()]
    assert set(counts) == {1, 2, 3, 4}
    assert all(numbers == list(range(first, first + len(numbers))) for first, numbers in films.items())
    for first, numbers in list(films.items())[:20]:
        plans = [plan_film(number, seed=3) for number in numbers]
        assert len({plan.body.rib_jitter for plan in plans}) == 1
        assert len({plan.center.name for plan in plans}) == 1
        assert plans[0].before is None
        for earlier, later in pairwise(plans):
            assert later.before == frozenset((*earlier.findings, *earlier.tubes))
        assert first == plans[0].person


@pytest.fixture(scope="module")
def plans() -> list[FilmPlan]:
    return [plan_film(number, seed=1) for number in range(1800)]


def test_centers_see_other_patients(plans: list[FilmPlan]) -> None:
    def share(center: int, label: str) -> float:
        seen = [plan for plan in plans if plan.center is CENTERS[center]]
        return sum(label in plan.findings or label in plan.tubes for plan in seen) / len(seen)

    assert abs(sum(plan.center is CENTERS[0] for plan in plans) / len(plans) - 0.5) < 0.05
    for label in LABELS:
        assert 0.02 < share(0, label) < 0.5
        if label not in ("pacemaker", "chest_tube"):
            assert share(1, label) > 1.2 * share(0, label)
    one = [plan_film(number, seed=1, centers=1) for number in range(200)]
    assert {plan.center.name for plan in one} == {CENTERS[0].name}


def test_tubes_are_where_patients_lie(plans: list[FilmPlan]) -> None:
    for plan in plans:
        assert plan.portable or "endotracheal_tube" not in plan.tubes
    drained = [plan for plan in plans if "chest_tube" in plan.tubes]
    with_cause = [p for p in drained if {"pneumothorax", "effusion"} & set(p.findings)]
    assert len(with_cause) > 0.5 * len(drained)
    misplaced = [tube.misplaced for plan in plans for tube in plan.tubes.values()]
    assert 0.1 < np.mean(misplaced) < 0.25


def test_centers_make_other_films() -> None:
    def look(center: int) -> tuple[float, float, float]:
        grays, noise, edges = [], [], []
        for number in range(4):
            plan = healthy(number, center=center)
            calm = replace(plan, center=replace(plan.center, noise=0.0))
            image, still = (draw_film(p, seed=5, edge=EDGE).image.astype(float) for p in (plan, calm))
            rows, columns = image.shape
            lung = slice(int(0.38 * rows), int(0.55 * rows)), slice(int(0.22 * columns), int(0.34 * columns))
            grays.append(np.median(still[lung]))
            noise.append(np.std((image - still)[lung]))
            edges.append(np.abs(np.diff(still[lung], axis=0)).mean())
        return float(np.mean(grays)), float(np.mean(noise)), float(np.mean(edges))

    (gray_a, noise_a, edges_a), (gray_b, noise_b, edges_b) = look(0), look(1)
    assert gray_b > gray_a + 8
    assert noise_b > 1.5 * noise_a
    assert edges_b < 0.8 * edges_a


def test_markers_stand_on_the_side_they_name() -> None:
    for center, letter in ((0, "L"), (1, "R")):
        plan = healthy(3, center=center)
        plan = replace(plan, center=replace(plan.center, marker=(*plan.center.marker[:3], 1.0)))
        dark = replace(plan, center=replace(plan.center, marker=(*plan.center.marker[:3], 0.0)))
        change = draw_film(plan, seed=5, edge=EDGE).image != draw_film(dark, seed=5, edge=EDGE).image
        columns = np.nonzero(change)[1]
        assert columns.size > 8
        assert (columns > change.shape[1] / 2).all() == (letter == "L")
