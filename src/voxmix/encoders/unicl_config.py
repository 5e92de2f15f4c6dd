"""MedImageInsight's ``config.yaml``, as the ``config.json`` that this family has: every key that decides a feature is checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxmix.errors import InputError
from voxmix.settings import parse_yaml, read_settings

UNICL_FILE = "config.yaml"

_FREE = ("NAME", "LOAD_PRETRAINED", "PRETRAINED", "PRETRAINED_LAYERS", "STANDPARAM")
_PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "IMAGE_ENCODER": (("IMAGE_SIZE", "IMAGE_MEAN", "IMAGE_STD", "SPEC"), ("NUM_CLASSES",)),
    "IMAGE_ENCODER: SPEC": (
        ("DIM_EMBED", "NUM_HEADS", "NUM_GROUPS", "DEPTHS", "PATCH_SIZE", "PATCH_STRIDE", "PATCH_PADDING", "PATCH_PRENORM"),
        ("WINDOW_SIZE", "DROP_RATE", "DROP_PATH_RATE", "ENABLE_CHECKPOINT", "CONV_AT_ATTN", "CONV_AT_FFN", "DYNAMIC_SCALE"),
    ),
    "LANG_ENCODER": (("TOKENIZER", "CONTEXT_LENGTH", "WIDTH", "HEADS", "LAYERS"), ("AUTOGRESSIVE",)),
    "UNICL_MODEL": (("DIM_PROJECTION",), ("GATHER_TENSORS",)),
}  # fmt: skip
"""Keys that are needed and that may be there, of each part that decides a feature; other parts are about training."""
_FILTERS = {"nearest": 0, "bilinear": 2, "bicubic": 3}
_CROP = 0.875
"""Share of the shorter side that a crop at the centre keeps (the released code)."""


def read_unicl_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a folder with MedImageInsight's ``config.yaml``, under the keys of a ``config.json``.

    ``preprocessor_config`` in it is what ``preprocessor_config.json`` says elsewhere.

    Raises:
        InputError: no such file, not YAML, a part or key that is missing or not known, or one with which our network would
            give other features.
    """
    path = folder / UNICL_FILE
    values = parse_yaml(read_settings(path, absent=f"no {UNICL_FILE} in {folder}"), where=str(path))
    image, text, both = (
        _part(values, path, name) for name in ("IMAGE_ENCODER", "LANG_ENCODER", "UNICL_MODEL")
    )
    spec = _part(image, path, "SPEC", of="IMAGE_ENCODER: ")
    later = len(spec["DEPTHS"]) - 1 if isinstance(spec["DEPTHS"], list) else 3
    size = image["IMAGE_SIZE"]
    edge = size[0] if isinstance(size, list) and size else size
    crop = _under(values, "TEST").get("CENTER_CROP", False)
    name = _under(values, "AUG").get("INTERPOLATION", "bicubic")
    for key, found, expected in (
        ("IMAGE_ENCODER: NAME", image.get("NAME", "davit_v1"), "davit_v1"),
        ("PATCH_SIZE", spec["PATCH_SIZE"], [7, *[3] * later]),
        ("PATCH_STRIDE", spec["PATCH_STRIDE"], [4, *[2] * later]),
        ("PATCH_PADDING", spec["PATCH_PADDING"], [3, *[1] * later]),
        ("PATCH_PRENORM", spec["PATCH_PRENORM"], [False, *[True] * later]),
        *((key, spec.get(key, True), True) for key in ("CONV_AT_ATTN", "CONV_AT_FFN", "DYNAMIC_SCALE")),
        *(("STANDPARAM", part.get("STANDPARAM", True), True) for part in (image, spec, text, both)),
        ("LANG_ENCODER: NAME", text.get("NAME", "transformer"), "transformer"),
        ("TOKENIZER", text["TOKENIZER"], "clip"),
    ):
        if found != expected:
            raise InputError(
                f"{path}: {key} is {found!r}; voxmix's network of this family has {expected!r}, features would be others"
            )
    for key, found, good, expected in (
        ("IMAGE_SIZE", size, type(edge) is int and edge > 0 and size in (edge, [edge, edge]), "one edge, or two equal ones"),
        *((key, image[key], _numbers(image[key]), "three numbers") for key in ("IMAGE_MEAN", "IMAGE_STD")),
        ("CENTER_CROP", crop, isinstance(crop, bool), "true or false"),
        ("INTERPOLATION", name, name in _FILTERS, f"one of {', '.join(_FILTERS)}"),
    ):  # fmt: skip
        if not good:
            raise InputError(f"{path}: {key} should be {expected}, got {found!r}; copy the file again")
    return {
        "model_type": "davit",
        "projection_dim": both["DIM_PROJECTION"],
        "vision_config": {
            "image_size": edge,
            "dim_embed": spec["DIM_EMBED"],
            "depths": spec["DEPTHS"],
            "num_heads": spec["NUM_HEADS"],
            "num_groups": spec["NUM_GROUPS"],
            "window_size": spec.get("WINDOW_SIZE", 7),
        },
        "text_config": {
            "hidden_size": text["WIDTH"],
            "num_hidden_layers": text["LAYERS"],
            "num_attention_heads": text["HEADS"],
            "max_position_embeddings": text["CONTEXT_LENGTH"],
            "causal": text.get("AUTOGRESSIVE", True),
        },
        "preprocessor_config": {
            "size": int(edge / _CROP) if crop else edge,
            "crop_size": edge,
            "do_center_crop": crop,
            "resample": _FILTERS[name],
            "image_mean": image["IMAGE_MEAN"],
            "image_std": image["IMAGE_STD"],
        },
    }


def _part(values: Mapping[str, Any], path: Path, name: str, *, of: str = "") -> dict[str, Any]:
    value, where = values.get(name), f"{path}: {of}{name}"
    needed, allowed = _PARTS[of + name]
    if not isinstance(value, dict):
        raise InputError(f"{where} is not there; copy the {UNICL_FILE} that was released with the weights")
    if lacking := [key for key in needed if value.get(key) is None]:
        raise InputError(
            f"{where} lacks {', '.join(lacking)}; copy the {UNICL_FILE} that was released with the weights"
        )
    if unknown := sorted(str(key) for key in value.keys() - {*needed, *allowed, *_FREE}):
        raise InputError(
            f"{where} has keys that voxmix does not know: {', '.join(unknown)}; features could be others. Take them out "
            "where you know that they only matter for training"
        )
    return value


def _under(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _numbers(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(type(each) in (int, float) for each in value)
