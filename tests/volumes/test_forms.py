"""What headers say of the place, what they leave open or say wrongly, and files whose name lies about their kind."""

import gzip
import os
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.volumes.manifest import Manifest, VolumeRecord
from voxmix.volumes.reading.content_digest import content_digest
from voxmix.volumes.reading.headers import claimed_grid
from voxmix.volumes.reading.multi_volume_files import take_apart
from voxmix.volumes.reading.read import read_labels, read_volume
from voxmix.volumes.volume import UnreadableVolumeError, Volume, axes_in_words

SHAPE = (7, 6, 5)
AFFINE = np.array([[2.0, 0, 0, -6], [0, 2.0, 0, -5], [0, 0, 2.5, -4], [0, 0, 0, 1]])


def field(affine: np.ndarray) -> np.ndarray:
    """A linear field of RAS mm on a grid: what stands at a place tells the place."""
    i, j, k = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    x, y, z = (np.stack([i, j, k], -1) @ affine[:3, :3].T + affine[:3, 3]).transpose(3, 0, 1, 2)
    return np.rint(4 * (35 + x + 1.5 * y + 2 * z)).astype(np.int16)


def check(volume: Volume) -> None:
    np.testing.assert_allclose(volume.data, field(volume.affine), atol=0.51)


def nifti(
    path: Path,
    edit: Callable[[nibabel.Nifti1Header], object],
    affine: np.ndarray = AFFINE,
    data: np.ndarray | None = None,
) -> Path:
    """Write the field in the place ``affine``, with both forms, and a header that nibabel would not write."""
    image = nibabel.Nifti1Image(field(affine) if data is None else data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.to_filename(path)
    with path.open("r+b") as stream:
        header = nibabel.Nifti1Header.from_fileobj(stream, check=False)
        edit(header)
        stream.seek(0)
        header.write_to(stream)
    return path


def put(**values: object) -> Callable[[nibabel.Nifti1Header], object]:
    def edit(header: nibabel.Nifti1Header) -> None:
        for name, value in values.items():
            header[name] = value

    return edit


ZERO = {f"srow_{row}": 0 for row in "xyz"}
FLAT = {"srow_x": (2, 2, 0, 1), "srow_y": (2, 2, 0, 1), "srow_z": (0, 0, 2, 1)}
GOOD = {
    "zero sform": (put(**ZERO), "its qform was"),
    "sform of NaN": (put(srow_y=np.nan), "holds values that are not numbers): its qform was"),
    "flat sform": (put(**FLAT), "do not span space): its qform was"),
    "huge sform": (put(srow_x=(9000, 0, 0, 0)), "not plausible (0.001 to 100)): its qform was"),
    "bad qform": (put(quatern_b=5), ""),
    "qform of NaN": (put(quatern_b=np.nan), ""),
    "no qform, voxels of 0 mm": (put(qform_code=0, pixdim=np.zeros(8)), ""),
    "only qform": (put(sform_code=0, **ZERO), ""),
    "qfac 0": (put(sform_code=0, pixdim=(0, 2, 2, 2.5, 1, 1, 1, 1)), ""),
    "unit unknown": (put(xyzt_units=0), ""),
    "unit of nobody": (put(xyzt_units=5), "unit of length is unknown: taken as mm"),
    "negative voxel size": (put(sform_code=0, pixdim=(1, -2, -2, -2.5, 1, 1, 1, 1)), "without its sign"),
}


@pytest.mark.parametrize("name", GOOD)
def test_the_form_that_can_be_is_taken(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    edit, note = GOOD[name]
    volume = read_volume(nifti(tmp_path / "a.nii", edit))
    check(volume)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert (note in " ".join(volume.notes)) if note else volume.notes == ()
    assert capsys.readouterr().err == ""  # nibabel keeps quiet about what is in the header


@pytest.mark.parametrize("name", ["qform", "sform"])
def test_a_form_that_cannot_be_is_refused_where_it_is_the_only_one(tmp_path: Path, name: str) -> None:
    other = "sform" if name == "qform" else "qform"
    spoil = {"quatern_b": 5} if name == "qform" else ZERO
    path = nifti(tmp_path / "a.nii", put(**{f"{other}_code": 0}, **spoil))
    with pytest.raises(UnreadableVolumeError, match=r"qform is no rotation|0 x 0 x 0 mm are not plausible"):
        read_volume(path)


@pytest.mark.parametrize("offset", [0, -5, 16, 351, np.nan, np.inf, 1e30])
def test_voxels_do_not_begin_in_the_header(tmp_path: Path, offset: float) -> None:
    """nibabel takes the header for voxels where the offset is 0."""
    path = nifti(tmp_path / "a.nii", put())
    raw = bytearray(path.read_bytes())
    struct.pack_into("<f", raw, 108, offset)
    path.write_bytes(raw)
    with pytest.raises(UnreadableVolumeError):
        read_volume(path)


def test_sform_wins_and_units_count(tmp_path: Path) -> None:
    turned = np.diag([-1.0, -1, 1, 1]) @ AFFINE
    check(read_volume(nifti(tmp_path / "a.nii", lambda header: header.set_qform(turned, 1))))
    small = AFFINE * np.array([[1e-3], [1e-3], [1e-3], [1]])
    volume = read_volume(nifti(tmp_path / "b.nii", put(xyzt_units=1, sform_code=0), small, field(AFFINE)))
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)


@pytest.mark.parametrize(
    ("edit", "scale"),
    [(put(xyzt_units=1), 1e-3), (put(xyzt_units=3), 1e3), (put(pixdim=np.ones(8), qform_code=0), 1.0)],
)
def test_the_claimed_voxel_size_is_that_of_the_volume(
    tmp_path: Path, edit: Callable[[nibabel.Nifti1Header], object], scale: float
) -> None:
    path = nifti(tmp_path / "a.nii", edit, AFFINE * np.array([[scale], [scale], [scale], [1]]), field(AFFINE))
    grid = claimed_grid(path)
    assert grid is not None
    np.testing.assert_allclose(grid[1], [2, 2, 2.5], rtol=1e-4)
    np.testing.assert_allclose(read_volume(path).affine, AFFINE, rtol=1e-4)


def as_stored(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).affine)


