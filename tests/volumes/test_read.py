"""Every reader gives the same voxels and place, and what cannot be used is refused with its reason."""

import gzip
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.volumes.reading.content_digest import content_digest
from voxmix.volumes.reading.read import read_labels, read_volume
from voxmix.volumes.volume import UnreadableVolumeError

AFFINE = np.array([[-1.5, 0.1, 0.0, 40.0], [0.1, 1.4, 0.3, -30.0], [0.0, -0.3, 3.0, 12.0], [0, 0, 0, 1.0]])


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (7, 6, 5)).astype(np.int16)


def save_nifti(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.Nifti1Image(data, affine).to_filename(path)
    return path


def orthogonal() -> np.ndarray:
    """An affine that ITK can hold too: rotation and spacing, no shear."""
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * [1.5, -1.4, 3.0]
    affine[:3, 3] = 40, -30, 12
    return affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".mhd", ".nhdr"])
def test_itk_and_nibabel_files_agree(tmp_path: Path, voxels: np.ndarray, suffix: str) -> None:
    source = save_nifti(tmp_path / "source.nii", voxels, orthogonal())
    target = tmp_path / f"image{suffix}"
    sitk.WriteImage(sitk.ReadImage(str(source)), str(target))
    volume = read_volume(target)
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, voxels)
    np.testing.assert_allclose(volume.affine, orthogonal(), atol=1e-4)


def test_sheared_nifti_is_exact(tmp_path: Path, voxels: np.ndarray) -> None:
    np.testing.assert_allclose(
        read_volume(save_nifti(tmp_path / "a.nii.gz", voxels)).affine, AFFINE, atol=1e-5
    )


def test_scale_and_units_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(
        np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.diag([1e-3, 2e-3, 3e-3, 1])
    )
    image.header.set_xyzt_units("meter")
    image.header.set_slope_inter(0.5, -10)
    image.to_filename(tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_allclose(volume.data, np.arange(60).reshape(3, 4, 5) * 0.5 - 10)
    np.testing.assert_allclose(np.diag(volume.affine), [1, 2, 3, 1])


@pytest.mark.parametrize(
    "cls", [nibabel.Nifti1Pair, nibabel.Nifti2Image, nibabel.MGHImage, nibabel.Spm99AnalyzeImage]
)
def test_other_nibabel_formats(tmp_path: Path, voxels: np.ndarray, cls: type) -> None:
    suffix = {"MGHImage": ".mgz", "Nifti2Image": ".nii"}.get(cls.__name__, ".hdr")
    affine = orthogonal() if cls is not nibabel.Spm99AnalyzeImage else np.diag([-2.0, 2, 3, 1])
    cls(voxels, affine).to_filename(tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(volume.data, voxels)
    if cls is not nibabel.Spm99AnalyzeImage:
        np.testing.assert_allclose(volume.affine, affine, atol=1e-4)


def test_numpy_files(tmp_path: Path, voxels: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", voxels)
    np.savez(tmp_path / "b.npz", image=voxels, affine=AFFINE)
    assert read_volume(tmp_path / "a.npy").notes == (
        "NumPy files have no geometry: voxels of 1 mm, axes as stored",
    )
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy").data, voxels)
    np.testing.assert_array_equal(read_volume(tmp_path / "b.npz").affine, AFFINE)


def test_trailing_singleton_axes_are_dropped(tmp_path: Path, voxels: np.ndarray) -> None:
    assert read_volume(save_nifti(tmp_path / "a.nii", voxels[..., None, None])).data.shape == (7, 6, 5)


def test_nan_at_the_border_becomes_the_lowest_value(tmp_path: Path) -> None:
    data = np.full((10, 10, 10), 5.0, dtype=np.float32)
    data[4:, :, :], data[0] = 9.0, np.nan
    volume = read_volume(save_nifti(tmp_path / "a.nii", data))
    assert np.all(volume.data[0] == 5)
    assert volume.notes == ("10.0% of the voxels were not numbers and became the lowest value",)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".npy"])
def test_one_volume_of_a_4d_file(tmp_path: Path, suffix: str) -> None:
    data = np.random.default_rng(0).integers(0, 99, (6, 5, 4, 3)).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, data)
    elif suffix == ".mha":
        sitk.WriteImage(sitk.GetImageFromArray(data.T, isVector=False), str(path))
    else:
        save_nifti(path, data)
    for volume in range(3):
        np.testing.assert_array_equal(read_volume(path, volume=volume).data, data[..., volume])
    with pytest.raises(UnreadableVolumeError, match=r"volume 3 was asked for, the file has 3 \(from 0\)"):
        read_volume(path, volume=3)
    save_nifti(tmp_path / "b.nii", data[..., 0])
    with pytest.raises(UnreadableVolumeError, match=r"volume 1 was asked for, the file has one"):
        read_volume(tmp_path / "b.nii", volume=1)


