"""Frozen encoders of any origin, ready to be judged: runs, exports, open weights, and networks that learned nothing."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from voxmix._io import digest, read_json
from voxmix.backbone_rows import BackboneSettings
from voxmix.encoders.backbone import Backbone, build_backbone
from voxmix.encoders.contract import Contract
from voxmix.encoders.run_weights import holds_backbone, own_contract
from voxmix.encoders.start import LoadedStart, load_start, start_backbone, start_text
from voxmix.encoders.text import TextEncoder
from voxmix.errors import InputError
from voxmix.probes.data import ProbeData
from voxmix.run_settings import identity
from voxmix.runs.files import CARD_FILE
from voxmix.volumes.preparing.same_preprocessing import check_preprocessing
from voxmix.volumes.recipe import Recipe

_NO_VALUE = {"pixels", "max_pixels", "bits"}
"""Parts of a recipe of images that move no value much: the contract resizes anyway."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextSide:
    """The half of a contrastive encoder that reads reports.

    Attributes:
        encoder: tokens to features; in eval mode.
        image_projection, text_projection: [projection, width], to the space that both share.
        tokenizer: digest of the tokenizer of its training; "" where it is not known.
        folder: of the encoder; its tokenizer.json lies there, if anywhere.
    """

    encoder: TextEncoder
    image_projection: torch.Tensor
    text_projection: torch.Tensor
    tokenizer: str
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedEncoder:
    """A frozen encoder.

    Attributes:
        digest: of its weights, its contract and the edge of its images.
        backbone: in eval mode; no weight asks for a gradient.
        contract: how images must be prepared for it.
        text: what reads reports; None where there is none.
        native: it learned from crops at the spacing of prepared images (encoders of mixture studies), so that nothing is
            resized.
        card: its card.json; {} of open weights.
    """

    digest: str
    backbone: Backbone
    contract: Contract
    text: TextSide | None = None
    native: bool = False
    card: Any = None

    @property
    def axes(self) -> int:
        """2 or 3."""
        return self.backbone.settings.axes

    @property
    def width(self) -> int:
        """Width of its features."""
        return self.backbone.width


def load_encoder(folder: Path, *, image: int | None = None) -> LoadedEncoder:
    """Return the encoder of a local folder: a finished run of voxmix, an exported encoder, or open weights.

    Args:
        image: edge of what it sees, in pixels; positions are resized to it and its contract is scaled. Its own by default: that
            of its run, or that of the checkpoint.

    Raises:
        InputError: no such folder, or as :func:`voxmix.encoders.start.load_start`.
    """
    if not folder.is_dir():
        raise InputError(
            f"no such folder: {folder}; give the folder of a finished run, of an exported encoder or of weights"
        )
    has_card = (folder / CARD_FILE).is_file()
    native = has_card and not holds_backbone(folder)
    start = load_start(folder, image=image)
    contract = scaled(start.contract, start.settings.image)
    card = read_json(folder / CARD_FILE) if has_card else {}
    return LoadedEncoder(
        digest=_digest(start.digest, contract, native=native),
        backbone=_frozen(start_backbone(start, seed=0)),
        contract=contract,
        text=_text_side(start, card, folder),
        native=native,
        card=card,
    )


def untrained_encoder(settings: BackboneSettings, *, seed: int = 0) -> LoadedEncoder:
    """Return a network that learned nothing: what its architecture alone is worth."""
    backbone = build_backbone(settings, seed)
    contract = own_contract(settings, backbone.state_dict())
    named = {"backbone": {"name": settings.name, **identity(settings)}, "seed": seed, "untrained": True}
    return LoadedEncoder(
        digest=_digest(digest(named), contract, native=False),
        backbone=_frozen(backbone),
        contract=contract,
        card={},
    )


def scaled(contract: Contract, image: int) -> Contract:
    """Return a contract for images of another edge: the part of the image that is seen stays the same."""
    if image == contract.image:
        return contract
    shorter = max(round(contract.shorter_side * image / contract.image), image)
    return replace(contract, image=image, shorter_side=shorter)


def check_fits(encoder: LoadedEncoder, data: ProbeData) -> tuple[str, ...]:
    """Return what a user should know of how images and encoder go together, in plain sentences.

    Raises:
        InputError: volumes for an encoder of images or the reverse, or volumes of another preprocessing than its own.
    """
    of = {2: "images", 3: "volumes"}
    if encoder.axes != data.axes:
        raise InputError(
            f"task {data.name} has {of[data.axes]}, the encoder is of {of[encoder.axes]}; give an encoder of {of[data.axes]}"
        )
    theirs, ours = (encoder.card or {}).get("recipe") or {}, data.recipe
    if not theirs or ours is None:
        return ()
    if isinstance(ours, Recipe) and "intensity" in theirs:
        check_preprocessing(encoder.card, ours, domains=tuple(sorted({case.domain for case in data.cases})))
        return ()
    plain = ours.as_dict()
    different = [
        f"{name} {plain[name]} (the encoder's: {theirs[name]})"
        for name in sorted(plain.keys() & theirs.keys() - _NO_VALUE)
        if plain[name] != theirs[name]
    ]
    if different:
        return (
            f"task {data.name}: images were prepared otherwise than those that the encoder learned from: {'; '.join(different)}",
        )
    return ()


def _digest(weights: str, contract: Contract, *, native: bool) -> str:
    return digest({"weights": weights, "contract": contract.as_dict(), "native": native})


def _frozen(backbone: Backbone) -> Backbone:
    backbone.requires_grad_(False)
    return backbone.eval()


def _text_side(start: LoadedStart, card: Any, folder: Path) -> TextSide | None:
    image, text = (start.head.get(f"{side}_projection.weight") for side in ("image", "text"))
    if start.text is None or image is None or text is None:
        return None
    encoder = start_text(start.text)
    encoder.requires_grad_(False)
    return TextSide(
        encoder=encoder.eval(),
        image_projection=image.detach().float(),
        text_projection=text.detach().float(),
        tokenizer=str(card.get("tokenizer") or ""),
        folder=folder,
    )
