"""Where an encoder starts from, and whether its preprocessing is the task's."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from voxmix.design import ModelSettings
from voxmix.errors import InputError
from voxmix.pretraining.checkpoint import CARD_FILE, PretrainedEncoder, load_encoder
from voxmix.volumes.recipe import PREPARATION_VERSION, Recipe

SCRATCH, SINGLE = "scratch", "single"
PAPER_INITS = (SCRATCH, SINGLE, "data-proportional", "transfer-aware")
"""The initialisations that the paper's table 3 compares."""

_ENCODER = ("crop", "patch", "width", "depth", "heads", "mlp_ratio")


def is_checkpoint(init: str) -> bool:
    """Return whether an initialisation is the folder of a checkpoint."""
    return (Path(init) / CARD_FILE).is_file()


def read_checkpoint(folder: Path, *, recipe: Recipe, domain: str, model: ModelSettings) -> PretrainedEncoder:
    """Return a checkpoint's encoder, once it is sure that it fits the task.

    Raises:
        InputError: its volumes were prepared otherwise, or its network is another: lists every difference.
    """
    encoder = load_encoder(folder)
    check_contract(encoder.card, recipe=recipe, domain=domain, model=model, where=folder)
    return encoder


def check_contract(
    card: Mapping[str, Any], *, recipe: Recipe, domain: str, model: ModelSettings, where: Path
) -> None:
    """Check that an encoder saw volumes as the task's are prepared, and is the network that others are.

    Raises:
        InputError: lists every difference.
    """
    try:
        other, network = Recipe.from_dict(card["recipe"]), dict(card["encoder"])
        version = card["recipe"]["version"]
    except (KeyError, TypeError) as error:
        raise InputError(f"the card in {where} does not say how volumes were prepared ({error!r})") from None
    ours, theirs = recipe.rule(domain), other.rule(domain)
    compared = {
        "voxel edge in mm": (other.spacing_mm, recipe.spacing_mm),
        "crop to foreground": (other.crop_foreground, recipe.crop_foreground),
        f"intensity of {domain}": (theirs.as_dict(), ours.as_dict()),
        "version of preparation": (version, PREPARATION_VERSION),
        **{f"encoder's {n}": (network.get(n), asdict(model)[n]) for n in _ENCODER},
    }
    different = [f"{n}: checkpoint {a}, task {b}" for n, (a, b) in compared.items() if a != b]
    if different:
        raise InputError(
            f"the checkpoint {where} does not fit: "
            + "; ".join(different)
            + ". Its features mean nothing on volumes "
            "prepared otherwise: make a study with the checkpoint's recipe and model, and finetune there"
        )


def check_model(model: ModelSettings) -> None:
    """Check that a network for segmentation can be built around the encoder, before anything is prepared."""
    from voxmix.pretraining.unetr import Unetr

    assert {field.name for field in fields(model)} >= set(_ENCODER)
    import torch

    with torch.device("meta"):
        Unetr(model)
