"""Decoder: what writes a text after prefix embeddings; and OwnDecoder, a small one from scratch."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from voxmix.encoders.attention import attend
from voxmix.encoders.block import START, Block, BlockShape, start_matrices
from voxmix.texts.tokenizer import TextTokenizer

_HIDDEN = 4
_EPS = 1e-5


@runtime_checkable
class Decoder(Protocol):
    """A causal language model that is given embeddings of an image before a text.

    Attributes:
        width: of its embeddings.
        scale: their size, root mean square.
        end: the token that ends every text.
        network: what may be trained; frozen weights ask for no gradient.
    """

    @property
    def width(self) -> int: ...

    @property
    def scale(self) -> float: ...

    @property
    def end(self) -> int: ...

    @property
    def network(self) -> nn.Module: ...

    def encode(self, texts: Sequence[str]) -> list[Int[np.ndarray, " _"]]:
        """Return the tokens of texts: no begin, ``end`` last."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""

    def logits(
        self, prefix: Float[Tensor, "batch prefix width"], tokens: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token entry"]:
        """Return, for every token, what the prefix and the tokens before it make likely there."""

    def begin(self, prefix: Float[Tensor, "batch prefix width"]) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely as first token, and the state that :meth:`step` goes on from."""

    def step(self, tokens: Int[Tensor, " batch"], state: Any) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely after one more token, and the state."""


class _Network(nn.Module):
    """Embeddings with learned positions through causal pre-norm blocks; likely tokens by the embeddings themselves."""

    def __init__(self, *, entries: int, width: int, depth: int, heads: int, positions: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(entries, width)
        self.position_embeddings = nn.Parameter(torch.zeros(positions, width))
        shape = BlockShape(width=width, heads=heads, hidden=_HIDDEN * width, eps=_EPS)
        self.layer = nn.ModuleList(Block(shape, place=place) for place in range(depth))
        self.norm = nn.LayerNorm(width, eps=_EPS)

    def initialize(self) -> None:
        start_matrices(self)
        nn.init.normal_(self.token_embedding.weight, std=START)
        nn.init.normal_(self.position_embeddings, std=START / 2)

    def entries(self, rows: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch entry"]:
        return linear(self.norm(rows), self.token_embedding.weight)


class OwnDecoder:
    """A transformer from scratch over the tokens of a study's tokenizer; a :class:`Decoder`.

    Args:
        tokenizer: of the cache that the reports are in.
        positions: prefix embeddings and tokens that a text may have in all.
        seed: decides the starting weights, on the CPU.
    """

    def __init__(
        self, tokenizer: TextTokenizer, *, width: int, depth: int, heads: int, positions: int, seed: int
    ) -> None:
        self._tokenizer = tokenizer
        self.width, self.scale, self.end = width, START, tokenizer.end
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = _Network(
                entries=tokenizer.vocabulary, width=width, depth=depth, heads=heads, positions=positions
            )
            self._network.initialize()

    @property
    def network(self) -> nn.Module:
        """Its transformer."""
        return self._network

    def encode(self, texts: Sequence[str]) -> list[Int[np.ndarray, " _"]]:
        """Return the tokens of texts: no begin, ``end`` last."""
        return [tokens[1:] for tokens in self._tokenizer.encode(texts)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        return self._tokenizer.decode(np.asarray(tokens, dtype=np.int64))

    def logits(
        self, prefix: Float[Tensor, "batch prefix width"], tokens: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token entry"]:
        """Return, for every token, what the prefix and the tokens before it make likely there."""
        network = self._network
        rows = torch.cat([prefix, network.token_embedding(tokens[:, :-1])], dim=1)
        rows = rows + network.position_embeddings[: rows.shape[1]]
        for block in network.layer:
            rows = block(rows, causal=True)
        return network.entries(rows[:, prefix.shape[1] - 1 :])

    def begin(self, prefix: Float[Tensor, "batch prefix width"]) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely as first token, and the keys and values of the prefix in every block."""
        return self._go_on(prefix, [None] * len(self._network.layer))

    def step(self, tokens: Int[Tensor, " batch"], state: Any) -> tuple[Float[Tensor, "batch entry"], Any]:
        """Return what is likely after one more token, and the keys and values with it."""
        return self._go_on(self._network.token_embedding(tokens).unsqueeze(1), state)

    def _go_on(self, rows: Float[Tensor, "batch new width"], state: Sequence[Any]) -> tuple[Tensor, Any]:
        network = self._network
        known = 0 if state[0] is None else state[0][0].shape[2]
        rows = rows + network.position_embeddings[known : known + rows.shape[1]]
        kept = []
        for block, before in zip(network.layer, state, strict=True):
            rows, pair = _block_after(block, rows, before)
            kept.append(pair)
        return network.entries(rows[:, -1]), kept


def _block_after(
    block: Any, rows: Float[Tensor, "batch new width"], before: tuple[Tensor, Tensor] | None
) -> tuple[Float[Tensor, "batch new width"], tuple[Tensor, Tensor]]:
    """Return rows after a block that also sees the keys and values of rows before them; and those with theirs."""
    batch, count, width = rows.shape
    parts = block.qkv(block.norm1(rows)).view(batch, count, 3, block.heads, width // block.heads)
    query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
    if before is not None:
        key, value = torch.cat([before[0], key], dim=2), torch.cat([before[1], value], dim=2)
    mixed = attend(query, key, value, causal=before is None)
    rows = rows + block.proj(mixed.transpose(1, 2).reshape(batch, count, width))
    hidden = block.activation(block.fc1(block.norm2(rows)))
    return rows + block.fc2(hidden), (key, value)
