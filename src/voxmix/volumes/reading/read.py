"""Reading: one file of a scanner or archive to voxels and their place in the patient, or a reason why not."""

import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxmix.errors import InputError
from voxmix.volumes.file_names import ZIP_SUFFIX, split_suffix
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.reading.detached_voxels import header_of
from voxmix.volumes.reading.dicom.series import read_dicom
from voxmix.volumes.reading.dicom.sniff import is_dicom
from voxmix.volumes.reading.dicom.zipped import read_zip
from voxmix.volumes.reading.itk import KINDS as ITK
from voxmix.volumes.reading.itk import read_itk
from voxmix.volumes.reading.kinds import Head, is_foreign, look, refuse_foreign
from voxmix.volumes.reading.nifti import KINDS as NIFTI
from voxmix.volumes.reading.nifti import read_nifti
from voxmix.volumes.reading.npz_stacks import array_header, part_sizes, stack_volume
from voxmix.volumes.volume import (
    SeveralVolumesError,
    UnreadableVolumeError,
    Volume,
    check_affine,
    check_regular,
    check_shape,
    check_voxel_type,
    pick,
)

MAX_VOXELS = 2**29
MAX_NOT_FINITE = 0.25
_NO_PLACE = "NumPy files have no geometry: voxels of 1 mm, axes as stored"


