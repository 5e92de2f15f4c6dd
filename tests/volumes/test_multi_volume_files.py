"""Files that hold several volumes become as many records, by their headers alone."""

import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.errors import InputError
from voxmix.volumes import Manifest, VolumeRecord
from voxmix.volumes.reading.multi_volume_files import take_apart


def manifest_of(*paths: Path) -> Manifest:
    return Manifest(records=tuple(VolumeRecord(path=p, domain="MR", subject=p.name) for p in paths))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    data = np.random.default_rng(0).integers(0, 99, (6, 5, 4, 5)).astype(np.int16)
    nibabel.Nifti1Image(data, np.eye(4)).to_filename(tmp_path / "a.nii.gz")
    np.save(tmp_path / "b.npy", data[..., :2])
    sitk.WriteImage(sitk.GetImageFromArray(data.T[:3], isVector=False), str(tmp_path / "c.mha"))
    nibabel.Nifti1Image(data[..., :1], np.eye(4)).to_filename(tmp_path / "d.nii")
    (tmp_path / "e.nii.gz").write_bytes(b"broken")
    return tuple(sorted(tmp_path.iterdir()))


def volumes(manifest: Manifest) -> dict[str, list[int | None]]:
    found: dict[str, list[int | None]] = {}
    for record in manifest.records:
        found.setdefault(record.path.name, []).append(record.volume)
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_every_volume_of_every_format(files: tuple[Path, ...], workers: int) -> None:
    seen: list[int] = []
    apart = take_apart(manifest_of(*files), workers=workers, progress=lambda done, total: seen.append(done))
    assert volumes(apart) == {
        "a.nii.gz": [0, 1, 2, 3, 4],
        "b.npy": [0, 1],
        "c.mha": [0, 1, 2],
        "d.nii": [None],
        "e.nii.gz": [None],
    }
    assert seen[-1] == 5
    assert {r.subject for r in apart.records} == {p.name for p in files}
    assert take_apart(apart) == apart


def test_one_volume_may_be_chosen(files: tuple[Path, ...]) -> None:
    assert volumes(take_apart(manifest_of(files[0]), times="first"))["a.nii.gz"] == [0]
    assert volumes(take_apart(manifest_of(files[0]), times="middle"))["a.nii.gz"] == [2]
    assert volumes(take_apart(manifest_of(files[0]), times="none"))["a.nii.gz"] == [None]
    with pytest.raises(InputError, match="unknown choice 'last'"):
        take_apart(manifest_of(files[0]), times="last")


def test_a_header_that_claims_two_billion_volumes_is_one_record(tmp_path: Path) -> None:
    header = bytearray(nibabel.Nifti2Header().binaryblock)
    struct.pack_into("<8q", header, 16, 4, 5, 5, 5, 2**31, 1, 1, 1)
    (tmp_path / "a.nii").write_bytes(bytes(header) + b"\0" * 1000)
    assert volumes(take_apart(manifest_of(tmp_path / "a.nii"))) == {"a.nii": [None]}


def test_volumes_are_counted_whatever_their_place(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 5, 5, 3), np.int16), np.eye(4))
    image.header.set_sform(np.zeros((4, 4)), 1)
    image.header["qform_code"] = 0
    raw = image.header.binaryblock + bytes(4 + 750)
    (tmp_path / "a.nii.gz").write_bytes(raw)
    assert volumes(take_apart(manifest_of(tmp_path / "a.nii.gz"))) == {"a.nii.gz": [0, 1, 2]}
