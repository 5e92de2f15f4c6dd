"""manifest, audit, prepare and cache from the command line: from folders to arrays and back, without a study."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from voxmix.volumes import PreparedCache

nib = pytest.importorskip("nibabel", reason="reading volumes needs the extra 'imaging'")

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])


def voxmix(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "voxmix", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        timeout=200,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def write(path: Path, seed: int, *, label: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.zeros((16, 14, 10), np.float32)
    data[3:12, 4:12, 2:9] = np.random.default_rng(seed).uniform(20, 100, (9, 8, 7))
    nib.Nifti1Image(data, AFFINE).to_filename(path)
    if label:
        name = path.name.replace(".nii.gz", "_seg.nii.gz")
        nib.Nifti1Image((data > 0).astype(np.uint8), AFFINE).to_filename(path.with_name(name))
    return path


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    for i in range(6):
        write(tmp_path / "pool" / "KNEE-MR" / f"Doe{i}" / "scan.nii.gz", i, label=True)
        write(tmp_path / "pool" / "HEAD-T1" / f"Doe{i}" / "t1.nii.gz", 50 + i)
    return tmp_path / "pool"


def test_from_a_folder_to_arrays_and_back(pool: Path, tmp_path: Path) -> None:
    (pool / "KNEE-MR" / "Doe8").mkdir()
    (pool / "KNEE-MR" / "Doe8" / "broken.nii.gz").write_bytes(b"no")
    made = voxmix("manifest", "pool", "-o", "pool.csv", "--rename", "HEAD-T1=BRAIN-T1", cwd=tmp_path)
    assert "layout folder (detected)" in made.stderr
    assert "voxmix audit pool.csv" in made.stderr
    header, first = (tmp_path / "pool.csv").read_text(encoding="utf-8").splitlines()[:2]
    assert header == "path,domain,subject,split,label"
    assert first.startswith("pool/HEAD-T1/Doe0/t1.nii.gz,BRAIN-T1,Doe0,")

    looked = json.loads(voxmix("audit", "pool.csv", "--sheets", "look", "--json", cwd=tmp_path).stdout)
    assert looked["counts"] == {"unreadable": 1}
    assert looked["findings"][0]["path"].endswith("broken.nii.gz")
    page = (tmp_path / "look" / "audit.html").read_text(encoding="utf-8")
    assert "Doe" not in page
    assert looked["findings"][0]["id"] in page

    (tmp_path / "recipe.yaml").write_text(
        "spacing_mm: 2.0\nmin_shape: [12, 12, 12]\nintensity:\n"
        "  KNEE-MR: {kind: percentile, low: 1, high: 99}\n  BRAIN-T1: z-score\n",
        encoding="utf-8",
    )
    done = voxmix("prepare", "pool.csv", "--recipe", "recipe.yaml", "-o", "cache", cwd=tmp_path)
    assert "disk space" in done.stderr
    assert "broken.nii.gz: its first bytes" in done.stderr.replace("\n", " ")
    aside = (tmp_path / "cache.private" / "set-aside.csv").read_text(encoding="utf-8")
    assert "Doe8/broken.nii.gz,KNEE-MR," in aside
    names = json.loads((tmp_path / "cache.private" / "subjects.json").read_text(encoding="utf-8"))
    assert sorted(names["subjects"].values()) == [f"Doe{i}" for i in range(6)]
    assert (tmp_path / "cache.private" / "subjects.json").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "cache").rglob("*"):
        assert path.is_dir() or b"Doe" not in path.read_bytes()
        assert not path.is_file() or names["salt"].encode() not in path.read_bytes()

    held = json.loads(voxmix("cache", "list", "cache", "--json", cwd=tmp_path).stdout)
    assert held["domains"]["KNEE-MR"]["with_labels"] == 6
    assert held["codecs"] == ["npy"]
    assert held["set_aside"][0]["files"] == 1
    assert held["recipe"]["intensity"]["KNEE-MR"] == {"kind": "percentile", "low": 1.0, "high": 99.0}
    assert "percentile 1 to 99" in voxmix("cache", "list", "cache", cwd=tmp_path).stdout

    volume = next(v.as_dict() for v in PreparedCache.open(tmp_path / "cache").volumes if v.label)
    source = names["volumes"][volume["key"]]
    back = voxmix(
        "cache", "restore", "cache", f"cache/{volume['label']}", "--image", source, "--domain", "KNEE-MR",
        "-o", "back.nii.gz", cwd=tmp_path,
    )  # fmt: skip
    assert volume["key"] in back.stderr
    original = nib.load(tmp_path / source.replace("scan", "scan_seg"))
    restored = nib.load(tmp_path / "back.nii.gz")
    np.testing.assert_allclose(restored.affine, original.affine)
    outside = np.asarray(restored.dataobj) != np.asarray(original.dataobj)
    assert outside.mean() < 0.02  # 3 mm slices were prepared at 2 mm: a border may move by half a voxel.


def test_a_damaged_cache_is_found_mended_and_pruned(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("spacing_mm: 3\nmin_shape: [8, 8, 8]\n", encoding="utf-8")
    voxmix("prepare", "pool", "--recipe", "r.yaml", "--out", "cache", cwd=tmp_path)
    assert (tmp_path / "cache.private" / "subjects.json").exists()
    assert not (pool / "voxmix-subjects.json").exists()
    assert "none damaged" in voxmix("cache", "verify", "cache", cwd=tmp_path).stdout
    array = next((tmp_path / "cache" / "volumes").glob("*.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    wrong = json.loads(voxmix("cache", "verify", "cache", "--json", cwd=tmp_path, code=1).stdout)
    assert wrong["damaged"] == [{"file": f"volumes/{array.name}", "reason": "its bytes changed"}]
    voxmix("cache", "verify", "cache", "--remove", cwd=tmp_path)
    voxmix("prepare", "pool", "--recipe", "r.yaml", "--out", "cache", cwd=tmp_path)
    voxmix("cache", "verify", "cache", cwd=tmp_path)
    (tmp_path / "r.yaml").write_text("spacing_mm: 4\nmin_shape: [8, 8, 8]\n", encoding="utf-8")
    voxmix("prepare", "pool", "--recipe", "r.yaml", "--out", "cache", cwd=tmp_path)
    planned = json.loads(voxmix("cache", "prune", "cache", "--dry-run", "--json", cwd=tmp_path).stdout)
    assert planned["files"] == 2 * (12 + 1)  # With a side file each; the label maps are all one map.
    assert array.exists()
    assert json.loads(voxmix("cache", "prune", "cache", "--json", cwd=tmp_path).stdout)["files"] == 26
    assert not array.exists()
    voxmix("cache", "verify", "cache", cwd=tmp_path)


def test_a_leak_into_downstream_is_exit_code_1_and_like_keeps_sides(pool: Path, tmp_path: Path) -> None:
    voxmix("manifest", "pool", "-o", "pool.csv", cwd=tmp_path)
    rows = (tmp_path / "pool.csv").read_text(encoding="utf-8").splitlines()
    turned = [row.replace(",train,", ",VAL,").replace(",validation,", ",train,") for row in rows]
    (tmp_path / "down.csv").write_text("\n".join(turned).replace(",VAL,", ",validation,"), encoding="utf-8")
    found = json.loads(
        voxmix("audit", "pool.csv", "--against", "down.csv", "--json", cwd=tmp_path, code=1).stdout
    )
    assert found["counts"] == {"leak": 12}
    moved = voxmix("manifest", "pool", "-o", "down.csv", "--seed", "7", cwd=tmp_path)
    assert (
        "change sides compared with the earlier down.csv; --like down.csv keeps their sides" in moved.stderr
    )
    voxmix("manifest", "pool", "-o", "down.csv", "--like", "pool.csv", "--seed", "7", cwd=tmp_path)
    assert (tmp_path / "down.csv").read_text(encoding="utf-8") == (tmp_path / "pool.csv").read_text(
        encoding="utf-8"
    )
    voxmix("audit", "pool.csv", "--against", "down.csv", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("manifest", "gone"), "no such file or folder"),
        (("manifest", "pool", "--layout", "dicomweb"), "unknown layout 'dicomweb'"),
        (("manifest", "pool", "--times", "last"), "unknown choice 'last'"),
        (("manifest", "pool", "--rename", "X"), "should be OLD=NEW"),
        (("manifest", "pool", "-o", "m.xlsx"), "should end in .csv or .json"),
        (("audit", "gone.csv"), "no such file"),
        (("audit", "bad.yaml"), "lacks the columns"),
        (("prepare", "pool"), "give --out CACHE"),
        (("prepare", "pool", "--out", "pool"), "is not empty and no cache"),
        (("prepare", "pool", "--out", "c", "--recipe", "gone.yaml"), "intensity: {HN-CT: bone}"),
        (("prepare", "pool", "--out", "c", "--recipe", "bad.yaml"), "no rule is called 'bones'"),
        (("cache", "list", "pool"), "no prepared volumes"),
        (("cache", "restore", "pool", "x.npy", "-o", "x.nii"), "no prepared volumes"),
    ],
)
def test_mistakes_are_sentences(pool: Path, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "bad.yaml").write_text("intensity: {KNEE-MR: bones}\n", encoding="utf-8")
    before = set(tmp_path.rglob("*"))
    done = voxmix(*arguments, cwd=tmp_path, code=2)
    assert words in " ".join(done.stderr.split())
    assert set(tmp_path.rglob("*")) == before


def test_places_that_cannot_be_written_are_sentences(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    for arguments in (
        ("manifest", "pool", "-o", "file/m.csv"),
        ("audit", "pool", "--sheets", "file"),
        ("prepare", "pool", "--out", "file/cache"),
    ):
        done = voxmix(*arguments, cwd=tmp_path, code=1)
        assert "cannot write below" in done.stderr
