"""Copies: DICOM files that stand twice in a series, exported or copied two times, count once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from voxmix.volumes.reading.dicom.headers import Slice
from voxmix.volumes.reading.dicom.pixels import pixels_of
from voxmix.volumes.volume import UnreadableVolumeError


def once(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Return the slices without copies (same SOPInstanceUID, frame and place), and (first, copy) of those."""
    first: dict[tuple[Any, ...], Slice] = {}
    copies = []
    for part in slices:
        key = identity(part)
        if first.setdefault(key, part) is not part:
            copies.append((first[key], part))
    return list(first.values()), copies


def identity(part: Slice) -> tuple[Any, ...]:
    """Return what two files of the same slice have in common."""
    uid = str(part.header.get("SOPInstanceUID") or part.file)
    return uid, part.frame, tuple(round(value, 2) for value in part.position)


def check_copies(copies: Sequence[tuple[Slice, Slice]]) -> None:
    """Refuse copies whose voxels are not those of the first."""
    for first, copy in copies:
        if first.file.read_bytes() != copy.file.read_bytes() and not have_equal_voxels(first, copy):
            raise UnreadableVolumeError(
                "two DICOM files with one SOPInstanceUID and different voxels; keep one of them"
            )


def have_equal_voxels(first: Slice, other: Slice) -> bool:
    """Return whether two slices have the same real values everywhere."""
    return first is other or bool(np.array_equal(pixels_of([first])[0], pixels_of([other])[0]))


def without_equals(slices: Sequence[Slice], places: Int[np.ndarray, "slice"]) -> list[Slice]:
    """Return one slice of each place if all slices there have the same voxels, else all of them."""
    first: dict[int, Slice] = {}
    for part, place in zip(slices, places.tolist(), strict=True):
        if not have_equal_voxels(first.setdefault(place, part), part):
            return list(slices)
    return list(first.values())
