"""Volume: voxels and their place in the patient; and what a volume must not be."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from voxmix.errors import InputError

MIN_SLICES = 3


class UnreadableVolumeError(InputError):
    """A volume that cannot be used. The message is the reason alone: no path, no text of the header."""


class SeveralVolumesError(UnreadableVolumeError):
    """A file with several volumes, of which none was chosen; ``what`` counts them."""

    def __init__(self, what: str, *, advice: str = "list them with voxmix manifest") -> None:
        super().__init__(f"4D: {what}; {advice}")
        self.what = what


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Volume:
    """Voxels as stored (scaled to their unit) and the affine from voxel index to RAS+ millimeters.

    ``notes`` says what was assumed or corrected, e.g. that the file has no geometry.
    """

    data: Shaped[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    notes: tuple[str, ...] = ()


def spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without last axes of one voxel beyond the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def pick(data: Shaped[np.ndarray, "..."], volume: int | None) -> Shaped[np.ndarray, "x y z"]:
    """Return the one volume of an array, or the one of several that was chosen."""
    shape = spatial_shape(data.shape)
    return data.reshape(shape)[..., volume] if len(shape) > 3 else data.reshape(shape)


def check_shape(shape: tuple[int, ...], *, max_voxels: int, volume: int | None = None) -> None:
    """Refuse what is not one 3D volume of bearable size, before any voxel is read.

    ``volume`` chooses along a fourth axis; without it four axes are refused.

    Raises:
        UnreadableVolumeError: with the reason.
    """
    if not shape or min(shape) < 1:
        raise UnreadableVolumeError(f"the header claims the shape {shape}")
    spatial = spatial_shape(shape)
    count = 1
    for size in spatial:
        count *= int(size)
    if count > max_voxels:
        raise UnreadableVolumeError(f"{count} voxels are more than the {max_voxels} that are allowed")
    if len(spatial) > 4:
        times = " x ".join(str(size) for size in spatial[3:])
        raise UnreadableVolumeError(
            f"{len(spatial)} axes: {times} values in every voxel (vectors?); save one of them as an image of its own"
        )
    if len(spatial) > 3:
        times = str(spatial[3])
        if volume is None:
            raise SeveralVolumesError(f"{times} volumes in one file")
        if volume >= spatial[3]:
            raise UnreadableVolumeError(f"volume {volume} was asked for, the file has {times} (from 0)")
    elif volume:
        raise UnreadableVolumeError(f"volume {volume} was asked for, the file has one (0)")
    if len(spatial) < 3 or min(spatial[:3]) == 1:
        raise UnreadableVolumeError("2D: a volume needs three axes")
    if min(spatial[:3]) < MIN_SLICES:
        raise UnreadableVolumeError(
            f"only {min(spatial[:3])} slices along one axis; at least {MIN_SLICES} needed"
        )


MAX_DEFLATE_RATIO = 1100  # deflate cannot do better than 1032:1


def check_regular(path: Path) -> None:
    """Refuse what would hold up its reader for ever: pipes, sockets and devices; and folders.

    Raises:
        UnreadableVolumeError: it is no file.
        OSError: there is none, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UnreadableVolumeError("a folder where a file is expected")
    if not stat.S_ISREG(mode):
        raise UnreadableVolumeError("a pipe or a device, not a file")


def check_bytes(path: Path, claimed: int, *, packed: bool) -> None:
    """Refuse a header that claims more voxels than the file can hold."""
    held = path.stat().st_size * (MAX_DEFLATE_RATIO if packed else 1)
    if claimed > held:
        raise UnreadableVolumeError("truncated or damaged: its header claims more voxels than it can hold")


def check_voxel_type(dtype: np.dtype[Any]) -> None:
    """Refuse voxels that are not single numbers."""
    if dtype.fields is not None:
        raise UnreadableVolumeError("color image (RGB); give a gray one")
    if dtype.kind == "c":
        raise UnreadableVolumeError("complex voxels; give the magnitude")
    if dtype.kind not in "iufb":
        raise UnreadableVolumeError(f"voxels of type {dtype.name} are not numbers")


def check_affine(affine: Float[np.ndarray, "4 4"]) -> None:
    """Refuse a place in the patient that cannot be."""
    if not np.all(np.isfinite(affine)):
        raise UnreadableVolumeError("the header's geometry holds values that are not numbers")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < 1e-3 or spacing.max() > 100:
        shown = " x ".join(f"{value:.4g}" for value in spacing)
        raise UnreadableVolumeError(f"voxels of {shown} mm are not plausible (0.001 to 100)")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-2:
        raise UnreadableVolumeError("the header's axes do not span space")


def axes_in_words(affine: Float[np.ndarray, "4 4"]) -> str:
    """Return where the three axes point, such as "left, anterior, superior"; the axes lie along those of the patient."""
    words = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
    columns = affine[:3, :3].T
    places = [int(np.abs(column).argmax()) for column in columns]
    return ", ".join(
        words[place][int(column[place] > 0)] for column, place in zip(columns, places, strict=True)
    )