def read_record(record: VolumeRecord, *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Return the image that a record of a manifest names, in the place that the record gives it, if it does.

    Raises:
        UnreadableVolumeError: as :func:`read_volume`.
    """
    read = read_volume(record.path, volume=record.volume, series=record.series, max_voxels=max_voxels)
    if record.affine is None:
        return read
    affine = np.array(record.affine).reshape(4, 4)
    check_affine(affine)
    return replace(read, affine=affine)


def read_volume(
    path: Path, *, volume: int | None = None, series: str = "", max_voxels: int = MAX_VOXELS
) -> Volume:
    """Return the image of a file, or of a folder or zip with one DICOM series, as float32.

    ``volume`` chooses one of a 4D file, counted from 0; ``series`` one of several DICOM series in a folder, by
    :func:`voxmix.volumes.reading.dicom.series.series_name`.

    Not-a-number voxels, as reslicing leaves at borders, become the lowest value when they are at most a
    quarter; a last axis of one voxel is dropped.

    Raises:
        UnreadableVolumeError: damaged, truncated, larger than ``max_voxels``, 2D, 4D, complex or color,
            constant, or mostly not a number; the message is the reason.
    """
    read = _read(path, volume=volume, series=series, max_voxels=max_voxels, dtype=np.float32)
    data, notes = read.data, read.notes
    finite = np.isfinite(data)
    if not finite.all():
        share = 1 - float(finite.mean())
        if share > MAX_NOT_FINITE:
            raise UnreadableVolumeError(f"{share:.0%} of the voxels are not numbers (NaN or infinite)")
        data = np.where(finite, data, data[finite].min())
        count = f"{share:.1%}" if share >= 1e-3 else str(finite.size - int(finite.sum()))
        notes = (*notes, f"{count} of the voxels were not numbers and became the lowest value")
    low, high = float(data.min()), float(data.max())
    if low == high:
        raise UnreadableVolumeError("every voxel is 0" if low == 0 else "every voxel has the same value")
    return Volume(data=data, affine=read.affine, notes=notes)


def read_labels(path: Path, *, volume: int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Return a label map as whole numbers in the smallest unsigned type that holds them.

    ``volume`` chooses one of a 4D map, from 0. NaN, as some programs write for the background, is 0, with a note.

    Raises:
        UnreadableVolumeError: as for images, or values that are not whole numbers from 0 to 65535.
    """
    try:
        read = _read(path, volume=volume, series="", max_voxels=max_voxels, dtype=None)
    except SeveralVolumesError as error:
        advice = "choose one by label_volume, in the table or the task"
        raise SeveralVolumesError(error.what, advice=advice) from None
    data, notes = read.data, read.notes
    unknown = np.isnan(data)
    if unknown.any() and not unknown.all():
        data = np.where(unknown, 0, data)
        notes = (*notes, f"label map: {unknown.mean():.1%} of its voxels are NaN, taken as 0")
    wrong = "label values are not whole numbers from 0 to 65535"
    low, high = data.min(), data.max()
    if low < 0:
        raise UnreadableVolumeError(
            f"{wrong}, the lowest is {low:g}; if it marks what is unknown, write a number above 0 there and name it as "
            "the task's `ignore`"
        )
    if not np.isfinite(low) or not np.isfinite(high) or high > 65535:
        raise UnreadableVolumeError(wrong)
    whole = np.rint(data)
    if data.dtype.kind == "f" and np.abs(data - whole).max() > 1e-3:
        cut = "; are they probabilities? cut them at 0.5" if high <= 1 else ""
        raise UnreadableVolumeError(wrong + cut)
    small = np.uint8 if high <= 255 else np.uint16
    return Volume(data=whole.astype(small), affine=read.affine, notes=notes)


def _read(
    path: Path, *, volume: int | None, series: str, max_voxels: int, dtype: type[np.float32] | None
) -> Volume:
    with reasons_in_words():
        result = _dispatch(path, volume=volume, series=series, max_voxels=max_voxels, dtype=dtype)
    check_affine(result.affine)
    return result


@contextmanager
def reasons_in_words() -> Iterator[None]:
    """Turn whatever a reader raises into an UnreadableVolumeError: the reason alone, without paths or text of the file."""
    try:
        yield
    except (InputError, ImportError):
        raise
    except FileNotFoundError:
        raise UnreadableVolumeError("no such file") from None
    except PermissionError:
        raise UnreadableVolumeError("no permission to read the file") from None
    except MemoryError:
        raise UnreadableVolumeError("does not fit into memory") from None
    except (EOFError, gzip.BadGzipFile):
        raise UnreadableVolumeError("truncated or damaged: the file ends too early") from None
    except Exception as error:  # Readers of damaged files raise whatever they like.
        raise UnreadableVolumeError(reason_of(error)) from None


def _dispatch(
    path: Path, *, volume: int | None, series: str, max_voxels: int, dtype: type[np.float32] | None
) -> Volume:
    """Read a file by its kind: folders, DICOM and zips by their names, all others by their first bytes."""
    suffix = split_suffix(path.name)[1]
    if not path.is_dir():
        check_regular(path)
    if path.is_dir() or is_dicom(path):
        return read_dicom(path, volume=volume, series=series, max_voxels=max_voxels)
    if suffix == ZIP_SUFFIX:
        return read_zip(path, volume=volume, series=series, max_voxels=max_voxels)
    if series:
        raise UnreadableVolumeError("a DICOM series was asked for, and this is no DICOM")
    path = header_of(path)
    head = look(path)
    if head.kind == "other" and (suffix or is_foreign(head)):
        refuse_foreign(head)
    reader: Callable[..., Volume] = _READERS.get(head.kind, read_itk)
    return reader(path, head, volume=volume, max_voxels=max_voxels, dtype=dtype)


def reason_of(error: Exception) -> str:
    """Return what an error of a reader means, without its text: that may hold a path or a name."""
    text = str(error).lower()
    if re.search(
        r"end of file|eof|expected \d+ bytes|not enough|too short|incomplete|truncat|fread got only", text
    ):
        return "truncated or damaged: the file ends too early"
    if re.search(r"crc|decompress|zlib|gzip|invalid (block|stored|distance|code)|data error", text):
        return "damaged: it cannot be unpacked"
    if re.search(r"metaimageio\(.*file cannot be read", text):
        return "truncated or damaged: its voxels cannot be read"
    if re.search(r"not (recognized|supported|available)", text):
        return "voxels of a type, or packed in a way, that is not read"
    return f"cannot be read ({type(error).__name__})"


def _read_numpy(
    path: Path, head: Head, *, volume: int | None, max_voxels: int, dtype: type[np.float32] | None
) -> Volume:
    if head.kind == "npz":
        check_archive(path, max_voxels=max_voxels)
        if part_sizes(path):
            values = np.array(stack_volume(path, volume, max_voxels=max_voxels), dtype=dtype)
            return Volume(data=values, affine=np.eye(4), notes=(_NO_PLACE,))
        with np.load(path, allow_pickle=False) as archive:
            names = [name for name in archive.files if name not in ("affine", "spacing")]
            if len(names) != 1:
                raise UnreadableVolumeError(f"{len(names)} arrays in one npz; a volume is one array")
            data = archive[names[0]]
            affine = np.asarray(archive["affine"], dtype=np.float64) if "affine" in archive.files else None
    else:
        with path.open("rb") as stream:
            check_voxel_type(array_header(stream)[1])
        data = np.load(path, allow_pickle=False, mmap_mode="r")
        affine = None
    check_voxel_type(data.dtype)
    check_shape(data.shape, max_voxels=max_voxels, volume=volume)
    notes = () if affine is not None else (_NO_PLACE,)
    place = np.eye(4) if affine is None else affine
    if place.shape != (4, 4):
        raise UnreadableVolumeError(f"its affine has shape {place.shape}, expected (4, 4)")
    return Volume(data=np.array(pick(data, volume), dtype=dtype), affine=place, notes=notes)


def check_archive(path: Path, *, max_voxels: int) -> None:
    """Refuse an npz that unpacks to too much, or whose arrays claim more than the archive holds."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > max_voxels * 8:
            raise UnreadableVolumeError(f"the archive unpacks to {size} bytes, more than is allowed")
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                shape, dtype = array_header(stream)
            check_voxel_type(dtype)
            claimed = dtype.itemsize
            for length in shape:
                claimed *= length
            if claimed > entry.file_size:
                raise UnreadableVolumeError(
                    "truncated or damaged: its header claims more voxels than it can hold"
                )


_READERS: dict[str, Callable[..., Volume]] = {
    **dict.fromkeys(NIFTI, read_nifti),
    **dict.fromkeys(ITK, read_itk),
    "npy": _read_numpy,
    "npz": _read_numpy,
}
