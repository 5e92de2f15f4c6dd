"""Image: the pixels of one film, bright where much was absorbed, and what an image must not be."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.volumes.volume import UnreadableVolumeError

MAX_PIXELS = 100_000_000
"""The largest films have about 25 million."""

MIN_EDGE = 16
MAX_ASPECT = 8.0
"""What is smaller or longer is an icon, a ruler or a strip of annotation, not a film."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Image:
    """Pixels of one film as float32, from the top row down, in the file's own unit; bone is bright.

    ``spacing_mm`` is the distance of pixel centers along rows and columns (down, across), None where the file does
    not say. ``notes`` say what was assumed or mended, without names. ``risks`` say what may be a shortcut or a name in the
    pixels: burned-in text by the header, colored marks. ``view`` is what the header calls it, "" where it does not.
    """

    pixels: Float[np.ndarray, "row column"]
    spacing_mm: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    view: str = ""


def check_size(shape: tuple[int, ...], *, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse what is not one film of bearable size, before a pixel is decoded.

    Raises:
        UnreadableVolumeError: with the reason.
    """
    if len(shape) > 2:
        axes = " x ".join(str(size) for size in shape)
        raise UnreadableVolumeError(
            f"{len(shape)} axes ({axes}): a volume or several images; a study of images takes 2D images, one in each file"
        )
    if len(shape) < 2 or min(shape) < 1:
        raise UnreadableVolumeError(f"the file claims the shape {shape}; an image needs rows and columns")
    if shape[0] * shape[1] > max_pixels:
        raise UnreadableVolumeError(
            f"{shape[0]} x {shape[1]} pixels are more than the {max_pixels} that are allowed"
        )
    if min(shape) < MIN_EDGE:
        raise UnreadableVolumeError(
            f"only {shape[1]} x {shape[0]} pixels; an image has at least {MIN_EDGE} along each edge"
        )
    if max(shape) > MAX_ASPECT * min(shape):
        raise UnreadableVolumeError(
            f"{shape[1]} x {shape[0]} pixels: more than {MAX_ASPECT:g} times as long as wide, which is no image of a body"
        )
