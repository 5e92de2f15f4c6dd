"""CLIP's weights: image tower, text transformer, projections and scale; or one of the towers alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from voxmix.backbone_rows import VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.checkpoint_config import Config, depth_of
from voxmix.encoders.checkpoint_folder import config_file, read_config, read_weights
from voxmix.encoders.checkpoint_names import (
    Misfit,
    clip_text_names,
    clip_vision_names,
    prefix_of,
    refuse_misfit,
)
from voxmix.encoders.checkpoint_parts import (
    OpenWeights,
    TextWeights,
    contract_of,
    read_backbone,
    read_projections,
    read_text,
)
from voxmix.errors import InputError


def read_clip(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
    """Return weights of CLIP's kind; raises as :func:`voxmix.encoders.open_weights.read_open_weights`."""
    whole = config.values.get("model_type") == "clip"
    vision = config.part("vision_config") if whole else config
    settings = _clip_vision_settings(vision, tensors)
    prefix = prefix_of(
        tensors, "embeddings.class_embedding", ("vision_model.", "", "vision_model.vision_model.")
    )
    names = clip_vision_names(settings, prefix)
    head: dict[str, Tensor] = {}
    text = None
    used: set[str] = set()
    if whole:
        text_config = config.part("text_config")
        text_settings = _clip_text_settings(text_config, tensors)
        table = clip_text_names(text_settings.depth, "text_model.")
        text, found = read_text(text_settings, table, tensors, folder)
        size = config.whole("projection_dim", 512)
        head = read_projections(
            tensors,
            {
                "image_projection.weight": ("visual_projection.weight", (size, settings.width)),
                "text_projection.weight": ("text_projection.weight", (size, text_settings.width)),
                "logit_scale": ("logit_scale", ()),
            },
            folder,
        )
        used = set(found) | {"visual_projection.weight", "text_projection.weight", "logit_scale"}
    elif "visual_projection.weight" in tensors:
        used = {"visual_projection.weight"}
        head = {"image_projection.weight": tensors["visual_projection.weight"]}
    reading = read_backbone(settings, names, tensors, folder, used=used)
    contract = contract_of(folder, channels=settings.channels)
    family = str(config.values["model_type"])
    return OpenWeights.read(family, settings, reading, contract, head=head, text=text)


def read_text_weights(folder: Path) -> TextWeights:
    """Return the text transformer of a folder with CLIP's weights, whole or of the text alone.

    Raises:
        InputError: as :func:`voxmix.encoders.open_weights.read_open_weights`.
    """
    values = read_config(folder)
    config = Config(values=values, where=str(config_file(folder)))
    kind = values.get("model_type")
    if kind not in ("clip", "clip_text_model"):
        raise InputError(f"{folder} holds no text transformer of CLIP's kind, its model_type is {kind!r}")
    tensors = read_weights(folder)
    part = config.part("text_config") if kind == "clip" else config
    settings = _clip_text_settings(part, tensors)
    prefix = prefix_of(tensors, "embeddings.token_embedding.weight", ("text_model.", ""))
    text, used = read_text(settings, clip_text_names(settings.depth, prefix), tensors, folder)
    spare = [name for name in tensors if not _known_elsewhere(name, used)]
    if kind == "clip_text_model" and spare:
        refuse_misfit(Misfit([], []), spare, what=f"the text transformer in {folder}")
    return text


def _known_elsewhere(name: str, used: frozenset[str]) -> bool:
    return name in used or name == "text_projection.weight" or name.endswith("position_ids")


def _clip_vision_settings(config: Config, tensors: Mapping[str, Tensor]) -> VitSettings:
    width, hidden = config.whole("hidden_size", 768), config.whole("intermediate_size", 3072)
    config.must("layer_norm_eps", config.number("layer_norm_eps", 1e-5), 1e-5)
    return VitSettings(
        image=config.whole("image_size", 224),
        channels=config.whole("num_channels", 3),
        patch=config.whole("patch_size", 32),
        width=width,
        depth=depth_of(config, "num_hidden_layers", tensors),
        heads=config.whole("num_attention_heads", 12),
        mlp_ratio=hidden / width,
        layer_scale=0.0,
        style=_clip_style(config),
    )


def _clip_style(config: Config) -> Any:
    act = config.word("hidden_act", "quick_gelu")
    if act not in ("quick_gelu", "gelu"):
        raise config.wrong("hidden_act", "quick_gelu or gelu")
    return "clip" if act == "quick_gelu" else "clip-gelu"


def _clip_text_settings(config: Config, tensors: Mapping[str, Tensor]) -> TextSettings:
    width = config.whole("hidden_size", 512)
    config.must("layer_norm_eps", config.number("layer_norm_eps", 1e-5), 1e-5)
    config.must("intermediate_size", config.whole("intermediate_size", 2048), 4 * width)
    return TextSettings(
        width=width,
        depth=depth_of(config, "num_hidden_layers", tensors),
        heads=config.whole("num_attention_heads", 8),
        context=config.whole("max_position_embeddings", 77),
        vocabulary=config.whole("vocab_size", 49408),
        causal=True,
        style=_clip_style(config),
    )
