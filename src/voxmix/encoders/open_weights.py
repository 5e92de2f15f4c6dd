"""Open checkpoints of each family: from a local Hugging Face folder to our settings and our names, strictly."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxmix._io import read_mapping
from voxmix.backbone_rows import BackboneSettings, DavitSettings, VitSettings
from voxmix.encoder_runs import TextSettings
from voxmix.encoders.backbone import backbone_of
from voxmix.encoders.checkpoint_folder import (
    DINO_HEAD_FILE,
    PREPROCESSOR_FILE,
    config_file,
    finite,
    listed,
    read_config,
    read_weights,
)
from voxmix.encoders.checkpoint_names import (
    DavitLayout,
    Misfit,
    Names,
    Reading,
    clip_text_names,
    clip_vision_names,
    davit_names,
    dinov2_names,
    open_text_names,
    prefix_of,
    read_by,
    refuse_misfit,
)
from voxmix.encoders.contract import Contract, resample_of
from voxmix.encoders.interchange import read_tensors
from voxmix.encoders.text import TextEncoder
from voxmix.errors import InputError, VoxmixWarning, did_you_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class TextWeights:
    """A text transformer of a checkpoint: its settings, and its weights under our names."""

    settings: TextSettings
    state: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenWeights:
    """What a checkpoint holds, under our names.

    Attributes:
        family: a row of :data:`FAMILIES`, or "voxmix".
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A part of a configuration, read by kind; ``where`` names it in messages."""

    values: Mapping[str, Any]
    where: str

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a whole number above 0."""
        value = self.values.get(name, default)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]  # a square's edges
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
            raise self.wrong(name, "a whole number above 0")
        return value

    def number(self, name: str, default: float) -> float:
        """Return a number."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(name, "a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def word(self, name: str, default: str) -> str:
        """Return a word."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "a word")
        return value

    def wholes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return whole numbers above 0."""
        value = self.values.get(name, list(default))
        if not isinstance(value, list) or not all(type(each) is int and 0 < each < 2**31 for each in value):
            raise self.wrong(name, "a list of whole numbers above 0")
        return tuple(value)

    def part(self, name: str) -> "Config":
        """Return a part of the configuration."""
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise self.wrong(name, "a part with keys of its own")
        return Config(values=value, where=f"{self.where}: {name}")

    def must(self, name: str, found: object, expected: object) -> None:
        """Refuse what our network does otherwise."""
        if found != expected:
            raise InputError(
                f"{self.where}: {name} is {found!r}; voxmix's network of this family has {expected!r}, features would be others"
            )

    def wrong(self, name: str, expected: str) -> InputError:
        """Return what is to be raised of a value of another kind."""
        return InputError(
            f"{self.where}: {name} should be {expected}, got {self.values.get(name)!r}; copy the file again"
        )


Reader = Callable[[Path, Config, Mapping[str, Tensor]], OpenWeights]


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


def _dinov2(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
    registers = config.values.get("model_type") == "dinov2_with_registers"
    config.must("hidden_act", config.word("hidden_act", "gelu"), "gelu")
    config.must("layer_norm_eps", config.number("layer_norm_eps", 1e-6), 1e-6)
    config.must("qkv_bias", config.flag("qkv_bias", True), True)
    settings = VitSettings(
        image=config.whole("image_size", 224),
        channels=config.whole("num_channels", 3),
        patch=config.whole("patch_size", 16 if registers else 14),
        width=config.whole("hidden_size", 768),
        depth=_depth(config, "num_hidden_layers", tensors),
        heads=config.whole("num_attention_heads", 12),
        mlp_ratio=config.number("mlp_ratio", 4),
        registers=config.whole("num_register_tokens", 4) if registers else 0,
        layer_scale=config.number("layerscale_value", 1.0) or 1.0,
        ffn="swiglu" if config.flag("use_swiglu_ffn", False) else "mlp",
        style="dinov2-registers" if registers else "dinov2",
    )
    prefix = prefix_of(tensors, "embeddings.cls_token", ("", "dinov2.", "dinov2_with_registers."))
    names = dinov2_names(settings, prefix)
    reading = _read(settings, names, tensors, folder, dropped=("classifier.",) if prefix else ())
    contract = _contract(folder, channels=settings.channels)
    return OpenWeights(
        family=str(config.values["model_type"]),
        settings=settings,
        state=reading.state | _pixels(contract),
        fresh=reading.fresh,
        contract=contract,
        head=_dino_head(folder, settings.width),
    )


def _clip(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
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
        text, found = _read_text(text_settings, table, tensors, folder)
        size = config.whole("projection_dim", 512)
        head = _projections(
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
    reading = _read(settings, names, tensors, folder, used=used)
    contract = _contract(folder, channels=settings.channels)
    return OpenWeights(
        family=str(config.values["model_type"]),
        settings=settings,
        state=reading.state | _pixels(contract),
        fresh=reading.fresh,
        contract=contract,
        head=head,
        text=text,
    )


def read_text_weights(folder: Path) -> TextWeights:
    """Return the text transformer of a folder with CLIP's weights, whole or of the text alone.

    Raises:
        InputError: as :func:`read_open_weights`.
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
    text, used = _read_text(settings, clip_text_names(settings.depth, prefix), tensors, folder)
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
        depth=_depth(config, "num_hidden_layers", tensors),
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
        depth=_depth(config, "num_hidden_layers", tensors),
        heads=config.whole("num_attention_heads", 8),
        context=config.whole("max_position_embeddings", 77),
        vocabulary=config.whole("vocab_size", 49408),
        causal=True,
        style=_clip_style(config),
    )


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


