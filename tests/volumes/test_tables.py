"""Manifests as spreadsheets and people write them: read as they are meant, or refused with the line of the file."""

import unicodedata
from pathlib import Path

import pytest

from voxmix._csv import read_csv_rows
from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest
from voxmix.volumes.manifest_files import NOT_HERE, read_table

HEAD = "path,domain,subject"
ROWS = ("a/0.nii,CT,p0", "a/1.nii,CT,p1", "a/2.nii,CT,p2")
PLAIN = "\n".join((HEAD, *ROWS)) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    for number in range(3):
        (tmp_path / "a" / f"{number}.nii").touch()
    return tmp_path


def read(folder: Path, text: str, encoding: str = "utf-8") -> Manifest:
    (folder / "t.csv").write_bytes(text.encode(encoding))
    return read_table(folder / "t.csv")


def subjects(found: Manifest) -> list[str]:
    return [record.subject for record in found.records]


@pytest.mark.parametrize(
    "text",
    [
        "\n" + PLAIN.replace("\n", "\n\n") + "\n,,\n\n",
        ",,\n,,\n" + PLAIN + ",,\n",
        ";;\n" + PLAIN.replace(",", ";"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        "# made by hand; with, signs\n#\n" + PLAIN + "# the end\n",
        "sep=;\n" + PLAIN.replace(",", ";"),
        '"sep=;"\r\n' + PLAIN.replace(",", ";"),
        "sep=\t\n" + PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("a/", "a\\"),
        PLAIN.replace("a/", ".\\a\\"),
        PLAIN.replace("p1", '"p1"').replace("a/1", ' "a/1"'.replace('"a', "a").replace('1"', "1")),
        PLAIN.replace("path", " Path ").replace("subject", "SUBJECT\u00a0"),
        PLAIN.replace("p1", "p1\u00a0").replace("p2", "\u200bp2\u200e"),
    ],
)
def test_odd_tables_are_read_as_plain_ones(folder: Path, text: str) -> None:
    found = read(folder, text)
    assert subjects(found) == ["p0", "p1", "p2"]
    assert [str(record.path.relative_to(folder)) for record in found.records] == [
        "a/0.nii",
        "a/1.nii",
        "a/2.nii",
    ]
    assert found.set_aside == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_encodings_that_say_what_they_are(folder: Path, encoding: str) -> None:
    found = read(folder, PLAIN.replace("p1", "Mu\u0308ller"), encoding)
    assert subjects(found) == ["p0", "M\u00fcller", "p2"]
    assert found.notes == ()


def test_an_encoding_that_is_guessed_is_said(folder: Path) -> None:
    found = read(folder, PLAIN.replace("p1", "M\u00fcller"), "cp1252")
    assert subjects(found) == ["p0", "M\u00fcller", "p2"]
    assert "Windows-1252" in found.notes[0]
    assert found.split(seed=0).notes == found.notes


def test_a_cell_may_hold_the_separator_and_a_line_break(folder: Path) -> None:
    found = read(folder, PLAIN.replace("p0", '"Doe, A"').replace("p1", '"p\n1"'))
    assert subjects(found) == ["Doe, A", "p 1", "p2"]


def test_ids_stay_texts(folder: Path) -> None:
    found = read(folder, f"{HEAD}\na/0.nii,CT,001\na/1.nii,CT,01\na/2.nii,CT,1.0\n")
    assert found.subjects("CT") == ("001", "01", "1.0")


def test_sides_are_read_in_any_case(folder: Path) -> None:
    text = f"{HEAD},split\na/0.nii,CT,p0,Train\na/1.nii,CT,p1,TRAINING\na/2.nii,CT,p2,VAL\n"
    assert [record.split for record in read(folder, text).records] == ["train", "train", "validation"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\n# note\n" + HEAD + "\n\na/0.nii,CT,\n", "line 6 of .* has no subject"),
        (HEAD + '\na/0.nii,CT,"p\n\n0"\n,,\na/1.nii,CT,\n', "line 6 of .* has no subject"),
        (PLAIN.replace("p1", "Doe, A"), "line 3 of .* has 4 cells, its header 3; put quotes"),
        (PLAIN.replace("a/1", "../../1"), "line 3 of .* points outside"),
        (PLAIN.replace("a/1", "..\\..\\1"), "line 3 of .* points outside"),
        (PLAIN.replace("a/1", "./a/0"), "occurs 2 times, in line 2 and line 3 of"),
        (PLAIN.replace("p1", '"p1'), "is not a table"),
        (HEAD + ",domain\na/0.nii,CT,p0,MR\n", "has the column 'domain' twice"),
        (HEAD + "\n,,\n", "has no rows"),
        (",,,\n\n", "lacks the columns"),
        ("", "lacks the columns"),
        (PLAIN.replace("a/", "C:\\a\\"), f"none of the 3 files .* exists; each is {NOT_HERE}"),
        (PLAIN.replace("a/", "\\\\server\\a\\"), f"each is {NOT_HERE}"),
    ],
)
def test_errors_name_the_line_of_the_file(folder: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(folder, text)


def test_one_windows_path_among_others_is_set_aside(folder: Path) -> None:
    found = read(folder, PLAIN.replace("a/1", "D:/a/1"))
    assert [aside.reason for aside in found.set_aside] == [NOT_HERE]


def test_a_backslash_in_a_name_is_a_name_here(folder: Path) -> None:
    (folder / "a\\0.nii").touch()
    found = read(folder, f"{HEAD}\na\\0.nii,CT,p0\na\\1.nii,CT,p1\n")
    assert {record.path.name for record in found.records} == {"a\\0.nii", "1.nii"}
    assert found.notes[0].startswith("1 paths")


@pytest.mark.parametrize(("disk", "table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_path_in_the_other_unicode_form_is_found(folder: Path, disk: str, table: str) -> None:
    name = "Sch\u00e4del.nii"
    (folder / unicodedata.normalize(disk, name)).touch()
    found = read(folder, f"{HEAD}\n{unicodedata.normalize(table, name)},CT,p0\n")
    assert len(found.records) == 1


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b", b"\x00\x01\x02"])
def test_what_is_no_text_is_named(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(start + b"\x00\x81" * 40)
    with pytest.raises(InputError, match="save the table as CSV"):
        read_table(tmp_path / "t.csv")


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,class\nx\u2028y,1\n\nz\x0b,2\n", encoding="utf-8")
    table = read_csv_rows(tmp_path / "t.csv", columns=("id",), give="a CSV")
    assert table.lines == (2, 4)
    assert [row["class"] for row in table.rows] == ["1", "2"]
