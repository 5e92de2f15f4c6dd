"""Masks from frozen maps: a feature pyramid, a linear map of each level, summed; fitted by Dice and cross-entropy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from voxmix._optional import require
from voxmix.probes.side_by_side import Choice, Stack, batch_of, fit_side_by_side

_BATCH = 8
_HIDDEN = 128
"""Most channels of a level that is finer than the map it is made from."""
_START = 0.01
_RAREST = 1e-3
"""Least share of pixels that a mask is expected to have at the start."""
_LINEAR = {2: "bilinear", 3: "trilinear"}


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each cell."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Float[Tensor, "case width *cell"]) -> Float[Tensor, "case width *cell"]:
        """Return the image with each cell normed."""
        found: Tensor = self.norm(image.movedim(1, -1)).movedim(-1, 1)
        return found


class PyramidHead(nn.Module):
    """Maps to one logit for each mask and cell of the finest level.

    Of one map, as a ViT has it, levels of 4, 2, 1 and 1/2 times its resolution are made: the finer ones by transposed
    convolutions, which learn what lies where within a patch (the simple feature pyramid of Li et al. 2022, arXiv
    2203.16527), the coarser one by a maximum. Several maps, as the stages of a DaViT, are the levels themselves.
    """

    def __init__(
        self, widths: Sequence[int], *, axes: int, masks: int, start: Float[Tensor, " mask"], seed: int
    ) -> None:
        super().__init__()
        up, most = (nn.ConvTranspose2d, nn.MaxPool2d) if axes == 2 else (nn.ConvTranspose3d, nn.MaxPool3d)
        self.mode = _LINEAR[axes]
        self.made = len(widths) == 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            levels: list[nn.Module] = [nn.Identity() for _ in widths]
            outputs = list(widths)
            if self.made:
                width, small = widths[0], min(widths[0], _HIDDEN)
                twice = nn.Sequential(up(width, small, 2, stride=2), ChannelNorm(small), nn.GELU())
                levels = [
                    nn.Sequential(
                        up(width, small, 2, stride=2),
                        ChannelNorm(small),
                        nn.GELU(),
                        up(small, small, 2, stride=2),
                    ),
                    twice,
                    nn.Identity(),
                    most(2, ceil_mode=True),
                ]
                outputs = [small, small, width, width]
            self.levels = nn.ModuleList(levels)
            self.norms = nn.ModuleList(ChannelNorm(width) for width in outputs)
            self.linear = nn.ParameterList(
                nn.Parameter(_START * torch.randn(masks, width)) for width in outputs
            )
        self.bias = nn.Parameter(start.clone())

    def forward(self, maps: Sequence[Float[Tensor, "case _ ..."]]) -> Float[Tensor, "case mask *finest"]:
        """Return logits at the finest level."""
        images = list(maps) * len(self.levels) if self.made else maps
        total: Tensor | None = None
        for level, norm, linear, image in zip(self.levels, self.norms, self.linear, images, strict=True):
            found = torch.einsum("nc...,mc->nm...", norm(level(image)), linear)
            if total is None:
                total = found
            else:
                total = total + interpolate(found, size=total.shape[2:], mode=self.mode, align_corners=False)
        assert total is not None
        return total + self.bias.view(-1, *(1,) * (total.ndim - 2))

    def at(
        self, maps: Sequence[Float[Tensor, "case _ ..."]], edges: tuple[int, ...]
    ) -> Float[Tensor, "case mask *edge"]:
        """Return logits of each pixel that the encoder saw."""
        return interpolate(self(maps), size=edges, mode=self.mode, align_corners=False)


def dice_and_entropy(
    logits: Float[Tensor, "case mask *edge"],
    wanted: Float[Tensor, "case mask *edge"],
    known: Bool[Tensor, "case mask"],
) -> Float[Tensor, ""]:
    """Return the Dice loss of MONAI plus the binary cross-entropy, means over masks and pixels; what is not known is left out.

    Dice is taken over the whole batch, so that a mask that few images have still counts. Where nothing is known it is 0, and
    so are its gradients.
    """
    losses = require("monai.losses", extra="train")
    inside = known.view(*known.shape, *(1,) * (logits.ndim - 2)).to(logits.dtype)
    masks, pixels = known.any(dim=0).sum(), known.sum() * wanted[0, 0].numel()
    dice = losses.DiceLoss(batch=True, reduction="none")(logits.sigmoid() * inside, wanted * inside)
    entropy = binary_cross_entropy_with_logits(logits, wanted, reduction="none") * inside
    total: Tensor = dice.sum() / masks.clamp(min=1) + entropy.sum() / pixels.clamp(min=1)
    return total


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedMasks:
    """Masks of many images on equal grids, eight pixels to a byte, and which of them are known.

    Attributes:
        edges: of the grid.
        bits: 0 where a mask is not known.
        known: which masks are.
    """

    edges: tuple[int, ...]
    bits: Shaped[np.ndarray, "case mask byte"]
    known: Bool[np.ndarray, "case mask"]

    @classmethod
    def of(
        cls, masks: Sequence[Sequence[Bool[np.ndarray, "*edge"] | None]], edges: tuple[int, ...]
    ) -> "PackedMasks":
        """Return the masks of each image, None for one that is not known."""
        none = np.zeros(edges, dtype=np.bool_)
        rows = [
            np.packbits([(none if mask is None else mask).ravel() for mask in own], axis=1) for own in masks
        ]
        known = np.array([[mask is not None for mask in own] for own in masks], dtype=np.bool_)
        return cls(edges=edges, bits=np.stack(rows), known=known)

    def at(self, index: Int[np.ndarray, " some"]) -> Bool[np.ndarray, "some mask *edge"]:
        """Return the masks of some images."""
        size = int(np.prod(self.edges))
        flat = np.unpackbits(self.bits[index], axis=2, count=size)
        return flat.reshape(*flat.shape[:2], *self.edges).astype(np.bool_)

    def start(self) -> Float[Tensor, " mask"]:
        """Return the logit of the share of pixels that each mask has: where a head begins."""
        size = np.prod(self.edges) * self.known.sum(axis=0).clip(1)
        inside = np.array([np.unpackbits(self.bits[:, mask]).sum() for mask in range(self.bits.shape[1])])
        share = torch.from_numpy(np.clip(inside / size, _RAREST, 0.5))
        return share.logit().float()


class PyramidStack(Stack):
    """Pyramid heads over the same maps.

    Args:
        maps: of each level, the finest first; may lie on disk.
        places: where the stack's images stand among those of the maps.
        masks: of the stack's images, on what the encoder saw.
    """

    def __init__(
        self,
        maps: Sequence[Float[np.ndarray, "image _ ..."]],
        places: Int[np.ndarray, " case"],
        masks: PackedMasks,
        *,
        heads: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.maps, self.places, self.masks = maps, places, masks
        widths, axes, count = [level.shape[1] for level in maps], len(masks.edges), masks.known.shape[1]
        start = masks.start()
        self.heads = nn.ModuleList(
            PyramidHead(widths, axes=axes, masks=count, start=start, seed=seed) for _ in range(heads)
        )

    def losses(self, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, " head"], float]:
        """Return the Dice and cross-entropy of each head."""
        own = index.numpy()
        wanted = torch.from_numpy(self.masks.at(own)).float()
        known = torch.from_numpy(self.masks.known[own])
        maps = maps_at(self.maps, self.places[own])
        each = []
        for head in self.heads:
            assert isinstance(head, PyramidHead)
            each.append(dice_and_entropy(head.at(maps, self.masks.edges), wanted, known))
        return torch.stack(each), float(known.sum())


def maps_at(
    maps: Sequence[Float[np.ndarray, "image _ ..."]], places: Int[np.ndarray, " some"]
) -> list[Float[Tensor, "some _ ..."]]:
    """Return the maps of some images in 32 bits."""
    return [torch.from_numpy(np.asarray(level[places], dtype=np.float32)) for level in maps]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PyramidFit:
    """A fitted head, and what was chosen."""

    head: PyramidHead
    edges: tuple[int, ...]
    choice: Choice

    @torch.no_grad()
    def logits(
        self, maps: Sequence[Float[np.ndarray, "image _ ..."]], places: Int[np.ndarray, " some"]
    ) -> Float[np.ndarray, "some mask *edge"]:
        """Return the logits of each pixel that the encoder saw, of some images."""
        found = [
            self.head.at(maps_at(maps, places[first : first + _BATCH]), self.edges)
            for first in range(0, len(places), _BATCH)
        ]
        whole: np.ndarray = torch.cat(found).numpy()
        return whole


def fit_pyramid(
    maps: Sequence[Float[np.ndarray, "image _ ..."]],
    places: Int[np.ndarray, " case"],
    masks: PackedMasks,
    held: Bool[np.ndarray, " case"],
    *,
    rates: Sequence[float],
    epochs: int,
    seed: int,
) -> PyramidFit:
    """Return a pyramid head fitted on training images, with the rate and the epochs that persons held out have chosen.

    Args:
        maps: one for a ViT, one of each stage for a DaViT, the finest first.
        places: where the training images stand among those of the maps.
        masks: of the training images, on what the encoder saw.
        held: which of them choose; those of persons of their own.
        rates, epochs, seed: as :class:`voxmix.probe_tasks.ProbeSettings` has them.

    Raises:
        InputError: nothing is known of the images that choose.
    """

    def make(heads: int) -> Stack:
        return PyramidStack(maps, places, masks, heads=heads, seed=seed)

    batch = batch_of(len(held), most=_BATCH)
    stack, choice = fit_side_by_side(make, held, rates=rates, epochs=epochs, seed=seed, batch=batch)
    head = stack.heads[0]
    assert isinstance(head, PyramidHead)
    return PyramidFit(head=head, edges=masks.edges, choice=choice)
