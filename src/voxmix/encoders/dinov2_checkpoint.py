"""DINOv2's weights with and without registers, and the head that RAD-DINO has beside them."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from voxmix.backbone_rows import VitSettings
from voxmix.encoders.checkpoint_config import Config, depth_of
from voxmix.encoders.checkpoint_folder import DINO_HEAD_FILE, finite, listed
from voxmix.encoders.checkpoint_names import dinov2_names, prefix_of
from voxmix.encoders.checkpoint_parts import OpenWeights, contract_of, read_backbone
from voxmix.encoders.interchange import read_tensors
from voxmix.errors import InputError, VoxmixWarning


def read_dinov2(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
    """Return weights of DINOv2's kind; raises as :func:`voxmix.encoders.open_weights.read_open_weights`."""
    registers = config.values.get("model_type") == "dinov2_with_registers"
    config.must("hidden_act", config.word("hidden_act", "gelu"), "gelu")
    config.must("layer_norm_eps", config.number("layer_norm_eps", 1e-6), 1e-6)
    config.must("qkv_bias", config.flag("qkv_bias", True), True)
    settings = VitSettings(
        image=config.whole("image_size", 224),
        channels=config.whole("num_channels", 3),
        patch=config.whole("patch_size", 16 if registers else 14),
        width=config.whole("hidden_size", 768),
        depth=depth_of(config, "num_hidden_layers", tensors),
        heads=config.whole("num_attention_heads", 12),
        mlp_ratio=config.number("mlp_ratio", 4),
        registers=config.whole("num_register_tokens", 4) if registers else 0,
        layer_scale=config.number("layerscale_value", 1.0) or 1.0,
        ffn="swiglu" if config.flag("use_swiglu_ffn", False) else "mlp",
        style="dinov2-registers" if registers else "dinov2",
    )
    prefix = prefix_of(tensors, "embeddings.cls_token", ("", "dinov2.", "dinov2_with_registers."))
    names = dinov2_names(settings, prefix)
    reading = read_backbone(settings, names, tensors, folder, dropped=("classifier.",) if prefix else ())
    contract = contract_of(folder, channels=settings.channels)
    family, head = str(config.values["model_type"]), _dino_head(folder, settings.width)
    return OpenWeights.read(family, settings, reading, contract, head=head)


_UNIT = 1e-3
_HEAD_ALIASES = {  # of newer releases of PyTorch
    "last_layer.parametrizations.weight.original0": "last_layer.weight_g",
    "last_layer.parametrizations.weight.original1": "last_layer.weight_v",
}


def _dino_head(folder: Path, width: int) -> dict[str, Tensor]:
    """Return a released DINO head, from DINOv2's names; RAD-DINO has one beside its weights."""
    file = folder / DINO_HEAD_FILE
    if not file.is_file():
        return {}
    tensors = finite(read_tensors(file), where=file)
    found = {
        _HEAD_ALIASES.get(plain := name.removeprefix("dino_head.").removeprefix("module."), plain): value
        for name, value in tensors.items()
    }
    layers = sorted(
        {
            int(name.split(".")[1])
            for name in found
            if name.startswith("mlp.") and name.split(".")[1].isdigit()
        }
    )
    expected = {f"mlp.{n}.{part}" for n in layers for part in ("weight", "bias")} | {"last_layer.weight_v"}
    missing = sorted(expected - found.keys()) or ([] if layers else ["mlp.0.weight"])
    unexpected = sorted(found.keys() - expected - {"last_layer.weight_g"})
    first = found.get("mlp.0.weight")
    shapes = []
    if first is not None and (first.ndim != 2 or first.shape[1] != width):
        shapes = [f"mlp.0.weight is {tuple(first.shape)}, the backbone is {width} wide"]
    if missing or unexpected or shapes:
        raise InputError(
            f"{file} is not the head of these weights. Missing: {listed(missing)}. Unexpected: {listed(unexpected)}. Shapes: "
            f"{'; '.join(shapes) or 'all agree'}. Copy it again, or remove it: a fresh head is then trained first"
        )
    lengths = found.get("last_layer.weight_g", torch.ones(1))
    low, high = float(lengths.min()), float(lengths.max())
    if max(1 - low, high - 1) > _UNIT:
        warnings.warn(
            f"the prototypes of {file} have lengths from {low:.3g} to {high:.3g}; voxmix's are of length 1, so that this head "
            "does not give what it gave: train it first with the backbone frozen (warm_draws)",
            VoxmixWarning,
            stacklevel=2,
        )
    prototypes = {"head.prototypes": found["last_layer.weight_v"]}
    return {f"head.{name}": value for name, value in found.items() if name.startswith("mlp.")} | prototypes
