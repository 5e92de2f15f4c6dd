"""What an open checkpoint holds under our names, and how each part of it is read strictly: nothing missing, nothing left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from voxmix._io import read_mapping
from voxmix.backbone_rows import BackboneSettings, DavitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import backbone_of
from voxmix.encoders.checkpoint_folder import PREPROCESSOR_FILE
from voxmix.encoders.checkpoint_names import Misfit, Names, Reading, read_by, refuse_misfit
from voxmix.encoders.contract import Contract
from voxmix.encoders.text import TextEncoder
from voxmix.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class TextWeights:
    """A text transformer of a checkpoint: its settings, and its weights under our names."""

    settings: TextSettings
    state: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenWeights:
    """What a checkpoint holds, under our names.

    Attributes:
        family: a row of :data:`voxmix.encoders.open_weights.FAMILIES`, or "voxmix".
        settings: of the backbone, at the image size of the checkpoint.
        state: of the backbone, ``pixel_mean`` and ``pixel_std`` of its contract among it.
        fresh: weights of the backbone that the checkpoint does not have, and need not.
        contract: how its images were prepared.
        head: the released head: DINO's (``head.mlp.*`` and ``head.prototypes``), or the ``image_projection.weight``,
            ``text_projection.weight`` (both [projection, width]) and ``logit_scale`` (a logarithm) of contrastive weights;
            empty where there is none.
        text: the text transformer, where there is one.
    """

    family: str
    settings: BackboneSettings
    state: Mapping[str, Tensor]
    fresh: tuple[str, ...] = ()
    contract: Contract
    head: Mapping[str, Tensor] = field(default_factory=dict)
    text: TextWeights | None = None

    @classmethod
    def read(
        cls,
        family: str,
        settings: BackboneSettings,
        reading: Reading,
        contract: Contract,
        *,
        head: Mapping[str, Tensor] | None = None,
        text: TextWeights | None = None,
    ) -> OpenWeights:
        """Return what a table found of a backbone, with the buffers by which it normalises its pixels."""
        return cls(
            family=family,
            settings=settings,
            state=reading.state | pixels_of(contract),
            fresh=reading.fresh,
            contract=contract,
            head=head or {},
            text=text,
        )


def read_backbone(
    settings: BackboneSettings,
    names: Names,
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    used: set[str] | None = None,
    dropped: tuple[str, ...] = (),
) -> Reading:
    """Return the backbone's weights; everything in the file must have been ``used`` or belong to what is ``dropped``."""
    made = expected_of(settings, held=len(tensors), where=folder)
    expected = {name: value for name, value in made.items() if not name.startswith("pixel_")}
    reading, misfit = read_by(names, tensors, expected, optional=("mask_token",))
    left = tensors.keys() - reading.used - (used or set())
    unexpected = [name for name in left if not name.startswith(dropped) and not name.endswith("position_ids")]
    refuse_misfit(misfit, unexpected, what=f"{settings.name} in {folder}")
    return reading


def read_text(
    settings: TextSettings, names: Names, tensors: Mapping[str, Tensor], folder: Path
) -> tuple[TextWeights, frozenset[str]]:
    """Return the text transformer, and the names that were read.

    Raises:
        InputError: weights that are missing or of another shape, by name.
    """
    expected = expected_of(settings, held=len(tensors), where=folder)
    reading, misfit = read_by(names, tensors, expected)
    refuse_misfit(misfit, (), what=f"the text transformer in {folder}")
    return TextWeights(settings=settings, state=reading.state), reading.used


def read_projections(
    tensors: Mapping[str, Tensor], rows: Mapping[str, tuple[str, tuple[int, ...]]], folder: Path
) -> dict[str, Tensor]:
    """Return projections and scale; ``rows`` gives their name and shape in the checkpoint.

    Raises:
        InputError: weights that are missing or of another shape, by name.
    """
    expected = {name: torch.empty(shape, device="meta") for name, (_, shape) in rows.items()}
    names: Names = {name: ((theirs,),) for name, (theirs, _) in rows.items()}
    reading, misfit = read_by(names, tensors, expected)
    refuse_misfit(misfit, (), what=f"the head in {folder}")
    return dict(reading.state)


def contract_of(folder: Path, *, channels: int) -> Contract:
    """Return how images must be prepared, by the folder's ``preprocessor_config.json``.

    Raises:
        InputError: there is no such file, or it asks for a step that voxmix does not take.
    """
    if not (folder / PREPROCESSOR_FILE).is_file():
        raise InputError(
            f"no {PREPROCESSOR_FILE} in {folder}, which says how images must be prepared for these weights; copy the whole "
            "folder of the checkpoint"
        )
    return Contract.of_preprocessor(read_mapping(folder / PREPROCESSOR_FILE), channels=channels)


def pixels_of(contract: Contract) -> dict[str, Tensor]:
    """Return the buffers by which a backbone normalises its pixels."""
    return {"pixel_mean": torch.tensor(contract.mean), "pixel_std": torch.tensor(contract.std)}


def expected_of(settings: BackboneSettings | TextSettings, *, held: int, where: Path) -> dict[str, Tensor]:
    """Return the names and shapes of a network's state, without memory.

    Args:
        held: tensors that the file holds; a network of more blocks is not built.
        where: the folder, for messages.

    Raises:
        InputError: settings that the weights cannot have.
    """
    depth = sum(settings.depths) if isinstance(settings, DavitSettings) else getattr(settings, "depth", 1)
    try:
        if depth > held:
            raise ValueError(f"{depth:,} blocks, of {held} tensors")
        with torch.device("meta"):
            network = TextEncoder(settings) if isinstance(settings, TextSettings) else backbone_of(settings)
            return dict(network.state_dict())
    except (ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"settings in {where} describe a network that its weights cannot be of ({error}); copy both again"
        ) from None


def misfit_of(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Misfit:
    """Return what is missing or of another shape in a state under our own names."""
    names: Names = {name: ((name,),) for name in expected}
    return read_by(names, found, expected)[1]
