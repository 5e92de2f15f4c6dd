"""NRRD and MetaImage by SimpleITK; what their headers leave open is said in notes."""

import re
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix._optional import require
from voxmix.volumes.reading.detached_voxels import data_files, header_lines
from voxmix.volumes.reading.kinds import Head
from voxmix.volumes.volume import (
    UnreadableVolumeError,
    Volume,
    axes_in_words,
    check_bytes,
    check_shape,
    pick,
)

KINDS = ("nrrd", "meta")
_READERS = {"nrrd": "NrrdImageIO", "meta": "MetaImageIO"}
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NRRD_SPACES = rb"(ras|las|lps|(right|left)-anterior-superior|left-posterior-superior)(-time|t)?"
_LACKING = {
    "nrrd": (rb"spac(ings|e directions): .*[0-9]", rb"space: *" + _NRRD_SPACES + rb" *$"),
    "meta": (rb"\s*Element(Spacing|Size)\s*[=:]", rb"\s*(TransformMatrix|Rotation|Orientation)\s*[=:]"),
}
"""Of each kind the lines that say how large a voxel is and where the axes point."""


def open_header(path: Path, head: Head) -> Any:
    """Return SimpleITK's reader of a file, its header read; any file where the kind is another.

    Raises:
        UnreadableVolumeError: a name that SimpleITK cannot be given; other errors are its own.
    """
    reader = require("SimpleITK", extra="imaging").ImageFileReader()
    if head.kind in _READERS:
        reader.SetImageIO(_READERS[head.kind])
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UnreadableVolumeError("its name or that of a folder is not UTF-8; rename it") from None
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def read_itk(
    path: Path, head: Head, *, volume: int | None, max_voxels: int, dtype: type[np.float32] | None
) -> Volume:
    """Return the image of an NRRD or MetaImage file, or of any other that SimpleITK knows.

    Raises:
        UnreadableVolumeError: with the reason; other errors are SimpleITK's.
    """
    holder = (*data_files(path), path)[
        0
    ]  # Refuses a header that leads out of its folder, before it is followed.
    itk = require("SimpleITK", extra="imaging")
    reader = open_header(path, head)
    if reader.GetNumberOfComponents() > 1:
        complex_ids = (itk.sitkComplexFloat32, itk.sitkComplexFloat64)
        if reader.GetPixelID() in complex_ids:
            raise UnreadableVolumeError("complex voxels; give the magnitude")
        raise UnreadableVolumeError(
            f"{reader.GetNumberOfComponents()} values in every voxel (a vector or color image); "
            "save one of them as an image of its own"
        )
    shape = tuple(int(size) for size in reader.GetSize())
    check_shape(shape, max_voxels=max_voxels, volume=volume)
    # Text encodings and all depths take a byte per voxel at least.
    check_bytes(holder, int(np.prod(shape, dtype=np.int64)), packed=True)
    if head.kind == "meta":
        _check_packed(path, head, holder, reader)
    image = _with_ended_text(reader, path, head, holder) if _is_text(path, head) else reader.Execute()
    data = np.ascontiguousarray(pick(itk.GetArrayFromImage(image).T, volume), dtype=dtype)
    rank = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(rank, rank)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    affine = _LPS_TO_RAS @ affine
    return Volume(data=data, affine=affine, notes=_notes(path, head, affine))


def _check_packed(path: Path, head: Head, holder: Path, reader: Any) -> None:
    """Refuse packed voxels of a MetaImage that cannot be unpacked: SimpleITK gives whatever is in memory then."""
    lines = header_lines(path, head)
    if not any(re.match(rb"\s*CompressedData\s*[=:]\s*[Tt1]", line) for line in lines):
        return
    itk = require("SimpleITK", extra="imaging")
    start = len(b"\n".join(lines)) + 1 if holder == path else 0
    if start and not any(re.match(rb"\s*CompressedDataSize\s*[=:]", line) for line in lines):
        raise UnreadableVolumeError("its header lacks CompressedDataSize, without which it is not unpacked")
    size = itk.GetArrayViewFromImage(itk.Image([1, 1], reader.GetPixelID())).itemsize
    wanted = int(np.prod(reader.GetSize(), dtype=np.int64)) * size
    unpacker, count = zlib.decompressobj(wbits=47), 0
    with holder.open("rb") as stream:
        stream.seek(start)
        while count < wanted and (part := stream.read(1 << 16)):
            try:
                count += len(unpacker.decompress(part))
            except zlib.error:
                raise UnreadableVolumeError("damaged: it cannot be unpacked") from None
    if count < wanted:
        raise UnreadableVolumeError("truncated or damaged: the file ends too early")


def _is_text(path: Path, head: Head) -> bool:
    lines = header_lines(path, head) if head.kind == "meta" else ()
    return any(re.match(rb"\s*BinaryData\s*[=:]\s*[Ff0]", line) for line in lines)


def _with_ended_text(reader: Any, path: Path, head: Head, holder: Path) -> Any:
    """Return the image of a MetaImage whose voxels are text; SimpleITK wants a blank after the last of them."""
    lines = header_lines(path, head)
    header = b"\n".join(lines) + b"\n"
    text = holder.read_bytes()[len(header) if holder == path else 0 :]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "text.mha"
        copy.write_bytes(b"\n".join([*lines[:-1], b"ElementDataFile = LOCAL", text, b""]))
        reader.SetFileName(str(copy))
        return reader.Execute()


def _notes(path: Path, head: Head, affine: Float[np.ndarray, "4 4"]) -> tuple[str, ...]:
    """Return what the header does not say and was assumed."""
    if head.kind not in _LACKING:
        return ()
    lines = header_lines(path, head)
    size, axes = (
        any(re.match(pattern, line, re.IGNORECASE) for line in lines) for pattern in _LACKING[head.kind]
    )
    lacks = " and ".join(
        what
        for there, what in (
            (size, "no voxel size: 1 mm"),
            (axes, f"no orientation: axes taken as {axes_in_words(affine)}"),
        )
        if not there
    )
    turned = head.kind == "meta" and any(
        re.match(rb"\s*Element(Spacing|Size)\s*[=:].*-", line) for line in lines
    )
    other_unit = head.kind == "nrrd" and any(
        re.match(rb'space units: *"(?!mm|millimet)[^"]', line, re.IGNORECASE) for line in lines
    )
    return (
        *((f"the header has {lacks}",) if lacks else ()),
        *(("the header's unit of length is not mm: its numbers were taken as mm",) if other_unit else ()),
        *(("a negative voxel size in the header turns its axis around",) if turned else ()),
    )
