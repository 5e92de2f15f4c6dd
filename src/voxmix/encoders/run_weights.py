"""Weights of a finished run of an encoder study, by its card: backbone, head and text transformer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from voxmix._io import naming_damage, read_json
from voxmix.backbone_rows import BACKBONES, BackboneSettings, VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.checkpoint_names import dinov2_names, read_by, refuse_misfit
from voxmix.encoders.checkpoint_parts import OpenWeights, TextWeights, expected_of, misfit_of, pixels_of
from voxmix.encoders.contract import Contract
from voxmix.encoders.interchange import read_tensors
from voxmix.errors import InputError
from voxmix.runs.cards import checked_weights, read_card
from voxmix.runs.files import CARD_FILE
from voxmix.settings import checked

HUGGING_FACE, OWN = "transformers", "voxmix"
"""Whose names the weights of an exported backbone have, as its card says under ``names``."""
HEADS_FILE = "heads.safetensors"
"""Head and text transformer, beside a backbone under other names."""
_BACKBONE = "backbone."
_HEADS = ("head.", "image_projection.", "text_projection.", "logit_scale")


def holds_backbone(folder: Path) -> bool:
    """Return whether a folder holds a run of an encoder study or an export of one, by its card."""
    card = read_json(folder / CARD_FILE) if (folder / CARD_FILE).is_file() else None
    settings = card.get("encoder") if isinstance(card, dict) else None
    return isinstance(settings, dict) and settings.get("name") in BACKBONES.names()


def read_run_weights(folder: Path) -> OpenWeights:
    """Return the weights of a finished run, or of an export of one: of a teacher, where there is one.

    The card says ``encoder`` (settings of the backbone with its name), ``encoder_prefix``, which ends in ``backbone.`` and
    beside which head, projections and text transformer stand, ``text`` (settings, or null), and the ``contract`` of the
    start that the run began from; without one, the contract is that of the backbone's own pixels.

    Raises:
        InputError: a file that was changed, another format, or weights that are missing, unexpected or of another shape.
    """
    card = read_card(folder)
    file = checked_weights(folder, card)
    with naming_damage(folder / CARD_FILE, remedy="copy the card again"):
        known = dict(card["encoder"])
        settings = checked(BACKBONES[known.pop("name")].settings, known, where="encoder")
        prefix = str(card["encoder_prefix"])
        given = card.get("text")
        text_settings = None if given is None else checked(TextSettings, given, where="text")
        contract = card.get("contract")
        told = None if contract is None else Contract.from_dict(contract)
    tensors = read_tensors(file)
    if card.get("names") == HUGGING_FACE:
        tensors = _own_names(tensors, settings, told, folder) | _heads(folder, card)
    state = _under(tensors, prefix)
    _check(state, expected_of(settings, held=len(state), where=folder), what=f"{settings.name} in {folder}")
    beside = _under(tensors, prefix.removesuffix(_BACKBONE))
    head = {name: value for name, value in beside.items() if name.startswith(_HEADS)}
    text = None
    if text_settings is not None:
        weights = _under(beside, "text.")
        expected = expected_of(text_settings, held=len(weights), where=folder)
        _check(weights, expected, what=f"the text transformer in {folder}")
        text = TextWeights(settings=text_settings, state=weights)
    return OpenWeights(
        family="voxmix",
        settings=settings,
        state=state,
        contract=told or own_contract(settings, state),
        head=head,
        text=text,
    )


def _own_names(
    tensors: Mapping[str, Tensor], settings: BackboneSettings, contract: Contract | None, folder: Path
) -> dict[str, Tensor]:
    """Return the weights of an exported backbone under our names, from those of transformers."""
    if not isinstance(settings, VitSettings) or contract is None:
        raise InputError(f"{folder / CARD_FILE} is not that of the weights beside it; copy both again")
    expected = {
        name: value
        for name, value in expected_of(settings, held=len(tensors), where=folder).items()
        if not name.startswith("pixel_")
    }
    reading, misfit = read_by(dinov2_names(settings), tensors, expected)
    left = {
        name
        for name in tensors.keys() - reading.used
        if settings.layer_scale or not name.endswith(".lambda1")
    }
    refuse_misfit(misfit, left, what=f"{settings.name} in {folder}")
    return {_BACKBONE + name: value for name, value in (reading.state | pixels_of(contract)).items()}


def _heads(folder: Path, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what lies beside an exported backbone; none where its run had no head."""
    if not card.get("heads"):
        return {}
    named = {"weights": card["heads"], "weights_sha256": card.get("heads_sha256")}
    return read_tensors(checked_weights(folder, named))


def own_contract(settings: BackboneSettings, state: Mapping[str, Tensor]) -> Contract:
    """Return the contract of a backbone that began from scratch: its image as it is, normalised by its own buffers."""
    return Contract(
        image=settings.image,
        shorter_side=settings.image,
        channels=settings.channels,
        mean=tuple(state["pixel_mean"].tolist()),
        std=tuple(state["pixel_std"].tolist()),
    )


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str) -> None:
    refuse_misfit(misfit_of(found, expected), found.keys() - expected.keys(), what=what)
