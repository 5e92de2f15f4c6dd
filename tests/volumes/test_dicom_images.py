"""Images that share a DICOM series and its places are never mixed: each is read whole, or the reason is said."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from voxmix.datasets.sets.folder import read_folder
from voxmix.volumes.reading.dicom.images import tell_apart
from voxmix.volumes.reading.dicom.series import list_series
from voxmix.volumes.reading.read import read_volume
from voxmix.volumes.volume import SeveralVolumesError, UnreadableVolumeError, Volume

SHAPE = (6, 5, 4)
BASE = np.random.default_rng(0).integers(0, 400, SHAPE).astype(np.int16)
STEP = 500
"""What each image lies above the one before, so that a slice of another image is seen at once."""

Tags = Callable[[int, int], dict[str, Any]]


def new(storage: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, storage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = storage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.Modality = "1.2.3", "MR"
    data.Columns, data.Rows = SHAPE[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    return data


def write(
    folder: Path,
    count: int,
    tags: Tags,
    *,
    number: Callable[[int, int], int] = lambda image, k: k + 1,
    lost: Sequence[tuple[int, int]] = (),
) -> Path:
    """Write ``count`` images, a file a slice, with names that say nothing; ``tags(image, k)`` are elements.

    Instance numbers start again in every image unless ``number`` says otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for image in range(count):
        for k in range(SHAPE[2]):
            if (image, k) in lost:
                continue
            data = new(MRImageStorage)
            data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 3 * k], [1, 0, 0, 0, 1, 0]
            data.PixelSpacing, data.InstanceNumber = [2, 2], number(image, k)
            for name, value in tags(image, k).items():
                if callable(value):
                    value(data)
                else:
                    setattr(data, name, value)
            data.PixelData = np.ascontiguousarray(BASE[:, :, k].T + STEP * image).astype(np.uint16).tobytes()
            data.save_as(folder / data.SOPInstanceUID)
    return folder


def image_of(volume: Volume) -> int:
    """Return which image a volume is; a mix of several fails."""
    shift = volume.data - BASE
    assert shift.min() == shift.max(), "slices of different images in one volume"
    return int(shift.min()) // STEP


def private(group: int, creator: str, element: int, kind: str, value: Any) -> Callable[[Dataset], None]:
    def add(data: Dataset) -> None:
        data.private_block(group, creator, create=True).add_new(element, kind, value)

    return add


