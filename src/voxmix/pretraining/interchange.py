"""Encoders under the names of other libraries, and back: MONAI's ViT and UNETR of every release line, timm.

MONAI's releases differ only in weights that nothing calls: 1.3 has none, 1.4 and 1.5 carry a cross attention
and its norm in every block, 1.6 the norm alone. Ours are the names of 1.3.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor, nn

from voxmix._io import atomic_path, file_digest, naming_full_disk, write_json, write_text
from voxmix.errors import InputError
from voxmix.pretraining.checkpoint import CARD_FILE, load_encoder

MonaiLine = Literal["1.3", "1.4", "1.5", "1.6"]
Names = Literal["monai", "timm"]
_UNUSED = re.compile(r"\.(norm_cross_attn|cross_attn)\.")
_TIMM = (
    ("patch_embedding.patch_embeddings.", "patch_embed.proj."),
    ("patch_embedding.position_embeddings", "pos_embed"),
    (".attn.out_proj.", ".attn.proj."),
    (".mlp.linear1.", ".mlp.fc1."),
    (".mlp.linear2.", ".mlp.fc2."),
)
EXPORTED_WEIGHTS = "model.safetensors"


def to_monai(weights: Mapping[str, Tensor], *, line: MonaiLine, prefix: str = "") -> dict[str, Tensor]:
    """Return the state of a MONAI ``ViT`` of one release line; ``prefix="vit."`` gives the names in a ``UNETR``.

    What the line carries and never calls is filled so that a strict load succeeds: zeros, norms as the identity.
    """
    state = {prefix + name: tensor for name, tensor in weights.items()}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(blocks\.\d+)\.norm1\.weight", name)
        if match is None or line == "1.3":
            continue
        block, width = prefix + match[1], len(tensor)
        state[f"{block}.norm_cross_attn.weight"] = torch.ones_like(tensor)
        state[f"{block}.norm_cross_attn.bias"] = torch.zeros_like(tensor)
        if line != "1.6":
            for part in ("out_proj", "to_q", "to_k", "to_v"):
                state[f"{block}.cross_attn.{part}.weight"] = tensor.new_zeros(width, width)
            state[f"{block}.cross_attn.out_proj.bias"] = torch.zeros_like(tensor)
    return state


def from_monai(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our weights from the state of a MONAI ``ViT`` or ``UNETR`` of any line; unused parts are dropped.

    Of a UNETR only the ``vit.*`` part is taken.
    """
    inside = {k.removeprefix("vit."): v for k, v in state.items() if k.startswith("vit.")} or dict(state)
    return {name: tensor for name, tensor in inside.items() if not _UNUSED.search(name)}


def to_timm(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under the names of timm's ``VisionTransformer`` (3D patch kernel, no class token)."""
    return {_renamed(name, forward=True): tensor for name, tensor in weights.items()}


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our weights from timm's names; the inverse of :func:`to_timm`."""
    return {_renamed(name, forward=False): tensor for name, tensor in state.items()}


def _renamed(name: str, *, forward: bool) -> str:
    for ours, theirs in _TIMM:
        name = name.replace(ours, theirs) if forward else name.replace(theirs, ours)
    return name


def load_strict(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a module; nothing is changed unless every name and shape fits.

    Parts of ``module`` that MONAI never calls may be absent from ``weights`` and keep what they hold.

    Raises:
        InputError: names every missing and unexpected weight, and every shape that differs.
    """
    own = module.state_dict()
    missing = sorted(n for n in own.keys() - weights.keys() if not _UNUSED.search(n))
    unexpected = sorted(weights.keys() - own.keys())
    shapes = [
        f"{n} is {tuple(weights[n].shape)}, the network has {tuple(own[n].shape)}"
        for n in sorted(own.keys() & weights.keys())
        if own[n].shape != weights[n].shape
    ]
    if missing or unexpected or shapes:
        raise InputError(
            f"weights do not fit the network. Missing: {missing or 'none'}. Unexpected: {unexpected or 'none'}. "
            f"Shapes: {shapes or 'all agree'}. Build the network with the crop, patch, width, depth and heads of "
            "the card"
        )
    module.load_state_dict(dict(weights), strict=False)


def export_encoder(
    run: Path, folder: Path, *, names: Names = "monai", line: MonaiLine = "1.6", prefix: str = ""
) -> dict[str, Any]:
    """Write a finished run's encoder as a folder that a model hub takes, and return its card.

    ``model.safetensors`` under the asked names, ``card.json`` (encoder settings, preprocessing, mixture, digest of
    the weights) and a ``README.md`` that says how the encoder was made and how volumes must be prepared for it.

    Raises:
        InputError: the run's checkpoint is incomplete or was changed, or a prefix is asked with timm's names.
    """
    if names == "timm" and prefix:
        raise InputError(f"prefix {prefix!r} is for MONAI's names only; leave it empty with names='timm'")
    encoder = load_encoder(run)
    state = (
        to_timm(encoder.weights) if names == "timm" else to_monai(encoder.weights, line=line, prefix=prefix)
    )
    with naming_full_disk(folder):
        with atomic_path(folder / EXPORTED_WEIGHTS) as temporary:
            temporary.write_bytes(safetensors.torch.save(state, metadata={"format": "pt"}))
        card = {
            **encoder.card,
            "kind": "encoder",
            "weights": EXPORTED_WEIGHTS,
            "weights_sha256": file_digest(folder / EXPORTED_WEIGHTS),
            "encoder_prefix": prefix,
            "names": names if names == "timm" else f"monai {line}",
        }
        write_text(folder / "README.md", _readme(card))
        write_json(folder / CARD_FILE, card)
    return card


def _readme(card: Mapping[str, Any]) -> str:
    encoder, recipe = card["encoder"], card["recipe"]
    rules = "\n".join(
        f"| {domain} | {rule['kind']} | {rule['low']:g} | {rule['high']:g} |"
        for domain, rule in recipe["intensity"].items()
    )
    mixture = "\n".join(
        f"| {name} | {weight:.1%} | {card['draws'][name]:,} |" for name, weight in card["mixture"].items()
    )
    return f"""---
library_name: voxmix
tags: [medical-imaging, 3d, masked-autoencoder, pretraining]
---
# Encoder of run {card["run_id"]}

A 3D vision transformer, pretrained as a masked autoencoder on {card["budget"]:,} volume draws.
Weights carry the names of {card["names"]}. Crop {encoder["crop"]}^3 voxels, patch {encoder["patch"]}^3,
width {encoder["width"]}, depth {encoder["depth"]}, heads {encoder["heads"]}.

## Prepare volumes like this, or the features mean nothing
RAS axes, {recipe["spacing_mm"]:g} mm cubic voxels, intensities mapped to [0, 1] by the rule of the domain:

| domain | rule | low | high |
|---|---|---|---|
{rules}

## Pretraining mixture

| domain | weight | draws |
|---|---|---|
{mixture}
"""
