"""The way back: what a model says on prepared voxels, as NIfTI on the grid of the file it came from."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from voxmix._io import atomic_path, naming_full_disk
from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.volumes.grids.geometry import Geometry, restore
from voxmix.volumes.manifest import VolumeRecord
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume, volume_key
from voxmix.volumes.reading.content_digest import record_digest


def write_prediction(data: Shaped[np.ndarray, "x y z"], geometry: Geometry, path: Path) -> None:
    """Write prepared voxels as NIfTI (``.nii`` or ``.nii.gz``) with shape and affine of the original file.

    Whole numbers (a predicted label map) go by nearest neighbor and keep their type, float16 becomes float32;
    see :func:`voxmix.volumes.grids.geometry.restore`. The file lies over the original in any viewer, whatever the
    original's format was.

    Raises:
        InputError: the array does not have the prepared shape, its type is no number, or the name does not
            end in .nii or .nii.gz.
        VoxmixError: the disk is full or cannot be written.
    """
    nibabel = require("nibabel", extra="imaging")
    suffix = next((end for end in (".nii.gz", ".nii") if path.name.endswith(end)), None)
    if suffix is None:
        raise InputError(f"{path} should end in .nii or .nii.gz; other formats are not written")
    if data.dtype.kind not in "iufb":
        raise InputError(
            f"voxels of type {data.dtype} are not numbers; give a label map or one value per voxel"
        )
    image: Any = nibabel.Nifti1Image(_storable(restore(data, geometry)), geometry.file_grid[1])
    image.header.set_xyzt_units("mm")
    with naming_full_disk(path.parent), atomic_path(path) as temporary:
        # nibabel chooses the format by the name, and the temporary file has another.
        named = temporary.with_name(temporary.name + suffix)
        try:
            image.to_filename(named)
            named.replace(temporary)
        finally:
            named.unlink(missing_ok=True)


def _storable(data: Shaped[np.ndarray, "x y z"]) -> Shaped[np.ndarray, "x y z"]:
    """Return the voxels in a type that NIfTI readers know: no float16, no bool, no 64-bit integers."""
    if data.dtype.kind == "f":
        return data.astype(np.float64 if data.dtype == np.float64 else np.float32)
    if data.dtype.kind == "b" or data.dtype.itemsize < 8:
        return data.astype(np.uint8) if data.dtype.kind == "b" else data
    if data.size and (data.min() < -(2**31) or data.max() >= 2**31):
        raise InputError("whole numbers beyond 2^31 cannot be written; give labels as uint8 or uint16")
    return data.astype(np.int32)


def find_prepared(cache: PreparedCache, record: VolumeRecord) -> PreparedVolume:
    """Return the prepared volume of a file: by its bytes, because a cache knows no paths.

    Raises:
        InputError: the cache does not hold that file in that domain.
    """
    key = volume_key(record_digest(record), cache.recipe.volume_digest(record.domain))
    for volume in cache.volumes:
        if (volume.domain, volume.key) == (record.domain, key):
            return volume
    raise InputError(
        f"{record.path} is not among the prepared volumes of domain {record.domain}; give the very file that was "
        f"prepared, and one of the domains {list(cache.domains)}"
    )


def find_key(cache: PreparedCache, key: str) -> PreparedVolume:
    """Return the prepared volume of that key, or of the only key that starts so.

    Raises:
        InputError: there is none, or several.
    """
    found = [volume for volume in cache.volumes if volume.key.startswith(key)]
    if len({volume.key for volume in found}) != 1 or not key:
        raise InputError(
            f"{len(found)} prepared volumes have a key that starts with {key!r}; give one whole key"
        )
    return found[0]


def read_prediction(path: Path) -> Shaped[np.ndarray, "x y z"]:
    """Return the array of an ``.npy`` file; pickles are refused.

    Raises:
        InputError: no such file, or no plain array of three axes.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; give an array that numpy.save wrote") from None
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path} is not a plain .npy array; write one with numpy.save") from None
    if not isinstance(array, np.ndarray) or array.ndim != 3:
        raise InputError(f"{path} should hold one array of three axes; write one file per volume")
    return array
