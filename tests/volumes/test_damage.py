"""Damage that the libraries below do not notice: packed voxels that are not what was packed."""

import bz2
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError

VOXELS = np.random.default_rng(3).integers(0, 900, (9, 8, 7)).astype(np.int16)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image, nibabel.MGHImage])
def test_a_wrong_checksum_is_told(tmp_path: Path, kind: type) -> None:
    path = tmp_path / ("a.mgz" if kind is nibabel.MGHImage else "a.nii.gz")
    nibabel.save(kind(VOXELS, np.diag([2.0, 2, 3, 1])), path)
    whole = path.read_bytes()
    for after in (b"", b"\0" * 512, b"left behind"):
        path.write_bytes(whole + after)
        np.testing.assert_array_equal(read_volume(path).data, VOXELS)
    path.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    with pytest.raises(UnreadableVolumeError, match="damaged: it cannot be unpacked"):
        read_volume(path)


def meta(path: Path, stored: bytes, size: str) -> Path:
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"{size}ElementSpacing = 2 2 3\nDimSize = 9 8 7\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + stored)
    return path


def test_a_packed_metaimage_that_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    packed = zlib.compress(VOXELS.tobytes(order="F"))
    size = f"CompressedDataSize = {len(packed)}\n"
    np.testing.assert_array_equal(read_volume(meta(tmp_path / "a.mha", packed, size)).data, VOXELS)
    middle = len(packed) // 2
    broken = packed[:middle] + bytes([packed[middle] ^ 0x55]) + packed[middle + 1 :]
    with pytest.raises(UnreadableVolumeError, match="damaged"):
        read_volume(meta(tmp_path / "b.mha", broken, size))
    short = zlib.compress(VOXELS.tobytes(order="F")[:-200])
    with pytest.raises(UnreadableVolumeError, match="ends too early"):
        read_volume(meta(tmp_path / "c.mha", short, f"CompressedDataSize = {len(short)}\n"))
    with pytest.raises(UnreadableVolumeError, match="lacks CompressedDataSize"):
        read_volume(meta(tmp_path / "d.mha", packed, ""))


@pytest.mark.parametrize(
    ("unit", "said"), [("mm", False), ("millimeters", False), ("", False), ("cm", True), ("m", True)]
)
def test_nrrd_units_that_are_not_read_are_said(tmp_path: Path, unit: str, said: bool) -> None:
    header = (
        "NRRD0005\ntype: short\ndimension: 3\nsizes: 9 8 7\nencoding: raw\nendian: little\nspace: LPS\n"
        f'space directions: (2,0,0) (0,2,0) (0,0,3)\nspace origin: (0,0,0)\nspace units: "{unit}" "{unit}" "{unit}"\n\n'
    )
    path = tmp_path / "a.nrrd"
    path.write_bytes(header.encode() + VOXELS.tobytes(order="F"))
    assert bool(read_volume(path).notes) is said


def test_voxels_of_a_type_that_is_not_read_are_named_so(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(VOXELS, np.eye(4)), path)
    data = bytearray(path.read_bytes())
    data[70:72] = b"\1\0"
    path.write_bytes(data)
    with pytest.raises(UnreadableVolumeError, match="voxels of a type"):
        read_volume(path)


def test_what_is_packed_otherwise_is_named_by_path_too(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.bz2"
    path.write_bytes(bz2.compress(b"voxels"))
    with pytest.raises(UnreadableVolumeError, match="compressed by bzip2"):
        read_volume(path)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_voxels_that_are_cut_off_are_called_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), False)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnreadableVolumeError, match="truncated or damaged"):
        read_volume(path)
