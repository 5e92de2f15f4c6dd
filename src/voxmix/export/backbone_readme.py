"""The README of an exported backbone: a hub's YAML header, how to prepare images, how to load the weights."""

from collections.abc import Mapping
from typing import Any

import yaml

from voxmix.encoders.run_weights import HUGGING_FACE
from voxmix.export.model_card import citation, limits
from voxmix.runs.files import CARD_FILE

_TRANSFORMERS = """\
import torch
from transformers import AutoModel

network = AutoModel.from_pretrained(".").eval()
images = torch.rand(2, {channels}, {image}, {image})  # yours, in [0, 1]
mean, std = (torch.tensor(each).view(-1, 1, 1) for each in ({mean}, {std}))
with torch.no_grad():
    features = network((images - mean) / std).last_hidden_state[:, 0]"""
_VOXMIX = """\
from pathlib import Path

import torch

from voxmix.encoders.start import load_start, start_backbone

network = start_backbone(load_start(Path(".")), 0).eval()
images = torch.rand(2, {channels}, {edges})  # yours, in [0, 1]
with torch.no_grad():
    features = network(images).cls"""


def loading_snippets(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return Python lines that load the weights of the current folder as ``network``: by each library that can."""
    encoder, contract = card["encoder"], card["contract"]
    values = {
        "channels": encoder["channels"],
        "image": encoder["image"],
        "edges": ", ".join([str(encoder["image"])] * encoder["axes"]),
        "mean": contract["mean"],
        "std": contract["std"],
    }
    snippets = (_TRANSFORMERS, _VOXMIX) if card["names"] == HUGGING_FACE else (_VOXMIX,)
    return tuple(snippet.format(**values) for snippet in snippets)


def readme(card: Mapping[str, Any], *, license: str | None) -> str:
    """Return the README's text, from the card of an exported backbone."""
    encoder, recipe, hub = card["encoder"], card.get("recipe") or {}, card["names"] == HUGGING_FACE
    header: dict[str, Any] = {
        "library_name": "transformers" if hub else "voxmix",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["medical-imaging", f"{encoder['axes']}d", card["objective"], "voxmix"],
    }
    if license is not None:
        header = {"license": license, **header}
    sizes = "\n".join(
        f"| {name.replace('_', ' ')} | {value} |" for name, value in encoder.items() if name != "name"
    )
    window = (
        f"percentiles {recipe['low']:g} to {recipe['high']:g} of the image become 0 to 1; "
        if {"low", "high"} <= recipe.keys()
        else ""
    )
    shorter = f"the shorter side had {recipe['pixels']} pixels; " if "pixels" in recipe else ""
    names = "as transformers has them" if hub else "of voxmix alone: no other library has this network"
    lines = "\n\nor\n\n".join(f"```python\n{snippet}\n```" for snippet in loading_snippets(card))
    heads = (
        "\nThe head, and a text transformer where there is one, are in `heads.safetensors` under voxmix's names.\n"
        if card.get("heads")
        else ""
    )
    if card.get("text"):
        heads += (
            "\nThe tokenizer of the text transformer is not here, since its entries are pieces of the reports; it has the digest "
            f"{card['tokenizer']} and belongs beside these files as `tokenizer.json`.\n"
        )
    registers = (
        "\nFeatures are those of the run at its own edge; transformers resizes positions for other edges with antialiasing, the "
        "run did without.\n"
        if hub and encoder["registers"] and encoder.get("style", "dinov2") == "dinov2"
        else ""
    )
    start = "random weights" if card["start"] is None else f"weights of digest {card['start']['digest']}"
    return f"""---
{yaml.safe_dump(header, sort_keys=False).rstrip()}
---
# Backbone of encoder run {card["run_id"]}

A {encoder["name"]} trained by the objective {card["objective"]} on {card["samples"]:,} images, {card["budget"]:,} draws, seed {card["seed"]}, from
{start}, with voxmix {card["code"]}. The names of the weights are {names}.

| | |
|---|---|
{sizes}

## Prepare images like this, or the features mean nothing

In training, {window}{shorter}the network saw parts of {encoder["image"]} pixels. The network's input then has the mean
{card["contract"]["mean"]} and the standard deviation {card["contract"]["std"]} of each channel taken out, as
`contract` in `{CARD_FILE}` says.

## Load

In this folder:

{lines}
{heads}{registers}{limits(f"{card['samples']:,} images of the study's own", budget=card["budget"])}{citation()}"""
