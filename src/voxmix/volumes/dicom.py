"""DICOM: the slices of one series, or the frames of one enhanced file, to a volume in its place and unit.

pydicom reads the headers, SimpleITK (GDCM) the pixels, compressed syntaxes included. The place of every
slice comes from its own position, so a tilted gantry gives a sheared affine and a missing slice is seen.
"""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from voxmix._optional import require
from voxmix.volumes.dicom_headers import Slice, read_headers, slices_of
from voxmix.volumes.suv import suv_factor
from voxmix.volumes.volume import SeveralVolumesError, UnreadableVolumeError, Volume, check_shape

_UNEVEN = 0.1


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
    for uid, parts in sorted(read_headers(path).items(), key=lambda item: series_name(item[0])):
        try:
            slices = [part for file, header in parts for part in slices_of(file, header)]
            place = _same_grid(slices)
            counts = _per_place(_sorted(slices, place), place)[1]
            several = int(counts[0]) if counts.min() == counts.max() else 1
        except (UnreadableVolumeError, AttributeError, ValueError, TypeError, KeyError, IndexError):
            several = 1
        found.append((series_name(uid), several))
    return tuple(found)


def _slices(path: Path, series: str) -> list[Slice]:
    """Return the slices of the only series of images in a file or folder, or of the one asked for."""
    by_series = read_headers(path)
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
    return [part for file, header in parts for part in slices_of(file, header)]


def _same_grid(slices: list[Slice]) -> Float[np.ndarray, "3 3"]:
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


def _sorted(slices: list[Slice], place: Float[np.ndarray, "3 3"]) -> list[Slice]:
    return sorted(
        slices, key=lambda s: (round(float(np.array(s.position) @ place[:, 2]), 2), s.number, s.frame)
    )


def _choose(slices: list[Slice], place: Float[np.ndarray, "3 3"], volume: int | None) -> list[Slice]:
    """Return one slice per place, evenly spaced."""
    starts, counts = _per_place(slices, place)
    if counts.max() > 1 or volume:
        if counts.min() != counts.max():
            raise UnreadableVolumeError("DICOM series with more images at some places than at others")
        if volume is None:
            raise SeveralVolumesError(f"{counts[0]} images at every place")
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
    slices: list[Slice], place: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, "place"], Int[np.ndarray, "place"]]:
    """Return where, in the sorted slices, each place starts, and how many slices lie there."""
    height = np.array([np.array(s.position) @ place[:, 2] for s in slices])
    starts = np.flatnonzero(np.diff(height, prepend=-np.inf) > 0.01)
    return starts, np.diff(np.append(starts, len(slices)))


def _affine(slices: list[Slice], place: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4 4"]:
    """Return the affine to RAS mm; the third column is the mean step from slice to slice, tilt included."""
    first, last = np.array(slices[0].position), np.array(slices[-1].position)
    affine = np.eye(4)
    affine[:3, 0] = place[:, 0] * slices[0].spacing[1]
    affine[:3, 1] = place[:, 1] * slices[0].spacing[0]
    affine[:3, 2] = (last - first) / max(len(slices) - 1, 1)
    affine[:3, 3] = first
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _pixels(slices: list[Slice]) -> Float[np.ndarray, "x y z"]:
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
        gain, offset = part.rescale
        data[:, :, index] = pixels[part.frame].T
        if part.rescale != (1.0, 0.0):
            data[:, :, index] = data[:, :, index] * np.float64(gain) + offset
    return data
