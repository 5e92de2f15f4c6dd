"""Weights that a run begins from (``--start``): read, checked, set to the run's images, and told apart by a digest."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxmix._io import canonical_json
from voxmix.backbone_rows import BackboneSettings, VitSettings
from voxmix.encoder_runs import EncoderSpec
from voxmix.encoders.backbone import Backbone, build_backbone
from voxmix.encoders.checkpoint_names import mae_names, read_by, refuse_misfit
from voxmix.encoders.checkpoint_parts import OpenWeights, TextWeights, expected_of
from voxmix.encoders.contract import Contract
from voxmix.encoders.interchange import encoder_settings, load_encoder
from voxmix.encoders.open_weights import read_open_weights
from voxmix.encoders.positions import resized_positions
from voxmix.encoders.run_weights import holds_backbone, read_run_weights
from voxmix.encoders.text import TextEncoder, build_text_encoder
from voxmix.encoders.vit import STYLES
from voxmix.encoders.weight_names import bare
from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.objective_rows import OBJECTIVES
from voxmix.run_settings import identity
from voxmix.runs.files import CARD_FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedStart(OpenWeights):
    """:class:`~voxmix.encoders.checkpoint_parts.OpenWeights` for the images of a run.

    Attributes:
        digest: of weights, settings and contract as they were read, whatever the run's image size.
    """

    digest: str

    def weights(self, *parts: str, seed: int = 0) -> dict[str, Tensor]:
        """Return weights by name, as an objective takes them: ``backbone.*``, ``head.*`` (DINO's, with its ``prototypes``),
        ``text.*``, ``image_projection.weight``, ``text_projection.weight``, ``logit_scale``.

        Args:
            parts: what the names begin with; a part that the start does not have gives nothing.
            seed: for weights of the backbone that the checkpoint does not have.
        """
        found = {f"backbone.{name}": value for name, value in start_backbone(self, seed).state_dict().items()}
        if self.text is not None:
            found |= {f"text.{name}": value for name, value in self.text.state.items()}
        found |= self.head
        return {name: value for name, value in found.items() if name.split(".")[0] in parts}

    def head_settings(self) -> dict[str, Any]:
        """Return the settings of an objective that fit the released head; none where there is no head."""
        found: dict[str, Any] = {}
        if "head.prototypes" in self.head:
            layers = sorted(
                (int(name.split(".")[2]), tuple(value.shape))
                for name, value in self.head.items()
                if name.startswith("head.mlp.") and name.endswith(".weight")
            )
            prototypes, bottleneck = self.head["head.prototypes"].shape
            found = {"prototypes": prototypes, "head_bottleneck": bottleneck, "head_layers": len(layers)}
            if len(layers) > 1:
                found["head_hidden"] = layers[0][1][0]
        if "image_projection.weight" in self.head:
            found["projection"] = len(self.head["image_projection.weight"])
        if "logit_scale" in self.head:
            found["start_scale"] = float(self.head["logit_scale"].exp())
        return found


def load_start(
    folder: Path, *, image: int | None = None, axes: int | None = None, channels: int | None = None
) -> LoadedStart:
    """Return the weights of a local folder, ready for images of a run.

    Families: those of :data:`voxmix.encoders.open_weights.FAMILIES` (``config.json`` and safetensors), finished runs of
    voxmix and encoders that it exported (``card.json``). Nothing is fetched and nothing is unpickled. A gray image is taken
    once for each channel of weights that have several.

    Args:
        image: edge of the run's images, in pixels; positions are resized to it, as the checkpoint's own code does. Its own
            by default.
        axes: 2 where the run has images, 3 where it has volumes.
        channels: of the run's images.

    Raises:
        InputError: another family, files that are missing or damaged, a pickle, weights that are missing, unexpected or of
            another shape, weights of images for a run of volumes or the reverse, colour images for gray weights, or an
            image that is no whole number of patches; each is named.
    """
    found = _read(folder)
    check_axes(found.settings, folder=folder, axes=axes, channels=channels)
    digest = digest_of(found)
    if image is not None:
        found = resized(found, image)
    return LoadedStart(**{name: getattr(found, name) for name in OpenWeights.__slots__}, digest=digest)


def check_start(spec: EncoderSpec, found: LoadedStart, *, folder: Path) -> None:
    """Refuse weights that the run of a spec was not planned for.

    What no shape of a tensor says (norms, activation, heads) would be wrong in silence: settings are compared too, but for
    those of training alone.

    Raises:
        InputError: other weights, or those of another network.
    """
    planned = spec.start
    if planned is None or found.digest != planned.digest:
        asked = "no start" if planned is None else f"start {planned.name} with digest {planned.digest}"
        raise InputError(
            f"the weights in {folder} have digest {found.digest}, the run was planned for {asked}; restore the weights, or "
            "prepare the study again"
        )
    own, theirs = ({"name": each.name, **asdict(each)} for each in (spec.backbone, found.settings))
    _refuse_other("backbone", own, theirs, folder=folder)
    if OBJECTIVES[spec.objective].reads_texts and found.text is not None:
        _refuse_other("text", asdict(spec.text), asdict(found.text.settings), folder=folder)


_OF_TRAINING = {"drop_path"}
"""Settings of a network that a run may choose whatever its start."""


def _refuse_other(part: str, own: Mapping[str, Any], theirs: Mapping[str, Any], *, folder: Path) -> None:
    names = sorted({*own, *theirs} - _OF_TRAINING)
    wrong = [
        f"{name} {own.get(name)!r} (theirs: {theirs.get(name)!r})"
        for name in names
        if own.get(name) != theirs.get(name)
    ]
    if wrong:
        raise InputError(
            f"the run's {part} is not that of the weights in {folder}: {', '.join(wrong)}; give the settings of the weights"
        )


def _read(folder: Path) -> OpenWeights:
    if holds_backbone(folder):
        return read_run_weights(folder)
    if (folder / CARD_FILE).is_file():
        return _own_encoder(folder)
    return read_open_weights(folder)


def check_axes(
    settings: BackboneSettings, *, folder: Path, axes: int | None = None, channels: int | None = None
) -> None:
    """Refuse weights that do not fit what a run has.

    Weights of images are not inflated to volumes: nothing in them says what depth is, and no feature of the checkpoint would
    be kept.

    Raises:
        InputError: other axes, or images of several channels for weights of another number.
    """
    of = {2: "images", 3: "volumes"}
    if axes is not None and axes != settings.axes:
        raise InputError(
            f"weights in {folder} are of {of[settings.axes]}, this run has {of[axes]}; give weights of {of[axes]}, or start "
            "from scratch"
        )
    if channels is not None and channels not in (1, settings.channels):
        raise InputError(
            f"weights in {folder} take images of {settings.channels} channels (or gray ones), this run's have {channels}"
        )


def digest_of(weights: OpenWeights) -> str:
    """Return 16 hex digits: the same for equal weights, settings and contract, in whatever files they lay."""
    text = weights.text
    known: dict[str, Any] = {
        "backbone": {"name": weights.settings.name, **identity(weights.settings)},
        "contract": weights.contract.as_dict(),
        "text": None if text is None else identity(text.settings),
    }
    sha = hashlib.sha256(canonical_json(known).encode())
    parts: dict[str, Mapping[str, Tensor]] = {"backbone": weights.state, "head": weights.head}
    if text is not None:
        parts["text"] = text.state
    for part, tensors in parts.items():
        for name, tensor in sorted(tensors.items()):
            sha.update(f"{part}.{name} {tuple(tensor.shape)}\n".encode())
            sha.update(tensor.detach().float().contiguous().numpy().tobytes())
    return sha.hexdigest()[:16]


def resized(weights: OpenWeights, image: int) -> OpenWeights:
    """Return weights whose positions are those of images of another edge; a backbone without positions takes any.

    Raises:
        InputError: the edge is no whole number of patches.
    """
    settings = weights.settings
    if image == settings.image:
        return weights
    if not isinstance(settings, VitSettings):
        return replace(weights, settings=replace(settings, image=image))
    if image % settings.patch:
        raise InputError(
            f"weights with patches of {settings.patch} pixels take images of a multiple of it, got {image}; nearest are "
            f"{max(image // settings.patch, 1) * settings.patch} and {(image // settings.patch + 1) * settings.patch}"
        )
    style = STYLES[settings.style]
    codes, lead = weights.state["position_embeddings"], int(style.class_token)
    old, new = settings.grid, Grid.of(image, settings.patch, axes=settings.axes)
    made = resized_positions(codes[lead:], old.cells, new.cells, how=style.resize)
    state = dict(weights.state) | {"position_embeddings": torch.cat([codes[:lead], made])}
    return replace(weights, settings=replace(settings, image=image), state=state)


def start_backbone(weights: OpenWeights, seed: int) -> Backbone:
    """Return the backbone with the weights of a start; what the checkpoint does not have follows from the seed."""
    backbone = build_backbone(weights.settings, seed)
    backbone.load_state_dict({**backbone.state_dict(), **weights.state})
    return backbone


def start_text(weights: TextWeights) -> TextEncoder:
    """Return the text transformer with the weights of a start."""
    encoder = build_text_encoder(weights.settings, 0)
    encoder.load_state_dict(dict(weights.state))
    return encoder


def _own_encoder(folder: Path) -> OpenWeights:
    """Return an encoder of a mixture study as a backbone: its blocks, and the mean of its patches for a class token."""
    weights, card = load_encoder(folder)
    size = encoder_settings(card)
    settings = VitSettings(
        image=size.crop,
        axes=size.axes,
        patch=size.patch,
        width=size.width,
        depth=size.depth,
        heads=size.heads,
        mlp_ratio=size.mlp_ratio,
        layer_scale=0.0,
        style="mae",
    )
    tensors = bare(weights)
    made = expected_of(settings, held=len(tensors), where=folder)
    expected = {name: value for name, value in made.items() if not name.startswith("pixel_")}
    reading, misfit = read_by(mae_names(settings), tensors, expected, optional=("mask_token",))
    refuse_misfit(misfit, tensors.keys() - reading.used, what=f"the encoder in {folder}")
    contract = Contract(
        image=settings.image, shorter_side=settings.image, channels=1, mean=(0.0,), std=(1.0,)
    )
    return OpenWeights.read("voxmix", settings, reading, contract)
