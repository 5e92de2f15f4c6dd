"""The transformer block of images and texts: pre-norm attention and a hidden layer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, silu

from voxmix.encoders.attention import attend
from voxmix.encoders.drop_path import branch
from voxmix.encoders.patches import take

START = 0.02
"""Standard deviation of starting matrices (CLIP, DINOv2)."""


def quick_gelu(rows: Float[Tensor, "*row feature"]) -> Float[Tensor, "*row feature"]:
    """Return CLIP's approximation of gelu."""
    return rows * torch.sigmoid(1.702 * rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockShape:
    """What the blocks of one network share.

    Attributes:
        hidden: width of the hidden layer.
        gated: whether that is SwiGLU's, gate first (Shazeer 2020).
        eps: of the layer norms.
        qkv_bias: whether queries, keys and values have a bias.
        layer_scale: start of the scale of each branch (LayerScale, Touvron et al. 2021); 0 for none.
    """

    width: int
    heads: int
    hidden: int
    gated: bool = False
    eps: float = 1e-6
    qkv_bias: bool = True
    activation: Callable[[Tensor], Tensor] = gelu
    layer_scale: float = 0.0


class Block(nn.Module):
    """A pre-norm transformer block: attention and a hidden layer, each scaled, each left out now and then (drop path).

    Args:
        place: number of the block; with drop path its own draws.
        drop_path: share of the draws that go without a branch.
    """

    def __init__(self, shape: BlockShape, *, place: int, drop_path: float = 0.0) -> None:
        super().__init__()
        width = shape.width
        self.heads, self.gated, self.activation = shape.heads, shape.gated, shape.activation
        self.place, self.drop_path = place, drop_path
        self.norm1 = nn.LayerNorm(width, eps=shape.eps)
        self.qkv = nn.Linear(width, 3 * width, bias=shape.qkv_bias)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=shape.eps)
        self.fc1 = nn.Linear(width, 2 * shape.hidden if shape.gated else shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, width)
        self.scale1: nn.Parameter | None = None
        self.scale2: nn.Parameter | None = None
        if shape.layer_scale:
            self.scale1 = nn.Parameter(torch.full((width,), float(shape.layer_scale)))
            self.scale2 = nn.Parameter(torch.full((width,), float(shape.layer_scale)))

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        keys: Int[Tensor, " batch"] | None = None,
        *,
        seen: Bool[Tensor, "batch 1 1 token"] | None = None,
        causal: bool = False,
        few: Int[Tensor, "batch few"] | None = None,
    ) -> Float[Tensor, "batch some width"]:
        """Return the tokens after the block.

        Args:
            keys: what drop path draws from, see :meth:`voxmix.encoders.backbone.Backbone.keyed`.
            seen: tokens that are attended to; all by default.
            causal: whether a token sees only itself and those before it.
            few: places of the tokens to return; all by default. Of the others only what these attend to is computed: for one
                token a sixth of the block.
        """
        normed = self.norm1(tokens)
        if few is None:
            mixed = self._attend(normed, seen, causal)
        else:
            mixed = self._attend_few(normed, few, seen, causal)
            tokens = take(tokens, few)
        tokens = tokens + self._branch(self.proj, mixed, self.scale1, keys, 0)
        return tokens + self._branch(self.fc2, self._hidden(self.norm2(tokens)), self.scale2, keys, 1)

    def _attend(
        self,
        tokens: Float[Tensor, "batch token width"],
        seen: Bool[Tensor, "batch 1 1 token"] | None,
        causal: bool,
    ) -> Float[Tensor, "batch token width"]:
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        mixed = attend(query, key, value, seen=seen, causal=causal)
        return mixed.transpose(1, 2).reshape(batch, count, width)

    def _attend_few(
        self,
        tokens: Float[Tensor, "batch token width"],
        few: Int[Tensor, "batch few"],
        seen: Bool[Tensor, "batch 1 1 token"] | None,
        causal: bool,
    ) -> Float[Tensor, "batch few width"]:
        batch, count, width = tokens.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        first, rest = (None, None) if bias is None else (bias[:width], bias[width:])
        query = linear(take(tokens, few), weight[:width], first)
        both = linear(tokens, weight[width:], rest)
        query = query.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
        key, value = (
            both.view(batch, count, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind()
        )
        if causal:
            before = torch.arange(count, device=few.device) <= few.unsqueeze(2)
            seen = before.unsqueeze(1) if seen is None else seen & before.unsqueeze(1)
        mixed = attend(query, key, value, seen=seen)
        return mixed.transpose(1, 2).reshape(batch, -1, width)

    def _hidden(self, tokens: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token hidden"]:
        rows: Tensor = self.fc1(tokens)
        if self.gated:
            gate, value = rows.chunk(2, dim=-1)
            return silu(gate) * value
        return self.activation(rows)

    def _branch(
        self,
        layer: nn.Linear,
        rows: Float[Tensor, "batch token feature"],
        scale: nn.Parameter | None,
        keys: Int[Tensor, " batch"] | None,
        half: int,
    ) -> Float[Tensor, "batch token width"]:
        """Return what a branch adds: the last layer's output, scaled. The layer's weights are, since tokens are more."""
        if scale is None:
            rows = layer(rows)
        else:
            rows = linear(rows, scale.unsqueeze(1) * layer.weight, scale * layer.bias)
        if self.training and self.drop_path > 0:
            rows = branch(rows, rate=self.drop_path, keys=keys, place=2 * self.place + half)
        return rows


def start_matrices(module: nn.Module) -> None:
    """Draw the matrices of every linear layer (normal, :data:`START`, cut at two deviations); biases are 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=START)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
