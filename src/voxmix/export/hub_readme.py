"""The README of an exported encoder: a hub's YAML header, how to prepare volumes, how to load the weights."""

from collections.abc import Mapping
from typing import Any

import yaml

from voxmix.export.model_card import citation, limits, loss_table, mixture_table
from voxmix.runs.files import CARD_FILE

_SNIPPETS = {
    "monai-unetr": """\
from monai.networks.nets import UNETR
from safetensors.torch import load_file

network = UNETR(
    in_channels=1, out_channels=2, img_size={crop}, hidden_size={width}, mlp_dim={mlp}, num_heads={heads}
)
found = network.load_state_dict(load_file("model.safetensors"), strict=False)
assert found.unexpected_keys == []
assert not any(name.startswith("vit.") for name in found.missing_keys)""",
    "monai-vit": """\
from monai.networks.nets import ViT
from safetensors.torch import load_file

network = ViT(
    in_channels=1, img_size=({crop},) * 3, patch_size=({patch},) * 3, hidden_size={width}, mlp_dim={mlp},
    num_layers={depth}, num_heads={heads}
)
network.load_state_dict(load_file("model.safetensors"))""",
    "timm": """\
from functools import partial

from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class PatchEmbed3d(nn.Module):
    def __init__(self, img_size, patch_size, in_chans, embed_dim, bias=True, **unused):
        super().__init__()
        self.proj = nn.Conv3d(in_chans, embed_dim, patch_size, stride=patch_size, bias=bias)
        self.num_patches = (img_size // patch_size) ** 3

    def forward(self, volume):
        return self.proj(volume).flatten(2).transpose(1, 2)


network = VisionTransformer(
    img_size={crop}, patch_size={patch}, in_chans=1, embed_dim={width}, depth={depth}, num_heads={heads},
    mlp_ratio={mlp_ratio:g}, qkv_bias=False, class_token=False, global_pool="", num_classes=0,
    norm_layer=partial(nn.LayerNorm, eps=1e-5), embed_layer=PatchEmbed3d
)
network.load_state_dict(load_file("model.safetensors"))""",
}
_RULES = {
    "window": "clip to {low:g} to {high:g} of the image's own unit (HU for CT), scale to [0, 1]",
    "zscore": "clip to {low:g} to {high:g} standard deviations from the mean, both over non-zero voxels, scale to [0, 1]",
    "percentile": "clip to percentiles {low:g} to {high:g} of the non-zero voxels, scale to [0, 1]",
}
_NNUNET = """
### In nnU-Net

nnU-Net 2.8 or newer, with `pip install "voxmix[train]"` in its environment. Files of the data set must be stored with RAS axes, since
nnU-Net does not turn them. `DOMAIN` is one of the table above, for each channel of the data set.

```
nnUNetv2_plan_experiment -d DATASET
python -m voxmix.export.nnunet . $nnUNet_preprocessed/DATASET/nnUNetPlans.json DOMAIN
nnUNetv2_preprocess -d DATASET -plans_name voxmixPlans -c 3d_fullres
export nnUNet_extTrainer=$PWD/nnunet
nnUNetv2_train DATASET 3d_fullres 0 -p voxmixPlans -tr nnUNetTrainerVoxmix -pretrained_weights nnunet/pretrained.pth
```
"""
_STOCK_UNETR = (12, 16)  # depth and patch that MONAI's UNETR fixes
_OWN_UNETR = """\
from pathlib import Path

from voxmix.encoders.interchange import encoder_settings, load_encoder
from voxmix.encoders.unetr import build_unetr

weights, card = load_encoder(Path("."))
network = build_unetr(encoder_settings(card), out_channels=2, encoder=weights)"""


def loading_snippet(card: Mapping[str, Any]) -> str:
    """Return Python lines that load ``model.safetensors`` of the current folder as ``network``."""
    encoder = card["encoder"]
    if card["names"] == "monai-unetr" and (encoder["depth"], encoder["patch"]) != _STOCK_UNETR:
        return _OWN_UNETR
    return _SNIPPETS[card["names"]].format(**encoder, mlp=round(encoder["width"] * encoder["mlp_ratio"]))


def readme(card: Mapping[str, Any], *, license: str | None) -> str:
    """Return the README's text, from the card of an exported encoder."""
    encoder, recipe = card["encoder"], card["recipe"]
    header: dict[str, Any] = {
        "library_name": "timm" if card["names"] == "timm" else "monai",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["medical-imaging", "3d", "masked-autoencoder", "voxmix"],
    }
    if license is not None:
        header = {"license": license, **header}
    names = card["names"] if card["monai"] is None else f"{card['names']}, MONAI {card['monai']}"
    rules = "\n".join(
        f"| {domain} | {_RULES[rule['kind']].format(**rule)} |"
        for domain, rule in recipe["intensity"].items()
    )
    return f"""---
{yaml.safe_dump(header, sort_keys=False).rstrip()}
---
# Encoder of run {card["run_id"]}

A 3D vision transformer, pretrained as a masked autoencoder on {card["budget"]:,} volume draws with voxmix {card["code"]}.

| | |
|---|---|
| crop, patch | {encoder["crop"]}^3 voxels, {encoder["patch"]}^3 |
| width, depth, heads | {encoder["width"]}, {encoder["depth"]}, {encoder["heads"]} |
| trained as | {encoder["name"]}, {encoder["mask_ratio"]:.0%} of the patches hidden, seed {card["seed"]} |
| names of the weights | {names} |

## Prepare volumes like this, or the features mean nothing

RAS axes, {recipe["spacing_mm"]:g} mm cubic voxels, crops of {encoder["crop"]}^3 voxels, intensities by the rule of the domain:

| domain | intensities |
|---|---|
{rules}

`{CARD_FILE}` holds the whole recipe; `voxmix.volumes.preparing.same_preprocessing.check_preprocessing` compares yours with it.

## Load

In this folder:

```python
{loading_snippet(card)}
```
{_NNUNET if card.get("nnunet") else ""}
In pretraining every domain had a small convolution in front of the encoder, which started as the identity. These adapters
are in `adapters.safetensors`, in the order of `adapters` in `{CARD_FILE}`. Most tasks do not need them.

## What it learned from

{mixture_table(card)}
{loss_table(card)}{limits(f"volumes of {', '.join(card['mixture'])}", budget=card["budget"])}{citation()}"""
