"""Marks: which DICOM volumes are read in another way than by the first voxmix, so that they get another identity.

What was prepared from the others stays as it is.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from voxmix.volumes.reading.dicom.copies import once
from voxmix.volumes.reading.dicom.headers import Slice, files_of, read_header
from voxmix.volumes.reading.dicom.images import tell_apart
from voxmix.volumes.reading.dicom.series import slices_in
from voxmix.volumes.reading.dicom.stack import stack_of
from voxmix.volumes.reading.dicom.suv import NEW_NOTES, suv_factor

_State = tuple[tuple[str, int, int], ...]


def reading_mark(path: Path, *, series: str, volume: int | None) -> str:
    """Return "", or what is read in another way: slices of other images, stored values, or SUV.

    Only a first header is read, unless it or the choice says that there is more to know.
    """
    try:
        if not series and volume is None and not may_be_marked(path):
            return ""
        state = tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in files_of(path))
        return _marks(path, series, state)[volume or 0]
    except Exception:  # Damaged headers, or a volume that is not there: reading says what is wrong.
        return ""


def may_be_marked(path: Path) -> bool:
    """Return whether the first header of a file or folder says that its values may be read anew."""
    first = next((header for file in files_of(path) if (header := read_header(file)) is not None), None)
    return first is not None and (first.get("Modality") == "PT" or _is_told_anew(first))


@lru_cache(maxsize=8)
def _marks(path: Path, series: str, state: _State) -> tuple[str, ...]:
    """Return the mark of each image of a series, kept for as long as its files stay as they are (``state``)."""
    found = slices_in(path, series)
    slices = once(found)[0]
    stack = stack_of(slices)
    before = _by_number(found)
    marks = []
    for number, members in enumerate(tell_apart([part.tells for part in slices], stack.places).members):
        image = [slices[index] for index in sorted(members, key=lambda index: stack.heights[index])]
        headers = [part.header for part in image]
        marks.append(
            " ".join(
                mark
                for mark, is_new in (
                    ("images-2", number < len(before) and _files(before[number]) != _files(image)),
                    ("stored-2", any(_is_told_anew(header) for header in headers)),
                    ("suv-2", bool(set(suv_factor(headers)[1]) & set(NEW_NOTES))),
                )
                if is_new
            )
        )
    return tuple(marks)


def _by_number(slices: list[Slice]) -> list[list[Slice]]:
    """Return the images that the first voxmix made: by instance number and name at every place, none if uneven."""
    normal = stack_of(slices).axes[:, 2]

    def height(part: Slice) -> float:
        return float(np.array(part.position) @ normal)

    def key(part: Slice) -> tuple[float, int, int]:
        return round(height(part), 2), int(part.header.get("InstanceNumber", 0) or 0), part.frame

    ordered = sorted(slices, key=key)
    starts = np.flatnonzero(np.diff([height(part) for part in ordered], prepend=-np.inf) > 0.01)
    counts = np.diff(np.append(starts, len(ordered)))
    return [
        [ordered[start + rank] for start in starts]
        for rank in range(counts.min() if np.ptp(counts) == 0 else 0)
    ]


def _files(slices: list[Slice]) -> list[tuple[Path, int]]:
    return [(part.file, part.frame) for part in slices]


def _is_told_anew(header: Any) -> bool:
    return str(header.get("PhotometricInterpretation") or "MONOCHROME2") != "MONOCHROME2"
