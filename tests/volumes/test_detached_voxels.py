"""Headers and their data files: found in any packing and place below the header, part of the content, never outside."""

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes.reading.content_digest import content_digest
from voxmix.volumes.reading.detached_voxels import data_files
from voxmix.volumes.reading.headers import claimed_grid
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError

AFFINE = np.array([[2.0, 0, 0, -9], [0, 2.0, 0, -8], [0, 0, 2.5, -7], [0, 0, 0, 1]])
_LPS = np.diag([-1.0, -1, 1, 1])


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-900, 900, (6, 5, 4)).astype("<i2")


def save_pair(folder: Path, voxels: np.ndarray, header: str, image: str) -> Path:
    """Write a NIfTI pair under two names; those that end in gz are packed."""
    nibabel.Nifti1Pair(voxels, AFFINE).to_filename(folder / "made.hdr")
    for made, name in (("made.hdr", header), ("made.img", image)):
        content = (folder / made).read_bytes()
        (folder / made).unlink()
        (folder / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
    return folder / header


PAIRS = [
    ("a.hdr", "a.img"), ("a.hdr.gz", "a.img.gz"), ("a.hdr", "a.img.gz"), ("a.hdr.gz", "a.img"), ("A.HDR", "A.IMG"),
    ("A.HDR.GZ", "A.IMG.GZ"), ("a.hdr", "a.IMG"), ("A.HDR", "A.img"), ("Ab.Hdr", "aB.iMg"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "image"), PAIRS)
def test_both_files_of_a_pair_are_read_and_are_its_content(
    tmp_path: Path, voxels: np.ndarray, header: str, image: str
) -> None:
    path = save_pair(tmp_path, voxels, header, image)
    np.testing.assert_array_equal(read_volume(path).data, voxels)
    np.testing.assert_allclose(read_volume(path).affine, AFFINE)
    assert claimed_grid(path) == ((6, 5, 4), (2.0, 2.0, 2.5))
    before = content_digest(path)
    data = tmp_path / image
    raw = gzip.decompress(data.read_bytes()) if image.lower().endswith("gz") else data.read_bytes()
    data.write_bytes(gzip.compress(raw[::-1]) if image.lower().endswith("gz") else raw[::-1])
    assert content_digest(path) != before
    assert not np.array_equal(read_volume(path).data, voxels)
    data.unlink()
    for look in (read_volume, content_digest):
        with pytest.raises(UnreadableVolumeError, match=r"the voxels \(.img\) of this header"):
            look(path)


def test_nothing_of_a_folder_vanishes_without_a_word(tmp_path: Path, voxels: np.ndarray) -> None:
    good = tmp_path / "X-MR"
    for number, (header, image) in enumerate(PAIRS):
        (good / f"p{number}").mkdir(parents=True)
        save_pair(good / f"p{number}", voxels, header, image)
    (good / "spm").mkdir()
    nibabel.Spm99AnalyzeImage(voxels, AFFINE).to_filename(good / "spm" / "a.hdr")
    odd = good / "odd"
    (odd / "scan.nii.gz").mkdir(parents=True)
    nibabel.Nifti1Image(voxels, AFFINE).to_filename(odd / "scan.nii.gz" / "in.nii")
    lonely = ("a.img", "B.IMG", "c.img.gz")
    packed = ("d.nrrd.gz", "e.mha.gz", "f.nii.lz4", "g.hdr.bz2", "h.NII.ZST", "i.nii.gz.gz", "j.mat")
    for name in (*lonely, *packed):
        (odd / name).write_bytes(b"here")
    found = read_folder(tmp_path)
    assert [str(record.path.relative_to(good)) for record in found.records] == sorted(
        ["odd/scan.nii.gz/in.nii", "spm/a.hdr", *(f"p{k}/{header}" for k, (header, _) in enumerate(PAIRS))]
    )
    reasons = {item.path.name: item.reason for item in found.set_aside}
    assert reasons.keys() == {*lonely, *packed}
    assert {reasons[name] for name in lonely} == {"voxels (.img) without their header (.hdr)"}
    assert all(reasons[name].endswith("are not read") for name in packed)


def test_a_header_takes_no_voxels_of_another(tmp_path: Path, voxels: np.ndarray) -> None:
    save_pair(tmp_path, voxels, "a.hdr", "a.img")
    (tmp_path / "A.HDR").write_bytes((tmp_path / "a.hdr").read_bytes())
    with pytest.raises(UnreadableVolumeError, match="no such file"):
        read_volume(tmp_path / "A.HDR")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.hdr").data, voxels)


def test_a_pair_may_be_named_by_its_voxels(tmp_path: Path, voxels: np.ndarray) -> None:
    header = save_pair(tmp_path, voxels, "a.HDR", "a.img.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.img.gz").data, voxels)
    assert content_digest(tmp_path / "a.img.gz") == content_digest(header)


def test_a_single_file_named_as_a_header_is_read(tmp_path: Path, voxels: np.ndarray) -> None:
    nibabel.Nifti1Image(voxels, AFFINE).to_filename(tmp_path / "a.nii")
    path = (tmp_path / "a.nii").rename(tmp_path / "a.hdr")
    np.testing.assert_array_equal(read_volume(path).data, voxels)


