"""Sessions of one person: told by their names, joined by a rule, and never where names are plain numbers."""

from pathlib import Path

import numpy as np
import pytest

from voxmix.datasets.sessions import session_names
from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.sources import read_layout
from voxmix.domain import check_domain_name
from voxmix.errors import InputError
from voxmix.volumes.auditing.audit import audit
from voxmix.volumes.manifest import Manifest, VolumeRecord, one_name
from voxmix.volumes.manifest_files import read_csv
from voxmix.volumes.persons.proposals import propose, propose_persons, remarks
from voxmix.volumes.persons.rules import compile_pattern, join

FOUR, TWO = range(1, 5), range(1, 3)
PEOPLE = ("smith", "jones", "meyer")


def listed(subjects: list[str], **more: str) -> Manifest:
    return Manifest(
        records=tuple(
            VolumeRecord(path=Path(f"/data/{n}.nii"), domain="ABD-CT", subject=name, **more)
            for n, name in enumerate(subjects)
        )
    )


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ([f"pat{p:02d}_{s}" for p in FOUR for s in TWO], r"pat\d+"),
        ([f"pat{p:02d}-visit{s}" for p in FOUR for s in TWO], r"pat\d+"),
        ([f"p{p}_ses-{s}" for p in FOUR for s in TWO], r"p\d+"),
        ([f"KNEE_{p:04d}_MR{s}" for p in FOUR for s in TWO], r"KNEE_\d+"),
        ([f"case_{p:03d}_T{s}" for p in FOUR for s in TWO], r"case_\d+"),
        ([f"{p:03d}-tp{s}" for p in FOUR for s in TWO], r"\d+"),
        ([f"BraTS-GLI-{p:05d}-{s:03d}" for p in FOUR for s in TWO], r"BraTS-GLI-\d+"),
        ([f"pat{p:02d}_2019030{s}" for p in FOUR for s in TWO], r"pat\d+"),
        ([f"pat{p:02d}{s}" for p in FOUR for s in "ab"], r"pat\d+"),
        ([f"sub{p}_m{s:02d}" for p in FOUR for s in (0, 12, 24)], r"sub\d+"),
        ([f"9{p:04d}_{s}" for p in FOUR for s in ("LEFT", "RIGHT")], r"\d+"),
        ([f"{p}_visit{s}" for p in PEOPLE for s in TWO], "[A-Za-z]+"),
        ([f"{p}_{s}" for p in ("p1", "p2") for s in ("pre", "post")], r"p\d+"),
        ([f"pat{p}_visit{s}_{m}" for p in FOUR for s in TWO for m in ("t1", "flair")], r"pat\d+"),
        (["pat01", "pat02", "pat03", "pat03_2"], r"pat\d+"),
    ],
)
def test_sessions_are_told_and_the_rule_joins_exactly_them(names: list[str], pattern: str) -> None:
    found = propose([names, [f"liver_{n}" for n in range(131)]])
    assert found is not None
    assert pattern in found.pattern or found.pattern == pattern
    manifest = listed([*names, "liver_1", "liver_2"])
    joined = join(manifest, found.pattern)
    wanted = {found.persons.get(name, name) for name in names} | {"liver_1", "liver_2"}
    assert {record.subject for record in joined.records} == wanted
    assert propose_persons(joined) is None


@pytest.mark.parametrize(
    "names",
    [
        [f"case_{n:03d}" for n in range(30)],
        [f"liver_{n}" for n in range(131)],
        [f"site{s:02d}_{n:03d}" for s in range(5) for n in range(30)],
        [f"A{s:02d}_{n:03d}" for s in range(5) for n in range(30)],
        [f"1.2.840.113619.{a}.{b}" for a in range(5) for b in range(5)],
        [f"TCGA-0{s}-{n:04d}" for s in range(4) for n in range(10)],
        [f"organmnist3d/{n}" for n in range(30)],
        [f"2019-03-{day:02d}" for day in range(1, 20)],
        [f"brain_MR{n}" for n in range(20)],
        [f"scan_{m}_2020090{n}" for m in ("ge", "siemens") for n in range(1, 5)],
        ["001", "01", "1", "1.0"],
        ["T1_1", "T1_2", "T2_1", "T2_2"],
        [f"{p}-{n}" for p in range(20) for n in range(15)],
    ],
)
def test_plain_numbering_is_no_session(names: list[str]) -> None:
    assert propose([names]) is None


def test_images_of_one_person_in_two_domains_are_told() -> None:
    found = propose([[f"{n:03d}_CT" for n in range(5)], [f"{n:03d}_PET" for n in range(5)]])
    assert found is not None
    assert found.sizes == (2,) * 5


def test_real_volumes_hold_no_sessions(shared_data: Path) -> None:
    assert propose_persons(read_folder(shared_data / "volumes")) is None


def test_published_names_are_joined_with_a_note_and_never_split(tmp_path: Path) -> None:
    for person in range(1, 7):
        for session in TWO:
            for domain, name in (
                ("A-MR", f"sub-{person:02d}_ses-{session}_T1w"),
                ("B-CT", f"OAS1_{person:04d}_MR{session}"),
            ):
                (tmp_path / domain).mkdir(exist_ok=True)
                np.save(tmp_path / domain / f"{name}.npy", np.zeros((2, 2, 2)))
    found = read_layout("folder", tmp_path)
    assert found.subjects("A-MR") == tuple(f"sub-{n:02d}" for n in range(1, 7))
    assert found.subjects("B-CT") == tuple(f"OAS1_{n:04d}" for n in range(1, 7))
    assert [note.split(" by ")[0] for note in remarks(found)] == ["12 subjects are sessions of 6 persons"] * 2
    for seed in range(20):
        found.split(seed=seed)._checked()
        assert found.split(seed=seed).notes == found.notes


