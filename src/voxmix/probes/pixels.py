"""Images as an encoder must see them: resized, cropped at the center, in the order and by the filter of its contract."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

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


def tiles_of(shape: tuple[int, ...], contract: Contract, *, native: bool = False) -> tuple[Frame, ...]:
    """Return the frames that together show all of an image: as few along each axis as cover it, evenly apart.

    One, the image's own frame, where its resized image is no larger than what the encoder sees.
    """
    whole = frame_of(shape, contract, native=native)
    places = [
        [corner]
        if long <= edge
        else [round(k * (long - edge) / (-(-long // edge) - 1)) for k in range(-(-long // edge))]
        for long, edge, corner in zip(whole.resized, whole.edges, whole.corner, strict=True)
    ]
    return tuple(replace(whole, corner=corner) for corner in product(*places))


def fitted(
    image: Float[np.ndarray, "*edge"], contract: Contract, *, native: bool = False
) -> Float[np.ndarray, "*crop"]:
    """Return an image in [0, 1] as an encoder sees it, float32; its backbone repeats channels and normalizes."""
    frame = frame_of(tuple(image.shape), contract, native=native)
    return _cropped(resized_pixels(image, frame, contract), frame)


def fitted_tiles(
    image: Float[np.ndarray, "*edge"], frames: Sequence[Frame], contract: Contract
) -> Float[np.ndarray, "tile *crop"]:
    """Return the parts of an image that its tiles show, as :func:`fitted` returns the middle."""
    values = resized_pixels(image, frames[0], contract)
    return np.stack([_cropped(values, frame) for frame in frames])


def resized_pixels(
    image: Float[np.ndarray, "*edge"], frame: Frame, contract: Contract
) -> Float[np.ndarray, "*resized"]:
    """Return an image in [0, 1] resized as a frame says, float32.

    Two axes are resized by Pillow, on bytes, by the filter of the contract: exactly what the checkpoints' own code does (a
    filter may overshoot, and bytes are cut off after each of its two passes). Three are resized linearly between voxels, after
    an average where they become fewer.
    """
    values = np.asarray(image, dtype=np.float32)
    if frame.resized != frame.shape:
        values = (
            _resized_image(values, frame, contract) if values.ndim == 2 else _resized_volume(values, frame)
        )
    clipped: np.ndarray = np.clip(values, 0.0, 1.0)
    return clipped


def fitted_mask(mask: Bool[np.ndarray, "*edge"], frames: Sequence[Frame]) -> Bool[np.ndarray, "tile *crop"]:
    """Return a mask on the pixels that the tiles of its image show, by nearest neighbor."""
    frame = frames[0]
    values = np.asarray(mask, dtype=np.bool_)
    for axis, (old, new) in enumerate(zip(frame.shape, frame.resized, strict=True)):
        if old != new:
            places = np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.int64), old - 1)
            values = np.take(values, places, axis=axis)
    return np.stack([_cropped(values, one) for one in frames])


def put_back(
    tiles: Float[np.ndarray, "tile channel *crop"], frames: Sequence[Frame]
) -> Float[np.ndarray, "channel *edge"]:
    """Return what is known of each tile's pixels on the grid of the image: their mean where tiles overlap, linear between pixels."""
    frame, channels = frames[0], tiles.shape[1]
    padded = tuple(max(long, edge) for long, edge in zip(frame.resized, frame.edges, strict=True))
    total, count = np.zeros((channels, *padded), dtype=np.float32), np.zeros(padded, dtype=np.float32)
    for tile, one in zip(tiles, frames, strict=True):
        here = tuple(
            slice(max(first, 0), max(first, 0) + edge)
            for first, edge in zip(one.corner, one.edges, strict=True)
        )
        total[(slice(None), *here)] += tile
        count[here] += 1
    before = [_padding(long, edge)[0] for long, edge in zip(frame.resized, frame.edges, strict=True)]
    inner = tuple(slice(first, first + long) for first, long in zip(before, frame.resized, strict=True))
    mean = (total / count)[(slice(None), *inner)]
    if frame.resized != frame.shape:
        mode = "bilinear" if len(frame.shape) == 2 else "trilinear"
        mean = interpolate(torch.from_numpy(mean)[None], size=frame.shape, mode=mode, align_corners=False)[
            0
        ].numpy()
    found: np.ndarray = mean
    return found


def _padding(long: int, edge: int) -> tuple[int, int]:
    """Return the pixels that are added before and after an axis that is too short."""
    missing = max(edge - long, 0)
    return missing // 2 + missing % 2, missing // 2


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
    missing = [_padding(long, edge) for edge, long in zip(frame.edges, values.shape, strict=True)]
    if any(sum(both) for both in missing):
        values = np.pad(values, missing)
    low = [max(corner, 0) for corner in frame.corner]
    return np.ascontiguousarray(
        values[tuple(slice(first, first + edge) for first, edge in zip(low, frame.edges, strict=True))]
    )
