"""Bad volumes are named, set aside and counted; the job goes on with the rest."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

nib = pytest.importorskip("nibabel", reason="reading volumes needs the extra 'imaging'")

GRID = (20, 22, 18)


def voxmix(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voxmix", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=cwd, timeout=200, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), path)
    return path


def good(path: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).normal(100, 20, GRID).astype(np.float32)
    return write(path, values)


def truncated(path: Path) -> None:
    whole = good(path, 99).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def not_an_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"a letter, not a volume" * 50))


BAD: dict[str, Callable[[Path], object]] = {
    "truncated": truncated,
    "not-an-image": not_an_image,
    "all-zero": lambda path: write(path, np.zeros(GRID, np.float32)),
    "all-nan": lambda path: write(path, np.full(GRID, np.nan, np.float32)),
    "flat-2d": lambda path: write(path, np.ones(GRID[:2], np.float32)),
    "empty-file": lambda path: (path.parent.mkdir(parents=True), path.write_bytes(b"")),
}


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    root = tmp_path / "volumes"
    for index in range(6):
        good(root / "ABD-CT" / f"p{index}" / "ct.nii.gz", index)
        good(root / "BRAIN-T1" / f"q{index}" / "t1.nii.gz", 100 + index)
    return root


def test_unreadable_volumes_are_set_aside_and_counted(volumes: Path, tmp_path: Path) -> None:
    for name, make in BAD.items():
        make(volumes / "ABD-CT" / f"secret-{name}" / "ct.nii.gz")
    assert voxmix("init", "s", "--data", str(volumes), cwd=tmp_path).returncode == 0
    done = voxmix("prepare", "s", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert len(value["set_aside"]) == len(BAD)
    assert value["training"]["ABD-CT"] + value["validation"]["ABD-CT"] == 6
    for name in BAD:
        (line,) = [line for line in done.stderr.splitlines() if f"secret-{name}" in line]
        assert line.startswith("note: set aside ")
    for path in (tmp_path / "s" / "cache").rglob("*"):
        assert not path.is_file() or b"secret-" not in path.read_bytes()


def test_a_domain_of_bad_volumes_is_refused_and_nothing_is_lost(volumes: Path, tmp_path: Path) -> None:
    for index in range(3):
        truncated(volumes / "HN-PET" / f"r{index}" / "pet.nii.gz")
    assert voxmix("init", "s", "--data", str(volumes), cwd=tmp_path).returncode == 0
    done = voxmix("prepare", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "HN-PET" in done.stderr
    made = len(list((tmp_path / "s" / "cache" / "volumes").glob("*.npy")))
    assert made == 12
    (tmp_path / "s" / "study.yaml").write_text(
        (tmp_path / "s" / "study.yaml")
        .read_text(encoding="utf-8")
        .replace("domains: []", "domains: [ABD-CT, BRAIN-T1]"),
        encoding="utf-8",
    )
    assert voxmix("prepare", "s", cwd=tmp_path).returncode == 0


def test_a_domain_needs_two_subjects(volumes: Path, tmp_path: Path) -> None:
    good(volumes / "HN-PET" / "only" / "pet.nii.gz", 7)
    done = voxmix("init", "s", "--data", str(volumes), cwd=tmp_path)
    assert done.returncode == 2
    assert "HN-PET has one subject" in done.stderr
    assert "--exclude HN-PET" in done.stderr
    done = voxmix("init", "s", "--data", str(volumes), "--exclude", "HN-PET", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["volumes"]) == ["ABD-CT", "BRAIN-T1"]
    assert voxmix("prepare", "s", cwd=tmp_path).returncode == 0  # the study file leaves it out, too


def test_an_empty_domain_is_named_and_left_out(volumes: Path, tmp_path: Path) -> None:
    (volumes / "HN-PET").mkdir()
    done = voxmix("init", "s", "--data", str(volumes), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "HN-PET" in done.stderr
    assert list(json.loads(done.stdout)["volumes"]) == ["ABD-CT", "BRAIN-T1"]


def test_volumes_that_moved_are_named(volumes: Path, tmp_path: Path) -> None:
    assert voxmix("init", "s", "--data", str(volumes), cwd=tmp_path).returncode == 0
    volumes.rename(tmp_path / "elsewhere")
    done = voxmix("prepare", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "data.path" in done.stderr


def test_a_table_of_volumes_does_as_well(volumes: Path, tmp_path: Path) -> None:
    rows = [
        f"{path.relative_to(tmp_path)},{path.parts[-3]},{path.parts[-2]}"
        for path in sorted(volumes.rglob("*.nii.gz"))
    ]
    (tmp_path / "table.csv").write_text(
        "path,domain,subject\n" + "\n".join(rows) + "\nvolumes/gone.nii.gz,ABD-CT,p9\n", encoding="utf-8"
    )
    assert voxmix("init", "s", "--data", "table.csv", cwd=tmp_path).returncode == 0
    done = voxmix("prepare", "s", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [item["domain"] for item in json.loads(done.stdout)["set_aside"]] == ["ABD-CT"]
    (tmp_path / "table.csv").write_text("path,domain\nvolumes/x.nii.gz,ABD-CT\n", encoding="utf-8")
    done = voxmix("init", "t", "--data", "table.csv", cwd=tmp_path)
    assert done.returncode == 2
    assert "subject" in done.stderr


def test_what_is_hopeless_is_refused_before_training_and_may_be_accepted(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for index in range(4):
        values = np.random.default_rng(index).normal(1064, 20, (24, 24, 24))
        values[:, :, 12:] = np.random.default_rng(index).normal(24, 5, (24, 24, 12))
        write(data / "HN-CT" / f"p{index}" / "ct.nii.gz", values.astype(np.float32))
        good(data / "BRAIN-T1" / f"q{index}" / "t1.nii.gz", index)
    made = voxmix("init", "s", "--data", str(data), "--preset", "small", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "leave --preset out" in made.stderr  # the fields ask for finer voxels than the preset's
    done = voxmix("prepare", "s", "--json", cwd=tmp_path)
    assert "`HN-CT: {kind: window, low: 849, high: 1274}`" in done.stderr
    fitness = {item["domain"]: item for item in json.loads(done.stdout)["fitness"]}
    assert fitness["BRAIN-T1"]["padding"] > 0.9
    assert {c["kind"] for c in fitness["HN-CT"]["complaints"]} == {"padding", "offset"}
    for verb in (("run", "s"), ("study", "run", "s")):
        done = voxmix(*verb, cwd=tmp_path)
        assert done.returncode == 2
        assert "nothing to learn from 2 of 2 domains" in done.stderr
        assert "`accept_blank: true`" in done.stderr
    assert not (tmp_path / "s" / "runs").exists()
    state = json.loads(voxmix("status", "s", "--json", cwd=tmp_path).stdout)
    assert len(state["fitness"]) == 2
    assert voxmix("report", "s", cwd=tmp_path).returncode == 0
    assert "more than 80% padding" in (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    settings = tmp_path / "s" / "study.yaml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace("accept_blank: false", "accept_blank: true"),
        encoding="utf-8",
    )
    state = json.loads(voxmix("status", "s", "--json", cwd=tmp_path).stdout)
    assert state["steps"][0]["done"], "accepting makes nothing anew"


def test_spacing_and_crop_of_a_new_study_fit_its_fields(volumes: Path, tmp_path: Path) -> None:
    done = voxmix("init", "s", "--data", str(volumes), cwd=tmp_path)
    assert "44 x 54" in done.stdout  # fields in mm
    text = (tmp_path / "s" / "study.yaml").read_text(encoding="utf-8")
    assert "spacing_mm: 2.0" in text
    assert "crop: 24" in text
    assert "Fields of view in mm" in text
    done = voxmix("prepare", "s", "--json", cwd=tmp_path)
    assert all(item["padding"] <= 0.5 for item in json.loads(done.stdout)["fitness"])


def test_a_rule_for_a_misspelt_domain_is_named_before_anything_is_made(volumes: Path, tmp_path: Path) -> None:
    assert voxmix("init", "s", "--data", str(volumes), cwd=tmp_path).returncode == 0
    path = tmp_path / "s" / "study.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("ABD-CT:", "ABD-CTT:"), encoding="utf-8")
    done = voxmix("prepare", "s", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'ABD-CT'" in done.stderr
    assert not (tmp_path / "s" / "cache" / "index.json").exists()
