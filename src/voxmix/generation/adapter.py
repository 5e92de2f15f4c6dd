"""Adapter: features of an image to a few embeddings that stand before a text, as if they were words (prefix embeddings)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from voxmix.encoders.attention import attend
from voxmix.encoders.block import START, start_matrices


class Adapter(nn.Module):
    """Learned queries look at the class token and the patches; each becomes one embedding (Alayrac et al. 2022, one layer).

    Args:
        features: width of the encoder.
        width: of the decoder.
        prefix: embeddings that it makes.
        scale: their size at the start, root mean square: that of the decoder's own embeddings.
    """

    def __init__(self, features: int, *, width: int, prefix: int, scale: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(features)
        self.queries = nn.Parameter(torch.zeros(prefix, width))
        self.key = nn.Linear(features, width)
        self.value = nn.Linear(features, width)
        self.first = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, 2 * width)
        self.out = nn.Linear(2 * width, width)
        self.norm_out = nn.LayerNorm(width)
        self.scale = scale

    def forward(self, tokens: Float[Tensor, "batch token feature"]) -> Float[Tensor, "batch prefix width"]:
        """Return the embeddings of images; the first of the tokens is the class token."""
        rows = self.norm_in(tokens)
        key, value = self.key(rows).unsqueeze(1), self.value(rows).unsqueeze(1)
        queries = self.queries.expand(len(rows), 1, -1, -1)
        found = attend(queries, key, value)[:, 0] + self.first(rows[:, :1]) + self.queries
        found = found + self.out(gelu(self.hidden(self.norm(found))))
        result: Tensor = self.norm_out(found)
        return result

    def initialize(self) -> None:
        """Draw starting weights from torch's global generator."""
        start_matrices(self)
        nn.init.normal_(self.queries, std=10 * START)  # apart from each other, or all look at the same
        nn.init.constant_(self.norm_out.weight, self.scale)


def build_adapter(features: int, *, width: int, prefix: int, scale: float, seed: int) -> Adapter:
    """Return the adapter with its starting weights: a pure function of the arguments, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(features, width=width, prefix=prefix, scale=scale)
        adapter.initialize()
    return adapter
