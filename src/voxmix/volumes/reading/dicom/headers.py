"""DICOM headers: which files of a folder hold images, and the slices or frames that they say they hold."""

import warnings
import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._optional import require
from voxmix.volumes.file_names import DICOM_SUFFIXES
from voxmix.volumes.reading.dicom.sniff import begins_as_dicom
from voxmix.volumes.reading.dicom.suv import SUV_TAGS
from voxmix.volumes.reading.dicom.tells import KEYWORDS, PRIVATE_TAGS, place_dimensions, tells_of
from voxmix.volumes.volume import UnreadableVolumeError

_TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "BitsStored", "HighBit", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "DimensionIndexSequence", *SUV_TAGS, *KEYWORDS, *PRIVATE_TAGS,
)  # fmt: skip
_NO_IMAGES = ("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.66.4")
"""SOP classes that are passed over: media directories; segmentations, which are label maps."""

_DEFLATED = "1.2.840.10008.1.2.1.99"
_MAX_DEFLATED = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """One slice: its file and frame, its place, and the header it came from.

    ``tells`` is what it says of the image it belongs to (:mod:`voxmix.volumes.reading.dicom.tells`). ``rescale`` (gain,
    offset) is still to be applied to what the reader of pixels gives.
    """

    file: Path
    frame: int
    position: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    size: tuple[int, int]
    header: Any
    tells: dict[str, Any]
    rescale: tuple[float, float] = (1.0, 0.0)


def read_headers(path: Path) -> dict[str, list[tuple[Path, Any]]]:
    """Return the files with images and their headers, by SeriesInstanceUID.

    Screenshots and other pictures without a place in the patient are passed over where there is anything else.
    """
    by_series: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for file in files_of(path):
        header = read_header(file)
        if header is None or header.get("SOPClassUID") in _NO_IMAGES:
            continue
        kind = header.get("SOPClassUID")
        if "Rows" in header or (kind is not None and "Image Storage" in kind.name):
            by_series[str(header.get("SeriesInstanceUID", ""))].append((file, header))
    placed = {
        uid: parts for uid, parts in by_series.items() if not all(_is_picture(header) for _, header in parts)
    }
    return placed or by_series


def count_empty(path: Path) -> int:
    """Return how many files of a folder of DICOM hold none although they should: empty, or named so."""
    return sum(
        1
        for file in files_of(path)
        if file.stat().st_size == 0
        or (file.name.lower().endswith(DICOM_SUFFIXES) and not begins_as_dicom(file))
    )


def files_of(path: Path) -> list[Path]:
    """Return the files that may hold DICOM: the one given, or those of a folder, hidden ones left out."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")


def _is_picture(header: Any) -> bool:
    placed = "ImagePositionPatient" in header or "PerFrameFunctionalGroupsSequence" in header
    return "Rows" in header and not placed


def read_header(file: Path) -> Any:
    """Return the header without pixels, or None for a file that is not DICOM."""
    pydicom = require("pydicom", extra="imaging")
    if not begins_as_dicom(file):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Odd values in headers are common; those we use are checked below.
        try:
            meta = pydicom.filereader.read_file_meta_info(file)
            if meta.get("TransferSyntaxUID") == _DEFLATED:
                _check_deflated(file)
        except pydicom.errors.InvalidDicomError:
            pass  # Without the 128 bytes in front, as old programs write.
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_wanted(), force=True)


@lru_cache(maxsize=1)
def _wanted() -> list[Any]:
    tag = require("pydicom", extra="imaging").tag.Tag
    return [tag(element) for element in _TAGS]


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


def slices_of(file: Path, header: Any) -> list[Slice]:
    """Return the slice or the frames of one file.

    Raises:
        UnreadableVolumeError: cut off, color, a lookup table between stored and real values, a mosaic, or no place in the
            patient.
    """
    if "Rows" not in header:
        raise UnreadableVolumeError("truncated or damaged: a DICOM file ends before its pixels")
    if int(header.get("SamplesPerPixel", 1)) > 1:
        raise UnreadableVolumeError("color image (RGB); give a gray one")
    if not str(header.get("PhotometricInterpretation") or "MONOCHROME2").startswith("MONOCHROME"):
        raise UnreadableVolumeError("color image (numbers of a palette); give a gray one")
    if header.get("ModalityLUTSequence"):
        raise UnreadableVolumeError("DICOM whose values are given by a lookup table; give them as numbers")
    if int(header.get("HighBit") or 0) > (lowest := int(header.get("BitsStored") or 64) - 1):
        raise UnreadableVolumeError(
            f"DICOM whose values are not in the lowest bits (HighBit {header.HighBit}, expected {lowest}); convert it again"
        )
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise UnreadableVolumeError("Siemens mosaic: one picture holds all slices; convert it with dcm2niix")
    count = int(header.get("NumberOfFrames", 1) or 1)
    size = (int(header.Columns), int(header.Rows))
    if count == 1 and "PerFrameFunctionalGroupsSequence" not in header:
        if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
            raise UnreadableVolumeError("DICOM slices without a position in the patient")
        return [_slice(file, 0, header, header, header, size, header, tells_of(header))]
    if "PerFrameFunctionalGroupsSequence" not in header:
        raise UnreadableVolumeError("DICOM frames without positions in the patient")
    shared = header.get("SharedFunctionalGroupsSequence", [None])[0]
    frames = header.PerFrameFunctionalGroupsSequence
    skip = place_dimensions(header)
    return [
        replace(
            _slice(
                file,
                index,
                _group("PlanePositionSequence", frame, shared),
                _group("PlaneOrientationSequence", frame, shared),
                _group("PixelMeasuresSequence", frame, shared),
                size,
                header,
                tells_of(header, index, frame, shared, skip),
            ),
            rescale=rescale,
        )
        for index, (frame, rescale) in enumerate(zip(frames, _rescales(frames, shared), strict=True))
    ]


def _rescales(frames: Any, shared: Any) -> list[tuple[float, float]]:
    """Return what each frame needs after GDCM, which scales all frames as the first one says."""
    groups = [_group("PixelValueTransformationSequence", frame, shared) for frame in frames]
    scales = [_scale(group) for group in groups]
    if len(set(scales)) <= 1:
        return [(1.0, 0.0)] * len(scales)
    slope, intercept = scales[0]
    if slope == 0 or not all(groups):
        raise UnreadableVolumeError("DICOM frames of which some say how they are scaled and some do not")
    return [(own / slope, shift - intercept * own / slope) for own, shift in scales]


def _group(name: str, frame: Any, shared: Any) -> Any:
    for holder in (frame, shared):
        if holder is not None and name in holder:
            return holder[name].value[0]
    return {}


def _scale(group: Any) -> tuple[float, float]:
    return float(group.get("RescaleSlope", 1)), float(group.get("RescaleIntercept", 0))


def _slice(
    file: Path,
    frame: int,
    position: Any,
    orientation: Any,
    measures: Any,
    size: tuple[int, int],
    header: Any,
    tells: dict[str, Any],
) -> Slice:
    place = _numbers(position.get("ImagePositionPatient"), 3)
    cosines = _numbers(orientation.get("ImageOrientationPatient"), 6)
    spacing = _numbers(measures.get("PixelSpacing"), 2)
    return Slice(
        file=file,
        frame=frame,
        position=(place[0], place[1], place[2]),
        orientation=cosines,
        spacing=(spacing[0], spacing[1]),
        size=size,
        header=header,
        tells=tells,
    )


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(item) for item in value) if value is not None else ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        raise UnreadableVolumeError("DICOM slices without position, orientation or pixel spacing")
    return numbers
