"""Splits are by subject over all domains, stable, and never empty; layouts are read as documented."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.sources import read_source, read_sources
from voxmix.errors import InputError
from voxmix.volumes import Manifest, VolumeRecord
from voxmix.volumes.manifest_files import read_csv, write_csv


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def record(domain: str, subject: str, number: int = 0) -> VolumeRecord:
    return VolumeRecord(path=Path(f"/{domain}/{subject}/{number}.nii.gz"), domain=domain, subject=subject)


def sides(manifest: Manifest) -> dict[str, str]:
    return {r.subject: r.split for r in manifest.records}


def test_folder_gives_domain_subject_and_label(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "ABD-CT/p1/scan.nii.gz",
        "ABD-CT/p1/scan_seg.nii.gz",
        "ABD-CT/p1/later/scan.nii.gz",
        "ABD-CT/p2.nrrd",
        "ABD-CT/notes.txt",
        "ABD-CT/._p2.nrrd",
        "HN-PET/p1/pet.mha",
        "HN-PET/series/a/1.dcm",
        "HN-PET/series/a/2.dcm",
        "HN-PET/lost_seg.nii.gz",
        ".hidden/x.nii.gz",
    )
    manifest = read_folder(tmp_path)
    found = {
        (r.domain, r.subject, str(r.path.relative_to(tmp_path)), r.label and r.label.name)
        for r in manifest.records
    }
    assert found == {
        ("ABD-CT", "p1", "ABD-CT/p1/scan.nii.gz", "scan_seg.nii.gz"),
        ("ABD-CT", "p1", "ABD-CT/p1/later/scan.nii.gz", None),
        ("ABD-CT", "p2", "ABD-CT/p2.nrrd", None),
        ("HN-PET", "p1", "HN-PET/p1/pet.mha", None),
        ("HN-PET", "series", "HN-PET/series/a", None),
    }
    assert manifest.counts() == {"ABD-CT": 3, "HN-PET": 2}
    assert [s.reason for s in manifest.set_aside] == ["label map without its image"]
    assert all(r.subject == "p1" for r in manifest.records if "p1" in r.path.parts)


def test_folder_follows_links_but_not_circles(tmp_path: Path) -> None:
    touch(tmp_path, "store/p1/a.nii", "study/CT/p2/b.nii")
    (tmp_path / "study" / "CT" / "p1").symlink_to(tmp_path / "store" / "p1")
    (tmp_path / "study" / "CT" / "p2" / "again").symlink_to(tmp_path / "study" / "CT")
    manifest = read_folder(tmp_path / "study")
    assert [(r.subject, r.path.name) for r in manifest.records] == [("p1", "a.nii"), ("p2", "b.nii")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "no domains"),
        (("a.nii.gz",), "1 volumes lie in it directly"),
        (("MR/readme.txt",), "domain MR has no volumes"),
        (("CT/label.nii.gz", "CT/x_seg.nii"), "has no volumes .*2 files set aside, first because: label map"),
    ],
)
def test_folder_refuses(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path)


def test_a_hopeless_domain_is_named_and_can_be_excluded(tmp_path: Path) -> None:
    touch(tmp_path, "CT/p1/a.nii.gz", "MR/readme.txt", "PET/p1/a.nii", "x" * 70 + "/p1/a.nii")
    with pytest.raises(InputError, match="at most 64"):
        read_folder(tmp_path)
    found, _ = read_source(tmp_path, exclude=["x" * 70])
    assert found.domains == ("CT", "PET")
    assert [(s.domain, s.reason) for s in found.set_aside] == [("MR", "a domain without volumes, left out")]
    less, _ = read_sources([tmp_path], exclude=["x" * 70, "MR", "PET"])
    assert (less.domains, less.set_aside) == (("CT",), ())
    with pytest.raises(InputError, match=r"no domain 'US' to exclude; there are \['CT', 'MR', 'PET'"):
        read_source(tmp_path, exclude=["US", "x" * 70])
    write_csv(found, tmp_path / "m.csv")
    assert read_source(tmp_path / "m.csv", exclude=["CT"])[0].domains == ("PET",)
    with pytest.raises(InputError, match="every domain is excluded"):
        read_source(tmp_path / "m.csv", exclude=["CT", "PET"])


def test_csv_is_relative_to_itself_and_counts_missing_files(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.nii.gz", "data/a_l.nii.gz", "far/b.nii.gz")
    table = tmp_path / "data" / "m.csv"
    table.write_text(
        "\ufeffPath; Domain ;subject;label\n"
        f"a.nii.gz;CT;p1;a_l.nii.gz\n{tmp_path}/far/b.nii.gz;CT;p2;\ngone.nii.gz;CT;p3;\n",
        encoding="utf-8",
    )
    manifest = read_csv(table)
    assert [(r.path.name, r.subject, r.label is not None) for r in manifest.records] == [
        ("a.nii.gz", "p1", True),
        ("b.nii.gz", "p2", False),
    ]
    assert [(s.path.name, s.reason) for s in manifest.set_aside] == [("gone.nii.gz", "no such file")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,domain\na.nii,CT\n", "lacks the columns \\['subject'\\]"),
        ("path,domain,subject\n", "has no rows"),
        ("path,domain,subject\na.nii,,p1\n", "line 2 .* has no domain"),
        ("path,domain,subject\n../other/a.nii,CT,p1\n", "points outside the table's folder"),
        ("path,domain,subject\nsub/../../a.nii,CT,p1\n", "points outside the table's folder"),
        ("path,domain,subject\na.nii,CT,p1\na.nii,MR,p1\n", "occurs 2 times"),
        ("path,domain,subject,split\na.nii,CT,p1,test\n", "has split 'test'"),
        ("path,domain,subject\nb.nii,CT,p1\n", "none of the 1 files"),
    ],
)
def test_csv_refuses(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.nii")
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_csv(tmp_path / "m.csv")


def test_csv_missing() -> None:
    with pytest.raises(InputError, match="no such file"):
        read_csv(Path("nowhere.csv"))


def test_given_split_is_kept_and_a_leak_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii", "b.nii", "c.nii")
    (tmp_path / "good.csv").write_text(
        "path,domain,subject,split\na.nii,CT,p1,val\nb.nii,CT,p2,train\n", encoding="utf-8"
    )
    assert sides(read_csv(tmp_path / "good.csv").split(seed=5)) == {
        "p1": "validation",
        "p2": "train",
    }
    (tmp_path / "leak.csv").write_text(
        "path,domain,subject,split\na.nii,CT,p1,val\nb.nii,CT,p2,train\nc.nii,MR,p1,train\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"'p1' is in training and in validation|one subject"):
        read_csv(tmp_path / "leak.csv").split(seed=5)


def test_one_subject_is_refused_with_what_to_do() -> None:
    manifest = Manifest(records=(record("CT", "p1"), record("CT", "p1", 2)))
    with pytest.raises(InputError, match=r"domain CT has one subject.*leave the domain out"):
        manifest.split(seed=0)


def test_split_moves_nobody_when_subjects_are_added() -> None:
    few = Manifest(records=tuple(record("CT", f"s{i}") for i in range(40))).split(seed=3)
    many = Manifest(records=tuple(record("CT", f"s{i}") for i in range(400))).split(seed=3)
    assert sides(few).items() <= sides(many).items()
    share = sum(side == "validation" for side in sides(many).values()) / 400
    assert 0.14 < share < 0.26
    assert sides(many) != sides(
        Manifest(records=tuple(record("CT", f"s{i}") for i in range(400))).split(seed=4)
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9),
    groups=st.lists(st.sets(st.integers(0, 30), min_size=2, max_size=8), min_size=1, max_size=5),
)
def test_split_never_leaks_and_never_starves(seed: int, groups: list[set[int]]) -> None:
    manifest = Manifest(
        records=tuple(
            record(f"D{d}", f"s{s}", n) for d, group in enumerate(groups) for s in group for n in (0, 1)
        )
    )
    # Without a person of its own a domain of few can be starved by its neighbors; with one it never is.
    own = tuple(record(f"D{d}", f"own{d}-{n}") for d in range(len(groups)) for n in (0, 1))
    split = Manifest(records=(*manifest.records, *own)).split(seed=seed)
    placed: dict[str, str] = {}
    for r in split.records:
        assert placed.setdefault(r.subject, r.split) == r.split
    for domain in split.domains:
        assert split.counts("train")[domain] >= 1
        assert split.counts("validation")[domain] >= 1


def test_select_keeps_named_domains() -> None:
    manifest = Manifest(records=(record("CT", "a"), record("MR", "b")))
    assert manifest.select(["MR"]).domains == ("MR",)
    with pytest.raises(InputError, match="no such domain"):
        manifest.select(["PET"])


def test_known_subjects_keep_their_side_also_those_that_were_moved_there() -> None:
    """Two subjects, one of them held out by force; a third whose hash would have held it out comes later."""
    base = Manifest(records=(record("CT", "a"), record("CT", "b")))
    grown = Manifest(records=(*base.records, record("CT", "c")))

    def moves(seed: int) -> bool:
        return not sides(base.split(seed=seed)).items() <= sides(grown.split(seed=seed)).items()

    seed = next(n for n in range(1000) if moves(n))
    first = base.split(seed=seed)
    assert sides(first).items() <= sides(grown.split(seed=seed, like=first)).items()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 9),
    old=st.sets(st.integers(0, 40), min_size=2, max_size=12),
    new=st.sets(st.integers(0, 40), max_size=12),
)
def test_growing_a_manifest_moves_nobody(seed: int, old: set[int], new: set[int]) -> None:
    first = Manifest(records=tuple(record("CT", f"s{n}") for n in old)).split(seed=seed)
    grown = Manifest(records=tuple(record("CT", f"s{n}") for n in old | new))
    assert sides(first).items() <= sides(grown.split(seed=seed + 1, like=first)).items()


def test_a_split_that_contradicts_the_one_to_follow_is_refused() -> None:
    first = Manifest(records=tuple(record("CT", f"s{n}") for n in range(9))).split(seed=0)
    turned = Manifest(
        records=tuple(
            replace(r, split="train" if r.split == "validation" else "validation") for r in first.records
        )
    )
    with pytest.raises(InputError, match="9 subjects are on different sides here"):
        turned.split(seed=0, like=first)


def test_a_partial_split_is_kept_and_the_rest_placed() -> None:
    given_ones = tuple(replace(record("A", f"s{n}"), split="validation") for n in range(3))
    rest = tuple(record("B", f"t{n}") for n in range(60))
    placed = Manifest(records=(*given_ones, record("A", "s9"), *rest)).split(seed=0)
    assert all(r.split == "validation" for r in placed.records if r.subject in ("s0", "s1", "s2"))
    assert sides(placed)["s9"] == "train"
    assert 3 < placed.counts("validation")["B"] < 25


def test_a_manifest_of_thousands_is_one_line_to_look_at() -> None:
    manifest = Manifest(records=tuple(record("CT", f"s{i}") for i in range(3000)))
    assert repr(manifest) == "Manifest(3000 volumes: CT 3000)"


def test_what_may_be_a_volume_and_is_not_read_is_named(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *(f"CT/p1/{name}" for name in ("a.nii", "b.img", "c.hdr", "c.img", "d.mnc", "e.tar.gz", "f.txt")),
    )
    manifest = read_folder(tmp_path)
    assert [r.path.name for r in manifest.records] == ["a.nii", "c.hdr"]
    assert {s.path.name: s.reason for s in manifest.set_aside} == {
        "b.img": "voxels (.img) without their header (.hdr)",
        "d.mnc": "files that end in .mnc are not read",
        "e.tar.gz": "files that end in .tar.gz are not read",
    }