def with_nan(share: float) -> np.ndarray:
    data = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    data.ravel()[: int(share * 1000)] = np.nan
    return data


REFUSED: dict[str, tuple[np.ndarray, str]] = {
    "zero": (np.zeros((5, 5, 5), np.float32), "every voxel is 0"),
    "constant": (np.full((5, 5, 5), 3, np.int16), "every voxel has the same value"),
    "all NaN": (with_nan(1.0), "100% of the voxels are not numbers"),
    "much NaN": (with_nan(0.3), "30% of the voxels are not numbers"),
    "2D": (np.ones((9, 9), np.float32), "2D"),
    "one slice": (np.ones((9, 9, 1), np.float32), "2D"),
    "two slices": (np.ones((9, 9, 2), np.float32), "only 2 slices"),
    "4D": (np.ones((5, 5, 5, 7), np.float32), "4D: 7 volumes in one file; list them with voxmix manifest"),
    "complex": (np.ones((5, 5, 5), np.complex64), "complex"),
    "color": (np.zeros((5, 5, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "color"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_reason(tmp_path: Path, name: str) -> None:
    data, reason = REFUSED[name]
    path = save_nifti(tmp_path / "secret_name.nii.gz", data)
    with pytest.raises(UnreadableVolumeError, match=reason) as caught:
        read_volume(path)
    assert "secret" not in str(caught.value)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def flip_bits(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def text(path: Path) -> None:
    path.write_text("this is not an image", encoding="utf-8")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".mgz", ".npy", ".npz", ".hdr", ".dcm"]
)
@pytest.mark.parametrize("damage", [truncate, text, empty])
def test_damaged_files_are_refused(
    tmp_path: Path, voxels: np.ndarray, suffix: str, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / f"secret{suffix}"
    big = np.tile(voxels, (8, 8, 8))
    if suffix == ".npy":
        np.save(path, big)
    elif suffix == ".npz":
        np.savez_compressed(path, big)
    elif suffix == ".hdr":
        nibabel.Nifti1Pair(big, AFFINE).to_filename(path)
    elif suffix == ".mgz":
        nibabel.MGHImage(big, AFFINE).to_filename(path)
    elif suffix == ".dcm":
        path.write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 500)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(big), str(path))
    damage(path)
    with pytest.raises(UnreadableVolumeError) as caught:
        read_volume(path)
    assert "secret" not in str(caught.value)


def test_damaged_gzip_is_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", np.tile(voxels, (8, 8, 8)))
    flip_bits(path)
    with pytest.raises(UnreadableVolumeError):
        read_volume(path)


def test_missing_second_half_of_a_pair(tmp_path: Path, voxels: np.ndarray) -> None:
    nibabel.Nifti1Pair(voxels, AFFINE).to_filename(tmp_path / "a.hdr")
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableVolumeError, match="no such file"):
        read_volume(tmp_path / "a.hdr")


def nifti_header(shape: tuple[int, int, int]) -> bytes:
    header = nibabel.Nifti2Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape(shape)
    return header.binaryblock


@pytest.mark.parametrize("packed", [False, True])
def test_header_that_claims_too_much_is_refused_before_reading(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / ("bomb.nii.gz" if packed else "bomb.nii")
    content = nifti_header((2**14, 2**13, 2**13)) + b"\0" * 1000
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(UnreadableVolumeError, match="more than the 536870912 that are allowed"):
        read_volume(path)
    path.write_bytes(
        gzip.compress(nifti_header((512, 512, 512))) if packed else nifti_header((512, 512, 512))
    )
    with pytest.raises(UnreadableVolumeError, match="claims more voxels"):
        read_volume(path)


def test_small_bomb_is_bounded_by_max_voxels(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", np.zeros((64, 64, 64), np.uint8))
    with pytest.raises(UnreadableVolumeError, match="262144 voxels are more than the 1000 that are allowed"):
        read_volume(path, max_voxels=1000)


def test_npy_header_that_claims_too_much(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (65536, 65536, 65536), }"
    header += b" " * (118 - len(header)) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "a.npy")


def claim(shape: tuple[int, ...]) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (118 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("name", ["volume", "train_images"])
def test_npz_that_claims_a_terabyte_takes_no_memory(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(f"{name}.npy", claim((64, 4096, 1024, 1024)[-3 if name == "volume" else -4 :]))
    tracemalloc.start()
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "a.npz", volume=0)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_packed_header_that_claims_too_much_takes_no_memory(
    tmp_path: Path, voxels: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), useCompression=True)
    old, new = {
        ".mha": (b"DimSize = 5 6 7", b"DimSize = 500 600 700"),
        ".nrrd": (b"sizes: 5 6 7", b"sizes: 500 600 700"),
    }[suffix]
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(UnreadableVolumeError, match="claims more voxels than it can hold"):
        read_volume(path)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[{"a": 1}]]], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", np.array([[[{"a": 1}]]], dtype=object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UnreadableVolumeError):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("spoil", ["nan", "zero", "flat"])
