"""DaViT's weights of timm, of Florence-2's kind, and of MedImageInsight with its text transformer."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from voxmix.backbone_rows import DavitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.checkpoint_config import Config, depth_of
from voxmix.encoders.checkpoint_folder import listed
from voxmix.encoders.checkpoint_names import DavitLayout, davit_names, open_text_names, prefix_of
from voxmix.encoders.checkpoint_parts import (
    OpenWeights,
    TextWeights,
    contract_of,
    expected_of,
    read_backbone,
    read_projections,
    read_text,
)
from voxmix.encoders.contract import Contract, resample_of
from voxmix.errors import InputError

# Rows of timm's models; those that end in _fl are Florence-2's and MedImageInsight's.
_DAVITS: dict[str, dict[str, Any]] = {
    "tiny": {"depths": (1, 1, 3, 1), "dims": (96, 192, 384, 768), "heads": (3, 6, 12, 24)},
    "small": {"depths": (1, 1, 9, 1), "dims": (96, 192, 384, 768), "heads": (3, 6, 12, 24)},
    "base": {"depths": (1, 1, 9, 1), "dims": (128, 256, 512, 1024), "heads": (4, 8, 16, 32)},
    "large": {"depths": (1, 1, 9, 1), "dims": (192, 384, 768, 1536), "heads": (6, 12, 24, 48)},
    "huge": {"depths": (1, 1, 9, 1), "dims": (256, 512, 1024, 2048), "heads": (8, 16, 32, 64)},
    "giant": {"depths": (1, 1, 12, 3), "dims": (384, 768, 1536, 3072), "heads": (12, 24, 48, 96)},
}
_TOWERS = ("", "vision_tower.", "image_encoder.")


def read_davit(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
    """Return weights of a DaViT; raises as :func:`voxmix.encoders.open_weights.read_open_weights`."""
    if "architecture" in config.values:
        settings, contract = _timm_davit(config)
    else:
        settings, contract = _florence_davit(folder, config)
    tensors = _renamed(tensors)
    expected_of(settings, held=len(tensors), where=folder)  # before a table of its names is made
    florence = any(tower + "convs.0.proj.weight" in tensors for tower in _TOWERS)
    prefix = prefix_of(tensors, "convs.0.proj.weight" if florence else "stem.conv.weight", _TOWERS)
    named = any(".spatial_block." in name for name in tensors)
    layout: DavitLayout = "florence" if florence else "named" if named else "numbered"
    names = davit_names(settings, prefix, layout=layout)
    text: TextWeights | None = None
    head: dict[str, Tensor] = {}
    used: set[str] = set()
    if any(name.startswith("lang_encoder.") for name in tensors):
        text, head, used = _unicl(config, settings, tensors, folder)
    reading = read_backbone(settings, names, tensors, folder, used=used, dropped=(f"{prefix}head.fc.",))
    return OpenWeights.read("davit", settings, reading, contract, head=head, text=text)


_OLD_UNICL = {"visual.": "image_encoder.", "text.": "lang_encoder."}
_UNICL_PROJECTIONS = {"vision_projection": "image_projection", "lang_projection": "text_projection"}


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under one spelling of UniCL's names, which its code has changed."""
    found = {}
    for name, tensor in tensors.items():
        plain = _UNICL_PROJECTIONS.get(name, name)
        for old, new in _OLD_UNICL.items():
            plain = new + plain.removeprefix(old) if plain.startswith(old) else plain
        found[name if plain in tensors else plain] = tensor
    return found


