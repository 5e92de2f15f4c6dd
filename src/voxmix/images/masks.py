"""Masks of images: which columns name them, what their files may hold, and their way to the grid of the prepared image."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from voxmix._io import name_fault
from voxmix.images.image import MAX_PIXELS, check_size
from voxmix.images.pictures import picture_format, read_picture
from voxmix.images.table_columns import plain_name
from voxmix.volumes.reading.kinds import look
from voxmix.volumes.reading.npz_stacks import array_header
from voxmix.volumes.reading.read import check_archive, reasons_in_words
from voxmix.volumes.volume import UnreadableVolumeError, check_regular, check_voxel_type

ASIDE = "a mask that is left out, its image is kept: "
"""How reasons of masks begin."""
_FILES = (".png", ".npz", ".npy", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".nii", ".gz", ".dcm")
"""How cells end that name a file; the first three are read, the others set aside with a reason."""
_UNNAMED = "arr_0"
"""What NumPy calls an array that was given no name."""


def mask_columns(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """Return the columns that name files of masks: their names end in mask or masks, and their cells name files.

    >>> mask_columns(["image", "lung_mask", "wears mask"], [{"lung_mask": "m/1.png", "wears mask": "1"}])
    ('lung_mask',)
    """
    return tuple(
        name
        for name in columns
        if plain_name(name).split(" ")[-1] in ("mask", "masks")
        and any(row.get(name, "").lower().endswith(_FILES) for row in rows)
    )


def mask_name(column: str) -> str:
    """Return what the only mask of a column's files is called: the column without its ending.

    >>> [mask_name(column) for column in ("lung_mask", "mask", "heartMasks")]
    ['lung', 'mask', 'heart']
    """
    return re.sub(r"[\W_]*masks?$", "", column, flags=re.IGNORECASE) or column


def read_masks(
    path: Path, column: str, *, max_pixels: int = MAX_PIXELS
) -> dict[str, Bool[np.ndarray, "row column"]]:
    """Return the masks of a PNG or NumPy file, by name.

    A PNG, a npy or an npz of one array without a name is one mask, called as its column. An npz of named arrays has a mask for
    each. The higher of two values is inside; where there is one value, 0 is outside and anything else inside.

    Raises:
        UnreadableVolumeError: damaged, of another kind, more than two values, several axes or sizes; the message is the
            reason, without path.
    """
    with reasons_in_words():
        arrays = _arrays(path, max_pixels=max_pixels)
    if not arrays:
        raise UnreadableVolumeError("an npz without an array")
    if set(arrays) <= {"", _UNNAMED}:
        arrays = {mask_name(column): next(iter(arrays.values()))}
    if fault := next((fault for name in arrays if (fault := name_fault(name))), ""):
        raise UnreadableVolumeError(f"the name of one of its arrays {fault}")
    if len({array.shape for array in arrays.values()}) > 1:
        raise UnreadableVolumeError("its arrays are of different sizes")
    return {" ".join(name.split()): _inside(array) for name, array in arrays.items()}


def _arrays(path: Path, *, max_pixels: int) -> dict[str, Shaped[np.ndarray, "row column"]]:
    if path.is_dir():
        raise UnreadableVolumeError("a folder where a file is expected")
    check_regular(path)
    if path.stat().st_size == 0:
        raise UnreadableVolumeError("the file is empty")
    kind = picture_format(path)
    if kind == "PNG":
        return {"": read_picture(path, kind=kind, max_pixels=max_pixels).pixels}
    if kind:
        raise UnreadableVolumeError("a JPEG, which blurs a mask; save it as PNG")
    found = look(path).kind
    if found == "npz":
        check_archive(path, max_voxels=max_pixels)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name != "spacing"}
    elif found == "npy":
        with path.open("rb") as stream:
            shape, dtype = array_header(stream)
        check_voxel_type(dtype)
        check_size(shape, max_pixels=max_pixels)
        arrays = {"": np.load(path, allow_pickle=False)}
    else:
        raise UnreadableVolumeError("neither PNG nor npz; save it as one of them")
    for array in arrays.values():
        check_voxel_type(array.dtype)
        check_size(array.shape, max_pixels=max_pixels)
    return arrays


def _inside(array: Shaped[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    if array.dtype == np.bool_:
        return array
    if not np.isfinite(array).all():
        raise UnreadableVolumeError("it holds values that are not numbers")
    low, high = array.min(), array.max()
    if low == high:
        return np.full(array.shape, bool(high != 0))
    inside: np.ndarray = array == high
    if not np.all(inside | (array == low)):
        count = len(np.unique(array))
        raise UnreadableVolumeError(
            f"it holds {count} values, and a mask has two; give each structure a mask of its own"
        )
    return inside


def fitted(
    mask: Bool[np.ndarray, "row column"], image: tuple[int, int], shape: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Return a mask on the grid of the prepared image: the value at the nearest of its pixels.

    The prepared image shows the whole of the file's, so the mask is laid over the whole of it too.

    Args:
        mask: on the grid of the image's file, or another of the same aspect.
        image: rows and columns of the file's image.
        shape: rows and columns of the prepared image.

    Raises:
        UnreadableVolumeError: its aspect is another than the image's, by more than a pixel.
    """
    rows, columns = mask.shape
    wide, high = rows * image[1] / image[0], columns * image[0] / image[1]
    if abs(columns - wide) > 1 and abs(rows - high) > 1:
        raise UnreadableVolumeError(
            f"it has {columns} x {rows} pixels and its image {image[1]} x {image[0]}: another aspect, so that it cannot lie on it"
        )
    down, right = (
        np.minimum(((np.arange(size) + 0.5) * own / size).astype(np.int64), own - 1)
        for size, own in zip(shape, mask.shape, strict=True)
    )
    found: np.ndarray = mask[down[:, None], right]
    return found
