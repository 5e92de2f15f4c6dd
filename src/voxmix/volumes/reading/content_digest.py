"""Content: the digest of the bytes that make a volume, wherever they lie and whatever they are called."""

import os
from functools import lru_cache
from pathlib import Path

from voxmix._io import digest, file_digest
from voxmix.volumes.file_names import ZIP_SUFFIX, split_suffix
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.reading.detached_voxels import data_files, header_of
from voxmix.volumes.reading.dicom.identity_marks import reading_mark
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.dicom.zipped import zip_mark
from voxmix.volumes.volume import UnreadableVolumeError, check_regular


def content_digest(path: Path) -> str:
    """Return the digest of a file's bytes, of a header and its data file, or of a folder's files."""
    try:
        if path.is_dir():
            return _folder_digest(tuple(_state(p) for p in _files(path)))
        path = header_of(path)
        return digest([_file_digest(*_state(p)) for p in (path, *data_files(path))])
    except FileNotFoundError:
        raise UnreadableVolumeError("no such file") from None
    except PermissionError:
        raise UnreadableVolumeError("no permission to read the file") from None
    except OSError as error:
        raise UnreadableVolumeError(f"cannot be read ({os.strerror(error.errno or 0)})") from None


def record_digest(record: VolumeRecord) -> str:
    """Return the digest of what one record shows: its bytes, and which part of them in which place."""
    content = content_digest(record.path)
    chosen = [record.volume, record.affine, *([record.series] if record.series else [])]
    if mark := _mark(record):
        chosen.append(mark)
    return content if not any(part is not None for part in chosen) else digest([content, *chosen])


def _mark(record: VolumeRecord) -> str:
    """Return what tells a DICOM volume from what the first voxmix read of the same bytes, "" if it is the same."""
    if record.path.is_dir() or is_dicom(record.path):
        return reading_mark(record.path, series=record.series, volume=record.volume)
    if split_suffix(record.path.name)[1] == ZIP_SUFFIX:
        return zip_mark(record.path, series=record.series, volume=record.volume)
    return ""


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name[0] != ".")


def _state(path: Path) -> tuple[str, int, int]:
    check_regular(path)
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size


@lru_cache(maxsize=8)
def _file_digest(path: str, changed: int, size: int) -> str:
    """Return the digest of a file that may be asked for once per volume it holds."""
    return file_digest(Path(path))


@lru_cache(maxsize=8)
def _folder_digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Return the digest of a folder that may be asked for once per series it holds."""
    return digest(sorted(file_digest(Path(path)) for path, _, _ in files))
