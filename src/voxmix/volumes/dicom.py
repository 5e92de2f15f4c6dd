"""DICOM: the slices of one series, or the frames of one enhanced file, to a volume in its place and unit.

pydicom reads the headers, SimpleITK (GDCM) the pixels, compressed syntaxes included. The place of every
slice comes from its own position, so a tilted gantry gives a sheared affine and a missing slice is seen.
"""

import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

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
_DIRECTORY = "1.2.840.10008.1.3.10"
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


def read_dicom(path: Path, *, volume: int | None, max_voxels: int) -> Volume:
    """Return the one series of a folder, or of a file with many frames, as float32.

    CT is in HU (rescaled), PET in SUV by body weight where the header allows. ``volume`` chooses among
    several images at the same places (times, echoes, b-values), counted from 0.

    Raises:
        UnreadableVolumeError: no series or several, color, slices of different size or orientation, missing
            slices, several images per place without a choice.
    """
    slices = _slices(path)
    place = _same_grid(slices)
    slices = _choose(_sorted(slices, place), place, volume)
    columns, rows = slices[0].size
    check_shape((columns, rows, len(slices)), max_voxels=max_voxels)
    affine = _affine(slices, place)
    data = _pixels(slices)
    factor, notes = suv_factor([part.header for part in slices])
    return Volume(data=data * np.float32(factor) if factor != 1 else data, affine=affine, notes=notes)


def _slices(path: Path) -> list[_Slice]:
    """Return the slices of the only series of images in a file or folder."""
    files = (
        [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file() and p.name[0] != ".")
    )
    by_series: dict[str, list[_Slice]] = defaultdict(list)
    for file in files:
        header = _header(file)
        if header is None or "Rows" not in header or header.get("SOPClassUID") == _DIRECTORY:
            continue
        by_series[str(header.get("SeriesInstanceUID", ""))].extend(_frames(file, header))
    if not by_series:
        raise UnreadableVolumeError("no DICOM images")
    if len(by_series) > 1:
        sizes = ", ".join(str(len(found)) for found in by_series.values())
        raise UnreadableVolumeError(
            f"{len(by_series)} DICOM series in one folder (of {sizes} slices); put each into its own folder"
        )
    return next(iter(by_series.values()))


def _header(file: Path) -> Any:
    """Return the header without pixels, or None for a file that is not DICOM."""
    pydicom = require("pydicom", extra="imaging")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Odd values in headers are common; those we use are checked below.
        try:
            return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        except pydicom.errors.InvalidDicomError:
            return None


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
    height = np.array([np.array(s.position) @ place[:, 2] for s in slices])
    starts = np.flatnonzero(np.diff(height, prepend=-np.inf) > 0.01)
    counts = np.diff(np.append(starts, len(slices)))
    if counts.max() > 1 or volume:
        if counts.min() != counts.max():
            raise UnreadableVolumeError("DICOM series with more images at some places than at others")
        if volume is None:
            raise UnreadableVolumeError(f"4D: {counts[0]} images at every place; choose one of the volumes")
        if volume >= counts[0]:
            raise UnreadableVolumeError(f"volume {volume} was asked for, the series has {counts[0]} (from 0)")
        slices = [slices[start + volume] for start in starts]
    if len(slices) > 1:
        gaps = np.diff(height[starts])
        middle = float(np.median(gaps))
        if np.abs(gaps - middle).max() > _UNEVEN * middle:
            raise UnreadableVolumeError(
                f"DICOM slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart: some are missing"
            )
    return slices


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
