"""DICOM: the slices of one series, or the frames of one enhanced file, to a volume in its place and unit.

pydicom reads the headers, SimpleITK (GDCM) the pixels, compressed syntaxes included. The place of every
slice comes from its own position, so a tilted gantry gives a sheared affine and a missing slice is seen.
"""

import hashlib
import warnings
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from voxmix._optional import require
from voxmix.volumes.suv import suv_factor
from voxmix.volumes.volume import UnreadableVolumeError, Volume, check_shape

_TAGS = (
    "SOPClassUID", "SeriesInstanceUID", "Modality", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "InstanceNumber",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "Units", "DecayCorrection", "PatientWeight", "RadiopharmaceuticalInformationSequence",
    "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime",
)  # fmt: skip
_NO_IMAGES = ("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.66.4")
"""SOP classes that are passed over: media directories; segmentations, which are label maps."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_DEFLATED = 1 << 30
_UNEVEN = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Slice:
    """One slice: its file and frame, its place, and the header it came from."""

    file: Path
    frame: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    size: tuple[int, int]
    number: int
    header: Any


def series_name(uid: str) -> str:
    """Return the name under which a series is chosen: 12 hex digits of the SHA-256 of its SeriesInstanceUID.

    The UID itself would tie a manifest to the archive it came from.
    """
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def read_dicom(path: Path, *, volume: int | None, series: str = "", max_voxels: int) -> Volume:
    """Return the one series of a folder, or of a file with many frames, as float32.

    CT is in HU (rescaled), PET in SUV by body weight where the header allows. ``series`` chooses one of several
    series by :func:`series_name`; ``volume`` chooses among several images at the same places (times, echoes,
    b-values), counted from 0.

    Raises:
        UnreadableVolumeError: no series, or several without a choice, color, slices of different size or
            orientation, missing slices, several images per place without a choice.
    """
    slices = _slices(path, series)
    place = _same_grid(slices)
    slices = _choose(_sorted(slices, place), place, volume)
    columns, rows = slices[0].size
    check_shape((columns, rows, len(slices)), max_voxels=max_voxels)
    affine = _affine(slices, place)
    data = _pixels(slices)
    factor, notes = suv_factor([part.header for part in slices])
    return Volume(data=data * np.float32(factor) if factor != 1 else data, affine=affine, notes=notes)


def list_series(path: Path) -> tuple[tuple[str, int], ...]:
    """Return (:func:`series_name`, images at every place) of each series of images in a file or folder.

    The second number is above 1 for a series in time, of several echoes or b-values. A series that is broken
    counts as one image per place: reading it says what is wrong.
    """
    found = []
    for uid, parts in sorted(_headers(path).items(), key=lambda item: series_name(item[0])):
        try:
            slices = [part for file, header in parts for part in _frames(file, header)]
            place = _same_grid(slices)
            counts = _per_place(_sorted(slices, place), place)[1]
            several = int(counts[0]) if counts.min() == counts.max() else 1
        except (UnreadableVolumeError, AttributeError, ValueError, TypeError, KeyError, IndexError):
            several = 1
        found.append((series_name(uid), several))
    return tuple(found)


def _headers(path: Path) -> dict[str, list[tuple[Path, Any]]]:
    """Return the files with images and their headers, by SeriesInstanceUID."""
    files = (
        [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
    )
    by_series: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for file in files:
        header = _header(file)
        if header is not None and "Rows" in header and header.get("SOPClassUID") not in _NO_IMAGES:
            by_series[str(header.get("SeriesInstanceUID", ""))].append((file, header))
    return by_series


def _slices(path: Path, series: str) -> list[_Slice]:
    """Return the slices of the only series of images in a file or folder, or of the one asked for."""
    by_series = _headers(path)
    if not by_series:
        raise UnreadableVolumeError("no DICOM images")
    if series:
        by_series = {uid: parts for uid, parts in by_series.items() if series_name(uid) == series}
        if not by_series:
            raise UnreadableVolumeError("the DICOM series that was asked for is not there")
    if len(by_series) > 1:
        sizes = ", ".join(str(len(found)) for found in by_series.values())
        raise UnreadableVolumeError(
            f"{len(by_series)} DICOM series in one folder (of {sizes} files); list them with voxmix manifest"
        )
    parts = next(iter(by_series.values()))
    return [part for file, header in parts for part in _frames(file, header)]


def _header(file: Path) -> Any:
    """Return the header without pixels, or None for a file that is not DICOM."""
    pydicom = require("pydicom", extra="imaging")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Odd values in headers are common; those we use are checked below.
        try:
            meta = pydicom.filereader.read_file_meta_info(file)
            if meta.get("TransferSyntaxUID") == _DEFLATED:
                _check_deflated(file)
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        except pydicom.errors.InvalidDicomError:
            return None


def _check_deflated(file: Path) -> None:
    """Refuse a deflated file that unpacks to more than a slice or a stack of frames needs: pydicom would not."""
    reader = require("pydicom", extra="imaging").filereader
    with file.open("rb") as opened:
        reader.read_preamble(opened, False)
        # Group 2, in clear text, ends where the deflated stream starts.
        reader.read_dataset(
            opened, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2
        )
        packed = opened.read()
    stream, left = zlib.decompressobj(-zlib.MAX_WBITS), _MAX_DEFLATED
    while not stream.eof:
        unpacked = stream.decompress(packed, 1 << 20)
        left -= len(unpacked)
        packed = stream.unconsumed_tail
        if left < 0:
            raise UnreadableVolumeError(
                f"a deflated DICOM file that unpacks to more than {_MAX_DEFLATED} bytes"
            )
        if not unpacked and not packed:
            return  # Cut off: reading it says so.


def _frames(file: Path, header: Any) -> list[_Slice]:
    if int(header.get("SamplesPerPixel", 1)) > 1:
        raise UnreadableVolumeError("color image (RGB); give a gray one")
    count = int(header.get("NumberOfFrames", 1) or 1)
    size = (int(header.Columns), int(header.Rows))
    if count == 1 and "PerFrameFunctionalGroupsSequence" not in header:
        if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
            raise UnreadableVolumeError("DICOM slices without a position in the patient")
        return [_slice(file, 0, header, header, header, size, header)]
    if "PerFrameFunctionalGroupsSequence" not in header:
        raise UnreadableVolumeError("DICOM frames without positions in the patient")
    shared = header.get("SharedFunctionalGroupsSequence", [None])[0]
    frames = header.PerFrameFunctionalGroupsSequence
    scales = {_scale(_group("PixelValueTransformationSequence", frame, shared)) for frame in frames}
    if len(scales) > 1:
        raise UnreadableVolumeError("DICOM frames that are scaled each in its own way")
    return [
        _slice(
            file,
            index,
            _group("PlanePositionSequence", frame, shared),
            _group("PlaneOrientationSequence", frame, shared),
            _group("PixelMeasuresSequence", frame, shared),
            size,
            header,
        )
        for index, frame in enumerate(frames)
    ]


def _group(name: str, frame: Any, shared: Any) -> Any:
    for holder in (frame, shared):
        if holder is not None and name in holder:
            return holder[name].value[0]
    return {}


def _scale(group: Any) -> tuple[float, float]:
    return float(group.get("RescaleSlope", 1)), float(group.get("RescaleIntercept", 0))


def _slice(
    file: Path, frame: int, position: Any, orientation: Any, measures: Any, size: tuple[int, int], header: Any
) -> _Slice:
    place = _numbers(position.get("ImagePositionPatient"), 3)
    cosines = _numbers(orientation.get("ImageOrientationPatient"), 6)
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    return _Slice(
        file=file,
        frame=frame,
        position=(place[0], place[1], place[2]),
        orientation=cosines,
        spacing=(spacing[0], spacing[1]),
        size=size,
        number=int(header.get("InstanceNumber", 0) or 0),
        header=header,
    )


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(item) for item in value) if value is not None else ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        raise UnreadableVolumeError("DICOM slices without position, orientation or pixel spacing")
    return numbers


def _same_grid(slices: list[_Slice]) -> Float[np.ndarray, "3 3"]:
    """Return the directions of columns, rows and their normal (LPS), the same for all slices."""
    first = slices[0]
    for other in slices:
        if other.size != first.size or not np.allclose(other.spacing, first.spacing, rtol=1e-3):
            raise UnreadableVolumeError("DICOM slices of different size or pixel spacing in one series")
        if not np.allclose(other.orientation, first.orientation, atol=1e-2):
            raise UnreadableVolumeError(
                "DICOM slices of different orientation in one series, as localizers have"
            )
    along, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    if abs(along @ down) > 1e-2 or not np.allclose([along @ along, down @ down], 1, atol=1e-2):
        raise UnreadableVolumeError("DICOM orientation that is not two perpendicular directions")
    return np.stack([along, down, np.cross(along, down)], axis=1)


def _sorted(slices: list[_Slice], place: Float[np.ndarray, "3 3"]) -> list[_Slice]:
    return sorted(
        slices, key=lambda s: (round(float(np.array(s.position) @ place[:, 2]), 2), s.number, s.frame)
    )


def _choose(slices: list[_Slice], place: Float[np.ndarray, "3 3"], volume: int | None) -> list[_Slice]:
    """Return one slice per place, evenly spaced."""
    starts, counts = _per_place(slices, place)
    if counts.max() > 1 or volume:
        if counts.min() != counts.max():
            raise UnreadableVolumeError("DICOM series with more images at some places than at others")
        if volume is None:
            raise UnreadableVolumeError(f"4D: {counts[0]} images at every place; choose one of the volumes")
        if volume >= counts[0]:
            raise UnreadableVolumeError(f"volume {volume} was asked for, the series has {counts[0]} (from 0)")
        slices = [slices[start + volume] for start in starts]
    if len(slices) > 1:
        gaps = np.diff([np.array(s.position) @ place[:, 2] for s in slices])
        middle = float(np.median(gaps))
        if np.abs(gaps - middle).max() > _UNEVEN * middle:
            raise UnreadableVolumeError(
                f"DICOM slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart: some are missing"
            )
    return slices


def _per_place(
    slices: list[_Slice], place: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, "place"], Int[np.ndarray, "place"]]:
    """Return where, in the sorted slices, each place starts, and how many slices lie there."""
    height = np.array([np.array(s.position) @ place[:, 2] for s in slices])
    starts = np.flatnonzero(np.diff(height, prepend=-np.inf) > 0.01)
    return starts, np.diff(np.append(starts, len(slices)))


def _affine(slices: list[_Slice], place: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4 4"]:
    """Return the affine to RAS mm; the third column is the mean step from slice to slice, tilt included."""
    first, last = np.array(slices[0].position), np.array(slices[-1].position)
    affine = np.eye(4)
    affine[:3, 0] = place[:, 0] * slices[0].spacing[1]
    affine[:3, 1] = place[:, 1] * slices[0].spacing[0]
    affine[:3, 2] = (last - first) / max(len(slices) - 1, 1)
    affine[:3, 3] = first
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _pixels(slices: list[_Slice]) -> Float[np.ndarray, "x y z"]:
    """Return rescaled pixels as float32: slopes may differ from slice to slice, as in PET."""
    itk = require("SimpleITK", extra="imaging")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    columns, rows = slices[0].size
    data = np.empty((columns, rows, len(slices)), dtype=np.float32)
    frames: dict[Path, np.ndarray] = {}
    for index, part in enumerate(slices):
        if part.file not in frames:
            frames = {part.file: itk.GetArrayFromImage(itk.ReadImage(str(part.file), itk.sitkFloat32))}
        pixels = frames[part.file].reshape(-1, rows, columns)
        if part.frame >= len(pixels):
            raise UnreadableVolumeError("truncated or damaged: fewer frames than the header says")
        data[:, :, index] = pixels[part.frame].T
    return data
