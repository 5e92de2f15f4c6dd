"""A trained backbone on disk: safetensors and a card that says what it is and how images must be prepared for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from voxmix._io import atomic_path, file_digest, naming_damage, read_json, write_json
from voxmix.backbone_rows import BackboneSettings, backbone_from_dict
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.checkpoint_names import refuse_misfit
from voxmix.encoders.contract import Contract
from voxmix.encoders.interchange import read_tensors
from voxmix.encoders.open_weights import (
    OpenWeights,
    TextWeights,
    expected_of,
    misfit_of,
)
from voxmix.encoders.text import TextEncoder
from voxmix.errors import InputError
from voxmix.run_settings import identity
from voxmix.runs.cards import checked_weights
from voxmix.runs.files import BACKBONE, CARD_FILE, CARD_FORMAT, WEIGHTS_FILE

_BACKBONE, _TEXT, _HEAD = "backbone.", "text.", "head."


def write_backbone(
    folder: Path,
    *,
    settings: BackboneSettings,
    state: Mapping[str, Tensor],
    contract: Contract,
    head: Mapping[str, Tensor] | None = None,
    text: TextWeights | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a trained backbone: ``weights.safetensors``, then ``card.json``.

    Args:
        state: the backbone's ``state_dict()``.
        contract: how its images are prepared.
        head: the head, under any names, to go on with the same objective.
        text: the text transformer.
        about: more for the card: objective, draws, images; no path and no name of a person.
    """
    parts: dict[str, Mapping[str, Tensor]] = {_BACKBONE: state, _HEAD: head or {}}
    if text is not None:
        parts[_TEXT] = text.state
    tensors = {
        prefix + name: tensor.detach().cpu().contiguous()
        for prefix, part in parts.items()
        for name, tensor in part.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    card = {
        **(about or {}),
        "kind": BACKBONE,
        "format": CARD_FORMAT,
        "weights": WEIGHTS_FILE,
        "weights_sha256": file_digest(folder / WEIGHTS_FILE),
        "backbone": {"name": settings.name, **identity(settings)},
        "contract": contract.as_dict(),
        "text": None if text is None else identity(text.settings),
    }
    write_json(folder / CARD_FILE, card)


def holds_backbone(folder: Path) -> bool:
    """Return whether a folder holds what :func:`write_backbone` wrote, by its card."""
    card = read_json(folder / CARD_FILE) if (folder / CARD_FILE).is_file() else None
    return isinstance(card, dict) and card.get("kind") == BACKBONE


def read_backbone(folder: Path) -> OpenWeights:
    """Return what :func:`write_backbone` wrote.

    Raises:
        InputError: a file that was changed, another format, or weights that are missing, unexpected or of another shape.
    """
    path = folder / CARD_FILE
    card = read_json(path)
    if card.get("format") != CARD_FORMAT:
        raise InputError(
            f"{path} has format version {card.get('format')!r}, this voxmix reads {CARD_FORMAT}; copy it from a run of this "
            "version"
        )
    with naming_damage(path, remedy="copy the card again"):
        file = checked_weights(folder, card)
        settings = backbone_from_dict(card["backbone"])
        contract = Contract.from_dict(card["contract"])
        text_settings = None if card["text"] is None else TextSettings(**card["text"])
    tensors = read_tensors(file)
    parts = {
        prefix: {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in (_BACKBONE, _TEXT, _HEAD)
    }
    _check(parts[_BACKBONE], expected_of(settings), what=f"{settings.name} in {folder}")
    text = None
    if text_settings is not None:
        with torch.device("meta"):
            expected = TextEncoder(text_settings).state_dict()
        _check(parts[_TEXT], expected, what=f"the text transformer in {folder}")
        text = TextWeights(settings=text_settings, state=parts[_TEXT])
    return OpenWeights(
        family="voxmix",
        settings=settings,
        state=parts[_BACKBONE],
        contract=contract,
        head=parts[_HEAD],
        text=text,
    )


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, what: str) -> None:
    refuse_misfit(misfit_of(found, expected), found.keys() - expected.keys(), what=what)