def test_geometry_that_cannot_be_is_refused(tmp_path: Path, voxels: np.ndarray, spoil: str) -> None:
    affine = AFFINE.copy()
    affine[:3, 1] = {"nan": np.nan, "zero": 0.0, "flat": affine[:3, 0]}[spoil]
    path = save_nifti(tmp_path / "a.nii", voxels, np.eye(4))
    raw = bytearray(path.read_bytes())
    struct.pack_into("<hh", raw, 252, 0, 1)  # no qform, an sform
    struct.pack_into("<12f", raw, 280, *affine[:3].ravel())
    path.write_bytes(bytes(raw))
    with pytest.raises(UnreadableVolumeError, match=r"geometry|plausible|span"):
        read_volume(path)


def test_labels_are_small_whole_numbers(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 300, (5, 5, 5))
    volume = read_labels(save_nifti(tmp_path / "a.nii", labels.astype(np.float32)))
    assert volume.data.dtype == np.uint16
    np.testing.assert_array_equal(volume.data, labels)
    assert read_labels(save_nifti(tmp_path / "b.nii", np.zeros((5, 5, 5), np.uint8))).data.dtype == np.uint8
    for wrong in (labels + 0.5, labels - 1.0, np.full((5, 5, 5), np.nan)):
        with pytest.raises(UnreadableVolumeError, match="label values"):
            read_labels(save_nifti(tmp_path / "c.nii", wrong.astype(np.float32)))


def write_series(folder: Path, voxels: np.ndarray, *, uid: str = "1.2.3", **tags: str) -> None:
    """Write one slice per file, HU through a rescale intercept of -1000."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(voxels.shape[2]):
        slice_ = sitk.GetImageFromArray(voxels[:, :, k].T.astype(np.int16))
        slice_.SetSpacing([1.5, 2.0])
        values = {
            "0008|0060": "CT",
            "0020|000d": "1.2",
            "0020|000e": uid,
            "0020|0032": f"-10\\-20\\{k * 3}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "3",
            "0020|0013": str(k),
            "0028|1052": "-1000",
            "0028|1053": "1",
            **tags,
        }
        for key, value in values.items():
            slice_.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{uid}_{k:03d}.dcm"))
        writer.Execute(slice_)


def test_dicom_series_in_hu_and_place(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    volume = read_volume(tmp_path / "s")
    stored = sitk.GetArrayFromImage(sitk.ReadImage(sorted(map(str, (tmp_path / "s").iterdir())))).T
    np.testing.assert_array_equal(volume.data, stored)
    assert volume.data.shape == voxels.shape
    np.testing.assert_allclose(
        volume.affine, np.array([[-1.5, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, 0], [0, 0, 0, 1]])
    )


def test_two_series_in_one_folder_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    write_series(tmp_path / "s", voxels, uid="1.2.4")
    with pytest.raises(UnreadableVolumeError, match="2 DICOM series in one folder"):
        read_volume(tmp_path / "s")


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
@pytest.mark.parametrize(
    "target", ["../secret{}", "/etc/hostname", "sub/../../secret{}", "..", "LIST", "x_%03d.raw 1 3 1"]
)
def test_headers_that_lead_elsewhere_are_refused(
    tmp_path: Path, voxels: np.ndarray, suffix: str, target: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), useCompression=False)
    data = path.with_suffix(".raw")
    (tmp_path / "secret.raw").write_bytes(data.read_bytes())
    path.write_text(
        path.read_text(encoding="utf-8").replace(data.name, target.format(".raw")), encoding="utf-8"
    )
    with pytest.raises(UnreadableVolumeError, match=r"outside its own folder|over several files"):
        read_volume(path)
    with pytest.raises(UnreadableVolumeError, match=r"outside its own folder|over several files"):
        content_digest(path)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_the_data_file_of_a_header_is_part_of_its_content(
    tmp_path: Path, voxels: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(path), useCompression=False)
    data = path.with_suffix(".raw").rename(tmp_path / "voxels of another name.bin")
    path.write_text(path.read_text(encoding="utf-8").replace("a.raw", data.name), encoding="utf-8")
    np.testing.assert_array_equal(read_volume(path).data, voxels.T)
    before = content_digest(path)
    data.write_bytes(data.read_bytes()[::-1])
    assert content_digest(path) != before
    data.unlink()
    with pytest.raises(UnreadableVolumeError, match="does not exist"):
        read_volume(path)


def test_voxels_that_look_like_a_header_are_voxels(tmp_path: Path) -> None:
    words = np.frombuffer(b"data file: ../x \nElementDataFile = /y\n".ljust(64), np.uint8).reshape(4, 4, 4)
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(sitk.GetImageFromArray(words), str(tmp_path / f"a{suffix}"), useCompression=False)
        np.testing.assert_array_equal(read_volume(tmp_path / f"a{suffix}").data, words.T)
