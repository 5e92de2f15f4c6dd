"""Whether a file holds DICOM, by its name and its first bytes."""

from pathlib import Path

DICOM_SUFFIXES = (".dcm", ".ima", ".dicom")

_FIRST_ELEMENTS = tuple(
    bytes([group, 0, element, 0])
    for group, elements in ((2, (0, 1)), (8, (0, 1, 5, 8, 0x12, 0x16, 0x18)))
    for element in elements
)


def begins_as_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM does: with 128 bytes and DICM, or at once with its first element."""
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return False
    if head[128:] == b"DICM":
        return True
    # Without these bytes: the first element is one of group 2 or 8, as dcm2niix, pydicom and GDCM take it too.
    tag, kind, length = head[:4], head[4:6], int.from_bytes(head[4:8], "little")
    known = tag in _FIRST_ELEMENTS or tag[:4] in {
        element[1::-1] + element[:1:-1] for element in _FIRST_ELEMENTS
    }
    return len(head) == 132 and known and ((kind.isalpha() and kind.isupper()) or length <= 64)
