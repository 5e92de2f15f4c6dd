"""Volume: voxels and their place in the patient; and what a volume must not be."""

from dataclasses import dataclass

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

    ``notes`` says what was assumed or mended, e.g. that the file has no geometry.
    """

    data: Shaped[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    notes: tuple[str, ...] = ()


def spatial_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without last axes of one voxel beyond the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


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
    if len(spatial) > 3:
        times = " x ".join(str(size) for size in spatial[3:])
        if len(spatial) > 4 or volume is None:
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
