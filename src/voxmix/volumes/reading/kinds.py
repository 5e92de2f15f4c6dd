"""Kinds: what a file holds by its first bytes, whatever it is called, and in which words to refuse the rest."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxmix.volumes.file_names import split_suffix
from voxmix.volumes.volume import UnreadableVolumeError, check_regular

Kind = Literal["nifti", "nifti2", "analyze", "mgh", "nrrd", "meta", "npy", "npz", "other"]

_READ_BYTES = 1 << 16
_HEAD_BYTES = 1024
_GZIP = b"\x1f\x8b"
_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"NRRD000", "nrrd"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"\0\0\0\1", "mgh"),
)
_FOREIGN = (
    (b"BZh", "it is compressed by bzip2; decompress it, or use gzip"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd; decompress it, or use gzip"),
    (b"\xfd7zXZ", "it is compressed by xz; decompress it, or use gzip"),
    (b"PK", "it is a zip archive by its bytes; unpack it, or name it .zip where it holds DICOM"),
    (b"\x89HDF", "it is HDF5 by its bytes, which is not read; convert it to NIfTI"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer is in its place; fetch the file itself (git lfs pull)",
    ),
    (b"/annex/objects", "a git-annex pointer is in its place; fetch the file itself (git annex get)"),
    (b"<", "it is a text such as a web page by its bytes; was the download refused?"),
    (b"\0\5\x16\7", "it is what a Mac keeps next to a file, not the file itself"),
)
_NOT_READ = "its first bytes are of no known format; is the name right, and the file complete?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The kind of a file, whether gzip packs it, and its first 1,024 bytes, unpacked."""

    kind: Kind
    packed: bool
    start: bytes


def look(path: Path) -> Head:
    """Return what a file holds by its first bytes; MetaImage, which starts with any text, by its name.

    Raises:
        UnreadableVolumeError: a pipe or device, or packed and damaged in its first bytes.
        OSError: it cannot be opened.
    """
    check_regular(path)
    with path.open("rb") as stream:
        start = stream.read(_READ_BYTES)
    packed = start.startswith(_GZIP)
    if packed:
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, _HEAD_BYTES)
        except zlib.error:
            raise UnreadableVolumeError("damaged: it cannot be unpacked") from None
    start = start[:_HEAD_BYTES]
    return Head(kind=_kind(start, path), packed=packed, start=start)


def is_packed(path: Path) -> bool:
    """Return whether gzip packs a file, by its first bytes."""
    check_regular(path)
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP


def _kind(start: bytes, path: Path) -> Kind:
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    if start[344:347] in (b"n+1", b"ni1"):
        return "nifti"
    size = struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4]) if len(start) >= 348 else ()
    if 348 in size:
        return "analyze"
    if 540 in size:
        return "nifti2"
    return "meta" if split_suffix(path.name)[1] in (".mha", ".mhd") else "other"


def is_foreign(head: Head) -> bool:
    """Return whether bytes that no reader knows are those of a packing or of a stand-in."""
    return any(head.start.startswith(magic) for magic, _ in _FOREIGN if magic != b"<")


def refuse_foreign(head: Head) -> None:
    """Say what a file of no kind that is read seems to be.

    Raises:
        UnreadableVolumeError: always.
    """
    if not head.start:
        raise UnreadableVolumeError("the file is empty")
    if head.start[128:132] == b"DICM":
        raise UnreadableVolumeError("it is DICOM by its bytes; name it .dcm, or give its folder")
    raise UnreadableVolumeError(
        next((say for magic, say in _FOREIGN if head.start.startswith(magic)), _NOT_READ)
    )
