"""DICOM series keep HU, SUV and place; what is broken in them is said; no identifier leaves them."""

import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
)

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes import Manifest, Recipe, VolumeRecord
from voxmix.volumes.auditing.fields import see_fields
from voxmix.volumes.manifest_files import read_csv, write_csv
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.reading import scratch
from voxmix.volumes.reading.dicom.series import list_series, series_name
from voxmix.volumes.reading.multi_volume_files import take_apart
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError

SHAPE = (9, 7, 6)
ORIENTATION = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)  # Sagittal: columns go to the back, rows go down.


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2000, SHAPE).astype(np.uint16)


def base(uid: str, storage: str, size: tuple[int, int]) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = storage
    meta.MediaStorageSOPInstanceUID = uid
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = storage, uid
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2", "1.2.3"
    data.Columns, data.Rows = size
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    return data


def write_series(
    folder: Path,
    voxels: np.ndarray,
    *,
    step: tuple[float, float, float] = (-3.0, 0.0, 0.0),
    skip: tuple[int, ...] = (),
    times: int = 1,
    slopes: list[float] | None = None,
    **tags: Any,
) -> None:
    """Write one file per slice in an order that says nothing; stored values are HU + 1000."""
    folder.mkdir(parents=True, exist_ok=True)
    for time in range(times):
        for k in range(voxels.shape[2]):
            if k in skip:
                continue
            data = base(f"1.2.3.{time}.{k}", CTImageStorage, voxels.shape[:2])
            data.Modality = "CT"
            data.ImagePositionPatient = [float(a + k * b) for a, b in zip((-10, 20, 30), step, strict=True)]
            data.ImageOrientationPatient = list(ORIENTATION)
            data.PixelSpacing = [2.0, 1.5]
            data.InstanceNumber = time + 1
            data.RescaleIntercept, data.RescaleSlope = -1000, slopes[k] if slopes else 1
            for name, value in tags.items():
                setattr(data, name, value)
            data.PixelData = (voxels[:, :, k].T + time).astype(np.uint16).tobytes()
            data.save_as(folder / f"{(k * 7 + time) % 10}_{time}_{k}.dcm")


def place() -> np.ndarray:
    """Affine to RAS of the series above."""
    return np.array([[0, 0, 3.0, 10], [-1.5, 0, 0, -20], [0, -2.0, 0, 30], [0, 0, 0, 1]])


def test_series_is_in_hu_and_in_place(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    (tmp_path / "s" / "README").write_text("not DICOM", encoding="utf-8")
    volume = read_volume(tmp_path / "s")
    np.testing.assert_array_equal(volume.data, voxels.astype(np.float32) - 1000)
    np.testing.assert_allclose(volume.affine, place())
    assert volume.notes == ()


def test_slopes_of_single_slices_are_applied(tmp_path: Path, voxels: np.ndarray) -> None:
    slopes = [1.0, 0.5, 2.25, 1.0, 3.0, 0.125]
    write_series(tmp_path / "s", voxels, slopes=slopes)
    np.testing.assert_allclose(read_volume(tmp_path / "s").data, voxels * np.array(slopes) - 1000, rtol=1e-6)


def test_tilted_gantry_gives_a_sheared_affine(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels, step=(-3.0, 0.9, 0.0))
    np.testing.assert_allclose(read_volume(tmp_path / "s").affine[:3, 2], [3.0, -0.9, 0.0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"skip": (2,)}, "lie 3 to 6 mm apart: some are missing"),
        ({"times": 3}, "4D: 3 images at every place"),
        ({"SamplesPerPixel": 3}, "color"),
        ({"PixelSpacing": None}, "without position, orientation or pixel spacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "two perpendicular directions"),
        ({"skip": (2, 3, 4, 5)}, "only 2 slices"),
        ({"skip": (1, 2, 3, 4, 5)}, "2D"),
    ],
)
def test_refused_with_reason(
    tmp_path: Path, voxels: np.ndarray, options: dict[str, Any], reason: str
) -> None:
    write_series(tmp_path / "s", voxels, **options)
    with pytest.raises(UnreadableVolumeError, match=reason):
        read_volume(tmp_path / "s")


