"""Whether a file holds DICOM, by its name and its first bytes."""

from pathlib import Path
from typing import Literal

from voxmix.volumes.file_names import DICOM_SUFFIXES, OTHER_SUFFIXES, UNREAD_SUFFIXES, split_suffix


def is_dicom(path: Path) -> bool:
    """Return whether the name says DICOM, or, where it says nothing, the file does.

    Names of DICOM files are often UIDs or numbers with dots: what follows a dot is an ending only where it is known.
    """
    suffix = split_suffix(path.name)[1]
    if suffix or path.name.lower().endswith((*UNREAD_SUFFIXES, *OTHER_SUFFIXES)):
        return suffix in DICOM_SUFFIXES
    if path.name.upper() == "DICOMDIR":
        return False  # It lists images, and holds none.
    return begins_as_dicom(path)


def begins_as_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does: with 128 bytes and DICM, or at once with its elements."""
    try:
        if not path.is_file():  # A pipe would keep its reader waiting.
            return False
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return False
    return head[128:] == b"DICM" or (
        len(head) == 132 and (_begins_with_elements(head, "little") or _begins_with_elements(head, "big"))
    )


def _begins_with_elements(head: bytes, order: Literal["little", "big"]) -> bool:
    """Return whether two elements of groups 2 or 8 come first, as pydicom, dcm2niix and GDCM read them too."""

    def tag(at: int) -> tuple[int, int]:
        return int.from_bytes(head[at : at + 2], order), int.from_bytes(head[at + 2 : at + 4], order)

    explicit = head[4:6].isalpha() and head[4:6].isupper()
    length = int.from_bytes(head[6:8] if explicit else head[4:8], order)
    first = tag(0)
    return first[0] in (2, 8) and length <= 64 and first < tag(8 + length) < (9, 0)