def test_the_axes_that_spm_keeps_beside_analyze_are_content(tmp_path: Path, voxels: np.ndarray) -> None:
    nibabel.Spm99AnalyzeImage(voxels, AFFINE).to_filename(tmp_path / "a.hdr")
    assert [file.name for file in data_files(tmp_path / "a.hdr")] == ["a.img", "a.mat"]
    np.testing.assert_allclose(read_volume(tmp_path / "a.hdr").affine, AFFINE)
    before = content_digest(tmp_path / "a.hdr")
    moved = AFFINE + np.outer([5, 0, 0, 0], [0, 0, 0, 1])
    nibabel.Spm99AnalyzeImage(voxels, moved).to_filename(tmp_path / "b.hdr")
    (tmp_path / "b.mat").replace(tmp_path / "a.mat")
    assert content_digest(tmp_path / "a.hdr") != before


def detached(path: Path, voxels: np.ndarray, name: str, place: Path | None = None) -> Path:
    """Write an .mhd or .nhdr that names ``name``, and its voxels to ``place``."""
    packed = path.suffix == ".mhd" and name.endswith(".zraw")
    target = place or path.parent / name
    target.parent.mkdir(parents=True, exist_ok=True)
    raw = voxels.tobytes(order="F")
    target.write_bytes(gzip.compress(raw) if name.endswith(".gz") else zlib.compress(raw) if packed else raw)
    size = " ".join(map(str, voxels.shape))
    if path.suffix == ".mhd":
        lines = [
            "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
            f"CompressedData = {packed}", "TransformMatrix = -1 0 0 0 -1 0 0 0 1", "Offset = 9 8 -7",
            "ElementSpacing = 2 2 2.5", f"DimSize = {size}", "ElementType = MET_SHORT", f"ElementDataFile = {name}",
        ]  # fmt: skip
    else:
        lines = [
            "NRRD0004", "type: short", "dimension: 3", f"sizes: {size}", "endian: little",
            f"encoding: {'gzip' if name.endswith('.gz') else 'raw'}", "space: right-anterior-superior",
            "space directions: (2,0,0) (0,2,0) (0,0,2.5)", "space origin: (-9,-8,-7)", f"data file: {name}",
        ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


NAMES = [
    ("x.mhd", "x.raw"), ("x.mhd", "x.zraw"), ("x.mhd", "raw/x.raw"), ("x.mhd", "./a/b/x y.raw"), ("x.mhd", "list.raw"),
    ("x.nhdr", "x.raw"), ("x.nhdr", "my voxels.raw.gz"), ("x.nhdr", "data/x.raw"), ("x.nhdr", "data/x.raw.gz"),
    ("x.nhdr", "LOCAL"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "name"), NAMES)
def test_a_data_file_below_the_header_is_read_and_is_content(
    tmp_path: Path, voxels: np.ndarray, header: str, name: str
) -> None:
    path = detached(tmp_path / header, voxels, name)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, voxels)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.notes == ()
    before = content_digest(path)
    detached(path, voxels[::-1], name)
    assert content_digest(path) != before