def test_chosen_image_of_several_at_every_place(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels, times=3)
    np.testing.assert_array_equal(
        read_volume(tmp_path / "s", volume=2).data, voxels.astype(np.float32) + 2 - 1000
    )
    with pytest.raises(UnreadableVolumeError, match=r"volume 3 was asked for, the series has 3 \(from 0\)"):
        read_volume(tmp_path / "s", volume=3)


def test_two_series_and_mixed_orientations_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "two", voxels)
    write_series(tmp_path / "more", voxels, SeriesInstanceUID="1.2.4", skip=(1,))
    for path in (tmp_path / "more").iterdir():
        path.rename(tmp_path / "two" / f"m{path.name}")
    with pytest.raises(UnreadableVolumeError, match=r"2 DICOM series in one folder \(of .* files\)"):
        read_volume(tmp_path / "two")
    write_series(tmp_path / "mixed", voxels)
    odd = next((tmp_path / "mixed").iterdir())
    data = pydicom.dcmread(odd)
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.save_as(odd)
    with pytest.raises(UnreadableVolumeError, match="different orientation"):
        read_volume(tmp_path / "mixed")


def mix(folder: Path, voxels: np.ndarray, **changes: dict[str, Any]) -> None:
    """Write several series into one folder, as exports do; ``changes`` is name to options of a series."""
    for number, (name, options) in enumerate(changes.items()):
        write_series(folder / name, voxels, **{"SeriesInstanceUID": f"1.2.3.{number}", **options})
        for path in list((folder / name).iterdir()):
            path.rename(folder / f"{name}_{path.name}")
        (folder / name).rmdir()


