"""Names that no table or terminal takes are set aside before any work; other odd names go all the way."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix._io import as_argument, digest, json_text, name_fault, printable, read_json, write_json
from voxmix.datasets.sets.folder import read_folder
from voxmix.errors import InputError
from voxmix.volumes import Manifest, Recipe, VolumeRecord
from voxmix.volumes.manifest_files import read_table, write_table
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.preparing.private_lists import Names

FAULTS = {
    b"p3/caf\xe9.nii.gz": "is not UTF-8 text",
    b"caf\xe9/x.nii.gz": "is not UTF-8 text",
    b"p4/new\nline.nii.gz": "holds a line break or a control character",
    b"p5/esc\x1b[31m.nii.gz": "holds a line break or a control character",
    b"p6/\xc2\x85.nii.gz": "holds a line break or a control character",
    b"p7/\xe2\x80\xa8.nii.gz": "holds a line break or a control character",
}
FINE = (
    b"p1/a.nii.gz", b"p2/[bold]red[/bold].nii.gz", b"[red]p/a.nii.gz", b"p8/-x.nii.gz", b"p9/[/].nii.gz",
    b"p10/q'\"; $(rm).nii.gz", b"p11/tab\tx.nii.gz", b"p12 , left/a,b;c.nii.gz", "größe/体.nii.gz".encode(),
)  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, name in enumerate([*FAULTS, *FINE]):
        target = os.fsencode(tmp_path / "data" / "X-CT") + b"/" + name
        os.makedirs(os.path.dirname(target), exist_ok=True)
        voxels = np.random.default_rng(number).uniform(20, 90, (8, 8, 8)).astype(np.float32)
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / "made.nii.gz")
        os.rename(os.fsencode(tmp_path / "made.nii.gz"), target)
    return tmp_path / "data"


def test_names_are_set_aside_at_the_start_and_the_rest_is_prepared(data: Path, tmp_path: Path) -> None:
    manifest = read_folder(data)
    found = {os.fsencode(item.path.relative_to(data / "X-CT")): item.reason for item in manifest.set_aside}
    assert found == {
        name: f"its name, or that of a folder above it, {fault}; rename it" for name, fault in FAULTS.items()
    }
    assert {os.fsencode(r.path.relative_to(data / "X-CT")) for r in manifest.records} == set(FINE)
    recipe = Recipe(spacing_mm=1.0, min_shape=(8, 8, 8))
    done = prepare(
        manifest.split(seed=0, fraction=0.3),
        recipe=recipe,
        root=tmp_path / "cache",
        source=data,
        names=(kept := Names(folder=tmp_path / "private")),
    )
    assert len(done.cache.volumes) == len(FINE)
    assert len(done.set_aside) == len(FAULTS)
    with kept.set_aside_path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(FAULTS)
    assert "X-CT/p3/caf\\udce9.nii.gz" in [row["path"] for row in rows]


@pytest.mark.parametrize("name", ["m.csv", "m.json"])
def test_tables_of_odd_names_are_read_back(data: Path, tmp_path: Path, name: str) -> None:
    manifest = read_folder(data)
    write_table(manifest, tmp_path / name)
    back = read_table(tmp_path / name)
    assert [r.path for r in back.records] == [tmp_path / r.path for r in manifest.records]
    assert [r.subject for r in back.records] == [r.subject for r in manifest.records]
    if name == "m.json":
        assert [s.path for s in back.set_aside] == [s.path for s in manifest.set_aside]


def test_a_label_map_with_such_a_name_is_left_out(tmp_path: Path) -> None:
    label = tmp_path / os.fsdecode(b"l\xe9.nii")
    record = VolumeRecord(path=tmp_path / "a.nii", domain="CT", subject="p", label=label)
    manifest = Manifest(records=(record,))
    assert manifest.records[0].label is None
    assert manifest.set_aside[0].path == label
    assert manifest.set_aside[0].reason.startswith("label map: its name")


def test_a_subject_with_such_a_name_is_set_aside() -> None:
    good, bad = (
        VolumeRecord(path=Path(f"{name}.nii"), domain="CT", subject=subject)
        for name, subject in (("a", "p1"), ("b", "p\x012"))
    )
    manifest = Manifest(records=(good, bad))
    assert manifest.records == (good,)
    assert manifest.set_aside[0].reason.startswith("the name of its subject holds a line break or a control")


def test_nothing_left_says_why() -> None:
    record = VolumeRecord(path=Path(os.fsdecode(b"/d\xe9/a.nii")), domain="CT", subject="p")
    with pytest.raises(InputError, match=r"no volume is left: .*not UTF-8 text; rename it"):
        Manifest(records=(record,))


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_the_command_line_names_them(data: Path, tmp_path: Path, locale: str) -> None:
    environment = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "voxmix", "manifest", "data", "-o", "m.csv"]
    for more in ([], ["--json"]):
        done = subprocess.run(
            [*command, *more], capture_output=True, cwd=tmp_path, env=environment, timeout=100, check=False
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b[31m.nii" not in done.stdout + done.stderr
        assert b"caf\\udce9" in (done.stdout if more else done.stderr)
        if more:
            paths = [item["path"] for item in json.loads(done.stdout)["set_aside"]]
            assert os.fsdecode(b"data/X-CT/p3/caf\xe9.nii.gz") in paths


def test_json_keeps_bytes_that_are_no_text(tmp_path: Path) -> None:
    value = {"path": os.fsdecode(b"caf\xe9"), "text": "größe \\udce9", "n": [1, 2.5]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert json.loads(json_text(value)) == value
    assert digest(value) != digest({**value, "path": "caf\\udce9"})
    assert digest({"a": "größe"}) == "1e0ea14a6cfdb44e"


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("a/b.csv", "a/b.csv"),
        ("my scans/m.csv", "'my scans/m.csv'"),
        ("-x.csv", "./-x.csv"),
        ("$(rm)", "'$(rm)'"),
    ],
)
def test_paths_in_hints_can_be_pasted(path: str, typed: str) -> None:
    assert as_argument(Path(path)) == typed


def test_text_for_the_terminal() -> None:
    assert printable("a\x1b[31m\x07b\nc\td é \udce9") == "a\\x1b[31m\\x07b\nc\td é \\udce9"
    assert name_fault("größe/体 (2).nii.gz\t") == ""
