"""An exported encoder in nnU-Net 2.8: the network, the file for ``-pretrained_weights``, and plans that prepare as it needs.

nnU-Net loads all weights of a network or none, so the file holds a whole UNETR: the encoder's weights, and the random rest of one
seed. Its segmentation layer is named as nnU-Net names those, and is left out. Plans get the encoder's spacing, crop and axes, and
its rule of intensities by a class that is written into nnU-Net's folder of normalizations, the only place where it looks for one.

    python -m voxmix.export.nnunet ENCODER PLANS.json DOMAIN [DOMAIN ...]      a domain for each channel of the data set
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from voxmix._io import atomic_path, read_mapping, write_json, write_text
from voxmix.encoders.interchange import encoder_settings, load_encoder
from voxmix.encoders.unetr import build_unetr
from voxmix.errors import InputError
from voxmix.runs.cards import read_card
from voxmix.volumes.intensity import IntensityRule

FOLDER, TRAINER, PLANS, CONFIGURATION = "nnunet", "nnUNetTrainerVoxmix", "voxmixPlans", "3d_fullres"
WEIGHTS_FILE = "pretrained.pth"
_NORMALIZATION = '''\
"""Written by voxmix: how the volumes of an encoder were prepared. Every environment that preprocesses or predicts needs it."""

import numpy as np
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ImageNormalization

from voxmix.volumes.intensity import IntensityRule


class {name}(ImageNormalization):
    leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true = False

    def run(self, image, seg=None):
        rule = IntensityRule(kind="{kind}", low={low!r}, high={high!r})
        return rule.apply(image.astype(np.float32)).astype(self.target_dtype, copy=False)
'''


class NnunetUnetr(nn.Module):
    """A UNETR whose last layer is ``decoder.seg_layers``: nnU-Net does not take weights of that name from a file."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.decoder = nn.ModuleDict({"seg_layers": head})

    def forward(self, volume: Float[Tensor, "batch channel x y z"]) -> Float[Tensor, "batch out x y z"]:
        """Return logits at full resolution."""
        result: Tensor = self.decoder["seg_layers"](self.body(volume))
        return result


def network_for_nnunet(
    encoder: Path,
    *,
    channels: int,
    classes: int,
    patch_size: Sequence[int] | None = None,
    pretrained: bool = False,
) -> NnunetUnetr:
    """Return the network around an exported encoder; random, or with the encoder's weights.

    Raises:
        InputError: another patch size than the encoder's crop.
    """
    settings = encoder_settings(read_card(encoder))
    if patch_size is not None and tuple(patch_size) != settings.grid.crop:
        raise InputError(
            f"the plans have patches of {list(patch_size)}, and the encoder crops of {list(settings.grid.crop)} voxels; make "
            "the plans by python -m voxmix.export.nnunet"
        )
    weights = load_encoder(encoder).weights if pretrained else None
    body = build_unetr(settings, in_channels=channels, out_channels=classes, encoder=weights)
    head, body.out = body.out, nn.Identity()
    return NnunetUnetr(body, head)


def write_trainer(folder: Path) -> Path:
    """Write the trainer below an export, and return its file."""
    source = files("voxmix.export").joinpath("nnunet_trainer", f"{TRAINER}.py")
    file = folder / FOLDER / f"{TRAINER}.py"
    write_text(file, source.read_text(encoding="utf-8"))
    return file


def write_for_nnunet(
    encoder: Path, plans: Path, domains: Sequence[str], *, normalizations: Path
) -> tuple[Path, ...]:
    """Write what nnU-Net needs to finetune an exported encoder on a data set, and return the files.

    The plans ``voxmixPlans.json`` beside ``plans``, the weights ``nnunet/pretrained.pth`` in the export, and a class for each rule of
    intensities.

    Args:
        encoder: folder that ``voxmix export --names nnunet`` wrote.
        plans: ``nnUNetPlans.json`` of the data set, as ``nnUNetv2_plan_experiment`` wrote it.
        domains: for each channel of the data set the domain whose rule of intensities fits it.
        normalizations: nnU-Net's folder ``preprocessing/normalization``.

    Raises:
        InputError: plans without a 3D configuration, another number of channels, or a domain that the encoder does not know.
    """
    card = read_card(encoder)
    made, rules = _plans(read_mapping(plans), plans, card, domains)
    state = network_for_nnunet(encoder, channels=len(domains), classes=2, pretrained=True).state_dict()
    weights = encoder / FOLDER / WEIGHTS_FILE
    written = [plans.with_name(f"{PLANS}.json"), weights]
    write_json(written[0], made)
    with atomic_path(weights) as temporary:
        torch.save({"network_weights": state}, temporary)
    for rule in rules:
        name = normalization_name(rule)
        file = normalizations / f"{name}.py"
        write_text(file, _NORMALIZATION.format(name=name, **rule.as_dict()))
        written.append(file)
    return tuple(dict.fromkeys(written))


def normalization_name(rule: IntensityRule) -> str:
    """Return the name of the class that does a rule in nnU-Net: the same rule, the same name."""
    low, high = (
        f"{value:g}".replace("-", "m").replace(".", "p").replace("+", "") for value in (rule.low, rule.high)
    )
    return f"Voxmix_{rule.kind}_{low}_{high}"


def _plans(
    given: dict[str, Any], path: Path, card: dict[str, Any], domains: Sequence[str]
) -> tuple[dict[str, Any], list[IntensityRule]]:
    known = card["recipe"]["intensity"]
    if unknown := [name for name in domains if name not in known]:
        raise InputError(f"the encoder has no rule for {unknown}; give domains of {list(known)}")
    configuration = given.get("configurations", {}).get(CONFIGURATION)
    if configuration is None:
        raise InputError(f"{path} has no configuration {CONFIGURATION}; plan the data set in 3D first")
    channels = len(configuration["normalization_schemes"])
    if len(domains) != channels:
        raise InputError(
            f"the data set has {channels} channels, and {len(domains)} domains are given; give one for each"
        )
    rules = [IntensityRule(**known[name]) for name in domains]
    sizes, spacing = encoder_settings(card).grid.crop, float(card["recipe"]["spacing_mm"])
    own = {
        **configuration,
        "data_identifier": f"{PLANS}_{CONFIGURATION}",
        "patch_size": list(sizes),
        "spacing": [spacing] * 3,
        "normalization_schemes": [normalization_name(rule) for rule in rules],
        "use_mask_for_norm": [False] * channels,
    }
    axes = [2, 1, 0]  # nnU-Net reads z, y, x; the encoder learned from x, y, z
    made = {
        **given,
        "plans_name": PLANS,
        "transpose_forward": axes,
        "transpose_backward": axes,
        "configurations": {CONFIGURATION: own},
    }
    return made, rules


def main(arguments: Sequence[str]) -> int:
    """Write for the plans and domains that are named, and print what was written; the exit code is 2 for a wrong call."""
    if len(arguments) < 3:
        sys.stderr.write(
            "give: python -m voxmix.export.nnunet ENCODER PLANS.json DOMAIN [DOMAIN ...], a domain for each channel\n"
        )
        return 2
    encoder, plans, *domains = arguments
    try:
        folder = Path(import_module("nnunetv2.preprocessing.normalization").__path__[0])
        written = write_for_nnunet(Path(encoder), Path(plans), domains, normalizations=folder)
    except ModuleNotFoundError as error:
        sys.stderr.write(f"nnU-Net is not in this environment ({error}); run this in the one where it is\n")
        return 2
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for file in written:
        sys.stdout.write(f"wrote {file}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
