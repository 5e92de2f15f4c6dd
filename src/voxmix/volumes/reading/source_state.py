"""The state of a record's files: sizes and times of change, by which a source that was read is known without reading it."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from voxmix._io import digest
from voxmix.errors import InputError
from voxmix.volumes.file_names import PAIR_HEADERS, PAIR_VOXELS, split_suffix
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.reading.detached_voxels import data_files

Stamp = tuple[str, int, int]
"""Name of a file, its bytes, and when it changed (nanoseconds)."""

_NAMING = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Files whose header may name the file that holds the voxels."""
_PAIR = (*PAIR_HEADERS, *PAIR_VOXELS, ".mat")


class SourceStates:
    """The states of records, each file of a folder looked at once for all series of it that follow each other."""

    def __init__(self) -> None:
        self._folder: tuple[Path, list[Stamp]] | None = None

    def of(self, record: VolumeRecord) -> tuple[str, float]:
        """Return a digest of sizes and times of the record's files, "" where one cannot be looked at, and the last time."""
        try:
            found = [self._stamps(path) for path in (record.path, record.label) if path is not None]
        except (OSError, ValueError):  # gone, or a name that no disk can hold
            return "", 0.0
        return digest(found), max((changed for part in found for _, _, changed in part), default=0) / 1e9

    def _stamps(self, path: Path) -> list[Stamp]:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            if self._folder is None or self._folder[0] != path:
                self._folder = (path, sorted(_in_folder(path)))
            return self._folder[1]
        stamps = [("", found.st_size, found.st_mtime_ns)]
        if path.name.lower().endswith((*PAIR_HEADERS, *PAIR_VOXELS)):
            stamps.extend(_stamps_of(_pair(path)))
        return stamps


def _in_folder(path: Path) -> Iterator[Stamp]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name[0] != "." and entry.is_file():
                found = entry.stat()
                yield entry.name, found.st_size, found.st_mtime_ns


def _pair(path: Path) -> Iterator[Path]:
    lower = path.name.lower()
    end = next(end for end in (*PAIR_HEADERS, *PAIR_VOXELS) if lower.endswith(end))
    stem = path.name[: len(path.name) - len(end)]
    return (path.with_name(stem + ending) for small in _PAIR for ending in (small, small.upper()))


def _stamps_of(paths: Iterator[Path]) -> Iterator[Stamp]:
    for path in paths:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            continue
        yield path.name, found.st_size, found.st_mtime_ns


def parts_of(record: VolumeRecord) -> tuple[Stamp, ...]:
    """Return the files with voxels that the headers of a record name, as seen from its folder; the headers are read for it."""
    headers = [p for p in (record.path, record.label) if p is not None and split_suffix(p.name)[1] in _NAMING]
    try:
        return tuple(
            (os.path.relpath(part, record.path.parent), found.st_size, found.st_mtime_ns)
            for header in headers
            for part in data_files(header)
            for found in (os.stat(part),)
        )
    except (OSError, InputError):
        return ()  # reading it will say what is wrong


def parts_hold(parts: tuple[Stamp, ...], folder: Path) -> bool:
    """Return whether files that the headers of a record in ``folder`` named are as they were."""
    try:
        now = [(name, os.stat(folder / name)) for name, _, _ in parts]
    except OSError:
        return False
    return tuple((name, found.st_size, found.st_mtime_ns) for name, found in now) == parts