def test_without_forms_the_note_names_the_axes_that_are_taken(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", put(qform_code=0, sform_code=0))
    volume = read_volume(path)
    np.testing.assert_allclose(volume.affine, as_stored(path))
    assert volume.notes == ("the header has no orientation: axes taken as left, anterior, superior",)
    assert nibabel.aff2axcodes(volume.affine) == ("L", "A", "S")
    zero = read_volume(nifti(tmp_path / "b.nii", put(qform_code=0, sform_code=0, pixdim=np.zeros(8))))
    np.testing.assert_allclose(np.abs(np.diag(zero.affine)), 1)
    assert "voxel size of 0" in zero.notes[0]


def test_analyze_says_its_axes(tmp_path: Path) -> None:
    nibabel.AnalyzeImage(field(AFFINE), np.diag([-2.0, 2, 2.5, 1])).to_filename(tmp_path / "a.hdr")
    volume = read_volume(tmp_path / "a.hdr")
    assert volume.notes == ("Analyze headers have no orientation: axes taken as left, anterior, superior",)
    assert nibabel.aff2axcodes(volume.affine) == ("L", "A", "S")


def test_mgh_without_geometry(tmp_path: Path) -> None:
    nibabel.MGHImage(field(AFFINE), AFFINE).to_filename(tmp_path / "a.mgh")
    assert read_volume(tmp_path / "a.mgh").notes == ()
    raw = bytearray((tmp_path / "a.mgh").read_bytes())
    raw[28:30] = b"\0\0"
    (tmp_path / "a.mgh").write_bytes(raw)
    volume = read_volume(tmp_path / "a.mgh")
    np.testing.assert_allclose(np.abs(volume.affine[:3, :3]).sum(axis=0), 1)
    expected = axes_in_words(volume.affine)
    assert volume.notes == (f"the header has no geometry: voxels of 1 mm, axes taken as {expected}",)
    raw[3] = 2
    (tmp_path / "a.mgh").write_bytes(raw)
    with pytest.raises(UnreadableVolumeError, match="of no known format"):
        read_volume(tmp_path / "a.mgh")


def itk_file(path: Path, change: Callable[[str], str]) -> Path:
    """Write the field with SimpleITK, then change the text of the header."""
    image = sitk.GetImageFromArray(field(AFFINE).T)
    image.SetSpacing([2, 2, 2.5])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image.SetOrigin([6, 5, -4])
    sitk.WriteImage(image, str(path))
    path.write_bytes(change(path.read_bytes().decode("latin1")).encode("latin1"))
    return path


def without(*keys: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if not line.startswith(keys))

    return change


NO_SPACE = without("space", "kinds")
LACKING = {
    "whole.mha": (str, ""),
    "whole.nrrd": (str, ""),
    "size.mha": (without("ElementSpacing"), "no voxel size: 1 mm"),
    "axes.mha": (without("TransformMatrix"), "no orientation: axes taken as left, posterior, superior"),
    "both.mha": (
        without("TransformMatrix", "ElementSpacing"),
        "no voxel size: 1 mm and no orientation: axes taken as left, posterior, superior",
    ),
    "both.nrrd": (NO_SPACE, "no voxel size: 1 mm and no orientation: axes taken as left, posterior, superior"),
    "axes.nrrd": (
        lambda text: NO_SPACE(text).replace("encoding", "spacings: 2 2 2.5\nencoding"),
        "no orientation: axes taken as left, posterior, superior",
    ),
    "space.nrrd": (
        lambda text: text.replace("space: left-posterior-superior", "space: scanner-xyz"),
        "no orientation: axes taken as right, anterior, superior",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKING)
def test_nrrd_and_metaimage_say_what_their_header_lacks(tmp_path: Path, name: str) -> None:
    change, lacks = LACKING[name]
    path = itk_file(tmp_path / name, change)
    volume = read_volume(path)
    assert volume.notes == ((f"the header has {lacks}",) if lacks else ())
    image = sitk.ReadImage(str(path))
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), image.GetSpacing())
    if "axes taken as" in lacks:
        assert lacks.endswith(axes_in_words(volume.affine))
    if not lacks:
        check(volume)


