"""Vision transformer with a class token, in 2D and 3D: DINOv2's, CLIP's and voxmix's own encoder by one class.

Sources: Dosovitskiy et al. 2020; LayerScale, Touvron et al. 2021; registers, Darcet et al. 2023; SwiGLU, Shazeer 2020;
DINOv2, Oquab et al. 2023.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from voxmix.backbone_rows import VitSettings
from voxmix.encoders.backbone import Backbone, Features
from voxmix.encoders.block import START, Block, BlockShape, quick_gelu, start_matrices
from voxmix.encoders.mae import sincos_positions
from voxmix.encoders.patches import take
from voxmix.encoders.positions import Resize, resized_positions
from voxmix.errors import InputError
from voxmix.grid import edges_in_words

_POSITION_SCALE = 0.2  # of a sine-cosine table: near the size of a patch's embedding at the start


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What weights fix beyond sizes.

    Attributes:
        eps: of every layer norm.
        qkv_bias: whether queries, keys and values have a bias.
        patch_bias: whether the patch embedding has one.
        class_token: whether there is one; without, the mean of the patches' features stands for it.
        norm_before: whether tokens are normed before the first block.
        activation: of the hidden layers of kind mlp.
        resize: how positions become those of another size.
    """

    eps: float = 1e-6
    qkv_bias: bool = True
    patch_bias: bool = True
    class_token: bool = True
    norm_before: bool = False
    activation: Callable[[Tensor], Tensor] = gelu
    resize: Resize = "cubic"


STYLES = {
    "dinov2": Style(),
    "dinov2-registers": Style(resize="cubic-antialias"),
    "clip": Style(eps=1e-5, patch_bias=False, norm_before=True, activation=quick_gelu),
    "clip-gelu": Style(eps=1e-5, patch_bias=False, norm_before=True),
    "mae": Style(eps=1e-5, qkv_bias=False, class_token=False, resize="linear-corners"),
}


def hidden_width(settings: VitSettings) -> int:
    """Return the width of the hidden layer of a block: of kind swiglu two thirds, a multiple of 8, as DINOv2's."""
    hidden = int(settings.width * settings.mlp_ratio + 1e-6)  # a ratio may come from two whole numbers
    return (int(hidden * 2 / 3) + 7) // 8 * 8 if settings.ffn == "swiglu" else hidden


def _shape(settings: VitSettings) -> BlockShape:
    style = STYLES[settings.style]
    return BlockShape(
        width=settings.width,
        heads=settings.heads,
        hidden=hidden_width(settings),
        gated=settings.ffn == "swiglu",
        eps=style.eps,
        qkv_bias=style.qkv_bias,
        activation=style.activation,
        layer_scale=settings.layer_scale,
    )


