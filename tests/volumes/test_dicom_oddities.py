"""Odd DICOM folders: found by their bytes, read as stored, or refused once and in words."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from voxmix._io import digest
from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes import Manifest, VolumeRecord
from voxmix.volumes.reading.content_digest import content_digest, record_digest
from voxmix.volumes.reading.dicom.series import list_series
from voxmix.volumes.reading.multi_volume_files import take_apart
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import UnreadableVolumeError

SHAPE = (6, 5, 8)
VOXELS = np.random.default_rng(0).integers(0, 900, SHAPE)

Change = Callable[[Dataset, int], None]


def write(
    folder: Path,
    *,
    name: str = "IM{n:04d}.dcm",
    heights: Any = range(0, 24, 3),
    bits: int = 16,
    signed: bool = False,
    change: Change | None = None,
    **tags: Any,
) -> Path:
    """Write one slice per height, stored values ``VOXELS`` (less 500 where signed), and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, height in enumerate(heights):
        uid = generate_uid()
        data = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
        data.SeriesInstanceUID, data.Modality, data.InstanceNumber = "1.2.3", "CT", k + 1
        data.Columns, data.Rows = SHAPE[:2]
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, height], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = [2, 2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = (
            16,
            bits,
            bits - 1,
            int(signed),
        )
        data.RescaleSlope, data.RescaleIntercept = 2, -1024
        for key, value in tags.items():
            setattr(data, key, value)
        stored = (VOXELS[:, :, k].T - 500 * signed).astype(np.int16)
        data.PixelData = (stored & ((1 << bits) - 1 if bits < 16 else -1)).astype(np.int16).tobytes()
        if change is not None:
            change(data, k)
        data.save_as(folder / name.format(n=k + 1, uid=uid), enforce_file_format=True)
    return folder


@pytest.mark.parametrize(
    "name", ["{uid}", "i{n}.CTDC.7", "CT.{uid}", "{n}.dicom", "IM{n}", "{n}.DCM", "{n:03d}.img"]
)
def test_a_folder_is_found_whatever_its_files_are_called(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "CT" / "p1", name=name)
    for other in ("0README.txt", "0notes", "zz.json", "DICOMDIR"):
        (folder / other).write_text("nothing", encoding="utf-8")
    os.mkfifo(folder / "0pipe")
    manifest = read_folder(tmp_path)
    assert [(r.subject, r.path) for r in manifest.records] == [("p1", folder)]
    assert manifest.set_aside == ()
    np.testing.assert_array_equal(read_volume(folder).data, VOXELS * 2 - 1024)


def test_packed_slices_are_named_once(tmp_path: Path) -> None:
    write(tmp_path / "CT" / "p1")
    (tmp_path / "CT" / "p2").mkdir()
    for number in range(20):
        (tmp_path / "CT" / "p2" / f"{number}.dcm.gz").write_bytes(b"packed")
    (tmp_path / "CT" / "p3").mkdir()
    (tmp_path / "CT" / "p3" / "all.dcm.gz").write_bytes(b"packed")
    assert [(s.path.name, s.reason) for s in read_folder(tmp_path).set_aside] == [
        ("p2", "20 files: files that end in .dcm.gz are not read"),
        ("all.dcm.gz", "files that end in .dcm.gz are not read"),
    ]


def test_a_file_named_by_its_uid_is_dicom_too(tmp_path: Path) -> None:
    path = next(write(tmp_path / "CT", name="{uid}", heights=[0], NumberOfFrames=2).iterdir())
    assert [r.path for r in read_folder(tmp_path).records] == [path]
    with pytest.raises(UnreadableVolumeError, match="DICOM frames without positions"):
        read_volume(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_files_without_the_128_bytes_in_front(tmp_path: Path, syntax: str) -> None:
    folder = write(tmp_path / "CT" / "p1", name="{uid}")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        whole = pydicom.filebase.DicomBytesIO()
        whole.is_little_endian, whole.is_implicit_VR = True, syntax == ImplicitVRLittleEndian
        del data.file_meta
        pydicom.filewriter.write_dataset(whole, data)
        path.write_bytes(whole.getvalue())
    assert [r.path for r in read_folder(tmp_path).records] == [folder]
    np.testing.assert_array_equal(read_volume(folder).data, VOXELS * 2 - 1024)


@pytest.mark.parametrize(("bits", "signed"), [(16, False), (12, False), (16, True), (12, True)])
def test_monochrome1_changes_no_value(tmp_path: Path, bits: int, signed: bool) -> None:
    """HU is stored times slope plus intercept, however the image is to be shown."""
    folder = write(tmp_path / "s", bits=bits, signed=signed, PhotometricInterpretation="MONOCHROME1")
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.data, (VOXELS - 500 * signed) * 2 - 1024)
    assert volume.notes == ()
    other = read_volume(write(tmp_path / "t", PhotometricInterpretation="MONOCHROME1", Modality="NM"))
    np.testing.assert_array_equal(other.data, VOXELS * 2 - 1024)
    assert "MONOCHROME1" in other.notes[0]


def test_monochrome1_in_a_part_of_a_series(tmp_path: Path) -> None:
    def some(data: Dataset, k: int) -> None:
        if k % 2:
            data.PhotometricInterpretation = "MONOCHROME1"

    np.testing.assert_array_equal(read_volume(write(tmp_path / "ct", change=some)).data, VOXELS * 2 - 1024)
    with pytest.raises(UnreadableVolumeError, match="some are shown inverted"):
        read_volume(write(tmp_path / "nm", change=some, Modality="NM"))


def test_packed_monochrome1(tmp_path: Path) -> None:
    """Five times as large: GDCM does not unpack smaller runs."""

    def pack(data: Dataset, k: int) -> None:
        data.Columns, data.Rows = 5 * SHAPE[0], 5 * SHAPE[1]
        data.PixelData = np.tile(VOXELS[:, :, k].T, (5, 5)).astype(np.uint16).tobytes()
        data.compress(RLELossless, generate_instance_uid=False)

    folder = write(tmp_path / "s", PhotometricInterpretation="MONOCHROME1", change=pack)
    np.testing.assert_array_equal(read_volume(folder).data, np.tile(VOXELS, (5, 5, 1)) * 2 - 1024)


def half_scaled(data: Dataset, k: int) -> None:
    if k > 3:
        del data.RescaleIntercept


def own_series(data: Dataset, k: int) -> None:
    data.SeriesInstanceUID = f"1.2.3.{k}"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "numbers of a palette"),
        ({"PhotometricInterpretation": "YBR_FULL", "SamplesPerPixel": 3}, "color image"),
        ({"ModalityLUTSequence": Sequence([Dataset()])}, "lookup table"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
        ({"change": half_scaled}, "some say how they are scaled and some do not"),
        ({"change": own_series}, "^8 DICOM series of fewer than 3 slices each in one folder"),
        ({"heights": [5] * 8}, "8 DICOM slices at only 1 place;"),
        ({"heights": [5, 9] * 4}, "8 DICOM slices at only 2 places;"),
        ({"heights": [0, 2, 4, 6, 8, 13, 18, 23]}, "changes from 2 to 5 mm at slice 5 of 8"),
        ({"heights": [0, 2, 4, 9, 14, 24, 34, 44]}, "changes from 2 to 5 to 10 mm at slice 3 of 8"),
        ({"heights": [0, 2, 4, 6, 10, 12, 14, 16]}, "2 to 4 mm apart: some are missing"),
        ({"heights": [0, 2, 4, 6, 8, 10, 12, 16]}, "2 to 4 mm apart: some are missing"),
        ({"heights": [0, 2, 4, 7, 9, 11, 14, 16]}, "2 to 3 mm apart: they are not evenly spaced"),
    ],
)
def test_refused_once_and_in_words(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    folder = write(tmp_path / "p1", **options)
    record = VolumeRecord(path=folder, domain="CT", subject="p1")
    assert take_apart(Manifest(records=(record,))).records == (record,)
    with pytest.raises(UnreadableVolumeError, match=reason) as caught:
        read_volume(folder)
    assert str(tmp_path) not in str(caught.value)
    assert "1.2.3" not in str(caught.value)


def test_files_that_hold_nothing_are_said(tmp_path: Path) -> None:
    folder = write(tmp_path / "s")
    (folder / "IM0008.dcm").write_bytes(b"")
    (folder / "IM0001.dcm").write_text("damaged", encoding="utf-8")
    (folder / "notes.txt").write_text("damaged", encoding="utf-8")
    volume = read_volume(folder)
    assert volume.data.shape == (6, 5, 6)
    assert volume.notes == ("2 files of the folder are empty or no DICOM and were left out: check the ends",)
    folder = write(tmp_path / "header")
    whole = (folder / "IM0008.dcm").read_bytes()
    (folder / "IM0008.dcm").write_bytes(whole[: whole.index(b"\x28\x00\x02\x00")])
    with pytest.raises(UnreadableVolumeError, match="ends before its pixels"):
        read_volume(folder)
    folder = write(tmp_path / "pixels")
    (folder / "IM0004.dcm").write_bytes(whole[:-20])
    with pytest.raises(UnreadableVolumeError, match="cut off, damaged"):
        read_volume(folder)


def test_screenshots_beside_a_series_are_passed_over(tmp_path: Path) -> None:
    def no_place(data: Dataset, k: int) -> None:
        del data.ImagePositionPatient

    folder = write(tmp_path / "s")
    write(folder, name="shot{n}", heights=[0, 3], SeriesInstanceUID="1.2.9", change=no_place)
    assert [count for _, count in list_series(folder)] == [1]
    np.testing.assert_array_equal(read_volume(folder).data, VOXELS * 2 - 1024)
    alone = write(tmp_path / "t", heights=[0], change=no_place)
    with pytest.raises(UnreadableVolumeError, match="without a position"):
        read_volume(alone)


def test_pieces_of_one_series_in_several_folders_are_set_aside(tmp_path: Path) -> None:
    """Of one subject or of several; but one UID for everybody, as some anonymizers write it, proves nothing."""
    domain = tmp_path / "CT"
    for name, heights in {"A": range(0, 12, 3), "B": range(12, 24, 3)}.items():
        write(domain / "torn" / name, heights=heights)
        write(domain / "two" / name, heights=heights, SeriesInstanceUID=f"1.2.4.{int(name == 'A')}")
        write(domain / "same" / name, heights=range(0, 12, 3))
        write(domain / f"sub{name}", heights=heights, SeriesInstanceUID="1.2.5")
        write(domain / "mixed" / name, heights=heights, SeriesInstanceUID="1.2.6")
    write(domain / "mixed" / "A", name="z{n}", SeriesInstanceUID="1.2.7")
    manifest = read_folder(tmp_path)
    assert {s.path.relative_to(domain).parts[0] for s in manifest.set_aside} == {"torn", "subA", "subB"}
    assert {s.reason for s in manifest.set_aside} == {
        "a part of one DICOM series that lies in 2 folders; put its files into one folder"
    }
    assert {r.subject for r in manifest.records} == {"two", "same", "mixed"}


def test_a_series_exported_into_two_folders_counts_once(tmp_path: Path) -> None:
    domain = tmp_path / "CT"
    write(domain / "p1" / "first")
    for name, count in {"p1/second": 8, "p2/third": 5}.items():
        (domain / name).mkdir(parents=True)
        for path in sorted((domain / "p1" / "first").iterdir())[:count]:
            data = pydicom.dcmread(path)
            data.StudyID = "made up"  # Written anew: other bytes, the same slice.
            data.save_as(domain / name / path.name)
    write(domain / "p3", heights=range(0, 24, 3))
    for path, other in zip(
        sorted((domain / "p3").iterdir()), sorted((domain / "p1" / "first").iterdir()), strict=True
    ):
        data = pydicom.dcmread(path)  # Another person whom an anonymizer gave the same UIDs.
        data.SOPInstanceUID = pydicom.dcmread(other).SOPInstanceUID
        data.PixelData = data.PixelData[::-1]
        data.save_as(path)
    manifest = read_folder(tmp_path)
    assert {(r.subject, r.path.name) for r in manifest.records} == {("p1", "first"), ("p3", "p3")}
    assert {s.reason for s in manifest.set_aside} == {
        "a copy of a DICOM series, or of a part of it, that lies in another folder"
    }


def test_slices_loose_in_a_domain_are_set_aside_as_one(tmp_path: Path) -> None:
    write(tmp_path / "CT", name="{uid}")
    write(tmp_path / "CT" / "p1")
    manifest = read_folder(tmp_path)
    assert [r.subject for r in manifest.records] == ["p1"]
    assert [(s.path.name, s.reason) for s in manifest.set_aside] == [
        ("CT", "8 DICOM slices lie loose in the folder of a domain; give each scan a folder of its own")
    ]


def pet(**changes: Any) -> dict[str, Any]:
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = 370e6, 6586.2
    drug.RadiopharmaceuticalStartTime = "103000.00"
    for key in [key for key in changes if key.startswith("Radio")]:
        setattr(drug, key, changes.pop(key))
    tags = {
        "Modality": "PT", "Units": "BQML", "DecayCorrection": "START", "PatientWeight": 70.0,
        "SeriesDate": "20200101", "SeriesTime": "113000", "AcquisitionDate": "20200101",
        "AcquisitionTime": "113000", "RadiopharmaceuticalInformationSequence": Sequence([drug]),
    }  # fmt: skip
    return {**tags, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"SeriesTime": ""},
        {"SeriesTime": "000000"},
        {"SeriesDate": ""},
        {"SeriesDate": "19000101"},
        {"SeriesTime": "170000", "SeriesDate": "20200301"},
        {"SeriesTime": "033000"},
        {"AcquisitionTime": "", "AcquisitionDate": ""},
        {"AcquisitionTime": "114500"},
        {"AcquisitionTime": "", "AcquisitionDateTime": "20200101113000.00", "SeriesTime": ""},
        {
            "RadiopharmaceuticalStartDateTime": "20200101153000.00+0000",
            "RadiopharmaceuticalStartTime": "",
            "TimezoneOffsetFromUTC": "-0500",
        },
        {"RadiopharmaceuticalStartDateTime": "19550101103000"},
        {"RadiopharmaceuticalStartDateTime": "20200101103000.00-0500", "RadiopharmaceuticalStartTime": ""},
        {"RadiopharmaceuticalStartDateTime": "19550101103000", "RadiopharmaceuticalStartTime": ""},
    ],
)
def test_suv_by_the_times_that_fit(tmp_path: Path, changes: dict[str, Any]) -> None:
    """An hour from injection to scan, whichever of the other times were taken out or changed."""
    volume = read_volume(write(tmp_path / "s", **pet(**changes)))
    factor = 70000 / (370e6 * 0.5 ** (3600 / 6586.2))
    np.testing.assert_allclose(volume.data, (VOXELS * 2 - 1024) * factor, rtol=1e-5)
    assert volume.notes[0].startswith("PET turned from Bq/ml into SUV by body weight")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"RadiopharmaceuticalStartTime": ""}, "lacks weight, dose, half-life or a time"),
        ({"RadiopharmaceuticalStartTime": "120000"}, "do not fit together"),
        ({"RadionuclideTotalDose": 370.0}, "no dose in Bq"),
        ({"RadionuclideHalfLife": 0.0}, "lacks weight, dose, half-life or a time"),
    ],
)
def test_suv_without_what_it_needs(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    volume = read_volume(write(tmp_path / "s", **pet(**changes)))
    np.testing.assert_array_equal(volume.data, VOXELS * 2 - 1024)
    assert reason in volume.notes[0]


@pytest.mark.parametrize(("element", "factor"), [(0x00, 0.5), (0x09, 0.5 * 70000 / 370e6)])
def test_suv_of_philips(tmp_path: Path, element: int, factor: float) -> None:
    def counts(data: Dataset, k: int) -> None:
        data.private_block(0x7053, "Philips PET Private Group", create=True).add_new(element, "DS", "0.5")

    tags = pet(Units="CNTS", DecayCorrection="ADMIN")
    volume = read_volume(write(tmp_path / "s", change=counts, **tags))
    np.testing.assert_allclose(volume.data, (VOXELS * 2 - 1024) * factor, rtol=1e-5)


def test_only_what_is_read_anew_has_a_new_identity(tmp_path: Path) -> None:
    """Prepared volumes of before stay, except those whose numbers were wrong."""

    def is_new(path: Path, **chosen: Any) -> bool:
        record = VolumeRecord(path=path, domain="CT", subject="p", **chosen)
        return record_digest(record) != content_digest(path)

    def zipped(folder: Path) -> Path:
        with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)
        return folder.with_suffix(".zip")

    plain, odd = write(tmp_path / "p"), write(tmp_path / "m", PhotometricInterpretation="MONOCHROME1")
    suv, other = write(tmp_path / "s", **pet()), write(tmp_path / "t", **pet(SeriesTime=""))
    for folder, new in ((plain, False), (odd, True), (suv, False), (other, True)):
        assert is_new(folder) == new
        assert is_new(zipped(folder)) == new
    echoes = write(tmp_path / "e", EchoTime=5)
    write(echoes, EchoTime=15, name="B{n}", InstanceNumber=100)
    shuffled = write(tmp_path / "f", EchoTime=5)
    write(shuffled, EchoTime=15, name="A{n}")
    without = record_digest(VolumeRecord(path=plain, domain="CT", subject="p", volume=0))
    assert without == digest([content_digest(plain), 0, None])
    for folder, new in ((echoes, False), (shuffled, True)):
        for path in (folder, zipped(folder)):
            for volume in (0, 1):
                record = VolumeRecord(path=path, domain="CT", subject="p", volume=volume)
                assert (record_digest(record) != digest([content_digest(path), volume, None])) == new