@pytest.mark.parametrize("header", ["x.mhd", "x.nhdr"])
def test_a_full_path_back_into_the_folder_is_fine(tmp_path: Path, voxels: np.ndarray, header: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    data = tmp_path / "real" / "x.raw"
    path = detached(tmp_path / "link" / header, voxels, str(data), data)
    np.testing.assert_array_equal(read_volume(path).data, voxels)


@pytest.mark.parametrize("header", ["x.mhd", "x.nhdr"])
def test_links_do_not_lead_a_header_out_of_its_folder(
    tmp_path: Path, voxels: np.ndarray, header: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (tmp_path / "set").mkdir()
    path = detached(tmp_path / "set" / header, voxels, "x.raw", secret / "x.raw")
    (tmp_path / "set" / "x.raw").symlink_to(secret / "x.raw")
    for look in (read_volume, content_digest):
        with pytest.raises(UnreadableVolumeError, match="a link that leads outside its own folder"):
            look(path)
    assert claimed_grid(path) is None
    (tmp_path / "set" / "x.raw").unlink()
    (tmp_path / "set" / "sub").symlink_to(secret)
    path.write_text(path.read_text(encoding="utf-8").replace("x.raw", "sub/x.raw"), encoding="utf-8")
    with pytest.raises(UnreadableVolumeError, match="a link that leads outside its own folder"):
        read_volume(path)


@pytest.mark.parametrize("header", ["x.mhd", "x.nhdr"])
def test_a_folder_of_links_is_read(tmp_path: Path, voxels: np.ndarray, header: str) -> None:
    (tmp_path / "store").mkdir()
    path = detached(tmp_path / "store" / header, voxels, "x.raw")
    (tmp_path / "study").mkdir()
    for file in (path, tmp_path / "store" / "x.raw"):
        (tmp_path / "study" / file.name).symlink_to(file)
    np.testing.assert_array_equal(read_volume(tmp_path / "study" / header).data, voxels)


def hide_long(text: str) -> str:
    return text.replace("NRRD0004\n", "NRRD0004\n" + ("#" + "x" * 200 + "\n") * 500)


HIDDEN: dict[str, tuple[str, Callable[[str], str]]] = {
    "colon": ("x.mhd", lambda text: text.replace("File =", "File :")),
    "blank before": ("x.mhd", lambda text: text.replace("ElementDataFile", "\v ElementDataFile")),
    "small letters first": ("x.mhd", lambda text: text.replace("ElementDataFile", "elementdatafile = LOCAL\nElementDataFile")),
    "no value": ("x.mhd", lambda text: text.replace("ElementDataFile", "junk\nElementDataFile = LOCAL\nElementDataFile")),
    "far down": ("x.nhdr", hide_long),
    "carriage return": ("x.nhdr", lambda text: text.replace("\ndata file", "\n# x\rdata file")),
    "capitals": ("x.nhdr", lambda text: text.replace("data file", "DATAFILE")),
    "attached by name": ("x.nrrd", lambda text: text),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_a_data_file_cannot_be_hidden(tmp_path: Path, voxels: np.ndarray, name: str) -> None:
    """Each of these is followed by SimpleITK, or was meant to look as if it were not."""
    header, change = HIDDEN[name]
    (tmp_path / "set").mkdir()
    made = detached(tmp_path / "set" / f"x.{'mhd' if header == 'x.mhd' else 'nhdr'}", voxels, "../x.raw")
    path = made.rename(tmp_path / "set" / header)
    path.write_text(change(path.read_text(encoding="utf-8")), newline="", encoding="utf-8")
    with pytest.raises(UnreadableVolumeError, match=r"outside its own folder|does not say where"):
        content_digest(path)
    with pytest.raises(UnreadableVolumeError, match=r"outside its own folder|does not say where"):
        read_volume(path)
    assert claimed_grid(path) is None


ODD = [("x.nhdr", "-", "names no data file"), ("x.nhdr", "sub", "names a folder"), ("x.mhd", "pipe", "a pipe"),
       ("x.mhd", "a\\\\x.raw", "does not exist; write its folders with /"), ("x.mhd", "x%02d.raw", "several files"),
       ("x.nhdr", "LIST", "several files")]  # fmt: skip


@pytest.mark.parametrize(("header", "name", "reason"), ODD)
def test_data_files_that_cannot_be(
    tmp_path: Path, voxels: np.ndarray, header: str, name: str, reason: str
) -> None:
    path = detached(tmp_path / header, voxels, "x.raw")
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "-").write_bytes(b"here")
    path.write_text(
        path.read_text(encoding="utf-8").replace("x.raw", name.replace("\\\\", "\\")), encoding="utf-8"
    )
    for look in (read_volume, content_digest):
        with pytest.raises(UnreadableVolumeError, match=reason):
            look(path)


def test_two_headers_may_share_their_voxels(tmp_path: Path, voxels: np.ndarray) -> None:
    one, two = (detached(tmp_path / name, voxels, "x.raw") for name in ("a.mhd", "b.mhd"))
    two.write_text(
        two.read_text(encoding="utf-8").replace("ElementSpacing = 2 2 2.5", "ElementSpacing = 4 4 5"),
        encoding="utf-8",
    )
    np.testing.assert_array_equal(read_volume(one).data, read_volume(two).data)
    np.testing.assert_allclose(np.diag(read_volume(two).affine), [4, 4, 5, 1])
    assert content_digest(one) != content_digest(two)


def test_text_voxels_need_no_blank_at_their_end(tmp_path: Path, voxels: np.ndarray) -> None:
    path = detached(tmp_path / "x.mhd", voxels, "x.txt")
    (tmp_path / "x.txt").write_text(" ".join(map(str, voxels.ravel(order="F"))), encoding="utf-8")
    path.write_text(
        path.read_text(encoding="utf-8").replace("BinaryData = True", "BinaryData = False"), encoding="utf-8"
    )
    np.testing.assert_array_equal(read_volume(path).data, voxels)
    (tmp_path / "x.txt").write_text("1 2 3", encoding="utf-8")
    with pytest.raises(UnreadableVolumeError):
        read_volume(path)
    header = path.read_text(encoding="utf-8").replace("x.txt", "LOCAL")
    (tmp_path / "y.mha").write_text(header + " ".join(map(str, voxels.ravel(order="F"))), encoding="utf-8")
    volume = read_volume(tmp_path / "y.mha")
    np.testing.assert_array_equal(volume.data, voxels)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_the_fixture_is_what_simpleitk_reads(tmp_path: Path, voxels: np.ndarray) -> None:
    """The headers written by hand above say what the test says they say."""
    for header in ("x.mhd", "x.nhdr"):
        image = sitk.ReadImage(str(detached(tmp_path / header, voxels, "x.raw")))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, voxels)
        np.testing.assert_allclose(image.GetOrigin(), (_LPS @ AFFINE)[:3, 3])
        np.testing.assert_allclose(image.GetDirection(), np.diag([-1.0, -1, 1]).ravel())
