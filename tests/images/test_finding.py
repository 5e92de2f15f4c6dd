"""A folder or a table of films to one table: what is found, what is set aside, and what is said of both."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.errors import InputError
from voxmix.images.finding import find_images
from voxmix.images.known_of_files import view_name
from voxmix.images.label_values import read_label
from voxmix.images.table import ImageTable


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 20)).astype(np.uint8)).save(path)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for number in range(8):
        save(tmp_path / f"{number}.png", number)
    return tmp_path


def table(folder: Path, text: str, name: str = "films.csv") -> ImageTable:
    (folder / name).write_text(text, encoding="utf-8")
    return find_images(folder / name)


def reasons(found: ImageTable) -> dict[str, int]:
    return dict(Counter(aside.reason for aside in found.set_aside))


@pytest.mark.parametrize(
    "text",
    [
        "image,report,person,domain,view,split,edema\n0.png,Clear.,p0,A,PA,train,1\n1.png,Edema.,p1,B,L,val,0\n",
        "Image Index;Report Text;Patient ID;Center;View Position;Split;edema\n0.png;Clear.;p0;A;pa;Training;yes\n1.png;Edema.;p1;B;Lateral;valid;no\n",
        "sep=;\nfilename;caption;PatientID;site;ViewPosition;partition;edema\n0.png;Clear.;p0;A;PA;TRAIN;1,0\n1.png;Edema.;p1;B;LL;dev;0,0\n",
        "path\ttext\tsubject_id\thospital\tprojection\tsubset\tedema\n0.png\tClear.\tp0\tA\tPA view\ttrain\tTrue\n1.png\tEdema.\tp1\tB\tlateral\tvalidation\tFalse\n",
    ],
)
def test_columns_in_many_spellings(films: Path, text: str) -> None:
    first, second = table(films, text).records
    assert (first.path, first.report, first.person, first.domain) == (films / "0.png", "Clear.", "p0", "A")
    assert (first.view, first.split, dict(first.labels)) == ("PA", "train", {"edema": 1})
    assert (second.view, second.split, dict(second.labels)) == ("lateral", "validation", {"edema": 0})


def test_sections_in_columns_of_their_own_become_a_report(films: Path) -> None:
    found = table(films, "image,findings,impression\n0.png,Clear lungs.,Normal.\n1.png,,Edema.\n")
    assert [r.report for r in found.records] == [
        "FINDINGS: Clear lungs.\nIMPRESSION: Normal.",
        "IMPRESSION: Edema.",
    ]


SPELLED = {
    1: ("1", "1.0", "1,00", "Yes", "POS", "true", "present"),
    0: ("0", "0.0", "N", "neg", "FALSE", "Absent"),
    "uncertain": ("-1", "-1.0", "U", "?", "possible"),
    None: ("", "NaN", "n/a", "Unknown"),
    "other": ("mild", "2", "11"),
}


def test_spellings_of_a_label() -> None:
    for value, cells in SPELLED.items():
        assert [read_label(cell) for cell in cells] == [value] * len(cells)


def test_labels_are_found_uncertain_ones_counted_and_one_class_named(films: Path) -> None:
    rows = ["0.png,1,yes,-1,42,1,a", "1.png,0,no,1,51,1,b", "2.png,,uncertain,0,33,1,c", "3.png,0,Y,u,29,1,d"]
    found = table(films, "image,edema,tube,mass,age,device,remark\n" + "\n".join(rows))
    assert found.label_names == ("device", "edema", "mass", "tube")
    assert dict(found.records[2].labels) == {"mass": 0, "device": 1}
    said = "\n".join(found.summary())
    assert "label mass: 2 uncertain, taken as unknown" in said
    assert "label tube: 1 uncertain, taken as unknown" in said
    assert "label device: 4 yes, 0 no, 0 unknown; one class only" in said
    assert "columns not used: age, remark" in said


def test_a_column_of_names_becomes_labels(films: Path) -> None:
    found = table(films, "image,Finding Labels\n0.png,Edema|Mass\n1.png,No Finding\n2.png,Mass\n3.png,\n")
    assert [dict(r.labels) for r in found.records] == [
        {"Edema": 1, "Mass": 1},
        {"Edema": 0, "Mass": 0},
        {"Edema": 0, "Mass": 1},
        {},
    ]


def test_label_columns_that_are_asked_for(films: Path) -> None:
    text = "image,edema,age\n0.png,1,40\n1.png,0,41\n"
    (films / "t.csv").write_text(text, encoding="utf-8")
    assert find_images(films / "t.csv", labels=["edema"]).label_names == ("edema",)
    with pytest.raises(InputError, match=r"lacks the label columns \['tube'\]"):
        find_images(films / "t.csv", labels=["tube"])
    with pytest.raises(InputError, match=r"\['age'\] of .* hold no labels"):
        find_images(films / "t.csv", labels=["age"])


def test_every_row_that_cannot_be_used_is_set_aside_with_its_reason(films: Path) -> None:
    (films / "v.nii.gz").write_bytes(b"x")
    rows = [
        "0.png,Clear.,p0,train",
        "gone.png,Clear.,p1,train",
        ",A report alone.,p2,train",
        ",,p3,train",
        "0.png,Clear.,p0,train",
        "0.png,Another text.,p0,train",
        "1.png,Clear.,p4,test",
        "2.png,Clear.,p5,somewhere",
        "v.nii.gz,Clear.,p6,train",
        "3.png,Clear.,both,train",
        "4.png,Clear.,both,val",
        "5.png,,both,",
    ]
    found = table(films, "image,report,person,split\n" + "\n".join(rows))
    assert reasons(found) == {
        "no such file": 1,
        "a report without an image": 1,
        "a row without an image": 1,
        "the same row twice": 1,
        "an image listed again, with other contents": 1,
        "kept for a test by the table": 1,
        "a side of the split that is neither train nor validation nor test": 1,
        "a 3D file in a study of images, which takes 2D images; a volume belongs in a study of volumes": 1,
        "its person is in training and in validation by the table: kept in validation alone": 2,
    }
    assert [(r.path.name, r.split) for r in found.records] == [("0.png", "train"), ("4.png", "validation")]
    assert "set aside 2: its person is in training" in "\n".join(found.summary())


def test_persons_that_are_not_known_are_said(films: Path) -> None:
    found = table(films, "image\n0.png\n1.png\n")
    assert found.persons == 2
    assert "each image counts as a person of its own" in "\n".join(found.summary())
    found = table(films, "image,person\n0.png,a\n1.png,\n2.png,a\n")
    assert found.persons == 2
    assert "1 images: each of them counts as a person of its own" in "\n".join(found.summary())


def test_persons_and_views_of_dicom_headers(tmp_path: Path, write_dicom: Callable[..., None]) -> None:
    for number, person in enumerate(["X1", "X1", "X2"]):
        folder = tmp_path / "data" / "center"
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 4096, (20, 20)).astype(np.uint16)
        write_dicom(folder / f"f{number}", values, PatientID=person, ViewPosition="LL" if number else "PA")
    found = find_images(tmp_path / "data")
    assert (found.persons, found.domains) == (2, ("center",))
    assert sorted(r.view for r in found.records) == ["PA", "lateral", "lateral"]
    assert "3 images have their person from the DICOM header" in "\n".join(found.summary())
    assert "X1" not in "\n".join(found.summary()) + repr(found)


def test_a_folder_of_domains_with_reports_beside_the_films(tmp_path: Path) -> None:
    save(tmp_path / "A" / "1.png", 1)
    save(tmp_path / "A" / "deep" / "2.PNG", 2)
    save(tmp_path / "B" / "3.jpg", 3)
    (tmp_path / "A" / "1.txt").write_text("Clear.", encoding="utf-8")
    (tmp_path / "B" / "letter.txt").write_text("Hello.", encoding="utf-8")
    (tmp_path / "B" / "v.nii").write_bytes(b"x")
    (tmp_path / "B" / "scan.tif").write_bytes(b"x")
    (tmp_path / "B" / "._3.jpg").write_bytes(b"x")
    found = find_images(tmp_path)
    assert found.counts() == {"A": 2, "B": 1}
    assert [r.report for r in found.records] == ["Clear.", "", ""]
    assert len(found.set_aside) == 3


def test_a_folder_with_a_table_is_its_table(films: Path) -> None:
    (films / "notes.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    (films / "films.csv").write_text("image\n0.png\n", encoding="utf-8")
    found = find_images(films)
    assert len(found.records) == 1
    assert found.notes[0] == "taken from films.csv"
    (films / "more.csv").write_text("image\n1.png\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"several tables of images \(films.csv, more.csv\)"):
        find_images(films)


def test_reports_empty_equal_and_very_long(films: Path) -> None:
    long = " ".join(["word"] * 50_000)
    found = table(films, f'image,report\n0.png,"{long}"\n1.png,\n2.png,Clear lungs.\n3.png,"clear  LUNGS."\n')
    assert "3 reports, 2 of them different; 1 images without; 2 images share their text" in "\n".join(
        found.summary()
    )
    same = table(films, "image,report\n0.png,Clear.\n1.png,Clear.\n")
    assert "All texts are equal" in "\n".join(same.summary())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "has no rows"),
        ("image\n", "has no rows"),
        ("picture,report\n0.png,a\n", "has no column of images"),
        (
            "image\ngone.png\nlost.png\n",
            "no image of .* can be used: 2 rows are set aside, the first is .*gone.png: no such file",
        ),
        ("image,image\n0.png,0.png\n", "'image' twice"),
        ("image,report\n0.png,a,b,c\n", "put quotes around"),
        ("image\n../0.png\n", "outside the table's folder"),
    ],
)
def test_tables_that_cannot_be_used(films: Path, text: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        table(films, text)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_images(tmp_path / "gone")
    (tmp_path / "a.nii").write_bytes(b"x")
    with pytest.raises(InputError, match=r"the first is .*a\.nii: a 3D file"):
        find_images(tmp_path)


def test_split_places_persons_whole_and_keeps_what_is_given(films: Path) -> None:
    rows = [f"{number}.png,p{number // 2},{'val' if number < 2 else ''}" for number in range(8)]
    found = table(films, "image,person,split\n" + "\n".join(rows)).split(seed=0, fraction=0.3)
    sides = {(r.person, r.split) for r in found.records}
    assert len(sides) == 4
    assert ("p0", "validation") in sides
    assert {side for _, side in sides} == {"train", "validation"}


def test_spellings_of_views() -> None:
    spelled = {
        "pa": "PA",
        "AP Supine": "AP supine",
        "L": "lateral",
        "LL": "lateral",
        "left lateral": "lateral",
        "": "",
    }
    assert {text: view_name(text) for text in spelled} == spelled


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "images", "reports", "labels"),
    [
        ("nih_cxr/labels.csv", 791, 0, 14),
        ("covid_cxr/pairs.csv", 244, 179, 13),
        ("medpix/pairs.csv", 1427, 1427, 0),
    ],
)
def test_real_tables(shared_data: Path, name: str, images: int, reports: int, labels: int) -> None:
    found = find_images(shared_data / "radiographs" / name)
    assert (len(found.records), found.reports, len(found.label_names)) == (images, reports, labels)


def test_a_domain_of_one_person_is_said_in_words_of_images(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        Pillow.fromarray(np.full((20, 20), ord(name), np.uint8)).save(tmp_path / f"{name}.png")
    table = tmp_path / "films.csv"
    table.write_text("image,person,domain\na.png,p,A\nb.png,p,A\nc.png,q,B\nd.png,r,B\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"domain A has one person \(2 images\).*--exclude A"):
        find_images(table).split(seed=0)