def _timm_davit(config: Config) -> tuple[DavitSettings, Contract]:
    """Return settings and contract of a timm hub folder (architecture, model_args, pretrained_cfg)."""
    name = config.word("architecture", "").split(".")[0]
    size = name.removeprefix("davit_").removesuffix("_fl")
    given = Config(values=config.values.get("model_args") or {}, where=f"{config.where}: model_args")
    if size not in _DAVITS:
        raise InputError(
            f"{config.where}: architecture {name!r} is no davit that voxmix knows: {', '.join(_DAVITS)}"
        )
    florence = name.endswith("_fl") or bool(given.values.get("channel_attn_v2"))
    known = {
        "depths",
        "embed_dims",
        "num_heads",
        "window_size",
        "down_kernel_size",
        "channel_attn_v2",
        "named_blocks",
    }
    extra = sorted(given.values.keys() - known - {"drop_path_rate", "num_classes"})
    if extra:
        raise InputError(f"{given.where} sets {listed(extra)}, which voxmix's davit does not have")
    row = _DAVITS[size]
    given.must(
        "down_kernel_size", given.whole("down_kernel_size", 3 if florence else 2), 3 if florence else 2
    )
    pretrained = config.part("pretrained_cfg")
    shape = pretrained.wholes("input_size", (3, 224, 224))
    settings = DavitSettings(
        image=shape[-1],
        channels=shape[0],
        dims=given.wholes("embed_dims", row["dims"]),
        depths=given.wholes("depths", row["depths"]),
        heads=given.wholes("num_heads", row["heads"]),
        window=given.whole("window_size", 12 if florence else 7),
        style="florence" if florence else "paper",
    )
    crop = pretrained.number("crop_pct", 1.0)
    contract = Contract(
        image=settings.image,
        shorter_side=int(settings.image / crop),
        resample=resample_of(pretrained.word("interpolation", "bicubic")),
        channels=settings.channels,
        mean=tuple(pretrained.values.get("mean", ())),
        std=tuple(pretrained.values.get("std", ())),
    )
    return settings, contract


def _florence_davit(folder: Path, config: Config) -> tuple[DavitSettings, Contract]:
    """Return settings and contract of a folder whose config.json has Florence-2's keys of its image tower."""
    part = config.part("vision_config") if "vision_config" in config.values else config
    settings = DavitSettings(
        image=part.whole("image_size", 480),
        channels=part.whole("in_chans", 3),
        dims=part.wholes("dim_embed", (256, 512, 1024, 2048)),
        depths=part.wholes("depths", (1, 1, 9, 1)),
        heads=part.wholes("num_heads", (8, 16, 32, 64)),
        window=part.whole("window_size", 12),
        style="florence",
    )
    part.must("num_groups", part.wholes("num_groups", settings.heads), settings.heads)
    given = config.values.get("preprocessor_config")  # of MedImageInsight's config.yaml
    if isinstance(given, dict):
        return settings, Contract.of_preprocessor(given, channels=settings.channels)
    contract = contract_of(folder, channels=settings.channels)
    return replace(settings, image=contract.image), contract


def _unicl(
    config: Config, settings: DavitSettings, tensors: Mapping[str, Tensor], folder: Path
) -> tuple[TextWeights, dict[str, Tensor], set[str]]:
    """Return text transformer, projections and the names that were read of MedImageInsight's weights."""
    part = config.part("text_config")
    text_settings = TextSettings(
        width=part.whole("hidden_size", 1024),
        depth=depth_of(part, "num_hidden_layers", tensors),
        heads=part.whole("num_attention_heads", 16),
        context=part.whole("max_position_embeddings", 77),
        vocabulary=part.whole(
            "vocab_size", len(tensors.get("lang_encoder.token_embedding.weight", ())) or 49408
        ),
        causal=part.flag("causal", False),
        style="unicl",
    )
    table = open_text_names(text_settings.depth, "lang_encoder.")
    text, used = read_text(text_settings, table, tensors, folder)
    size = config.whole("projection_dim", 1024)
    head = read_projections(
        tensors,
        {
            "image_projection.weight": ("image_projection", (settings.dims[-1], size)),
            "text_projection.weight": ("text_projection", (text_settings.width, size)),
            "logit_scale": ("logit_scale", ()),
        },
        folder,
    )
    for name in ("image_projection.weight", "text_projection.weight"):  # a product from the right
        head[name] = head[name].T.contiguous()
    return text, head, {*used, "image_projection", "text_projection", "logit_scale"}
