"""Stacks: npz files that hold many small volumes, one per row, as MedMNIST lays them out."""

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from voxmix.volumes.volume import SeveralVolumesError, UnreadableVolumeError, check_shape

_ARRAYS = ("train_images", "val_images", "test_images")
"""Arrays of a stack in the order in which its volumes count."""


def part_sizes(path: Path) -> dict[str, int]:
    """Return how many volumes every array of a stack holds, from the arrays' headers alone; {} for no stack."""
    sizes: dict[str, int] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in _ARRAYS:
                if f"{name}.npy" in archive.namelist():
                    with archive.open(f"{name}.npy") as stream:
                        shape, _ = array_header(stream)
                    if len(shape) == 4:
                        sizes[name] = shape[0]
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return sizes


def stack_classes(path: Path) -> tuple[str, ...]:
    """Return the class of every volume of a stack, in the order of its volumes; () where it names none."""
    found: list[str] = []
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name, count in part_sizes(path).items():
                labels = archive[name.replace("_images", "_labels")].reshape(count, -1)
                found += [" ".join(str(int(value)) for value in row) for row in labels]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return ()
    return tuple(found)


def array_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return (shape, type) of the array that starts here, by its header alone.

    Raises:
        ValueError: it is no array that numpy.save wrote.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def stack_volume(path: Path, volume: int | None, *, max_voxels: int) -> Shaped[np.ndarray, "x y z"]:
    """Return one volume of a stack, counted from 0 through training, validation and test.

    Raises:
        UnreadableVolumeError: none was chosen, or there are fewer.
    """
    sizes = part_sizes(path)
    total = sum(sizes.values())
    if volume is None:
        raise SeveralVolumesError(f"{total} volumes in one file")
    for name, count in sizes.items():
        if volume < count:
            stack = _stack(str(path), path.stat().st_mtime_ns, name)
            check_shape(stack.shape[1:], max_voxels=max_voxels)
            return np.asarray(stack[volume])
        volume -= count
    raise UnreadableVolumeError(f"volume {volume + total} was asked for, the file has {total} (from 0)")


@lru_cache(maxsize=1)
def _stack(path: str, changed: int, name: str) -> Shaped[np.ndarray, "volume x y z"]:
    """Return one whole array: a stack is read once per process, not once per volume."""
    with np.load(path, allow_pickle=False) as archive:
        stack: np.ndarray = archive[name]
    return stack
