"""Zips of DICOM files, as archives and PACS export them: unpacked to a folder that is gone afterwards."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from voxmix.volumes.reading.dicom.identity_marks import may_be_marked, reading_mark
from voxmix.volumes.reading.dicom.series import list_series, read_dicom
from voxmix.volumes.reading.scratch import temporary_folder
from voxmix.volumes.volume import UnreadableVolumeError, Volume

_MAX_FILES = 100_000
_BYTES_PER_VOXEL = 8
_CHUNK = 1 << 20
_MAX_BYTES = 1 << 32


def read_zip(path: Path, *, volume: int | None, series: str, max_voxels: int) -> Volume:
    """Return the one DICOM series of a zip, or the one that ``series`` names.

    Files are unpacked under numbers, never under the names in the zip, into a temporary folder that only this
    user can read.

    Raises:
        UnreadableVolumeError: not a zip, encrypted, a name that leads out of the zip, more bytes than
            ``max_voxels`` voxels can need, or no readable DICOM series.
    """
    with _unpacked(path, max_bytes=max_voxels * _BYTES_PER_VOXEL) as folder:
        return read_dicom(folder, volume=volume, series=series, max_voxels=max_voxels)


def list_zip(path: Path, *, max_voxels: int) -> tuple[tuple[str, int], ...]:
    """Return :func:`voxmix.volumes.reading.dicom.series.list_series` of the files in a zip.

    Raises:
        UnreadableVolumeError: as :func:`read_zip`.
    """
    with _unpacked(path, max_bytes=max_voxels * _BYTES_PER_VOXEL) as folder:
        return list_series(folder)


def zip_mark(path: Path, *, series: str, volume: int | None) -> str:
    """Return :func:`voxmix.volumes.reading.dicom.identity_marks.reading_mark` of the files in a zip; the first is looked at before all."""
    try:
        with temporary_folder() as folder, zipfile.ZipFile(path) as archive:
            first = next(entry for entry in archive.infolist() if not entry.is_dir())
            with archive.open(first) as stream:
                (folder / "0").write_bytes(stream.read(_CHUNK))
            if not series and volume is None and not may_be_marked(folder / "0"):
                return ""
        with _unpacked(path, max_bytes=_MAX_BYTES) as folder:
            return reading_mark(folder, series=series, volume=volume)
    except Exception:  # Damaged: reading says what is wrong.
        return ""


@contextmanager
def _unpacked(path: Path, *, max_bytes: int) -> Iterator[Path]:
    """Yield a folder with the files of a zip, which is gone afterwards."""
    with temporary_folder() as folder:
        try:
            unpack(path, folder, max_bytes=max_bytes)
        except (zipfile.BadZipFile, NotImplementedError):
            raise UnreadableVolumeError("damaged: it cannot be unpacked") from None
        yield folder


def unpack(path: Path, folder: Path, *, max_bytes: int) -> None:
    """Write the files of a zip into ``folder`` as 0, 1, 2, ...

    Raises:
        UnreadableVolumeError: encrypted, a name that leads out of the zip, too many files or bytes.
    """
    left = max_bytes
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > _MAX_FILES or sum(entry.file_size for entry in entries) > max_bytes:
            raise UnreadableVolumeError(
                f"the zip unpacks to more than the {max_bytes} bytes that are allowed"
            )
        for number, entry in enumerate(entries):
            name = PurePosixPath(entry.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                raise UnreadableVolumeError("the zip holds a name that leads out of it")
            if entry.flag_bits & 1:
                raise UnreadableVolumeError("the zip is encrypted")
            with archive.open(entry) as source, (folder / str(number)).open("wb") as target:
                while chunk := source.read(_CHUNK):
                    left -= len(chunk)
                    if left < 0:
                        raise UnreadableVolumeError(
                            f"the zip unpacks to more than the {max_bytes} bytes that are allowed"
                        )
                    target.write(chunk)
