"""Greedy decoding: the likeliest token, one after the other, until the end, a cap, or nothing new to say."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from voxmix.generation.decoder import Decoder


def write_greedily(
    decoder: Decoder, prefix: Float[Tensor, "batch prefix width"], *, tokens: int, repeat: int
) -> list[list[int]]:
    """Return the tokens of each text, the end left out.

    Args:
        tokens: Most tokens of a text, its end included.
        repeat: No run of so many tokens is written twice in a text: the token that would complete it is passed over, so that
            a text cannot turn in circles. 0 allows all.
    """
    texts: list[list[int]] = [[] for _ in range(len(prefix))]
    ended = [False] * len(texts)
    with torch.no_grad():
        likely, state = decoder.begin(prefix)
        for place in range(tokens):
            for row, text in enumerate(texts):
                barred = _completing(text, repeat)
                if barred and not ended[row]:
                    likely[row, barred] = -torch.inf
            chosen = likely.argmax(dim=-1)
            for row, token in enumerate(chosen.tolist()):
                ended[row] = ended[row] or token == decoder.end
                if not ended[row]:
                    texts[row].append(token)
            if all(ended) or place == tokens - 1:
                break
            likely, state = decoder.step(chosen, state)
    return texts


def _completing(text: Sequence[int], length: int) -> list[int]:
    """Return the tokens after which the last ``length`` of a text would stand in it for the second time."""
    if length < 1 or len(text) < length:
        return []
    last = list(text[len(text) - length + 1 :])
    return [
        text[k + length - 1] for k in range(len(text) - length + 1) if list(text[k : k + length - 1]) == last
    ]