def test_a_table_says_who_is_who(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "t.csv").write_text("path,domain,subject\na.nii,ABD-CT,sub-01_ses-1\n", encoding="utf-8")
    assert read_csv(tmp_path / "t.csv").subjects("ABD-CT") == ("sub-01_ses-1",)


def test_the_person_keeps_the_source_in_front() -> None:
    person = compile_pattern(r"(pat\d+)_")
    assert person("one/pat01_2") == "one/pat01"
    assert person("two/pat01_2") == "two/pat01"
    assert person("liver_3") is None


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[",
        "x*",
        "(a+)+",
        "(a|a)*x",
        "((a+)b?)+x",
        r"x(a?){50}",
        r"(\d)\1",
        ".*.*.*.*.*x",
        "a" * 400,
        "(?:a|b)+c",
    ],
)
def test_patterns_that_cannot_be_used_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="give a regular expression that matches the person"):
        compile_pattern(pattern)


def test_slow_patterns_meet_short_names_only() -> None:
    person = compile_pattern("a+a+a+a+x")
    assert person("a" * 40) is None
    assert person("a" * 200 + "x") is None
    assert person("aaaax") == "aaaax"


def test_a_pattern_that_joins_nobody_or_everybody_is_refused() -> None:
    manifest = listed(["pat01_1", "pat02_1"])
    with pytest.raises(InputError, match="matches none of 2 subjects, such as 'pat01_1'"):
        join(manifest, r"sub-\d+")
    with pytest.raises(InputError, match="one person of all 2 subjects, 'pat'"):
        join(manifest, "pat")
    assert join(manifest, r"sub-\d+", missing_ok=True) is manifest


def test_the_audit_names_persons_and_finds_leaks_of_joined_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = []
    for number in range(8):
        path = tmp_path / f"{number}.npy"
        np.save(path, rng.normal(size=(5, 5, 5)).astype(np.float32))
        records.append(
            VolumeRecord(
                path=path,
                domain="BRAIN-T1",
                subject=f"pat{number // 2}_{number % 2}",
                split="validation" if number in (0, 2, 3) else "train",
            )
        )
    manifest = Manifest(records=tuple(records))
    found = audit(manifest, pictures=False)
    told = [finding.message for finding in found.findings if finding.kind == "person"]
    assert len(told) == 8
    assert sum("is in training and in validation" in message for message in told) == 2
    assert not any("pat" in message for message in told)
    after = audit(join(manifest, r"pat\d+"), pictures=False)
    assert after.counts()["leak"] == 2
    assert "person" not in after.counts()
    with pytest.raises(InputError, match="is in training and in validation"):
        join(manifest, r"pat\d+").split(seed=0)


def test_one_person_in_two_spellings_is_one() -> None:
    assert one_name("Mu\u0308ller\u00a0") == "M\u00fcller"
    names = ["M\u00fcller", "Mu\u0308ller", " M\u00fcl\u200bler", "M\u00fcller\u200e", "M\u00fcller\u00a0"]
    assert listed(names).subjects("ABD-CT") == ("M\u00fcller",)
    assert listed(["a\u00a0b", "a b", "a\nb"]).subjects("ABD-CT") == ("a b",)
    assert one_name("plain-01_ B") == "plain-01_ B"


def test_domains_have_one_spelling_and_hide_nothing() -> None:
    assert check_domain_name("Scha\u0308del-CT") == "Sch\u00e4del-CT"
    two = (
        VolumeRecord(path=Path("/a.nii"), domain="Scha\u0308del-CT", subject="a"),
        VolumeRecord(path=Path("/b.nii"), domain="Sch\u00e4del-CT", subject="b"),
    )
    manifest = Manifest(records=two)
    assert manifest.domains == ("Sch\u00e4del-CT",)
    assert manifest.select(["Scha\u0308del-CT"]).counts() == {"Sch\u00e4del-CT": 2}
    for mark in ("\u200e", "\u200b", "\u202e", "\ufeff", "\u00ad", "\u00a0", "\u2028", "\t"):
        with pytest.raises(InputError, match="domain name"):
            check_domain_name(f"ABD{mark}-CT")
    assert check_domain_name("my domain") == "my domain"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/d/CT/sub-01_ses-2_T1w.nii.gz", ("sub-01_ses-2_T1w",)),
        ("/d/imagesTr/OAS1_0001_MR2_0000.nii.gz", ("OAS1_0001_MR2_0000", "OAS1_0001_MR2")),
        ("/d/CT/sub-01_ses-2/ct.nii.gz", ("sub-01_ses-2",)),
        ("/d/CT/case_001.nii.gz", ()),
    ],
)
def test_what_older_caches_called_a_session_is_known(path: str, names: tuple[str, ...]) -> None:
    assert session_names(VolumeRecord(path=Path(path), domain="CT", subject="x")) == names