def test_a_negative_voxel_size_turns_its_axis_as_simpleitk_does(tmp_path: Path) -> None:
    path = itk_file(
        tmp_path / "a.mha", lambda text: text.replace("ElementSpacing = 2 2", "ElementSpacing = -2 2")
    )
    volume = read_volume(path)
    assert volume.notes == ("a negative voxel size in the header turns its axis around",)
    np.testing.assert_allclose(volume.affine[:3, 0], [-2, 0, 0])


def plain(path: Path) -> bytes:
    return nifti(path / "made.nii", put()).read_bytes()


def mgh(path: Path) -> bytes:
    nibabel.MGHImage(field(AFFINE), AFFINE).to_filename(path / "made.mgh")
    return (path / "made.mgh").read_bytes()


def nrrd(path: Path) -> bytes:
    return itk_file(path / "made.nrrd", str).read_bytes()


def nifti2(path: Path) -> bytes:
    nibabel.Nifti2Image(field(AFFINE), AFFINE).to_filename(path / "made2.nii")
    return (path / "made2.nii").read_bytes()


def npy(path: Path) -> bytes:
    np.save(path / "made.npy", field(AFFINE))
    return (path / "made.npy").read_bytes()


def npz(path: Path) -> bytes:
    np.savez(path / "made.npz", image=field(AFFINE), affine=AFFINE)
    return (path / "made.npz").read_bytes()


MISNAMED = [
    (plain, "a.nii.gz", False), (plain, "a.nii", True), (plain, "A.NII", True), (plain, "a.nrrd", False),
    (plain, "a.mha", True), (plain, "a.mgz", False), (plain, "a.hdr", False), (plain, "a.npy", True),
    (nifti2, "a.nii.gz", False), (nifti2, "a.nii", True), (mgh, "a.mgz", False), (mgh, "a.mgh", True),
    (mgh, "a.nii.gz", True), (mgh, "a.nii", False), (nrrd, "a.nii", False), (nrrd, "a.mha", False),
    (nrrd, "a.nhdr", False), (npy, "a.npz", False), (npz, "a.npy", False), (npz, "a.nii", False),
]  # fmt: skip


@pytest.mark.parametrize(("made", "name", "packed"), MISNAMED)
def test_files_are_read_by_their_bytes(
    tmp_path: Path, made: Callable[[Path], bytes], name: str, packed: bool
) -> None:
    (tmp_path / "other").mkdir()
    content = made(tmp_path / "other")
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if packed else content)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, field(AFFINE))
    if made is not npy:
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert len(content_digest(path)) == 16
    if made not in (npy, npz):
        grid = claimed_grid(path)
        assert grid is not None
        np.testing.assert_allclose(grid[1], [2, 2, 2.5])


