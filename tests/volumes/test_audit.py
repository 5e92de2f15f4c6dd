"""The audit finds what was planted, and nothing in data that are in order."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.errors import InputError
from voxmix.volumes import Manifest, VolumeRecord
from voxmix.volumes.audit import audit, check_split
from voxmix.volumes.phantoms import write_phantoms


def write(path: Path, data: np.ndarray, spacing: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(data.astype(np.float32), np.diag([spacing, spacing, spacing, 1.0])).to_filename(path)
    return path


def ct(seed: int) -> np.ndarray:
    data = np.random.default_rng(seed).normal(40, 30, (12, 12, 12))
    data[:3] = -1000 + data[:3] * 0.1
    data[-1] += 900
    return data


def mr(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3, 80, (12, 12, 12))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for i in range(9):
        write(tmp_path / "CT" / f"p{i}" / "a.nii.gz", ct(i))
        write(tmp_path / "MR" / f"p{i}" / "a.nii.gz", mr(50 + i))
    return tmp_path


def found(root: Path) -> set[tuple[str, str, str]]:
    result = audit(Manifest.from_folder(root).split(seed=0))
    return {(f.kind, f.domain, f.path.parent.name) for f in result.findings}


def test_data_in_order_give_no_finding(root: Path) -> None:
    assert found(root) == set()


def test_every_planted_oddity_is_found(root: Path) -> None:
    (root / "CT" / "p0" / "a.nii.gz").write_bytes(b"broken")
    write(root / "CT" / "p1" / "a.nii.gz", np.clip(ct(1) + 1024, 0, None))
    write(root / "CT" / "p2" / "a.nii.gz", (np.clip(ct(2), -175, 250) + 175) / 425 * 255)
    write(root / "CT" / "p3" / "a.nii.gz", ct(3), spacing=4.0)
    write(root / "MR" / "p4" / "a.nii.gz", ct(4))
    write(root / "MR" / "p5" / "a.nii.gz", mr(55) * 40)
    twin = root / "MR" / "p6" / "twin.nii.gz"
    twin.write_bytes((root / "MR" / "p6" / "a.nii.gz").read_bytes())
    write(root / "MR" / "p7" / "a_seg.nii.gz", np.zeros((4, 4, 4)))
    assert found(root) >= {
        ("unreadable", "CT", "p0"),
        ("modality", "CT", "p1"),
        ("modality", "CT", "p2"),
        ("spacing", "CT", "p3"),
        ("modality", "MR", "p4"),
        ("intensity", "MR", "p5"),
        ("duplicate", "MR", "p6"),
        ("label", "MR", "p7"),
    }
    assert {name for _, _, name in found(root)} == {f"p{i}" for i in range(8)}


def test_leaks_by_subject_and_by_content(root: Path) -> None:
    def record(number: int, side: str, subject: str | None = None) -> VolumeRecord:
        path = root / "CT" / f"p{number}" / "a.nii.gz"
        return VolumeRecord(path=path, domain="CT", subject=subject or f"p{number}", split=side)

    (root / "CT" / "p1" / "a.nii.gz").write_bytes((root / "CT" / "p0" / "a.nii.gz").read_bytes())
    manifest = Manifest(
        records=(
            record(0, "train"),
            record(1, "validation"),
            record(2, "train", "same"),
            record(3, "validation", "same"),
            record(4, "train"),
        )
    )
    result = audit(manifest)
    leaks = {f.path.parent.name: f.message for f in result.findings if f.kind == "leak"}
    assert set(leaks) == {"p0", "p1", "p2", "p3"}
    assert "same bytes" in leaks["p0"]
    assert "subject" in leaks["p3"]
    assert next(iter(result.counts())) == "leak"


def test_messages_name_nobody(root: Path) -> None:
    (root / "CT" / "p0" / "a.nii.gz").write_bytes(b"broken")
    for finding in audit(Manifest.from_folder(root)).findings:
        assert str(root) not in finding.message
        assert "p0" not in finding.message


def test_workers_make_no_difference(root: Path) -> None:
    (root / "MR" / "p0" / "a.nii.gz").write_bytes(b"broken")
    manifest = Manifest.from_folder(root)
    assert audit(manifest, workers=2).findings == audit(manifest).findings


def test_contact_sheets_show_every_file(root: Path, tmp_path: Path) -> None:
    from matplotlib.image import imread

    sheets = audit(Manifest.from_folder(root)).write_contact_sheets(tmp_path / "sheets")
    assert [p.name for p in sheets] == ["CT.png", "MR.png"]
    picture = imread(sheets[0])[..., 0]
    tiles = picture.reshape(5, 96, 2, 288).transpose(0, 2, 1, 3).reshape(10, -1)
    assert [bool(tile.max() > 0.5) for tile in tiles] == [True] * 9 + [False]


def test_phantoms_are_in_order(tmp_path: Path) -> None:
    write_phantoms(tmp_path, counts={"ABD-CT": 4, "BRAIN-T1": 4, "HN-PET": 4}, seed=0, matrix=32)
    assert audit(Manifest.from_folder(tmp_path)).counts() == {}


def test_splits_of_pretraining_and_downstream_must_agree() -> None:
    def manifest(a: str, b: str) -> Manifest:
        return Manifest(
            records=(
                VolumeRecord(path=Path("a"), domain="CT", subject="p1", split=a),
                VolumeRecord(path=Path("b"), domain="CT", subject="p2", split=b),
            )
        )

    check_split(manifest("train", "validation"), manifest("train", "validation"))
    check_split(manifest("train", "validation"), manifest("", ""))
    with pytest.raises(InputError, match="2 subjects are in training in one manifest"):
        check_split(manifest("train", "validation"), manifest("validation", "train"))
