"""NIfTI, Analyze and MGH by nibabel, chosen by their bytes; what their headers leave open is said in notes."""

import gzip
import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix._optional import require
from voxmix.volumes.reading.detached_voxels import data_files, pair_voxels
from voxmix.volumes.reading.kinds import Head, is_packed
from voxmix.volumes.volume import (
    UnreadableVolumeError,
    Volume,
    axes_in_words,
    check_affine,
    check_bytes,
    check_shape,
    check_voxel_type,
    spatial_shape,
)

KINDS = ("nifti", "nifti2", "analyze", "mgh")
_MILLIMETERS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_Affine = Float[np.ndarray, "4 4"]
_Placed = tuple[_Affine, tuple[str, ...]]


def read_nifti(
    path: Path, head: Head, *, volume: int | None, max_voxels: int, dtype: type[np.float32] | None
) -> Volume:
    """Return the image of a file of one of :data:`KINDS`.

    Raises:
        UnreadableVolumeError: with the reason; other errors are nibabel's.
    """
    with open_image(path, head) as image:
        dtype_held = image.header.get_data_dtype()
        check_voxel_type(dtype_held)
        shape = tuple(int(size) for size in image.voxels.shape)
        check_shape(shape, max_voxels=max_voxels, volume=volume)
        holder = pair_voxels(path, head) or path
        claimed = int(np.prod(shape, dtype=np.int64)) * dtype_held.itemsize
        check_bytes(holder, claimed, packed=is_packed(holder))
        if holder == path and head.kind != "mgh" and image.voxels.offset < image.header.sizeof_hdr:
            raise UnreadableVolumeError("damaged: by its header the voxels begin within the header")
        affine, notes = place(image, head)
        chosen = image.voxels[:, :, :, volume] if len(spatial_shape(shape)) > 3 else image.voxels
        data = np.asarray(chosen, dtype=dtype)
        for packed in image.packed:
            _check_sum(packed)
    return Volume(data=data.reshape(data.shape[:3]), affine=affine, notes=notes)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedImage:
    """A file of nibabel: its header, the voxels before they are read, and the affine where nibabel decides it.

    ``packed`` are the open files that gzip packs.
    """

    header: Any
    voxels: Any
    affine: _Affine | None
    packed: Sequence[gzip.GzipFile] = ()


def _check_sum(packed: gzip.GzipFile) -> None:
    """Read on to the end, where gzip keeps the checksum of what was read; nibabel stops before it.

    A file that ends within the checksum, or holds more than gzip behind it, has all its voxels.

    Raises:
        UnreadableVolumeError: the checksum differs.
    """
    try:
        while packed.read(1 << 20):
            pass
    except EOFError:
        return
    except gzip.BadGzipFile as error:
        if "Not a gzipped file" not in str(error):
            raise UnreadableVolumeError("damaged: it cannot be unpacked") from None


@contextmanager
def open_image(path: Path, head: Head) -> Iterator[OpenedImage]:
    """Yield what a file holds, whatever it is called; voxels are read while it is open.

    Raises:
        UnreadableVolumeError: a file that its header says is missing; other errors are nibabel's.
    """
    nibabel = require("nibabel", extra="imaging")
    side, voxels = data_files(path)[1:], pair_voxels(path, head)
    kind = _image_class(nibabel, head, is_pair=voxels is not None)
    with ExitStack() as stack:
        stack.enter_context(_silent(nibabel))

        packed: list[gzip.GzipFile] = []

        def stream(file: Path) -> Any:
            if not is_packed(file):
                return stack.enter_context(file.open("rb"))
            packed.append(stack.enter_context(gzip.open(file)))
            return packed[-1]

        if head.kind in ("nifti", "nifti2"):
            header = kind.header_class.from_fileobj(stream(path))
            voxels_held = kind.ImageArrayProxy(stream(voxels or path), header)
            yield OpenedImage(header=header, voxels=voxels_held, affine=None, packed=packed)
            return
        files = {"image": stream(voxels or path), "header": stream(path)}
        files["mat"] = stream(side[0]) if side else io.BytesIO()
        image = kind.from_file_map({name: nibabel.FileHolder(fileobj=file) for name, file in files.items()})
        yield OpenedImage(
            header=image.header,
            voxels=image.dataobj,
            affine=np.array(image.affine, dtype=np.float64),
            packed=packed,
        )


@contextmanager
def _silent(nibabel: Any) -> Iterator[None]:
    """Odd headers are common and nibabel prints what is in them; those values that are used are checked."""
    logger = nibabel.imageglobals.logger
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _image_class(nibabel: Any, head: Head, *, is_pair: bool) -> Any:
    """Return nibabel's class; of the three kinds of Analyze the one that nibabel tries first."""
    if head.kind == "mgh":
        return nibabel.MGHImage
    if head.kind == "nifti":
        return nibabel.Nifti1Pair if is_pair else nibabel.Nifti1Image
    if head.kind == "nifti2":
        return nibabel.Nifti2Pair if is_pair else nibabel.Nifti2Image
    if not is_pair:
        raise UnreadableVolumeError("its header is that of a pair (Analyze); name it .hdr, next to its .img")
    return nibabel.Spm2AnalyzeImage


def place(image: OpenedImage, head: Head) -> _Placed:
    """Return the affine to RAS mm, and what was assumed for it."""
    if image.affine is None:
        return _forms(image.header, head)
    axes = axes_in_words(image.affine)
    if head.kind == "analyze":
        return image.affine, (f"Analyze headers have no orientation: axes taken as {axes}",)
    known = struct.unpack(">h", head.start[28:30])[0] != 0
    note = f"the header has no geometry: voxels of 1 mm, axes taken as {axes}"
    return image.affine, () if known else (note,)


def _forms(header: Any, head: Head) -> _Placed:
    """Return the sform, else the qform, of those that can be; without either what nibabel takes.

    Raises:
        UnreadableVolumeError: the header has forms and none can be.
    """
    unit = int(header["xyzt_units"]) % 8
    to_mm = np.diag([_MILLIMETERS.get(unit, 1.0)] * 3 + [1.0])
    notes = () if unit in _MILLIMETERS else ("the header's unit of length is unknown: taken as mm",)
    sform, why = _form(header, "sform", to_mm)
    if sform is not None:
        return sform, notes
    qform, why_not = _form(header, "qform", to_mm)
    if qform is None and (why or why_not):
        raise UnreadableVolumeError(why or why_not)
    # nibabel mends these in the header, without a word.
    size = type(header)(binaryblock=head.start[: header.sizeof_hdr], check=False)["pixdim"][1:4]
    if np.any(size <= 0):
        notes = (*notes, "a voxel size of 0 or below in the header was taken as 1 mm, or without its sign")
    if qform is not None:
        return qform, (
            *notes,
            *([f"the header's sform cannot be used ({why}): its qform was"] if why else []),
        )
    affine = to_mm @ np.array(header.get_base_affine(), dtype=np.float64)
    return affine, (*notes, f"the header has no orientation: axes taken as {axes_in_words(affine)}")


def _form(header: Any, name: str, to_mm: _Affine) -> tuple[_Affine | None, str]:
    """Return one of the two forms in mm, or None and why the header's cannot be; no reason where it has none."""
    if header[f"{name}_code"] == 0:
        return None, ""
    try:
        affine = to_mm @ np.array(getattr(header, f"get_{name}")(), dtype=np.float64)
        check_affine(affine)
    except UnreadableVolumeError as error:
        return None, str(error)
    except (ValueError, np.linalg.LinAlgError):  # A quaternion longer than 1 turns nothing.
        return None, f"the header's {name} is no rotation"
    return affine, ""