def test_every_series_of_a_mixed_folder_can_be_chosen(tmp_path: Path, voxels: np.ndarray) -> None:
    mix(
        tmp_path / "f",
        voxels,
        a={},
        b={"times": 2, "RescaleIntercept": -500},
        localizer={"skip": (0, 1, 3, 4)},
        segmentation={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
    )
    listed = dict(list_series(tmp_path / "f"))
    wanted = {name: series_name(f"1.2.3.{n}") for n, name in enumerate(("a", "b", "localizer"))}
    assert listed == {wanted["a"]: 1, wanted["b"]: 2, wanted["localizer"]: 1}
    assert not any("1.2.3" in name for name in listed)
    np.testing.assert_array_equal(read_volume(tmp_path / "f", series=wanted["a"]).data, voxels - 1000.0)
    second = read_volume(tmp_path / "f", series=wanted["b"], volume=1)
    np.testing.assert_array_equal(second.data, voxels + 1 - 500.0)
    with pytest.raises(UnreadableVolumeError, match=r"2D|only 2 slices"):
        read_volume(tmp_path / "f", series=wanted["localizer"])
    with pytest.raises(UnreadableVolumeError, match="that was asked for is not there"):
        read_volume(tmp_path / "f", series=series_name("9.9"))


def test_the_series_of_one_folder_are_prepared_as_different_volumes(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    for person in ("p1", "p2"):
        mix(tmp_path / person, voxels + ord(person[1]), a={}, b={"RescaleIntercept": -500})
    records = tuple(
        VolumeRecord(path=tmp_path / person, domain="CT", subject=person, series=series)
        for person in ("p1", "p2")
        for series, _ in list_series(tmp_path / person)
    )
    recipe = Recipe(spacing_mm=2.0, min_shape=(4, 4, 4))
    result = prepare(Manifest(records=records).split(seed=0), recipe=recipe, root=tmp_path / "cache")
    assert (result.made, result.set_aside) == (4, ())
    assert len({v.key for v in result.cache.volumes}) == 4


def test_a_manifest_lists_every_series_and_every_time(tmp_path: Path, voxels: np.ndarray) -> None:
    mix(tmp_path / "CT" / "p1", voxels, a={}, b={"times": 2})
    write_series(tmp_path / "CT" / "p2", voxels)
    apart = take_apart(read_folder(tmp_path))
    a, b = series_name("1.2.3.0"), series_name("1.2.3.1")
    assert {(r.subject, r.series, r.volume) for r in apart.records} == {
        ("p1", a, None),
        ("p1", b, 0),
        ("p1", b, 1),
        ("p2", "", None),
    }
    packed = zip_folder(tmp_path / "CT" / "p1", tmp_path / "p1.zip")
    zipped = take_apart(Manifest(records=(VolumeRecord(path=packed, domain="CT", subject="p1"),)))
    assert {(r.series, r.volume) for r in zipped.records} == {(a, None), (b, 0), (b, 1)}
    read = read_volume(packed, series=b, volume=1)
    np.testing.assert_array_equal(read.data, read_volume(tmp_path / "CT" / "p1", series=b, volume=1).data)
    write_csv(apart, tmp_path / "m.csv")
    assert read_csv(tmp_path / "m.csv") == apart
    assert "1.2.3" not in (tmp_path / "m.csv").read_text(encoding="utf-8")


def zip_folder(folder: Path, target: Path, *, rename: str = "{}") -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.writestr(rename.format(path.name), path.read_bytes())
    return target


def test_a_zip_of_a_series_is_that_series(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    (tmp_path / "s" / "README").write_text("not DICOM", encoding="utf-8")
    volume = read_volume(zip_folder(tmp_path / "s", tmp_path / "s.zip", rename="PLANTED/study/{}"))
    np.testing.assert_array_equal(volume.data, voxels - 1000.0)
    np.testing.assert_allclose(volume.affine, place())


def test_files_of_a_zip_outlive_no_process(
    tmp_path: Path, voxels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it reads, a process leaves patients' files: the next one removes them, and none of a living one.

    The folder may be shared: of another machine or container only what is too old to be in use is removed.
    """
    place_ = tmp_path / "tmp"
    place_.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place_))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here, dead, alive, old = (
        scratch._place(),
        gone.pid,
        os.getppid(),
        datetime.now().timestamp() - 3 * 24 * 3600,
    )
    kept = [f"{here}-{alive}-x", f"0123abcd-{dead}-x", f"{dead}-x"]
    removed = [f"{here}-{dead}-x", f"0123abcd-{dead}-old", f"0123abcd-{alive}-old", f"{dead}-old"]
    for name in kept + removed:
        folder = place_ / f"voxmix-zip-{name}"
        folder.mkdir()
        (folder / "0").write_bytes(b"patient")
        if name.endswith("old"):
            os.utime(folder, (old, old))
    write_series(tmp_path / "s", voxels)
    read_volume(zip_folder(tmp_path / "s", tmp_path / "s.zip"))
    assert {p.name for p in place_.iterdir()} == {f"voxmix-zip-{name}" for name in kept}


def test_a_folder_for_a_zip_names_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(platform, "node", lambda: "ward-7-scanner")
    scratch._place.cache_clear()
    with scratch.temporary_folder() as folder:
        assert folder.name.startswith(f"voxmix-zip-{scratch._place()}-{os.getpid()}-")
        assert "ward-7" not in folder.name
    assert not folder.exists()
    scratch._place.cache_clear()


@pytest.mark.parametrize("name", ["../{}", "a/../../{}", "/tmp/{}", "..\\{}", "C:/{}"])
def test_a_zip_that_reaches_out_of_itself_is_refused(tmp_path: Path, voxels: np.ndarray, name: str) -> None:
    write_series(tmp_path / "s", voxels)
    path = zip_folder(tmp_path / "s", tmp_path / "s.zip", rename=name)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UnreadableVolumeError, match="leads out of it"):
        read_volume(path)
    assert set(tmp_path.rglob("*")) == before


def test_bombs_in_zips_and_deflated_dicom_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", b"\0" * 20_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 25_000
    with pytest.raises(UnreadableVolumeError, match="unpacks to more than the 8000 bytes"):
        read_volume(tmp_path / "bomb.zip", max_voxels=1000)
    # A zip whose directory lies about the size is stopped while it is unpacked.
    raw = bytearray((tmp_path / "bomb.zip").read_bytes())
    entry = raw.rindex(b"PK\x01\x02")
    raw[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    (tmp_path / "liar.zip").write_bytes(raw)
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "liar.zip", max_voxels=1000)
    (tmp_path / "text.zip").write_text("no zip", encoding="utf-8")
    with pytest.raises(UnreadableVolumeError, match="cannot be unpacked"):
        read_volume(tmp_path / "text.zip")

    monkeypatch.setattr("voxmix.volumes.reading.dicom.headers._MAX_DEFLATED", 100_000)
    data = base("1.2.3.9", CTImageStorage, (900, 900))
    data.Modality, data.ImagePositionPatient, data.PixelSpacing = "CT", [0, 0, 0], [1, 1]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelData = b"\0" * (900 * 900 * 2)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(tmp_path / "deflated.dcm")
    assert (tmp_path / "deflated.dcm").stat().st_size < 10_000
    with pytest.raises(UnreadableVolumeError, match="deflated DICOM file that unpacks to more"):
        read_volume(tmp_path / "deflated.dcm")


def test_deflated_series_are_read(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    for path in (tmp_path / "s").iterdir():
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path)
    np.testing.assert_array_equal(read_volume(tmp_path / "s").data, voxels - 1000.0)


def write_enhanced(path: Path, voxels: np.ndarray, order: list[int], **tags: Any) -> None:
    data = base("1.2.9", EnhancedMRImageStorage, voxels.shape[:2])
    data.Modality, data.NumberOfFrames = "MR", len(order)
    shared, frames = Dataset(), []
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(ORIENTATION)
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = [2.0, 1.5]
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = Sequence([Dataset()])
        frame.PlanePositionSequence[0].ImagePositionPatient = [-10 - 3.0 * k, 20, 30]
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.PixelData = np.stack([voxels[:, :, k].T for k in order]).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)


def test_frames_of_an_enhanced_file_are_put_in_order(tmp_path: Path, voxels: np.ndarray) -> None:
    write_enhanced(tmp_path / "e.dcm", voxels, [4, 0, 5, 1, 3, 2])
    volume = read_volume(tmp_path / "e.dcm")
    np.testing.assert_array_equal(volume.data, voxels)
    np.testing.assert_allclose(volume.affine, place())


def scale_frames(path: Path, scales: list[tuple[float, float] | None]) -> None:
    data = pydicom.dcmread(path)
    for frame, scale in zip(data.PerFrameFunctionalGroupsSequence, scales, strict=True):
        if scale is not None:
            frame.PixelValueTransformationSequence = Sequence([Dataset()])
            frame.PixelValueTransformationSequence[0].RescaleSlope = scale[0]
            frame.PixelValueTransformationSequence[0].RescaleIntercept = scale[1]
            frame.PixelValueTransformationSequence[0].RescaleType = "US"
    data.save_as(path)


def test_frames_that_are_scaled_each_in_its_own_way(tmp_path: Path, voxels: np.ndarray) -> None:
    order = [4, 0, 5, 1, 3, 2]
    write_enhanced(tmp_path / "e.dcm", voxels, order)
    scales = [(0.5 + k, -100.0 * k - 3) for k in order]
    scale_frames(tmp_path / "e.dcm", [*scales])
    slope, intercept = (np.array([0.5 + k for k in range(6)]), np.array([-100.0 * k - 3 for k in range(6)]))
    np.testing.assert_allclose(read_volume(tmp_path / "e.dcm").data, voxels * slope + intercept, atol=1e-2)
    write_enhanced(tmp_path / "half.dcm", voxels, order)
    scale_frames(tmp_path / "half.dcm", [(2.0, 0.0), None, *[(2.0, 0.0)] * 4])
    with pytest.raises(UnreadableVolumeError, match="some say how they are scaled and some do not"):
        read_volume(tmp_path / "half.dcm")


def test_frames_fewer_than_the_header_says(tmp_path: Path, voxels: np.ndarray) -> None:
    write_enhanced(tmp_path / "e.dcm", voxels, [0, 1, 2, 3, 4, 5])
    whole = (tmp_path / "e.dcm").read_bytes()
    (tmp_path / "e.dcm").write_bytes(whole[:-300])
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "e.dcm")


def pet_tags(**changes: Any) -> dict[str, Any]:
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 370e6, 6586.2
    drug.RadiopharmaceuticalStartTime = "103000.00"
    tags = {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Modality": "PT",
        "Units": "BQML",
        "DecayCorrection": "START",
        "PatientWeight": 70.0,
        "RadiopharmaceuticalInformationSequence": Sequence([drug]),
        "SeriesDate": "20200101",
        "SeriesTime": "113000",
        "AcquisitionDate": "20200101",
        "AcquisitionTime": "113000",
        "RescaleIntercept": 0,
        "RescaleSlope": 10.0,
    }
    return {**tags, **changes}


def test_pet_becomes_suv_by_body_weight(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels, **pet_tags())
    volume = read_volume(tmp_path / "s")
    dose = 370e6 * 0.5 ** (3600 / 6586.2)
    np.testing.assert_allclose(volume.data, voxels * 10.0 * 70000 / dose, rtol=1e-5)
    assert volume.notes == ("PET turned from Bq/ml into SUV by body weight",)


def test_pet_corrected_to_the_injection_and_over_midnight(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "admin", voxels, **pet_tags(DecayCorrection="ADMIN"))
    np.testing.assert_allclose(read_volume(tmp_path / "admin").data, voxels * 10.0 * 70000 / 370e6, rtol=1e-5)
    late = pet_tags(SeriesTime="003000", AcquisitionTime="003000")
    late["RadiopharmaceuticalInformationSequence"][0].RadiopharmaceuticalStartTime = "233000"
    write_series(tmp_path / "late", voxels, **late)
    dose = 370e6 * 0.5 ** (3600 / 6586.2)
    np.testing.assert_allclose(read_volume(tmp_path / "late").data, voxels * 10.0 * 70000 / dose, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"PatientWeight": None}, "lacks weight"),
        ({"PatientWeight": 0}, "lacks weight"),
        ({"RadiopharmaceuticalInformationSequence": Sequence([])}, "lacks weight"),
        ({"DecayCorrection": "NONE"}, "not decay-corrected"),
        ({"Units": "CNTS"}, "not Bq/ml"),
        ({"SeriesTime": "093000", "AcquisitionTime": "093000"}, "do not fit together"),
        ({"SeriesTime": "", "AcquisitionTime": ""}, "lacks weight"),
    ],
)
def test_pet_without_what_suv_needs_is_kept_and_said(
    tmp_path: Path, voxels: np.ndarray, changes: dict[str, Any], note: str
) -> None:
    write_series(tmp_path / "s", voxels, **pet_tags(**changes))
    volume = read_volume(tmp_path / "s")
    np.testing.assert_allclose(volume.data, voxels * 10.0, rtol=1e-6)
    assert note in volume.notes[0]


def test_folders_of_dicom_become_volumes(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "CT" / "p1" / "study" / "series", voxels)
    write_series(tmp_path / "CT" / "p2", voxels + 1)
    for path in (tmp_path / "CT" / "p2").iterdir():
        path.rename(path.with_suffix(""))
    write_enhanced(tmp_path / "CT" / "p3.dcm", voxels, list(range(6)))
    manifest = read_folder(tmp_path)
    assert [(r.subject, r.path.name) for r in manifest.records] == [
        ("p1", "series"),
        ("p2", "p2"),
        ("p3", "p3.dcm"),
    ]


def test_time_stamps_with_fractions_and_zones() -> None:
    from voxmix.volumes.reading.dicom.suv import _moment

    assert _moment("20200102", "030405.25") == datetime(2020, 1, 2, 3, 4, 5)
    assert _moment(None, "", "20200102030405.000000+0100") == datetime(2020, 1, 2, 3, 4, 5)
    assert _moment("20200102", "0304") - _moment("20200102", "03") == timedelta(minutes=4)


def test_the_field_of_view_is_known_from_headers_alone(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "s", voxels)
    read = read_volume(tmp_path / "s")
    voxel_mm = np.linalg.norm(read.affine[:3, :3], axis=0)
    record = VolumeRecord(path=tmp_path / "s", domain="A-CT", subject="s")
    (seen,) = see_fields(Manifest(records=(record,)))
    np.testing.assert_allclose(seen.median, np.sort(read.data.shape * voxel_mm))
    assert seen.voxel_mm == pytest.approx(np.prod(voxel_mm) ** (1 / 3))