class Vit(Backbone):
    """Vision transformer: patches, a class token and registers through pre-norm blocks.

    The tokens are (class, registers, patches). Positions are those of ``settings.image`` and are resized for images of
    other edges, as the style says.
    """

    settings: VitSettings

    def __init__(self, settings: VitSettings) -> None:
        super().__init__(settings)
        self.style = style = STYLES[settings.style]
        width, grid = settings.width, settings.grid
        patch = (settings.patch,) * settings.axes
        self.patch_embedding = nn.ParameterDict(
            {"weight": nn.Parameter(torch.zeros(width, settings.channels, *patch))}
            | ({"bias": nn.Parameter(torch.zeros(width))} if style.patch_bias else {})
        )
        self.cls_token = nn.Parameter(torch.zeros(width)) if style.class_token else None
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.register_tokens = (
            nn.Parameter(torch.zeros(settings.registers, width)) if settings.registers else None
        )
        self.position_embeddings = nn.Parameter(torch.zeros(grid.patches + style.class_token, width))
        self.norm_before = nn.LayerNorm(width, eps=style.eps) if style.norm_before else None
        shape, step = _shape(settings), settings.drop_path / max(settings.depth - 1, 1)
        self.layer = nn.ModuleList(
            Block(shape, place=place, drop_path=step * place) for place in range(settings.depth)
        )
        self.norm = nn.LayerNorm(width, eps=style.eps)

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.settings.width

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks from the input up."""
        return list(self.layer)

    def cells(self, edges: tuple[int, ...]) -> tuple[int, ...]:
        """Return the patches along each axis of an image of these edges.

        Raises:
            InputError: no whole number of patches.
        """
        patch = self.settings.patch
        if any(edge < patch or edge % patch for edge in edges):
            raise InputError(
                f"vit with patches of {patch} pixels takes edges that are a multiple of it, got {edges_in_words(edges)}"
            )
        return tuple(edge // patch for edge in edges)

    def forward(
        self, pixels: Float[Tensor, "batch channel *edge"], hidden: Bool[Tensor, "batch token"] | None = None
    ) -> Features:
        """Return features; a ``hidden`` patch is replaced by the mask token before it is seen."""
        return self._features(self._top(self._embedded(pixels, hidden)))

    def forward_at(
        self,
        pixels: Float[Tensor, "batch channel *edge"],
        index: Int[Tensor, "batch few"] | None = None,
        hidden: Bool[Tensor, "batch token"] | None = None,
    ) -> Features:
        """Return features with those of the patches at ``index`` alone; the last block computes no others."""
        if self.cls_token is None:  # the mean of all patches stands for it
            return super().forward_at(pixels, index, hidden)
        tokens = self._embedded(pixels, hidden)
        few = torch.zeros(len(tokens), 1, dtype=torch.int64, device=tokens.device)
        if index is not None:
            few = torch.cat([few, index + 1 + self.settings.registers], dim=1)
        *below, last = self.layer
        for block in below:
            tokens = block(tokens, self._keys)
        normed = cast(Tensor, self.norm(last(tokens, self._keys, few=few)))
        return Features(cls=normed[:, 0], patches=normed[:, 1:])

    def forward_visible(
        self, pixels: Float[Tensor, "batch channel *edge"], index: Int[Tensor, "batch visible"]
    ) -> Features:
        """Return features of the patches at ``index``; the others are left out and cost nothing."""
        return self._features(self._top(self._embedded(pixels, index=index)))

    def layers(self, pixels: Float[Tensor, "batch channel *edge"], last: int = 1) -> list[Features]:
        """Return the normed features of the ``last`` blocks, the topmost last.

        Raises:
            InputError: there are not so many.
        """
        depth = self.settings.depth
        if not 1 <= last <= depth:
            raise InputError(f"vit of depth {depth} has features of its last 1 to {depth} blocks, got {last}")
        tokens = self._embedded(pixels)
        return [
            self._features(state)
            for place, state in enumerate(self._through(tokens), start=1)
            if place > depth - last
        ]

    def map(self, pixels: Float[Tensor, "batch channel *edge"]) -> list[Float[Tensor, "batch width *cell"]]:
        """Return the patches' features as one image."""
        patches = self(pixels).patches
        cells = self.cells(tuple(pixels.shape[2:]))
        return [patches.transpose(1, 2).reshape(len(patches), self.width, *cells)]

    def level(self, name: str) -> int:
        """Return how far from the input a parameter is: 0 below the blocks, depth + 1 above them."""
        parts = name.split(".")
        if parts[0] == "layer":
            return int(parts[1]) + 1
        return self.settings.depth + 1 if parts[0] == "norm" else 0

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator.

        Matrices as DINOv2's (normal, 0.02, cut at two deviations); the patch embedding Xavier-uniform (He et al. 2022), and
        positions from a table of sines, so that a short run need not learn where patches are.
        """
        start_matrices(self)
        nn.init.xavier_uniform_(self.patch_embedding["weight"].flatten(1))
        for token in (self.cls_token, self.register_tokens):
            if token is not None:
                nn.init.trunc_normal_(token, std=START)
        nn.init.trunc_normal_(self.mask_token, std=START)
        codes = _POSITION_SCALE * sincos_positions(self.settings.grid, self.width)
        with torch.no_grad():
            self.position_embeddings[-len(codes) :].copy_(codes)

    def _embedded(
        self,
        pixels: Float[Tensor, "batch channel *edge"],
        hidden: Bool[Tensor, "batch token"] | None = None,
        index: Int[Tensor, "batch visible"] | None = None,
    ) -> Float[Tensor, "batch all width"]:
        """Return the tokens below the first block."""
        cells = self.cells(tuple(pixels.shape[2:]))
        rows = self._rows(self.prepared(pixels), cells)
        lead = int(self.style.class_token)
        places = resized_positions(
            self.position_embeddings[lead:], self.settings.grid.cells, cells, how=self.style.resize
        )
        if index is not None:
            rows, where = take(rows, index), places[index]
        else:
            where = places.unsqueeze(0)
        embed = self.patch_embedding
        tokens = linear(rows, embed["weight"].flatten(1), embed["bias"] if self.style.patch_bias else None)
        if hidden is not None:
            tokens = torch.where(hidden.unsqueeze(2), self.mask_token.to(tokens.dtype), tokens)
        tokens = tokens + where
        first = []
        if self.cls_token is not None:
            first.append((self.cls_token + self.position_embeddings[0]).unsqueeze(0))
        if self.register_tokens is not None:
            first.append(self.register_tokens)
        if first:
            front = torch.cat(first).to(tokens.dtype).expand(len(tokens), -1, -1)
            tokens = torch.cat([front, tokens], dim=1)
        return tokens if self.norm_before is None else cast(Tensor, self.norm_before(tokens))

    def _rows(
        self, pixels: Float[Tensor, "batch channel *edge"], cells: tuple[int, ...]
    ) -> Float[Tensor, "batch token value"]:
        """Return one row per patch, its values in the order of a convolution's kernel."""
        batch, channels, axes, patch = *pixels.shape[:2], len(cells), self.settings.patch
        both = [size for cell in cells for size in (cell, patch)]
        blocks = pixels.reshape(batch, channels, *both)
        blocks = blocks.permute(0, *range(2, 2 * axes + 2, 2), 1, *range(3, 2 * axes + 2, 2))
        return blocks.reshape(batch, -1, channels * patch**axes)

    def _through(self, tokens: Float[Tensor, "batch all width"]) -> Iterator[Tensor]:
        """Yield the tokens after each block."""
        for block in self.layer:
            tokens = block(tokens, self._keys)
            yield tokens

    def _top(self, tokens: Float[Tensor, "batch all width"]) -> Float[Tensor, "batch all width"]:
        """Return the tokens after the last block."""
        for after in self._through(tokens):
            tokens = after
        return tokens

    def _features(self, tokens: Float[Tensor, "batch all width"]) -> Features:
        normed = cast(Tensor, self.norm(tokens))
        lead = int(self.style.class_token)
        patches = normed[:, lead + self.settings.registers :]
        return Features(cls=normed[:, 0] if lead else patches.mean(dim=1), patches=patches)
