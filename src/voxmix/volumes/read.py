"""Reading: one file of a scanner or archive to voxels and their place in the patient, or a reason why not."""

import gzip
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.volumes.detached import data_files
from voxmix.volumes.dicom import read_dicom
from voxmix.volumes.layouts import ZIP_SUFFIX, is_dicom, split_suffix
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.stacks import array_header, part_sizes, stack_volume
from voxmix.volumes.volume import (
    SeveralVolumesError,
    UnreadableVolumeError,
    Volume,
    check_shape,
    spatial_shape,
)
from voxmix.volumes.zipped import read_zip

MAX_VOXELS = 2**29
MAX_NOT_FINITE = 0.25
_MAX_DEFLATE_RATIO = 1100  # deflate cannot do better than 1032:1
_NIBABEL = (".nii.gz", ".nii", ".hdr", ".mgz", ".mgh")
_MILLIMETERS = {"meter": 1000.0, "micron": 0.001}
_NO_PLACE = "NumPy files have no geometry: voxels of 1 mm, axes as stored"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_record(record: VolumeRecord, *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Return the image that a record of a manifest names, in the place that the record gives it, if it does.

    Raises:
        UnreadableVolumeError: as :func:`read_volume`.
    """
    read = read_volume(record.path, volume=record.volume, series=record.series, max_voxels=max_voxels)
    if record.affine is None:
        return read
    affine = np.array(record.affine).reshape(4, 4)
    _check_affine(affine)
    return replace(read, affine=affine)


def read_volume(
    path: Path, *, volume: int | None = None, series: str = "", max_voxels: int = MAX_VOXELS
) -> Volume:
    """Return the image of a file, or of a folder or zip with one DICOM series, as float32.

    ``volume`` chooses one of a 4D file, counted from 0; ``series`` one of several DICOM series in a folder, by
    :func:`voxmix.volumes.dicom.series_name`.

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
        notes = (*notes, f"{share:.1%} of the voxels were not numbers and became the lowest value")
    low, high = float(data.min()), float(data.max())
    if low == high:
        raise UnreadableVolumeError("every voxel is 0" if low == 0 else "every voxel has the same value")
    return Volume(data=data, affine=read.affine, notes=notes)


def read_labels(path: Path, *, volume: int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Return a label map as whole numbers in the smallest unsigned type that holds them.

    ``volume`` chooses one of a 4D map, from 0.

    Raises:
        UnreadableVolumeError: as for images, or values that are not whole numbers from 0 to 65535.
    """
    try:
        read = _read(path, volume=volume, series="", max_voxels=max_voxels, dtype=None)
    except SeveralVolumesError as error:
        advice = "choose one by label_volume, in the table or the task"
        raise SeveralVolumesError(error.what, advice=advice) from None
    data = read.data
    if not np.all(np.isfinite(data)) or data.min() < 0 or data.max() > 65535:
        raise UnreadableVolumeError("label values are not whole numbers from 0 to 65535")
    whole = np.rint(data)
    if data.dtype.kind == "f" and np.abs(data - whole).max() > 1e-3:
        raise UnreadableVolumeError("label values are not whole numbers from 0 to 65535")
    small = np.uint8 if whole.max() <= 255 else np.uint16
    return Volume(data=whole.astype(small), affine=read.affine, notes=read.notes)


def _read(path: Path, *, volume: int | None, series: str, max_voxels: int, dtype: Any) -> Volume:
    suffix = split_suffix(path.name)[1]
    reader: Callable[..., Volume]
    options: dict[str, Any] = {"volume": volume, "max_voxels": max_voxels}
    if path.is_dir() or is_dicom(path):
        reader = read_dicom
    elif suffix == ZIP_SUFFIX:
        reader = read_zip
    elif suffix in _NIBABEL:
        reader = _read_nibabel
    elif suffix in (".npy", ".npz"):
        reader = _read_numpy
    else:
        reader = _read_itk
    if reader in (read_dicom, read_zip):
        options["series"] = series
    elif series:
        raise UnreadableVolumeError("a DICOM series was asked for, and this is no DICOM")
    else:
        options["dtype"] = dtype
    try:
        result = reader(path, **options)
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
        raise UnreadableVolumeError(_reason(error)) from None
    _check_affine(result.affine)
    return result


def _reason(error: Exception) -> str:
    """Return what an error of a reader means, without its text: that may hold a path or a name."""
    text = str(error).lower()
    if re.search(r"end of file|eof|expected \d+ bytes|not enough|too short|incomplete|truncat", text):
        return "truncated or damaged: the file ends too early"
    if re.search(r"crc|decompress|zlib|gzip|invalid (block|stored|distance|code)|data error", text):
        return "damaged: it cannot be unpacked"
    return f"cannot be read ({type(error).__name__})"


def _check_bytes(path: Path, claimed: int, *, packed: bool) -> None:
    """Refuse a header that claims more voxels than the file can hold."""
    held = path.stat().st_size * (_MAX_DEFLATE_RATIO if packed else 1)
    if claimed > held:
        raise UnreadableVolumeError("truncated or damaged: its header claims more voxels than it can hold")


def _check_kind(dtype: Any) -> None:
    kind = np.dtype(dtype)
    if kind.fields is not None:
        raise UnreadableVolumeError("color image (RGB); give a gray one")
    if kind.kind == "c":
        raise UnreadableVolumeError("complex voxels; give the magnitude")
    if kind.kind not in "iufb":
        raise UnreadableVolumeError(f"voxels of type {kind.name} are not numbers")


def _check_affine(affine: Float[np.ndarray, "4 4"]) -> None:
    if not np.all(np.isfinite(affine)):
        raise UnreadableVolumeError("the header's geometry holds values that are not numbers")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < 1e-3 or spacing.max() > 100:
        shown = " x ".join(f"{value:.4g}" for value in spacing)
        raise UnreadableVolumeError(f"voxels of {shown} mm are not plausible (0.001 to 100)")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-2:
        raise UnreadableVolumeError("the header's axes do not span space")


def _read_nibabel(path: Path, *, volume: int | None, max_voxels: int, dtype: Any) -> Volume:
    nibabel = require("nibabel", extra="imaging")
    # Odd headers are common and nibabel prints what is in them; those values we use are checked below.
    with nibabel.imageglobals.LoggingOutputSuppressor():
        image: Any = nibabel.load(path)
    header = image.header
    _check_kind(header.get_data_dtype())
    shape = tuple(int(size) for size in image.shape)
    check_shape(shape, max_voxels=max_voxels, volume=volume)
    voxels = int(np.prod(image.shape, dtype=np.int64)) * header.get_data_dtype().itemsize
    holder = Path(image.file_map["image"].filename)
    _check_bytes(holder, voxels, packed=holder.suffix.lower() in (".gz", ".mgz", ".bz2", ".zst"))
    if len(spatial_shape(shape)) > 3:
        data = np.asarray(image.dataobj[:, :, :, volume], dtype=dtype)
    else:
        data = (
            np.asarray(image.dataobj) if dtype is None else image.get_fdata(dtype=dtype, caching="unchanged")
        )
    affine = np.array(image.affine, dtype=np.float64)
    notes: tuple[str, ...] = ()
    if hasattr(header, "get_xyzt_units"):
        factor = _MILLIMETERS.get(header.get_xyzt_units()[0], 1.0)
        affine[:3] *= factor
    if isinstance(image, nibabel.Nifti1Pair):
        if header["sform_code"] == 0 and header["qform_code"] == 0:
            notes = ("the header has no orientation: axes taken as right, anterior, superior",)
    elif not isinstance(image, nibabel.MGHImage):
        notes = ("Analyze headers have no orientation: axes taken as nibabel does",)
    return Volume(data=data.reshape(data.shape[:3]), affine=affine, notes=notes)


def _read_itk(path: Path, *, volume: int | None, max_voxels: int, dtype: Any) -> Volume:
    holders = data_files(path) or (
        path,
    )  # Refuses a header that leads out of its folder, before it is followed.
    itk = require("SimpleITK", extra="imaging")
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetNumberOfComponents() > 1:
        complex_ids = (itk.sitkComplexFloat32, itk.sitkComplexFloat64)
        is_complex = reader.GetPixelID() in complex_ids
        raise UnreadableVolumeError(
            "complex voxels; give the magnitude" if is_complex else "several values per voxel; give one"
        )
    shape = tuple(int(size) for size in reader.GetSize())
    check_shape(shape, max_voxels=max_voxels, volume=volume)
    # Text encodings and all depths take a byte per voxel at least.
    _check_bytes(holders[0], int(np.prod(shape, dtype=np.int64)), packed=True)
    image = reader.Execute()
    data = np.ascontiguousarray(_pick(itk.GetArrayFromImage(image).T, volume), dtype=dtype)
    rank = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(rank, rank)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    return Volume(data=data, affine=_LPS_TO_RAS @ affine)


def _pick(data: Shaped[np.ndarray, "..."], volume: int | None) -> Shaped[np.ndarray, "x y z"]:
    shape = spatial_shape(data.shape)
    return data.reshape(shape)[..., volume] if len(shape) > 3 else data.reshape(shape)


def _read_numpy(path: Path, *, volume: int | None, max_voxels: int, dtype: Any) -> Volume:
    if path.suffix.lower() == ".npz":
        _check_archive(path, max_voxels=max_voxels)
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
        data = np.load(path, allow_pickle=False, mmap_mode="r")
        affine = None
    _check_kind(data.dtype)
    check_shape(data.shape, max_voxels=max_voxels, volume=volume)
    notes = () if affine is not None else (_NO_PLACE,)
    place = np.eye(4) if affine is None else affine
    if place.shape != (4, 4):
        raise UnreadableVolumeError(f"its affine has shape {place.shape}, expected (4, 4)")
    return Volume(data=np.array(_pick(data, volume), dtype=dtype), affine=place, notes=notes)


def _check_archive(path: Path, *, max_voxels: int) -> None:
    """Refuse an npz that unpacks to too much, or whose arrays claim more than the archive holds."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > max_voxels * 8:
            raise UnreadableVolumeError(f"the archive unpacks to {size} bytes, more than is allowed")
        for entry in archive.infolist():
            with archive.open(entry) as stream:
                shape, dtype = array_header(stream)
            claimed = dtype.itemsize
            for length in shape:
                claimed *= length
            if claimed > entry.file_size:
                raise UnreadableVolumeError(
                    "truncated or damaged: its header claims more voxels than it can hold"
                )
