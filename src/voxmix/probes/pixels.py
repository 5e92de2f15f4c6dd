"""Images as an encoder must see them: resized, cropped at the center, in the order and by the filter of its contract."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch.nn.functional import interpolate

from voxmix.encoders.contract import Contract
from voxmix.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Where what an encoder sees lies in an image.

    Attributes:
        shape: of the image.
        resized: its shape after resizing.
        corner: first pixel of the crop in the resized image; below 0 where the image is smaller and is padded with 0.
        edges: of the crop.
    """

    shape: tuple[int, ...]
    resized: tuple[int, ...]
    corner: tuple[int, ...]
    edges: tuple[int, ...]


def frame_of(shape: tuple[int, ...], contract: Contract, *, native: bool = False) -> Frame:
    """Return the frame of an image of a shape.

    The shorter side becomes the contract's, the longer one keeps the proportion, rounded down (as transformers' and
    torchvision's resizing do). ``native``: not resized, because the encoder learned from crops at the images' own spacing.

    Raises:
        InputError: an image without pixels.
    """
    if not shape or min(shape) < 1:
        raise InputError(f"an image of shape {list(shape)} has no pixels; take it out of the table")
    short = min(shape)
    resized = shape if native else tuple(int(contract.shorter_side * edge / short) for edge in shape)
    edges = (contract.image,) * len(shape)
    corner = tuple((long - edge) // 2 for long, edge in zip(resized, edges, strict=True))
    return Frame(shape=shape, resized=resized, corner=corner, edges=edges)


def fitted(
    image: Float[np.ndarray, "*edge"], contract: Contract, *, native: bool = False
) -> Float[np.ndarray, "*crop"]:
    """Return an image in [0, 1] as an encoder sees it, float32; its backbone repeats channels and normalizes.

    Two axes are resized by Pillow, on bytes, by the filter of the contract: exactly what the checkpoints' own code does (a
    filter may overshoot, and bytes are cut off after each of its two passes). Three are resized linearly between voxels, after
    an average where they become fewer.
    """
    frame = frame_of(tuple(image.shape), contract, native=native)
    values = np.asarray(image, dtype=np.float32)
    if frame.resized != frame.shape:
        values = (
            _resized_image(values, frame, contract) if values.ndim == 2 else _resized_volume(values, frame)
        )
    return _cropped(np.clip(values, 0.0, 1.0), frame)


def fitted_mask(
    mask: Bool[np.ndarray, "*edge"], contract: Contract, *, native: bool = False
) -> Bool[np.ndarray, "*crop"]:
    """Return a mask on the pixels that an encoder sees, by nearest neighbor."""
    frame = frame_of(tuple(mask.shape), contract, native=native)
    values = np.asarray(mask, dtype=np.bool_)
    for axis, (old, new) in enumerate(zip(frame.shape, frame.resized, strict=True)):
        if old != new:
            places = np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
            values = np.take(values, places, axis=axis)
    return _cropped(values, frame)


def _resized_image(values: np.ndarray, frame: Frame, contract: Contract) -> np.ndarray:
    import PIL.Image

    rows, columns = frame.resized
    how = getattr(PIL.Image.Resampling, contract.resample.upper())
    levels = PIL.Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
    return np.asarray(levels.resize((columns, rows), how), dtype=np.float32) / np.float32(255)


def _resized_volume(values: np.ndarray, frame: Frame) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    smaller = tuple(min(old, new) for old, new in zip(frame.shape, frame.resized, strict=True))
    if smaller != frame.shape:
        tensor = interpolate(tensor, size=smaller, mode="area")
    if smaller != frame.resized:
        tensor = interpolate(tensor, size=frame.resized, mode="trilinear", align_corners=False)
    found: np.ndarray = tensor[0, 0].numpy()
    return found


def _cropped(values: np.ndarray, frame: Frame) -> np.ndarray:
    missing = [max(edge - long, 0) for edge, long in zip(frame.edges, values.shape, strict=True)]
    if any(missing):
        values = np.pad(values, [(less // 2 + less % 2, less // 2) for less in missing])
    low = [max(corner, 0) for corner in frame.corner]
    return np.ascontiguousarray(
        values[tuple(slice(first, first + edge) for first, edge in zip(low, frame.edges, strict=True))]
    )
