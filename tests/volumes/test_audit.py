"""The audit finds what was planted, and nothing in data that are in order."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.datasets.sets.folder import read_folder
from voxmix.phantoms.domains import write_phantoms
from voxmix.report.audit_page import write_audit
from voxmix.volumes import Manifest, VolumeRecord
from voxmix.volumes.auditing.audit import Finding, audit
from voxmix.volumes.auditing.file_survey import survey_file
from voxmix.volumes.volume import Volume


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
    result = audit(read_folder(root).split(seed=0))
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
    write(root / "MR" / "p7" / "a_seg.nii.gz", np.ones((4, 4, 4)), spacing=9.0)
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
    assert "same content" in leaks["p0"]
    assert "subject" in leaks["p3"]
    assert next(iter(result.counts())) == "leak"


def test_messages_name_nobody(root: Path) -> None:
    (root / "CT" / "p0" / "a.nii.gz").write_bytes(b"broken")
    for finding in audit(read_folder(root)).findings:
        assert str(root) not in finding.message
        assert "p0" not in finding.message


def test_workers_make_no_difference(root: Path) -> None:
    (root / "MR" / "p0" / "a.nii.gz").write_bytes(b"broken")
    manifest = read_folder(root)
    assert audit(manifest, workers=2).findings == audit(manifest).findings


def test_contact_sheets_show_every_file(root: Path, tmp_path: Path) -> None:
    from PIL import Image

    odd = write(root / "CT" / "p3" / "a.nii.gz", ct(3), spacing=4.0)
    result = audit(read_folder(root))
    written = write_audit(result, tmp_path / "sheets")
    assert [p.name for p in written] == ["CT-1.png", "MR-1.png", "audit.html"]
    picture = np.asarray(Image.open(written[0]).convert("RGB")).astype(int)
    rows, columns = picture.shape[0] // 3, picture.shape[1] // 4
    tiles = [picture[r * rows :][:rows, c * columns :][:, :columns] for r in range(3) for c in range(4)]
    assert [bool(tile.max() > 128) for tile in tiles] == [True] * 9 + [False] * 3
    orange = [bool((np.abs(tile - (230, 120, 20)).sum(-1) == 0).sum() > 500) for tile in tiles]
    assert [index for index, one in enumerate(orange) if one] == [3]
    page = written[-1].read_text(encoding="utf-8")
    name = next(s.name for s in result.surveys if s.record.path == odd)
    assert name in page.partition("</main>")[0].rpartition("<img")[2]  # below the pictures, and nowhere above
    assert name not in page.partition("<img")[0]
    assert 'src="CT-1.png"' in page


def test_contact_sheets_name_no_path_and_run_no_script(root: Path, tmp_path: Path) -> None:
    evil = "<script>x"
    result = audit(read_folder(root))
    first = result.surveys[0]
    planted = replace(
        result, findings=(Finding(kind="leak", domain=evil, name=first.name, path=root, message=evil),)
    )
    page = write_audit(planted, tmp_path / "sheets")[-1].read_text(encoding="utf-8")
    assert evil not in page
    assert str(root) not in page
    assert "p0" not in page


def test_views_stand_upright_whatever_the_storage(tmp_path: Path) -> None:
    """A patient stored with other axes gives the same three views: axial with anterior up, then coronal, sagittal."""
    data = np.zeros((20, 24, 28), np.float32)
    data[2:6, 12:22, 15:26] = 1 + np.arange(11)
    upright = Volume(data=data, affine=np.eye(4))
    turned = np.array([[0, 0, -1.0, 19], [-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 0, 1]])
    other = Volume(data=np.ascontiguousarray(data[::-1, ::-1].transpose(1, 2, 0)), affine=turned)
    for name, volume in {"a": upright, "b": other}.items():
        nibabel.Nifti1Image(volume.data, volume.affine).to_filename(tmp_path / f"{name}.nii.gz")
    one, two = (
        survey_file(VolumeRecord(path=tmp_path / f"{name}.nii.gz", domain="MR", subject=name))
        for name in "ab"
    )
    assert one.voxels == two.voxels
    assert one.digest != two.digest
    assert one.views is not None
    np.testing.assert_array_equal(one.views, two.views)


def test_a_copy_in_another_format_is_found(root: Path) -> None:
    copy = root / "MR" / "p9" / "copy.nrrd"
    copy.parent.mkdir()
    sitk.WriteImage(sitk.ReadImage(str(root / "MR" / "p0" / "a.nii.gz")), str(copy))
    result = audit(read_folder(root))
    assert [(f.kind, f.path) for f in result.findings] == [("duplicate", copy)]


def test_another_manifest_must_not_share_what_is_trained_on(root: Path) -> None:
    def records(*cases: tuple[int, str, str]) -> Manifest:
        return Manifest(
            records=tuple(
                VolumeRecord(
                    path=root / "MR" / f"p{n}" / "a.nii.gz", domain="MR", subject=subject, split=side
                )
                for n, subject, side in cases
            )
        )

    own = records((0, "a", "train"), (1, "b", "train"), (2, "c", "train"), (3, "d", "validation"))
    safe = records((4, "a", "train"), (3, "other name", "validation"))
    assert "leak" not in audit(own, [safe]).counts()
    subject = audit(own, [records((5, "a", "validation"))]).findings
    assert [(f.kind, f.path.parent.name) for f in subject] == [("leak", "p0")]
    assert subject[0].message == "its subject is in training here and in validation in the other set"
    content = audit(own, [safe, records((1, "z", "validation"))]).findings
    assert [(f.kind, f.path.parent.name) for f in content] == [("leak", "p1")]
    unsplit = audit(own, [records((2, "z", ""))]).findings
    assert unsplit[0].message == "the same content is in training here and without a split in the other set"


def test_a_label_map_on_another_grid_is_said(root: Path) -> None:
    write(root / "MR" / "p7" / "a_seg.nii.gz", np.eye(4)[:, :, None] * np.ones(4), spacing=2.0)
    result = audit(read_folder(root))
    assert repr(result) == "Audit(18 volumes: 1 label)"
    (finding,) = result.findings
    assert (finding.kind, finding.path.parent.name) == ("label", "p7")
    assert "on another grid" in finding.message


def test_phantoms_are_in_order(tmp_path: Path) -> None:
    write_phantoms(tmp_path, counts={"ABD-CT": 4, "BRAIN-T1": 4, "HN-PET": 4}, seed=0, matrix=32)
    assert audit(read_folder(tmp_path)).counts() == {}
