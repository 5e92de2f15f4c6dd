"""Every verdict that the headers of the shared cases of formats and names state, on the files of their generators."""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes import IntensityRule, Manifest, Recipe, VolumeRecord
from voxmix.volumes.preparing.prepare import Preparation, prepare
from voxmix.volumes.reading.content_digest import content_digest
from voxmix.volumes.reading.multi_volume_files import take_apart
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError, Volume, axes_in_words

LOW, HIGH = -500.0, 500.0
RECIPE = Recipe(
    spacing_mm=2.0,
    min_shape=(8, 8, 8),
    crop_foreground=False,
    intensity={"MADE-CT": IntensityRule(kind="window", low=LOW, high=HIGH)},
)
pytestmark = pytest.mark.shared


def field_on(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    return np.asarray(35 + x + 1.3 * y + 1.7 * z)


def check(volume: Volume, *, within: float = 0.51) -> Volume:
    """Hold a volume to the field of the cases, voxel by voxel, at the places that its affine gives."""
    np.testing.assert_allclose(volume.data, field_on(volume.data.shape, volume.affine), atol=within)
    return volume


def prepared(folder: Path, root: Path) -> tuple[Preparation, dict[str, float]]:
    """Prepare all of a case; return what came of it and, of every file, how far the inside is from the field."""
    manifest = take_apart(read_folder(folder.parent)).split(seed=0)
    done = prepare(manifest, recipe=RECIPE, root=root, source=folder.parent)
    errors = []
    for volume in done.cache.volumes:
        geometry = done.cache.geometry(volume)
        array = done.cache.array(volume).astype(np.float64) * (HIGH - LOW) + LOW
        expected = field_on(array.shape, geometry.prepared_affine)
        inner = tuple(
            slice(before + 2, before + size - 2)
            for before, size in zip(geometry.before, geometry.size, strict=True)
        )
        errors.append(float(np.median(np.abs(array - expected)[inner])) if array[inner].size else 0.0)
    return done, {volume.key: error for volume, error in zip(done.cache.volumes, errors, strict=True)}


def test_case12_headers(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case12", tmp_path / "data") / "MADE-CT"
    odd = {"nan", "infs", "noforms", "vector5"}
    for path in sorted(folder.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        if name not in odd:
            volume = check(read_volume(path), within=1.3 if name == "slope25" else 0.51)
            assert bool(volume.notes) == (name == "sformzero"), name
    assert "its qform was" in read_volume(folder / "sformzero.nii.gz").notes[0]
    for name, share in (("nan", 0.149), ("infs", 2 / 16800)):
        volume = read_volume(folder / f"{name}.nii.gz")
        off = np.abs(volume.data - field_on(volume.data.shape, volume.affine)) > 0.51
        assert off.mean() == pytest.approx(share, rel=0.05)
        assert np.all(volume.data[off] == volume.data.min())
    volume = read_volume(folder / "noforms.nii.gz")
    np.testing.assert_allclose(volume.affine, nibabel.load(folder / "noforms.nii.gz").affine)
    assert volume.notes == ("the header has no orientation: axes taken as left, anterior, superior",)
    with pytest.raises(UnreadableVolumeError, match="3 values in every voxel"):
        read_volume(folder / "vector5.nii.gz")
    done, errors = prepared(folder, tmp_path / "cache")
    reasons = {item.path.name: item.reason for item in done.set_aside}
    assert reasons.keys() == {"vector5.nii.gz"}
    assert sum(error > 0.8 for error in errors.values()) == 1  # noforms: its place is anybody's guess
    thin = [note for path, note in done.notes if path.name == "thinslab.nii.gz"]
    assert thin == ["3 slices of 0.4 mm become 1 of 2 mm; the rest of the array is padding"]


def test_case13_names_and_packing(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case13", tmp_path / "data") / "MADE-CT"
    done, errors = prepared(folder, tmp_path / "cache")
    lost = {os.fsencode(item.path.name): item.reason for item in done.set_aside}
    assert b"caf\xe9.nii.gz" in lost
    assert "not UTF-8 text; rename it" in lost[b"caf\xe9.nii.gz"]
    assert not {"no such file", "same content as another file of the domain"} & set(lost.values())
    for name in ("notgz/scan.nii.gz", "gzasnii/scan.nii", "hdrgz/scan.hdr.gz", "imggz/scan.hdr"):
        check(read_volume(folder / name))
    for name in (
        "upper1/SCAN.NII.GZ",
        "upper2/SCAN.NII",
        "patient 7 , left/my scan (2).nii.gz",
        "hidden/scan.nii.gz",
    ):
        check(read_volume(folder / name))
    headers = [folder / f"upper{letter}" / "SCAN.HDR" for letter in "AB"]
    assert headers[0].read_bytes() == headers[1].read_bytes()
    assert content_digest(headers[0]) != content_digest(headers[1])
    for header in headers:
        check(read_volume(header), within=21)
    found = {os.fsdecode(r.path.relative_to(folder)) for r in read_folder(folder.parent).records
             if r.domain == folder.name}  # fmt: skip
    assert {"notgz/scan.nii.gz", "gzasnii/scan.nii", "hdrgz/scan.hdr.gz", "imggz/scan.hdr", "upperA/SCAN.HDR",
            "upperB/SCAN.HDR", "upper1/SCAN.NII.GZ", "upper2/SCAN.NII"} <= found  # fmt: skip
    before = content_digest(headers[0])
    (folder / "upperA" / "SCAN.IMG").write_bytes((folder / "upperB" / "SCAN.IMG").read_bytes())
    assert content_digest(headers[0]) != before
    assert max(errors.values()) < 12


def test_case23_other_formats(write_case: Callable[[str, Path], Path], tmp_path: Path) -> None:
    folder = write_case("case23", tmp_path / "data") / "MADE-CT"
    whole = (
        "nrrd_ras",
        "nhdr_gz",
        "nhdr_sub",
        "mhd_abs",
        "mhd_sub",
        "mhd_zraw",
        "mha_order",
        "mha_ascii",
        "mgz",
        "npz_aff",
    )
    for name in whole:
        path = next(
            p
            for p in (folder / name).iterdir()
            if p.suffix in (".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".npz")
        )
        assert check(read_volume(path)).notes == (), name
    for name, file, note in (
        ("nrrd_none", "x.nrrd", "no orientation"), ("mha_nospace", "x.mha", "no voxel size: 1 mm"),
        ("mgh_noras", "x.mgh", "no geometry: voxels of 1 mm"), ("npy_f", "x.npy", "NumPy files have no geometry"),
    ):  # fmt: skip
        volume = read_volume(folder / name / file)
        assert note in volume.notes[0]
        if "axes taken as" in volume.notes[0]:
            assert volume.notes[0].endswith(axes_in_words(volume.affine))
    turned = read_volume(folder / "mha_neg" / "x.mha")
    image = sitk.ReadImage(str(folder / "mha_neg" / "x.mha"))
    np.testing.assert_allclose(turned.affine[:3, 3] * [-1, -1, 1], image.GetOrigin())
    np.testing.assert_allclose(np.diag(turned.affine)[:3], [-2, -2, 2.5])
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert turned.notes == ("a negative voxel size in the header turns its axis around",)
    for name, file, reason in (
        ("nrrd_list", "x.nrrd", "3 values in every voxel"), ("nrrd_last", "x.nrrd", "3 values in every voxel"),
        ("npz_two", "x.npz", "2 arrays in one npz"),
    ):  # fmt: skip
        with pytest.raises(UnreadableVolumeError, match=reason):
            read_volume(folder / name / file)
    records = (VolumeRecord(path=folder / "nhdr_sub" / "x.nhdr", domain="D", subject="p"),)
    assert take_apart(Manifest(records=records)).records == records
