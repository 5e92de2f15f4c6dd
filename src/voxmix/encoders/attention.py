"""Attention of queries to keys, in whichever way is fast where it is computed."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

_SHORT = 512
"""Tokens up to which attention is written out on a CPU. Its weights are then at most half of what a block keeps anyway."""


def kernel_pays(tokens: int, device: torch.device) -> bool:
    """Return whether PyTorch's kernel is to be used for so many tokens: on a GPU, and on a CPU for many.

    On the meta device it is not, so that operations are counted alike wherever a network is computed.
    """
    return device.type == "cuda" or (device.type == "cpu" and tokens > _SHORT)


def attend(
    query: Float[Tensor, "batch head token feature"],
    key: Float[Tensor, "batch head other feature"],
    value: Float[Tensor, "batch head other feature"],
    *,
    seen: Bool[Tensor, "batch 1 _ other"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "batch head token feature"]:
    """Return ``softmax(query key^T / sqrt(feature)) value``, with PyTorch's kernel or, for few tokens on a CPU, written out.

    PyTorch's kernel for CPUs multiplies in small tiles. With the fast products of
    :func:`voxmix.training.devices.use_fast_products` each tile is set up anew: 13 times slower for 17 tokens, 5 for 65, 1.7
    for 257. Written out, whole matrices are multiplied.

    Args:
        seen: keys that are attended to, by all queries or by each; all by default.
        causal: whether a query sees only the keys up to its own place.
    """
    if query.device.type != "cpu" or key.shape[2] > _SHORT:
        return scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=causal)
    likeness = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if seen is not None:
        likeness += torch.zeros_like(seen, dtype=likeness.dtype).masked_fill_(~seen, -torch.inf)
    if causal:
        places = likeness.new_full(likeness.shape[-2:], -torch.inf)
        likeness += places.triu_(1)
    weights: Tensor = torch.softmax(likeness, dim=-1)
    return weights.to(value.dtype) @ value
