"""Text transformer: a report's tokens to one vector, as CLIP's and MedImageInsight's (Radford et al. 2021; UniCL)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from voxmix.encoder_runs import TextSettings
from voxmix.encoders.block import START, Block, BlockShape, quick_gelu, start_matrices
from voxmix.errors import InputError

_HIDDEN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TextStyle:
    """What weights fix beyond sizes: ``eps`` of every layer norm, the ``activation`` of the hidden layers."""

    eps: float = 1e-5
    activation: Callable[[Tensor], Tensor] = quick_gelu


TEXT_STYLES = {
    "clip": TextStyle(),
    "clip-gelu": TextStyle(activation=gelu),
    "unicl": TextStyle(eps=1e-12),
}


class TextEncoder(nn.Module):
    """Tokens with learned positions through pre-norm blocks; the normed token at the end (or the first) is the report's.

    Attributes:
        settings: its size.
    """

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.settings = settings
        width, style = settings.width, TEXT_STYLES[settings.style]
        self.token_embedding = nn.Embedding(settings.vocabulary, width)
        self.position_embeddings = nn.Parameter(torch.zeros(settings.context, width))
        shape = BlockShape(
            width=width,
            heads=settings.heads,
            hidden=_HIDDEN * width,
            eps=style.eps,
            activation=style.activation,
        )
        self.layer = nn.ModuleList(Block(shape, place=place) for place in range(settings.depth))
        self.norm = nn.LayerNorm(width, eps=style.eps)

    @property
    def width(self) -> int:
        """Width of the features."""
        return self.settings.width

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks from the input up."""
        return list(self.layer)

    def forward(
        self, tokens: Int[Tensor, "batch token"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch width"]:
        """Return one vector per report.

        Args:
            tokens: begin and end included, filled up to the longest with any token.
            lengths: tokens of each report, end included. By default a report ends at its first token of the highest number,
                as CLIP's end of text is.

        Raises:
            InputError: more tokens than positions.
        """
        if tokens.shape[1] > self.settings.context:
            raise InputError(
                f"a report of {tokens.shape[1]} tokens is longer than the text transformer's context of "
                f"{self.settings.context}; cut it before, its end kept"
            )
        if lengths is None:
            lengths = tokens.argmax(dim=1) + 1
        seen = None
        if not self.settings.causal:  # else what follows the end is never seen from it
            places = torch.arange(tokens.shape[1], device=tokens.device)
            seen = (places < lengths.unsqueeze(1)).view(len(tokens), 1, 1, -1)
        rows = self.token_embedding(tokens) + self.position_embeddings[: tokens.shape[1]]
        chosen = torch.zeros_like(lengths) if self.settings.pooled == "first" else lengths - 1
        for number, block in enumerate(self.layer, start=1):
            few = chosen.unsqueeze(1) if number == len(self.layer) else None
            rows = block(rows, seen=seen, causal=self.settings.causal, few=few)
        return cast(Tensor, self.norm(rows[:, 0]))

    def level(self, name: str) -> int:
        """Return how far from the input a parameter is: 0 below the blocks, depth + 1 above them."""
        parts = name.split(".")
        if parts[0] == "layer":
            return int(parts[1]) + 1
        return self.settings.depth + 1 if parts[0] == "norm" else 0

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator, as CLIP's: normal, 0.02 for tokens, 0.01 for positions."""
        start_matrices(self)
        nn.init.normal_(self.token_embedding.weight, std=START)
        nn.init.normal_(self.position_embeddings, std=START / 2)


def build_text_encoder(settings: TextSettings, seed: int) -> TextEncoder:
    """Return the text transformer with its starting weights: a pure function of the arguments, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = TextEncoder(settings)
        encoder.initialize()
    return encoder
