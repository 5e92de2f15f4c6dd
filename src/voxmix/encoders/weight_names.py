"""Weights under the names of other libraries, and back: MONAI's ViT and UNETR of every release line, timm.

MONAI's releases differ only in weights that nothing calls: 1.3 has none, 1.4 and 1.5 carry a cross attention
and its norm in every block, 1.6 the norm alone. Ours are the names of 1.3; an encoder's begin with ``vit.``, as
in a ``UNETR``.
"""

import re
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from voxmix.grid import edge_of

MonaiLine = Literal["1.3", "1.4", "1.5", "1.6"]
ENCODER = "vit."
UNUSED = re.compile(r"\.(norm_cross_attn|cross_attn)\.")
"""Weights that MONAI builds and never calls."""

_FIRST_NORM = re.compile(r"((?:vit\.)?blocks\.\d+)\.norm1\.weight")
_PERCEPTRON = "patch_embedding.patch_embeddings.1.weight"
_TIMM = (
    ("patch_embedding.patch_embeddings.", "patch_embed.proj."),
    ("patch_embedding.position_embeddings", "pos_embed"),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.linear1.", ".mlp.fc1."),
    (".mlp.linear2.", ".mlp.fc2."),
)


def to_monai(weights: Mapping[str, Tensor], *, line: MonaiLine) -> dict[str, Tensor]:
    """Return the state of a MONAI ``ViT`` or ``UNETR`` of one release line, from ours of the same network.

    What the line carries and never calls is filled so that a strict load succeeds: zeros, norms as the identity.
    """
    state = dict(weights)
    for name, tensor in weights.items():
        match = _FIRST_NORM.fullmatch(name)
        if match is None or line == "1.3":
            continue
        block, width = match[1], len(tensor)
        state[f"{block}.norm_cross_attn.weight"] = tensor.new_ones(width)
        state[f"{block}.norm_cross_attn.bias"] = tensor.new_zeros(width)
        if line != "1.6":
            for part in ("out_proj", "to_q", "to_k", "to_v"):
                state[f"{block}.cross_attn.{part}.weight"] = tensor.new_zeros(width, width)
            state[f"{block}.cross_attn.out_proj.bias"] = tensor.new_zeros(width)
    return state


def from_monai(state: Mapping[str, Tensor], *, axes: int = 3) -> dict[str, Tensor]:
    """Return our weights from the state of a MONAI ``ViT`` or ``UNETR`` of any line; unused parts are dropped.

    A patch embedding of MONAI's kind ``perceptron`` (the default of old UNETRs) becomes the convolution that
    computes the same; ``axes`` are those of its patches.
    """
    kept = {name: tensor for name, tensor in state.items() if not UNUSED.search(name)}
    for name in [n for n in kept if n.endswith(_PERCEPTRON)]:
        start = name.removesuffix("1.weight")
        kept[f"{start}weight"] = _as_kernel(kept.pop(name), axes)
        kept[f"{start}bias"] = kept.pop(f"{start}1.bias")
    return kept


def _as_kernel(matrix: Tensor, axes: int) -> Tensor:
    """Return a convolution's kernel from a matrix whose columns are the voxels (x, y, z) of one channel."""
    width, voxels = matrix.shape
    patch = edge_of(voxels, axes)
    if not patch:  # columns are (x, y, z, channel): more than one channel, so not an encoder of ours
        return matrix
    return matrix.reshape(width, 1, *(patch,) * axes)


def bare(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an encoder's weights under the names of a MONAI ``ViT``: without ``vit.``."""
    return {name.removeprefix(ENCODER): tensor for name, tensor in weights.items()}


def prefixed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a ``ViT`` under the names they have in a ``UNETR``; the inverse of :func:`bare`."""
    return {ENCODER + name: tensor for name, tensor in weights.items()}


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an encoder's weights under the names of timm's ``VisionTransformer``.

    It needs a patch embedding of as many axes, no class token, ``qkv_bias=False`` and layer norms with eps 1e-5.
    """
    return {_renamed(name, forward=True): tensor for name, tensor in bare(weights).items()}


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our weights from timm's names; the inverse of :func:`to_timm`."""
    return prefixed({_renamed(name, forward=False): tensor for name, tensor in state.items()})


def _renamed(name: str, *, forward: bool) -> str:
    for ours, theirs in _TIMM:
        name = name.replace(ours, theirs) if forward else name.replace(theirs, ours)
    return name
