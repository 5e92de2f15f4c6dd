"""The audit finds what was planted, and leaves clean films alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.ndimage import gaussian_filter

from voxmix.images.audit import audit_images, survey_image
from voxmix.images.finding import find_images
from voxmix.images.table import ImageTable
from voxmix.report.audit_page import write_image_audit


def film(seed: int) -> np.ndarray:
    """A bright middle on dark corners, smooth, each with its own pattern."""
    y, x = np.mgrid[-1:1:120j, -1:1:100j]
    pattern = gaussian_filter(np.random.default_rng(seed).normal(size=x.shape), 6)
    values = np.exp(-2 * (x**2 + y**2)) + 2 * pattern
    return (30 + 200 * (values - values.min()) / np.ptp(values)).astype(np.uint8)


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    folder = tmp_path / "A"
    folder.mkdir()
    for number in range(6):
        Pillow.fromarray(film(number)).save(folder / f"{number}.png")
    return find_images(tmp_path)


def kinds(table: ImageTable) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in audit_images(table).findings:
        found.setdefault(finding.kind, []).append(finding.path.name)
    return found


def test_clean_films_have_no_finding(table: ImageTable) -> None:
    assert kinds(table) == {}


def test_what_was_planted_is_found(table: ImageTable) -> None:
    folder = table.records[0].path.parent
    (folder / "6.png").write_bytes((folder / "0.png").read_bytes())
    Pillow.fromarray(film(1)).resize((70, 84)).save(folder / "7.jpg", quality=80)
    Pillow.fromarray(255 - film(8)).save(folder / "8.png")
    (folder / "9.png").write_bytes(b"")
    marked = film(10)
    marked[4:12, 80:82] = marked[4:12, 88:90] = marked[8, 80:90] = 255
    Pillow.fromarray(marked).save(folder / "n.png")
    assert kinds(find_images(folder.parent)) == {
        "unreadable": ["9.png"],
        "duplicate": ["6.png"],
        "near-duplicate": ["7.jpg"],
        "inverted": ["8.png"],
        "marks": ["n.png"],
    }


def test_persons_and_pictures_on_both_sides_are_leaks(table: ImageTable) -> None:
    folder = table.records[0].path.parent
    (folder / "6.png").write_bytes((folder / "0.png").read_bytes())
    records = find_images(folder.parent).records
    sides = ("train", "validation", "train", "train", "validation", "train", "validation")
    people = ("a", "b", "c", "d", "d", "e", "f")
    split = [replace(r, split=side, person=who) for r, side, who in zip(records, sides, people, strict=True)]  # type: ignore[arg-type]
    leaks = kinds(replace(table, records=tuple(split)))["leak"]
    assert sorted(leaks) == ["3.png", "4.png", "6.png"]


def test_the_page_shows_every_film_and_no_name(table: ImageTable, tmp_path: Path) -> None:
    folder = table.records[0].path.parent
    (folder / "Quixote.png").write_bytes((folder / "0.png").read_bytes())
    *sheets, page = write_image_audit(audit_images(find_images(folder.parent)), tmp_path / "look")
    html = page.read_text(encoding="utf-8")
    assert "7 images in 1 domain; 1 finding" in html
    assert "duplicate" in html
    assert "Quixote" not in html
    assert str(tmp_path) not in html
    assert len(sheets) == 1


@pytest.mark.shared
def test_errors_of_the_heuristics_on_real_films(shared_data: Path) -> None:
    records = find_images(shared_data / "radiographs/nih_cxr/labels.csv").records[::4]
    surveys = [survey_image(record) for record in records]
    called = np.mean([s.corners > s.center for s in surveys])
    assert called < 0.06  # upright films called inverted; inverted ones that are missed are the same films