def _davit(folder: Path, config: Config, tensors: Mapping[str, Tensor]) -> OpenWeights:
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
    reading = _read(settings, names, tensors, folder, used=used, dropped=(f"{prefix}head.fc.",))
    return OpenWeights(
        family="davit",
        settings=settings,
        state=reading.state | _pixels(contract),
        fresh=reading.fresh,
        contract=contract,
        head=head,
        text=text,
    )


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
    contract = _contract(folder, channels=settings.channels)
    return replace(settings, image=contract.image), contract


def _unicl(
    config: Config, settings: DavitSettings, tensors: Mapping[str, Tensor], folder: Path
) -> tuple[TextWeights, dict[str, Tensor], set[str]]:
    """Return text transformer, projections and the names that were read of MedImageInsight's weights."""
    part = config.part("text_config")
    text_settings = TextSettings(
        width=part.whole("hidden_size", 1024),
        depth=_depth(part, "num_hidden_layers", tensors),
        heads=part.whole("num_attention_heads", 16),
        context=part.whole("max_position_embeddings", 77),
        vocabulary=part.whole(
            "vocab_size", len(tensors.get("lang_encoder.token_embedding.weight", ())) or 49408
        ),
        causal=part.flag("causal", False),
        style="unicl",
    )
    table = open_text_names(text_settings.depth, "lang_encoder.")
    text, used = _read_text(text_settings, table, tensors, folder)
    size = config.whole("projection_dim", 1024)
    head = _projections(
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


FAMILIES: dict[str, Reader] = {
    "dinov2": _dinov2,
    "dinov2_with_registers": _dinov2,
    "clip": _clip,
    "clip_vision_model": _clip,
    "davit": _davit,
}
"""Families of open weights by the ``model_type`` of their configuration; ``davit`` also by timm's ``architecture``."""


def _depth(config: Config, name: str, tensors: Mapping[str, Tensor]) -> int:
    """Return the number of blocks; not more than the weights could have, so that no damaged number builds a giant."""
    depth = config.whole(name, 12)
    if depth > len(tensors):
        raise InputError(
            f"{config.where}: {name} is {depth}, the weights hold {len(tensors)} tensors; copy both again"
        )
    return depth


def _read(
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


def _read_text(
    settings: TextSettings, names: Names, tensors: Mapping[str, Tensor], folder: Path
) -> tuple[TextWeights, frozenset[str]]:
    expected = expected_of(settings, held=len(tensors), where=folder)
    reading, misfit = read_by(names, tensors, expected)
    refuse_misfit(misfit, (), what=f"the text transformer in {folder}")
    return TextWeights(settings=settings, state=reading.state), reading.used


def _projections(
    tensors: Mapping[str, Tensor], rows: Mapping[str, tuple[str, tuple[int, ...]]], folder: Path
) -> dict[str, Tensor]:
    expected = {name: torch.empty(shape, device="meta") for name, (_, shape) in rows.items()}
    names: Names = {name: ((theirs,),) for name, (theirs, _) in rows.items()}
    reading, misfit = read_by(names, tensors, expected)
    refuse_misfit(misfit, (), what=f"the head in {folder}")
    return dict(reading.state)


def _contract(folder: Path, *, channels: int) -> Contract:
    if not (folder / PREPROCESSOR_FILE).is_file():
        raise InputError(
            f"no {PREPROCESSOR_FILE} in {folder}, which says how images must be prepared for these weights; copy the whole "
            "folder of the checkpoint"
        )
    return Contract.of_preprocessor(read_mapping(folder / PREPROCESSOR_FILE), channels=channels)


def _pixels(contract: Contract) -> dict[str, Tensor]:
    return {"pixel_mean": torch.tensor(contract.mean), "pixel_std": torch.tensor(contract.std)}


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
