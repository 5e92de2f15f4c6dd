"""DaViT (Ding et al. 2022): stages of windows over places and of attention over channels; MedImageInsight's image tower.

The two styles differ in the kernel that halves the resolution, and in which of query, key and value does what in the attention
over channels, and its scale: ``paper`` is the published code's, ``florence`` Florence-2's and MedImageInsight's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from voxmix.backbone_rows import DavitSettings
from voxmix.encoders.attention import attend
from voxmix.encoders.backbone import Backbone, Features
from voxmix.encoders.block import START, start_matrices
from voxmix.encoders.drop_path import branch
from voxmix.errors import InputError
from voxmix.grid import edges_in_words

_EPS = 1e-5
_STEM = 4  # pixels a token at the first stage; half as many tokens along each axis at every later one
_HIDDEN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class DavitStyle:
    """What weights fix beyond sizes: the ``kernel`` that halves the resolution, and whose channel attention it is."""

    kernel: int
    scaled_by_places: bool


DAVIT_STYLES = {
    "florence": DavitStyle(kernel=3, scaled_by_places=True),
    "paper": DavitStyle(kernel=2, scaled_by_places=False),
}


class Reduction(nn.Module):
    """A convolution to fewer places: at the first stage of pixels and normed after, else normed before."""

    def __init__(self, channels: int, width: int, *, first: bool, kernel: int) -> None:
        super().__init__()
        self.first = first
        if first:
            self.conv = nn.Conv2d(channels, width, 7, stride=_STEM, padding=3)
        else:
            self.conv = nn.Conv2d(channels, width, kernel, stride=2, padding=kernel // 2 if kernel % 2 else 0)
        self.norm = nn.LayerNorm(width if first else channels, eps=_EPS)

    def forward(self, image: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch width row column"]:
        if self.first:
            return _normed(self.conv(image), self.norm)
        return cast(Tensor, self.conv(_normed(image, self.norm)))


class HalfBlock(nn.Module):
    """Position by a depthwise convolution, attention, position again, a hidden layer; what attends is the subclass's."""

    def __init__(self, width: int, heads: int, *, place: int, drop_path: float) -> None:
        super().__init__()
        self.heads, self.place, self.drop_path = heads, place, drop_path
        self.position1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.position2 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.fc1 = nn.Linear(width, _HIDDEN * width)
        self.fc2 = nn.Linear(_HIDDEN * width, width)

    def forward(
        self, image: Float[Tensor, "batch width row column"], keys: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch width row column"]:
        rows = _last(image + self.position1(image))
        rows = rows + self._kept(self.attend(self.norm1(rows)), keys, 0)
        image = _first(rows)
        rows = _last(image + self.position2(image))
        rows = rows + self._kept(self.fc2(gelu(self.fc1(self.norm2(rows)))), keys, 1)
        return _first(rows)

    def attend(
        self, rows: Float[Tensor, "batch row column width"]
    ) -> Float[Tensor, "batch row column width"]:
        """Return what is attended to, projected."""
        raise NotImplementedError

    def _kept(
        self, rows: Float[Tensor, "batch row column width"], keys: Int[Tensor, " batch"] | None, half: int
    ) -> Float[Tensor, "batch row column width"]:
        if self.training and self.drop_path > 0:
            return branch(rows, rate=self.drop_path, keys=keys, place=2 * self.place + half)
        return rows

    def _parts(self, rows: Float[Tensor, "some place width"]) -> Float[Tensor, "3 some head place feature"]:
        some, count, width = rows.shape
        parts = self.qkv(rows).view(some, count, 3, self.heads, width // self.heads)
        return cast(Tensor, parts.permute(2, 0, 3, 1, 4))


class SpatialBlock(HalfBlock):
    """Places attend to those of their window; a window that the image does not fill is filled with zeros, as theirs is."""

    def __init__(self, width: int, heads: int, *, window: int, place: int, drop_path: float) -> None:
        super().__init__(width, heads, place=place, drop_path=drop_path)
        self.window = window

    def attend(
        self, rows: Float[Tensor, "batch row column width"]
    ) -> Float[Tensor, "batch row column width"]:
        """Return what is attended to, projected."""
        batch, height, across, width = rows.shape
        edge = self.window
        filled = pad(rows, (0, 0, 0, -across % edge, 0, -height % edge))
        down, right = filled.shape[1] // edge, filled.shape[2] // edge
        windows = filled.view(batch, down, edge, right, edge, width).permute(0, 1, 3, 2, 4, 5)
        query, key, value = self._parts(windows.reshape(-1, edge * edge, width)).unbind()
        mixed = attend(query, key, value).transpose(1, 2)
        mixed = self.proj(mixed.reshape(-1, edge * edge, width))
        whole = mixed.view(batch, down, right, edge, edge, width).permute(0, 1, 3, 2, 4, 5)
        whole = whole.reshape(filled.shape)
        return cast(Tensor, whole[:, :height, :across])


class ChannelBlock(HalfBlock):
    """Channels of a group attend to each other, over all places."""

    def __init__(self, width: int, heads: int, *, style: DavitStyle, place: int, drop_path: float) -> None:
        super().__init__(width, heads, place=place, drop_path=drop_path)
        self.style = style

    def attend(
        self, rows: Float[Tensor, "batch row column width"]
    ) -> Float[Tensor, "batch row column width"]:
        """Return what is attended to, projected."""
        batch, height, across, width = rows.shape
        count = height * across
        first, second, third = self._parts(rows.reshape(batch, count, width)).unbind()
        if self.style.scaled_by_places:
            near, with_, mixed, scale = first, second, third, count**-0.5
        else:
            near, with_, mixed, scale = second, third, first, (width // self.heads) ** -0.5
        share = ((near * scale).transpose(-1, -2) @ with_).softmax(dim=-1)
        # (share @ mixed^T)^T: one product instead of two copies.
        found = (mixed @ share.transpose(-1, -2)).transpose(1, 2).reshape(batch, height, across, width)
        return cast(Tensor, self.proj(found))


class Pair(nn.Module):
    """One spatial and one channel block."""

    def __init__(self, settings: DavitSettings, stage: int, *, place: int, drop_path: float) -> None:
        super().__init__()
        width, heads, style = settings.dims[stage], settings.heads[stage], DAVIT_STYLES[settings.style]
        self.spatial = SpatialBlock(
            width, heads, window=settings.window, place=2 * place, drop_path=drop_path
        )
        self.channel = ChannelBlock(width, heads, style=style, place=2 * place + 1, drop_path=drop_path)

    def forward(
        self, image: Float[Tensor, "batch width row column"], keys: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch width row column"]:
        return cast(Tensor, self.channel(self.spatial(image, keys), keys))


class Davit(Backbone):
    """Dual attention vision transformer; ``cls`` is the normed mean of the last map, as its classifiers and MedImageInsight use it."""

    settings: DavitSettings

    def __init__(self, settings: DavitSettings) -> None:
        super().__init__(settings)
        dims, kernel = settings.dims, DAVIT_STYLES[settings.style].kernel
        self.reductions = nn.ModuleList(
            Reduction(before, width, first=stage == 0, kernel=kernel)
            for stage, (before, width) in enumerate(zip((settings.channels, *dims), dims, strict=False))
        )
        places = iter(range(sum(settings.depths)))
        step = settings.drop_path / max(sum(settings.depths) - 1, 1)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                Pair(settings, stage, place=place, drop_path=step * place)
                for place in (next(places) for _ in range(depth))
            )
            for stage, depth in enumerate(settings.depths)
        )
        self.mask_token = nn.Parameter(torch.zeros(dims[0]))
        self.norm = nn.LayerNorm(dims[-1], eps=_EPS)

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.settings.dims[-1]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The pairs of blocks from the input up."""
        return [pair for stage in self.stages for pair in cast(nn.ModuleList, stage)]

    def cells(self, edges: tuple[int, ...]) -> tuple[int, ...]:
        """Return the places of the last map along each axis of an image of these edges.

        Raises:
            InputError: no whole number of places.
        """
        patch = _STEM * 2 ** (len(self.settings.dims) - 1)
        if any(edge < patch or edge % patch for edge in edges):
            raise InputError(
                f"davit of {len(self.settings.dims)} stages takes edges that are a multiple of {patch}, got "
                f"{edges_in_words(edges)}"
            )
        return tuple(edge // patch for edge in edges)

    def forward(
        self, pixels: Float[Tensor, "batch channel *edge"], hidden: Bool[Tensor, "batch token"] | None = None
    ) -> Features:
        """Return features; a ``hidden`` place of the last map is hidden in the pixels, and its tokens are the mask token."""
        *_, (_, last) = self._through(pixels, hidden)
        return self._features(last)

    def layers(self, pixels: Float[Tensor, "batch channel *edge"], last: int = 1) -> list[Features]:
        """Return the normed features of the ``last`` pairs of blocks, all of the last stage, the topmost last.

        Raises:
            InputError: the last stage has not so many; those before it have another width, and no norm.
        """
        depth = self.settings.depths[-1]
        if not 1 <= last <= depth:
            raise InputError(
                f"this davit has features of its last 1 to {depth} blocks, got {last}; those of other stages are maps"
            )
        states = [image for stage, image in self._through(pixels) if stage == len(self.settings.dims) - 1]
        return [self._features(image) for image in states[-last:]]

    def map(self, pixels: Float[Tensor, "batch channel *edge"]) -> list[Float[Tensor, "batch width *cell"]]:
        """Return the last map of each stage, the finest first; the last one normed."""
        found = dict(self._through(pixels))
        *lower, top = (found[stage] for stage in sorted(found))
        return [*lower, _normed(top, self.norm)]

    def level(self, name: str) -> int:
        """Return how far from the input a parameter is: 0 for pixels to tokens, what leads to a stage goes with its first pair."""
        parts, depths = name.split("."), self.settings.depths
        if parts[0] == "stages":
            return sum(depths[: int(parts[1])]) + int(parts[2]) + 1
        if parts[0] == "reductions" and parts[1] != "0":
            return sum(depths[: int(parts[1])]) + 1
        return sum(depths) + 1 if parts[0] == "norm" else 0

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator: matrices as the published code's, kernels as torch's."""
        start_matrices(self)
        nn.init.trunc_normal_(self.mask_token, std=START)

    def _through(
        self, pixels: Float[Tensor, "batch channel *edge"], hidden: Bool[Tensor, "batch token"] | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield (stage, map) after each pair of blocks."""
        cells = self.cells(tuple(pixels.shape[2:]))
        image = self.prepared(pixels).contiguous()
        cover = None
        if hidden is not None:
            assert hidden.shape[1] == prod(cells)
            cover = hidden.view(-1, 1, *cells)
            image = torch.where(_blown_up(cover, image), 0.0, image)
        for stage, pairs in enumerate(self.stages):
            image = self.reductions[stage](image)
            if stage == 0 and cover is not None:
                token = self.mask_token.view(1, -1, 1, 1).to(image.dtype)
                image = torch.where(_blown_up(cover, image), token, image)
            for pair in cast(nn.ModuleList, pairs):
                image = pair(image, self._keys)
                yield stage, image

    def _features(self, image: Float[Tensor, "batch width row column"]) -> Features:
        rows = image.flatten(2).transpose(1, 2)
        return Features(cls=self.norm(rows.mean(dim=1)), patches=self.norm(rows))


def _blown_up(
    cover: Bool[Tensor, "batch 1 row column"], image: Float[Tensor, "batch width y x"]
) -> Bool[Tensor, "batch 1 y x"]:
    times = [whole // part for whole, part in zip(image.shape[2:], cover.shape[2:], strict=True)]
    return cover.repeat_interleave(times[0], dim=2).repeat_interleave(times[1], dim=3)


def _normed(
    image: Float[Tensor, "batch width row column"], norm: nn.LayerNorm
) -> Float[Tensor, "batch width row column"]:
    return _first(norm(_last(image)))


def _last(image: Float[Tensor, "batch width row column"]) -> Float[Tensor, "batch row column width"]:
    return image.permute(0, 2, 3, 1)


def _first(rows: Float[Tensor, "batch row column width"]) -> Float[Tensor, "batch width row column"]:
    return rows.permute(0, 3, 1, 2)
