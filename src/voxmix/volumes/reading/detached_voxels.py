"""Files that hold the voxels of a header: which they are, and that a header names none outside its own folder."""

import os
import re
from pathlib import Path

from voxmix.volumes.file_names import PAIR_HEADERS, PAIR_VOXELS, ZIP_SUFFIX, split_suffix
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.kinds import Head, Kind, look
from voxmix.volumes.volume import UnreadableVolumeError, check_regular

_MAX_HEADER = 1 << 20
_META_FIELD = re.compile(rb"^\s*ElementDataFile\s*[=:]\s*(.*?)\s*$")
_NRRD_FIELD = re.compile(rb"^data ?file: +(.*)$", re.IGNORECASE)
_META_LOCAL = (b"LOCAL", b"Local", b"local")


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a header that decide its voxels; none where one file holds all.

    Raises:
        UnreadableVolumeError: they are missing, several, or outside the header's folder.
        OSError: the header cannot be read.
    """
    if is_dicom(path) or split_suffix(path.name)[1] == ZIP_SUFFIX:
        return ()
    head = look(path)
    if head.kind in ("nifti", "nifti2", "analyze"):
        voxels = pair_voxels(path, head)
        side = _beside(path, (".mat",)) if head.kind == "analyze" else None  # SPM keeps the axes there.
        return tuple(file for file in (voxels, side) if file is not None)
    if head.kind in ("nrrd", "meta"):
        named = _named(header_lines(path, head), head.kind)
        return () if named is None else (_inside(path, named),)
    return ()


def header_of(path: Path) -> Path:
    """Return the header of a pair's voxels (.img), in any case and packing; any other path as it is."""
    return (partner(path, PAIR_HEADERS) or path) if path.name.lower().endswith(PAIR_VOXELS) else path


def pair_voxels(path: Path, head: Head) -> Path | None:
    """Return the file with the voxels of a NIfTI or Analyze header, or None where the header holds them itself.

    Raises:
        UnreadableVolumeError: a pair without its second half.
    """
    if not path.name.lower().endswith(PAIR_HEADERS):
        return None
    ends = PAIR_VOXELS[::-1] if head.packed else PAIR_VOXELS
    found = partner(path, ends)
    single = head.start[344:347] == b"n+1" or head.start[4:7] == b"n+2"
    if found is None and not single:
        raise UnreadableVolumeError("no such file: the voxels (.img) of this header (.hdr)")
    return found


def partner(path: Path, ends: tuple[str, ...]) -> Path | None:
    """Return the file beside one of a pair with the same stem and the first of ``ends`` that there is, in any case."""
    found = _beside(path, ends)
    if found is not None:
        return found
    stem, other_half = _stem(path).lower(), PAIR_VOXELS if ends[0] in PAIR_HEADERS else PAIR_HEADERS
    same = {name.lower(): path.with_name(name) for name in sorted(os.listdir(path.parent))}
    found_any = (same[stem + end] for end in ends if stem + end in same)
    return next((file for file in found_any if _beside(file, other_half) in (None, path)), None)


def _beside(path: Path, ends: tuple[str, ...]) -> Path | None:
    names = (_stem(path) + end for small in ends for end in (small, small.upper()))
    return next((file for name in names if (file := path.with_name(name)).exists()), None)


def _stem(path: Path) -> str:
    lower = path.name.lower()
    end = next((end for end in (*PAIR_HEADERS, *PAIR_VOXELS) if lower.endswith(end)), "")
    return path.name[: len(path.name) - len(end)]


def header_lines(path: Path, head: Head) -> tuple[bytes, ...]:
    """Return the lines of an NRRD or MetaImage header, as its reader divides them, without what follows it.

    Raises:
        UnreadableVolumeError: it has no end within a megabyte, or lines that are none of a header.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        text = stream.read(_MAX_HEADER)
    if head.kind == "nrrd":
        lines = re.split(rb"\r\n|\r|\n", text)
        if b"" in lines:
            return tuple(lines[: lines.index(b"")])
        if len(text) < _MAX_HEADER:
            return tuple(lines)
        raise UnreadableVolumeError("damaged: its header has no end")
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        if _META_FIELD.match(line):
            return tuple(lines[: number + 1])
        if line.strip() and not re.search(rb"[=:]", line):
            break
    raise UnreadableVolumeError("damaged: its header does not say where the voxels are (ElementDataFile)")


def _named(lines: tuple[bytes, ...], kind: Kind) -> str | None:
    """Return the data file that a header names, or None where the voxels follow the header."""
    field = _META_FIELD if kind == "meta" else _NRRD_FIELD
    given = next((match[1] for line in lines if (match := field.match(line))), None)
    if given is None or (kind == "meta" and given in _META_LOCAL):
        return None
    if given.startswith(b"LIST") or b"%" in given:
        raise UnreadableVolumeError("its header spreads the voxels over several files; join them into one")
    return os.fsdecode(given)


def _inside(path: Path, given: str) -> Path:
    """Return the file that a header names, which must lie in the header's folder or below it.

    A header that is a link itself (a folder of links, git-annex) may have data files that are links out of the folder.
    """
    if "\0" in given or given in ("", "-"):  # NRRD reads "-" from the terminal.
        raise UnreadableVolumeError("damaged: its header names no data file")
    target = path.parent / given
    folder = os.path.realpath(path.parent)
    if not Path(os.path.realpath(target)).is_relative_to(folder):
        if not Path(os.path.abspath(target)).is_relative_to(os.path.abspath(path.parent)):
            raise UnreadableVolumeError("its header names a data file outside its own folder")
        if not path.is_symlink():
            raise UnreadableVolumeError(
                "its data file is a link that leads outside its own folder; copy it there"
            )
    if not target.exists():
        slashes = "; write its folders with /" if "\\" in given else ""
        raise UnreadableVolumeError(f"the data file that its header names does not exist{slashes}")
    if target.is_dir():
        raise UnreadableVolumeError("its header names a folder as its data file")
    check_regular(target)
    return target
