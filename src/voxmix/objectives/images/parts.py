"""Random parts of images, and how they become views of one size: one affine map each, in 2D and 3D alike."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, avg_pool3d, grid_sample

from voxmix.training.transfer import send


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewKind:
    """Some views of each draw, of one size.

    Attributes:
        count: views of each draw.
        edge: of a view, in pixels.
        area: smallest and largest part of the image that is seen.
    """

    count: int
    edge: int
    area: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """A part of each image, in pixels of the image.

    Attributes:
        center: its middle; 0 is the outer edge of the first pixel.
        half: half of its edges.
        turn: rotation matrix from the axes of the view to those of the image.
    """

    center: Float[np.ndarray, "part axis"]
    half: Float[np.ndarray, "part axis"]
    turn: Float[np.ndarray, "part axis axis"]


def part_columns(axes: int) -> int:
    """Return how many random numbers a part takes: its area, its edges, its place, its angles."""
    return 1 + 2 * axes + _angles(axes)


def draw_parts(
    u: Float[np.ndarray, "part column"],
    shapes: Int[np.ndarray, "part axis"],
    *,
    area: tuple[float, float],
    aspect: float,
    degrees: float,
) -> Parts:
    """Return a part of each image, from uniform numbers.

    Area is uniform in ``area``; the logarithms of the edges differ by at most that of ``aspect`` (RandomResizedCrop). A part
    that would not fit shrinks until it does, and keeps its aspect. Its place is uniform where it fits; then it turns about its
    middle by at most ``degrees``, in 3D about each axis. Nothing is mirrored.
    """
    axes = shapes.shape[1]
    low, high = area
    size, edges, place, angle = np.split(u, [1, 1 + axes, 1 + 2 * axes], axis=1)
    share = low + (high - low) * size
    log = math.log(aspect) * (edges - 0.5)
    log = log - log.mean(axis=1, keepdims=True)
    edge = (share * shapes.prod(axis=1, keepdims=True)) ** (1 / axes) * np.exp(log)
    edge = edge * np.minimum((shapes / edge).min(axis=1, keepdims=True), 1)
    center = edge / 2 + place * (shapes - edge)
    return Parts(center=center, half=edge / 2, turn=_turns(math.radians(degrees) * (2 * angle - 1), axes))


def _angles(axes: int) -> int:
    return axes * (axes - 1) // 2


def _turns(angles: Float[np.ndarray, "part angle"], axes: int) -> Float[np.ndarray, "part axis axis"]:
    """Return rotations by an angle in the plane of each pair of axes, one after the other."""
    turns = np.broadcast_to(np.eye(axes), (len(angles), axes, axes))
    pairs = [(i, j) for i in range(axes) for j in range(i + 1, axes)]
    for number, (i, j) in enumerate(pairs):
        one = np.broadcast_to(np.eye(axes), turns.shape).copy()
        cos, sin = np.cos(angles[:, number]), np.sin(angles[:, number])
        one[:, i, i], one[:, j, j], one[:, i, j], one[:, j, i] = cos, cos, -sin, sin
        turns = turns @ one
    return turns


def see(
    canvas: Float[Tensor, "draw *edge"],
    shapes: Int[np.ndarray, "draw axis"],
    parts: Parts,
    *,
    edge: int,
    finer: int = 1,
) -> Float[Tensor, "draw view *size"]:
    """Return views of ``edge`` pixels of each draw's image, which lies in the first corner of the canvas.

    Linear between pixels; outside the image its outermost pixels go on. ``parts`` has those of the first draw first, equally
    many of each. With ``finer`` above 1, that many samples along each axis are averaged, against aliasing where parts are
    larger than views.
    """
    draws, *extent = canvas.shape
    axes, fine = len(extent), edge * finer
    views = len(parts.center) // draws
    size = np.array(extent, dtype=np.float64)
    ends = np.stack([1 / size - 1 + 0 * shapes, (2 * shapes - 1) / size - 1])[:, :, ::-1]
    sent = send({"matrices": _matrices(parts, extent), "ends": ends.astype(np.float32)}, canvas.device)
    grid = affine_grid(
        sent["matrices"],
        [draws * views, 1, *(fine,) * axes],
        align_corners=False,
    ).view(draws, views * fine, *(fine,) * (axes - 1), axes)
    low, high = sent["ends"].to(grid.dtype).view(2, draws, *(1,) * axes, axes)
    grid = torch.minimum(torch.maximum(grid, low), high)
    seen = grid_sample(
        canvas.unsqueeze(1), grid, mode="bilinear", padding_mode="border", align_corners=False
    ).view(draws * views, 1, *(fine,) * axes)
    if finer > 1:
        seen = (avg_pool2d if axes == 2 else avg_pool3d)(seen, finer)
    return seen.view(draws, views, *(edge,) * axes)


def _matrices(parts: Parts, extent: list[int]) -> Float[np.ndarray, "part axis more"]:
    """Return the maps from a view to the canvas, as ``affine_grid`` takes them: last axis first, from -1 to 1."""
    size = np.array(extent, dtype=np.float64)
    linear = parts.turn * parts.half[:, None, :] * (2 / size)[:, None]
    shift = 2 * parts.center / size - 1
    both = np.concatenate([linear[:, ::-1, ::-1], shift[:, ::-1, None]], axis=2)
    return both.astype(np.float32)


def samples_per_pixel(shape: tuple[int, ...], kind: ViewKind) -> int:
    """Return how many samples along each axis a pixel of a view needs, for the largest part of an image of this shape."""
    largest = min((kind.area[1] * math.prod(shape)) ** (1 / len(shape)), *shape)
    return max(1, round(float(largest) / kind.edge))