def siemens(image: int, k: int) -> dict[str, Any]:
    return {"b": private(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", str((0, 800, 50)[image]))}


def philips(image: int, k: int) -> dict[str, Any]:
    return {"b": private(0x2001, "Philips Imaging DD 001", 0x03, "FL", (0.0, 800.0, 50.0)[image])}


def general_electric(image: int, k: int) -> dict[str, Any]:
    value = [10**9 * (image > 0) + (0, 800, 50)[image], 8, 0, 0]
    return {"b": private(0x0043, "GEMS_PARM_01", 0x39, "IS", value)}


def dixon(image: int, k: int) -> dict[str, Any]:
    return {"ImageType": ["DERIVED", "PRIMARY", "DIXON", ("WATER", "FAT", "IN_PHASE")[image]]}


@pytest.mark.parametrize(
    ("tags", "order"),
    [
        (lambda image, k: {"TemporalPositionIdentifier": (1, 10, 2)[image]}, [0, 2, 1]),
        (lambda image, k: {"EchoTime": (4.6, 18.4, 9.2)[image]}, [0, 2, 1]),
        (lambda image, k: {"EchoNumbers": (3, 2, 1)[image]}, [2, 1, 0]),
        (lambda image, k: {"DiffusionBValue": (0.0, 1000.0, 50.0)[image]}, [0, 2, 1]),
        (siemens, [0, 2, 1]),
        (philips, [0, 2, 1]),
        (general_electric, [0, 2, 1]),
        (lambda image, k: {"ComplexImageComponent": ("PHASE", "REAL", "MAGNITUDE")[image]}, [2, 1, 0]),
        (lambda image, k: {"ImageType": ["ORIGINAL", "PRIMARY", "PMR"[image], "ND"]}, [1, 2, 0]),
        (dixon, [2, 0, 1]),
        (lambda image, k: {"InversionTime": (400, 2500, 1100)[image]}, [0, 2, 1]),
        (lambda image, k: {"FlipAngle": (2, 15, 5)[image]}, [0, 2, 1]),
        (lambda image, k: {"AcquisitionNumber": (1, 12, 3)[image]}, [0, 2, 1]),
        (lambda image, k: {"AcquisitionTime": ("101500", "101600.5", "101559")[image]}, [0, 2, 1]),
        (lambda image, k: {"AcquisitionTime": f"10{(15, 17, 16)[image]}{10 * k:02d}"}, [0, 2, 1]),
        (lambda image, k: {"AcquisitionTime": f"10{15 + k}{(10, 30, 20)[image]}"}, [0, 2, 1]),
        (lambda image, k: {"TriggerTime": (0, 90, 30)[image] * (1 + k / 2)}, [0, 2, 1]),
        (lambda image, k: {"FrameReferenceTime": (0, 90, 30)[image]}, [0, 2, 1]),
        (lambda image, k: {"SeriesNumber": (4, 6, 5)[image]}, [0, 2, 1]),
        (lambda image, k: {"ContrastBolusAgent": ("", "made-up", "another")[image]}, [0, 2, 1]),
    ],
)
def test_what_tells_images_apart(tmp_path: Path, tags: Tags, order: list[int]) -> None:
    """Instance numbers restart, names say nothing: each image is whole, and they count in the order of their values."""
    folder = write(tmp_path / "s", 3, tags)
    assert [count for _, count in list_series(folder)] == [3]
    assert [image_of(read_volume(folder, volume=v)) for v in range(3)] == order
    with pytest.raises(SeveralVolumesError, match="3 images at every place, separated by"):
        read_volume(folder)


def test_a_tag_goes_before_a_number_that_disagrees(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(3 * SHAPE[2]).tolist()
    folder = write(
        tmp_path / "s",
        3,
        lambda image, k: {"TemporalPositionIdentifier": image + 1},
        number=lambda image, k: order[image * SHAPE[2] + k],
    )
    assert [image_of(read_volume(folder, volume=v)) for v in range(3)] == [0, 1, 2]


def test_echoes_over_time_and_repeated_b0(tmp_path: Path) -> None:
    echoes = write(
        tmp_path / "e", 6, lambda i, k: {"EchoTime": (5, 15)[i % 2], "TemporalPositionIdentifier": i // 2 + 1}
    )
    assert [image_of(read_volume(echoes, volume=v)) for v in range(6)] == [0, 1, 2, 3, 4, 5]
    b_values = (0, 1000, 0, 1000, 0)
    directions = (None, [1.0, 0, 0], None, [0.0, 1, 0], None)

    def diffusion(image: int, k: int) -> dict[str, Any]:
        tags: dict[str, Any] = {
            "DiffusionBValue": float(b_values[image]),
            "AcquisitionTime": f"1015{image:02d}.{k}",
        }
        return (
            tags if directions[image] is None else {**tags, "DiffusionGradientOrientation": directions[image]}
        )

    folder = write(tmp_path / "d", 5, diffusion)
    assert [image_of(read_volume(folder, volume=v)) for v in range(5)] == [0, 2, 4, 3, 1]


def test_what_varies_from_slice_to_slice_makes_no_images(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "s",
        1,
        lambda image, k: {
            "AcquisitionTime": f"10150{k}",
            "ContentTime": f"11150{k}",
            "TriggerTime": 10 * k,
            "AcquisitionNumber": k,
            "InversionTime": 100 + k,
            "FlipAngle": 10 + k,
            "FrameReferenceTime": 5 * k,
            "SliceThickness": 3 + k / 10,
            "ImageType": ["ORIGINAL" if k else "DERIVED", "PRIMARY", "M"],
        },
    )
    assert [count for _, count in list_series(folder)] == [1]
    assert image_of(read_volume(folder)) == 0


@pytest.mark.parametrize(
    "number",
    [
        lambda image, k: image * SHAPE[2] + k,
        lambda image, k: image * SHAPE[2] + SHAPE[2] - k,
        lambda image, k: k * 3 + image,
        lambda image, k: (k * 3) % 4 * 3 + image,
    ],
)
def test_numbers_that_prove_themselves_are_believed_and_said(
    tmp_path: Path, number: Callable[[int, int], int]
) -> None:
    """One image after the other, or one place after the other, in any order of the places."""
    folder = write(tmp_path / "s", 3, lambda image, k: {}, number=number)
    for v in range(3):
        volume = read_volume(folder, volume=v)
        assert image_of(volume) == v
        assert "instance or frame numbers" in volume.notes[0]


@pytest.mark.parametrize(
    ("tags", "number"),
    [
        (lambda image, k: {}, lambda image, k: k + 1),
        (lambda image, k: {}, lambda image, k: (3, 9, 1, 6, 2, 4, 8, 7)[image * 4 + k]),
        (lambda image, k: {"AcquisitionTime": f"10150{k}"}, lambda image, k: k + 1),
        (lambda image, k: {"AcquisitionNumber": 10 * image + k}, lambda image, k: k + 1),
    ],
)
def test_where_nothing_tells_them_apart_the_reason_is_said(
    tmp_path: Path, tags: Tags, number: Callable[[int, int], int]
) -> None:
    folder = write(tmp_path / "s", 2, tags, number=number)
    assert [count for _, count in list_series(folder)] == [1]
    for volume in (None, 0, 1):
        with pytest.raises(UnreadableVolumeError, match="2 DICOM slices at one place, and nothing shows"):
            read_volume(folder, volume=volume)


def test_times_and_numbers_that_disagree_are_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "s",
        2,
        lambda image, k: {"AcquisitionTime": f"1030{(image ^ (k % 2)) * 15 + k * 10:02d}"},
        number=lambda image, k: image * SHAPE[2] + k,
    )
    with pytest.raises(UnreadableVolumeError, match="disagree"):
        read_volume(folder, volume=0)


@pytest.mark.parametrize(
    "tags",
    [
        lambda image, k: {"EchoTime": 5 + 10 * (k % 2)},
        lambda image, k: {"DiffusionBValue": 0.0 if k < 2 else 1000.0},
        lambda image, k: {"TemporalPositionIdentifier": 1 + k % 2},
        lambda image, k: {"ImageType": ["ORIGINAL", "PRIMARY", "M" if k < 2 else "P"]},
    ],
)
def test_slices_of_different_images_make_no_stack(tmp_path: Path, tags: Tags) -> None:
    """One slice per place, but not of one image."""
    folder = write(tmp_path / "s", 1, tags)
    with pytest.raises(UnreadableVolumeError, match="slices of different images in one series: their"):
        read_volume(folder)


def test_tags_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "s",
        2,
        lambda image, k: {"EchoTime": 5 + 10 * image, "TemporalPositionIdentifier": 1 + (image + k) % 2},
    )
    with pytest.raises(UnreadableVolumeError, match="slices of different images in one series"):
        read_volume(folder, volume=0)


def test_a_lost_slice_costs_one_image_only(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", 3, lambda image, k: {"AcquisitionNumber": image}, lost=[(1, 2)])
    assert [count for _, count in list_series(folder)] == [3]
    assert [image_of(read_volume(folder, volume=v)) for v in (0, 2)] == [0, 2]
    with pytest.raises(UnreadableVolumeError, match="lacks slices at 1 of 4 places"):
        read_volume(folder, volume=1)
    # Counted by numbers alone, the slices behind the lost one would slip into the image before.
    folder = write(tmp_path / "n", 3, lambda i, k: {}, number=lambda i, k: i * 4 + k, lost=[(1, 2)])
    with pytest.raises(UnreadableVolumeError, match="nothing shows"):
        read_volume(folder, volume=0)


def item(**values: Any) -> Items:
    one = Dataset()
    for name, value in values.items():
        setattr(one, name, value)
    return Items([one])


def write_enhanced(path: Path, order: Sequence[tuple[int, int]], groups: Tags, **tags: Any) -> Path:
    """Write one enhanced file whose frames are (image, slice) in this order; ``groups`` are those of a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = new(EnhancedMRImageStorage)
    data.NumberOfFrames = len(order)
    data.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[2, 2]),
    )
    frames = []
    for image, k in order:
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=[0, 0, 3 * k])
        for name, value in groups(image, k).items():
            setattr(frame, name, value)
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Items(frames)
    data.PixelData = np.stack([BASE[:, :, k].T + STEP * i for i, k in order]).astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


SHUFFLED = [(i, k) for i in range(3) for k in range(SHAPE[2])]
np.random.default_rng(4).shuffle(SHUFFLED)


@pytest.mark.parametrize(
    "groups",
    [
        lambda i, k: {"FrameContentSequence": item(TemporalPositionIndex=i + 1)},
        lambda i, k: {"MREchoSequence": item(EffectiveEchoTime=5.0 + 10 * i)},
        lambda i, k: {"MRDiffusionSequence": item(DiffusionBValue=500.0 * i)},
        lambda i, k: {
            "MRDiffusionSequence": item(
                DiffusionBValue=1000.0,
                DiffusionGradientDirectionSequence=item(
                    DiffusionGradientOrientation=[float(i == 2), float(i == 1), 1]
                ),
            )
        },
        lambda i, k: {"MRImageFrameTypeSequence": item(FrameType=["ORIGINAL", "PRIMARY", "MRP"[i], "NONE"])},
        lambda i, k: {"CardiacSynchronizationSequence": item(NominalPercentageOfCardiacPhase=30.0 * i)},
        lambda i, k: {"FrameContentSequence": item(DimensionIndexValues=[1, k + 1, i + 1])},
        lambda i, k: {"FrameContentSequence": item(FrameAcquisitionDateTime=f"202001021015{i * 9 + k:02d}")},
    ],
)
def test_frames_out_of_order_are_put_into_their_image(tmp_path: Path, groups: Tags) -> None:
    pointers = Items([Dataset(), Dataset(), Dataset()])
    for pointer, tag in zip(pointers, (0x00209056, 0x00209057, 0x00209128), strict=True):
        pointer.DimensionIndexPointer = tag
    path = write_enhanced(tmp_path / "e.dcm", SHUFFLED, groups, DimensionIndexSequence=pointers)
    assert [count for _, count in list_series(path)] == [3]
    assert [image_of(read_volume(path, volume=v)) for v in range(3)] == [0, 1, 2]


def test_frames_that_say_nothing(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "shuffled.dcm", SHUFFLED, lambda i, k: {})
    with pytest.raises(UnreadableVolumeError, match="nothing shows"):
        read_volume(path, volume=0)
    path = write_enhanced(tmp_path / "sorted.dcm", sorted(SHUFFLED), lambda i, k: {})
    assert [image_of(read_volume(path, volume=v)) for v in range(3)] == [0, 1, 2]


def test_one_enhanced_file_per_image(tmp_path: Path) -> None:
    for i in range(3):
        frames = [(i, k) for k in (2, 0, 3, 1)]
        write_enhanced(tmp_path / "s" / f"{9 - i}", frames, lambda i, k: {}, InstanceNumber=i + 1)
    assert [image_of(read_volume(tmp_path / "s", volume=v)) for v in range(3)] == [0, 1, 2]


def test_copies_count_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", 2, lambda image, k: {"EchoTime": 5 + image})
    for number, path in enumerate(sorted(folder.iterdir())[::2]):
        (folder / f"copy{number}").write_bytes(path.read_bytes())
        data = pydicom.dcmread(path)  # Written anew, with another name and header: still the same voxels.
        data.StudyID = "made up"
        data.save_as(folder / f"again{number}.dcm")
    assert [count for _, count in list_series(folder)] == [2]
    assert [image_of(read_volume(folder, volume=v)) for v in range(2)] == [0, 1]
    odd = pydicom.dcmread(folder / "copy0")
    odd.PixelData = bytes(len(odd.PixelData))
    odd.save_as(folder / "copy0")
    with pytest.raises(UnreadableVolumeError, match="one SOPInstanceUID and different voxels"):
        read_volume(folder, volume=0)


def test_a_copy_with_a_new_identity_counts_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", 1, lambda image, k: {})
    for path in sorted(folder.iterdir())[:2]:
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.save_as(folder / data.SOPInstanceUID)
    assert [count for _, count in list_series(folder)] == [1]
    assert image_of(read_volume(folder)) == 0


def test_one_identity_for_all_slices_is_no_copy(tmp_path: Path) -> None:
    """An anonymizer that gives every file the same UID."""
    folder = write(tmp_path / "s", 1, lambda image, k: {})
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        data.save_as(path)
    assert image_of(read_volume(folder)) == 0


def test_slices_shifted_in_their_plane_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "s", 1, lambda image, k: {"ImagePositionPatient": [40 * (k % 2), 0, 3 * k]})
    with pytest.raises(UnreadableVolumeError, match="shifted in their plane by up to"):
        read_volume(folder)


def test_positions_of_two_images_that_are_rounded_in_different_ways(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "s",
        2,
        lambda image, k: {
            "EchoTime": 5 + image,
            "ImagePositionPatient": [0, 0, 3.04 * k if image else round(3.04 * k, 1)],
        },
    )
    assert [image_of(read_volume(folder, volume=v)) for v in range(2)] == [0, 1]


def test_places_that_are_very_near_each_other(tmp_path: Path) -> None:
    """The step of a scanner for mice."""
    folder = write(
        tmp_path / "s",
        1,
        lambda image, k: {"ImagePositionPatient": [0, 0, 0.05 * k], "PixelSpacing": [0.05, 0.05]},
    )
    assert image_of(read_volume(folder)) == 0


NAMES = (
    "TemporalPositionIdentifier", "EchoTime", "InversionTime", "AcquisitionNumber", "SeriesNumber", "TriggerTime",
    "ContentTime", "FrameReferenceTime", "SliceThickness", "InstanceNumber",
)  # fmt: skip


def test_whatever_headers_say_images_are_not_mixed() -> None:
    """Each element is missing, constant, that of the image, that of the slice, or noise: 200 draws of all of them."""
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(200):
        count, places = int(rng.integers(1, 5)), int(rng.integers(8, 14))
        files = [(i, k) for i in range(count) for k in range(places)]
        files = [files[i] for i in rng.permutation(len(files))][: len(files) - int(rng.integers(0, 2))]
        tells: list[dict[str, object]] = [{"frame": 0} for _ in files]
        for name in NAMES:
            kinds = ("image", "none") if name in NAMES[:2] else ("image", "none", "slice", "noise", "counted")
            kind, noise, order = rng.choice(kinds), rng.permutation(3 * len(files)), rng.permutation(count)
            for tell, (i, k), number in zip(tells, files, noise, strict=False):
                values = {"image": order[i], "slice": k, "noise": number, "counted": order[i] * places + k}
                if kind != "none":
                    tell[name] = int(values[kind])
        try:
            images = tell_apart(tells, np.array([k for _, k in files]))
        except UnreadableVolumeError:
            continue
        read += 1
        assert images.notes or all(len({files[n][0] for n in image}) == 1 for image in images.members)
    assert read > 100


def test_dicom_files_whose_names_are_no_utf8_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "MR" / "one", 1, lambda image, k: {})
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(os.fsdecode(os.fsencode(folder) + b"/M\xfcller%d.dcm" % number))
    np.testing.assert_array_equal(read_volume(folder).data, BASE)


def test_a_copy_in_a_folder_with_such_a_name_costs_no_subject(tmp_path: Path) -> None:
    first = write(tmp_path / "MR" / "one", 1, lambda image, k: {})
    shutil.copytree(first, os.fsdecode(os.fsencode(tmp_path / "MR") + b"/a\xfc/x"))
    found = read_folder(tmp_path)
    assert [record.subject for record in found.records] == ["one"]
    assert len(found.set_aside) == 1


def test_values_that_are_not_in_the_lowest_bits_are_refused(tmp_path: Path) -> None:
    tags = {"BitsStored": 12, "HighBit": 15}
    with pytest.raises(UnreadableVolumeError, match="HighBit 15, expected 11"):
        read_volume(write(tmp_path / "high", 1, lambda image, k: tags))
    np.testing.assert_array_equal(
        read_volume(write(tmp_path / "low", 1, lambda image, k: {**tags, "HighBit": 11})).data, BASE
    )
