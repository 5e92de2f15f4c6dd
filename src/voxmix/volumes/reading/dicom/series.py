"""DICOM: the slices of one series, or the frames of one enhanced file, to a volume in its place and unit.

pydicom reads the headers, SimpleITK (GDCM) the pixels, compressed syntaxes included. The place of every
slice comes from its own position, so a tilted gantry gives a sheared affine and a missing slice is seen.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.volumes.reading.dicom.copies import check_copies, once, without_equals
from voxmix.volumes.reading.dicom.headers import Slice, count_empty, read_headers, slices_of
from voxmix.volumes.reading.dicom.images import Images, NothingTellsError, tell_apart
from voxmix.volumes.reading.dicom.pixels import pixels_of
from voxmix.volumes.reading.dicom.stack import Stack, check_even, check_straight, stack_of
from voxmix.volumes.reading.dicom.suv import suv_factor
from voxmix.volumes.volume import (
    MIN_SLICES,
    SeveralVolumesError,
    UnreadableVolumeError,
    Volume,
    check_shape,
)


def series_name(uid: str) -> str:
    """Return the name under which a series is chosen: 12 hex digits of the SHA-256 of its SeriesInstanceUID.

    The UID itself would tie a manifest to the archive it came from.
    """
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def read_dicom(path: Path, *, volume: int | None, series: str = "", max_voxels: int) -> Volume:
    """Return the one series of a folder, or of a file with many frames, as float32.

    CT is in HU (rescaled), PET in SUV by body weight where the header allows. ``series`` chooses one of several
    series by :func:`series_name`; ``volume`` chooses among several images at the same places (times, echoes,
    b-values), counted from 0 in the order of :mod:`voxmix.volumes.reading.dicom.tells`.

    Raises:
        UnreadableVolumeError: no series, or several without a choice, color, slices of different size or
            orientation, missing slices, several images per place without a choice or without anything that tells
            them apart.
    """
    slices, copies = once(slices_in(path, series))
    check_copies(copies)
    stack = stack_of(slices)
    if stack.count < min(MIN_SLICES, len(slices)):
        raise UnreadableVolumeError(
            f"{len(slices)} DICOM slices at only {stack.count} place{'s' * (stack.count > 1)}; at least {MIN_SLICES} places are needed"
        )
    columns, rows = slices[0].size
    check_shape((columns, rows, stack.count), max_voxels=max_voxels)
    try:
        images = tell_apart([part.tells for part in slices], stack.places)
    except NothingTellsError:
        slices = without_equals(slices, stack.places)
        stack = stack_of(slices)
        images = tell_apart([part.tells for part in slices], stack.places)
    chosen = _choose(slices, stack, images, volume)
    affine = _affine(chosen, stack.axes)
    data, notes = pixels_of(chosen)
    factor, said = suv_factor([part.header for part in chosen])
    if empty := count_empty(path):
        notes = (
            *notes,
            f"{empty} files of the folder are empty or no DICOM and were left out: check the ends",
        )
    return Volume(
        data=data * np.float32(factor) if factor != 1 else data,
        affine=affine,
        notes=(*said, *images.notes, *notes),
    )


def list_series(path: Path) -> tuple[tuple[str, int], ...]:
    """Return (:func:`series_name`, images at every place) of each series of images in a file or folder.

    The second number is above 1 for a series in time, of several echoes or b-values. A series that is broken
    counts as one image per place: reading it says what is wrong. Where all series are too short, that is one
    thing that is wrong, not many: then there are none.
    """
    by_series = read_headers(path)
    if _are_short(by_series):
        return ()
    found = []
    for uid, parts in sorted(by_series.items(), key=lambda item: series_name(item[0])):
        try:
            slices = once([part for file, header in parts for part in slices_of(file, header)])[0]
            stack = stack_of(slices)
            several = 1
            if stack.count >= MIN_SLICES:
                several = len(tell_apart([part.tells for part in slices], stack.places).members)
        except (UnreadableVolumeError, AttributeError, ValueError, TypeError, KeyError, IndexError):
            several = 1
        found.append((series_name(uid), several))
    return tuple(found)


def slices_in(path: Path, series: str) -> list[Slice]:
    """Return the slices of the only series of images in a file or folder, or of the one asked for."""
    by_series = read_headers(path)
    if not by_series:
        raise UnreadableVolumeError("no DICOM images")
    if series:
        by_series = {uid: parts for uid, parts in by_series.items() if series_name(uid) == series}
        if not by_series:
            raise UnreadableVolumeError("the DICOM series that was asked for is not there")
    if _are_short(by_series):
        raise UnreadableVolumeError(
            f"{len(by_series)} DICOM series of fewer than {MIN_SLICES} slices each in one folder: no volume; if an "
            "anonymizer gave slices a series of their own, give those of one scan the same SeriesInstanceUID again"
        )
    if len(by_series) > 1:
        sizes = ", ".join(str(len(found)) for found in by_series.values())
        raise UnreadableVolumeError(
            f"{len(by_series)} DICOM series in one folder (of {sizes} files); list them with voxmix manifest"
        )
    parts = next(iter(by_series.values()))
    return [part for file, header in parts for part in slices_of(file, header)]


def _are_short(by_series: dict[str, list[tuple[Path, Any]]]) -> bool:
    """Return whether there are several series, all of too few slices for a volume."""
    return len(by_series) >= MIN_SLICES and all(
        sum(int(header.get("NumberOfFrames", 1) or 1) for _, header in parts) < MIN_SLICES
        for parts in by_series.values()
    )


def _choose(slices: list[Slice], stack: Stack, images: Images, volume: int | None) -> list[Slice]:
    """Return the slices of one image, one per place, evenly spaced."""
    count = len(images.members)
    if count > 1 and volume is None:
        raise SeveralVolumesError(
            f"{count} images at every place, separated by {' and '.join(images.told_by)}"
        )
    if (volume or 0) >= count:
        raise UnreadableVolumeError(f"volume {volume} was asked for, the series has {count} (from 0)")
    members = sorted(images.members[volume or 0], key=lambda index: int(stack.places[index]))
    if len(members) < stack.count:
        raise UnreadableVolumeError(
            f"this image of a DICOM series lacks slices at {stack.count - len(members)} of {stack.count} places"
        )
    chosen = [slices[index] for index in members]
    if len({("RescaleSlope" in part.header, "RescaleIntercept" in part.header) for part in chosen}) > 1:
        raise UnreadableVolumeError("DICOM slices of which some say how they are scaled and some do not")
    check_even(stack.heights[members])
    check_straight(chosen, stack.axes)
    return chosen


def _affine(slices: list[Slice], place: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4 4"]:
    """Return the affine to RAS mm; the third column is the mean step from slice to slice, tilt included."""
    first, last = np.array(slices[0].position), np.array(slices[-1].position)
    affine = np.eye(4)
    affine[:3, 0] = place[:, 0] * slices[0].spacing[1]
    affine[:3, 1] = place[:, 1] * slices[0].spacing[0]
    affine[:3, 2] = (last - first) / max(len(slices) - 1, 1)
    affine[:3, 3] = first
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
