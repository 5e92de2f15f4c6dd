"""Columns of classes become labels: one says yes, the others no, an empty cell nothing; what is no class is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.encoder_study.config import ImageData
from voxmix.errors import InputError
from voxmix.images.class_values import class_columns, class_label, classes_of
from voxmix.images.finding import find_images


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(6):
        values = np.random.default_rng(number).integers(0, 256, (24, 20)).astype(np.uint8)
        Pillow.fromarray(values).save(tmp_path / f"{number}.png")
    return tmp_path


def table(folder: Path, header: str, *cells: str) -> Path:
    rows = [f"{number}.png,p{number},{cell}" for number, cell in enumerate(cells)]
    path = folder / "films.csv"
    path.write_text("\n".join([f"image,person,{header}", *rows]) + "\n", encoding="utf-8")
    return path


def test_the_class_of_a_cell_is_one_and_the_others_zero(films: Path) -> None:
    path = table(films, "plane,edema", "axial,1", "Coronal,0", "axial,", ",1", "nan,0", " AXIAL ,0")
    found = find_images(path, classes=("plane",))
    assert found.label_names == ("edema", "plane: Coronal", "plane: axial")
    assert [dict(record.labels) for record in found.records] == [
        {"edema": 1, "plane: axial": 1, "plane: Coronal": 0},
        {"edema": 0, "plane: axial": 0, "plane: Coronal": 1},
        {"plane: axial": 1, "plane: Coronal": 0},
        {"edema": 1},
        {"edema": 0},
        {"edema": 0, "plane: axial": 1, "plane: Coronal": 0},
    ]
    assert classes_of(found.label_names, "plane") == ("Coronal", "axial")
    assert classes_of(found.label_names, "region") == ()
    assert class_columns(found.label_names) == ("plane",)
    said = "\n".join(found.notes)
    assert "classes of plane: 2, 2 rows unknown" in said
    assert "1 cells say none" in said
    assert "1 spellings differ" in said


def test_zero_and_one_as_classes_are_no_plain_label(films: Path) -> None:
    found = find_images(table(films, "grade", "0", "1.0", "1", "2", "0", "2"), classes=("grade",))
    assert found.label_names == ("grade: 0", "grade: 1", "grade: 2")
    assert [record.labels["grade: 1"] for record in found.records] == [0, 1, 1, 0, 0, 0]


def test_a_view_can_be_a_class_too(films: Path) -> None:
    found = find_images(table(films, "view", "PA", "AP", "PA", "AP", "PA", "AP"), classes=("view",))
    assert [record.view for record in found.records[:2]] == ["PA", "AP"]
    assert found.label_names == (class_label("view", "AP"), class_label("view", "PA"))


@pytest.mark.parametrize(
    ("classes", "labels", "message"),
    [
        (("region",), None, "lacks the columns of classes"),
        (("plane", "plane"), None, "given twice"),
        (("plane",), ("plane",), "given twice"),
        (("person",), None, "is its person"),
        (("image",), None, "is its image"),
        (("MRN",), None, "name or number of a person"),
        (("empty",), None, "is empty"),
    ],
)
def test_what_cannot_be_a_class_is_refused(
    films: Path, classes: tuple[str, ...], labels: tuple[str, ...] | None, message: str
) -> None:
    path = table(
        films, "plane,empty,MRN", "axial,,1", "axial,,2", "coronal,,3", "axial,,4", "axial,,5", "axial,,6"
    )
    with pytest.raises(InputError, match=message):
        find_images(path, classes=classes, labels=labels)


def test_a_label_called_as_a_class_and_numbers_are_refused(films: Path) -> None:
    path = table(films, "plane,plane: axial", *["axial,1"] * 6)
    with pytest.raises(InputError, match="a label called as the class"):
        find_images(path, classes=("plane",))
    rows = [f"0.png,p,{number}" for number in range(101)]
    path.write_text("image,person,age at exam\n" + "\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="101 different values"):
        find_images(path, classes=("age at exam",))


def test_a_folder_without_a_table_has_no_classes(films: Path) -> None:
    with pytest.raises(InputError, match="has no table"):
        find_images(films, classes=("plane",))


def test_settings_without_classes_are_what_they_were() -> None:
    assert "classes" not in ImageData(path="films").identity()
    assert ImageData(path="films", classes=("view",)).identity()["classes"] == ("view",)