FOREIGN = {
    b"BZh91AY": "compressed by bzip2", b"\x28\xb5\x2f\xfd...": "compressed by zstd", b"\xfd7zXZ...": "compressed by xz",
    b"": "the file is empty", b"<!DOCTYPE html>": "was the download refused", b"\0" * 128 + b"DICM": "DICOM by its bytes",
    b"version https://git-lfs.github.com/spec/v1": "git lfs pull", b"/annex/objects/MD5-s1": "git annex get",
    b"\x89HDF\r\n": "HDF5", b"this is no image": "of no known format", b"\0\5\x16\7\0\2": "a Mac keeps",
    b"\x1f\x8b\x08broken": "cannot be unpacked",
}  # fmt: skip


@pytest.mark.parametrize("start", FOREIGN)
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.hdr", "a.mgz", "a.nrrd", "a.npy"])
def test_what_is_not_read_is_named(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(start)
    with pytest.raises(UnreadableVolumeError, match=FOREIGN[start]):
        read_volume(tmp_path / name)
    assert claimed_grid(tmp_path / name) is None


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.npy", "a.dcm", "a.zip", "a"])
def test_a_pipe_holds_nobody_up(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    for look in (read_volume, read_labels, content_digest):
        with pytest.raises(UnreadableVolumeError, match="a pipe or a device"):
            look(path)
    manifest = Manifest(records=(VolumeRecord(path=path, domain="CT", subject="p"),))
    assert take_apart(manifest) == manifest


def test_links_without_an_end_and_disks_that_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nii").symlink_to("b.nii")
    (tmp_path / "b.nii").symlink_to("a.nii")
    (tmp_path / "c.nii").symlink_to("nowhere.nii")
    nifti(tmp_path / "d.nii", put())
    for look in (read_volume, content_digest):
        with pytest.raises(UnreadableVolumeError):
            look(tmp_path / "a.nii")
        with pytest.raises(UnreadableVolumeError, match="no such file"):
            look(tmp_path / "c.nii")
    real = Path.open
    for error, reason in ((PermissionError(13, "x"), "no permission"), (OSError(5, "x"), "cannot be read")):

        def broken(path: Path, *args: object, error: OSError = error, **options: object) -> object:
            if path.name == "d.nii":
                raise error
            return real(path, *args, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", broken)
        for look in (read_volume, content_digest):
            with pytest.raises(UnreadableVolumeError, match=reason):
                look(tmp_path / "d.nii")


def test_vectors_are_not_told_to_be_listed(tmp_path: Path) -> None:
    data = np.stack([field(AFFINE)] * 3, -1)
    nibabel.Nifti1Image(data[..., None, :], AFFINE).to_filename(tmp_path / "a.nii")
    sitk.WriteImage(
        sitk.GetImageFromArray(data.transpose(2, 1, 0, 3), isVector=True), str(tmp_path / "b.nrrd")
    )
    for name in ("a.nii", "b.nrrd"):
        with pytest.raises(
            UnreadableVolumeError, match=r"3 values in every voxel.*save one of them"
        ) as caught:
            read_volume(tmp_path / name)
        assert "voxmix manifest" not in str(caught.value)
    with pytest.raises(UnreadableVolumeError, match="3 values in every voxel"):
        read_labels(tmp_path / "a.nii")


def test_arrays_of_objects_are_named(tmp_path: Path) -> None:
    data = np.array([[[{"a": 1}]]], dtype=object)
    np.save(tmp_path / "a.npy", data, allow_pickle=True)
    np.savez(tmp_path / "a.npz", data)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(UnreadableVolumeError, match="voxels of type object are not numbers"):
            read_volume(tmp_path / name)


def test_few_bad_voxels_are_counted(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    data[3, 4, 5], data[6, 7, 8] = np.inf, np.nan
    nibabel.Nifti1Image(data, AFFINE).to_filename(tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").notes == (
        "2 of the voxels were not numbers and became the lowest value",
    )


def test_orders_and_types_of_other_machines(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(field(AFFINE)).astype(">i4"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy").data, field(AFFINE))
    head = "NRRD0005\r\ntype: short\r\ndimension: 3\r\nsizes: 7 6 5\r\nendian: big\r\nencoding: raw\r\n"
    place = "space: RAS\r\nspace directions: (2,0,0) (0,2,0) (0,0,2.5)\r\nspace origin: (-6,-5,-4)\r\n\r\n"
    raw = field(AFFINE).astype(">i2").tobytes(order="F")
    (tmp_path / "a.nrrd").write_bytes((head + place).encode() + raw)
    volume = read_volume(tmp_path / "a.nrrd")
    assert volume.notes == ()
    check(volume)
    assert struct.unpack(">h", raw[:2])[0] == field(AFFINE)[0, 0, 0]
