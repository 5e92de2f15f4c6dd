"""Open checkpoints of each family: from a local Hugging Face folder to our settings and our names, strictly."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from voxmix.encoders.checkpoint_config import Config
from voxmix.encoders.checkpoint_folder import config_file, read_config, read_weights
from voxmix.encoders.checkpoint_parts import OpenWeights
from voxmix.encoders.clip_checkpoint import read_clip
from voxmix.encoders.davit_checkpoint import read_davit
from voxmix.encoders.dinov2_checkpoint import read_dinov2
from voxmix.errors import InputError, did_you_mean

Reader = Callable[[Path, Config, Mapping[str, Tensor]], OpenWeights]

FAMILIES: dict[str, Reader] = {
    "dinov2": read_dinov2,
    "dinov2_with_registers": read_dinov2,
    "clip": read_clip,
    "clip_vision_model": read_clip,
    "davit": read_davit,
}
"""Families of open weights by the ``model_type`` of their configuration; ``davit`` also by timm's ``architecture``."""


def read_open_weights(folder: Path) -> OpenWeights:
    """Return the weights of a local Hugging Face folder; the family is read from its configuration.

    Raises:
        InputError: another family, files that are missing or damaged, a pickle, settings that our network does not have, or
            weights that are missing, unexpected or of another shape; each is named.
    """
    values = read_config(folder)
    kind = values.get("model_type", values.get("architecture"))
    if not isinstance(kind, str):
        raise InputError(
            f"{config_file(folder)} names neither model_type nor architecture; give the folder of one of: {', '.join(FAMILIES)}"
        )
    family = "davit" if kind.startswith("davit") else kind
    if family not in FAMILIES:
        raise InputError(
            f"{folder} holds weights of the family {kind!r}, which voxmix cannot start from; "
            f"{did_you_mean(kind, tuple(FAMILIES), what='the families are ')}"
        )
    tensors = read_weights(folder)
    return FAMILIES[family](folder, Config(values=values, where=str(config_file(folder))), tensors)
