"""Names of weights in open checkpoints, as tables: every weight of ours, and what it is made of under theirs.

A row is one weight of ours and its alternatives, since a library has changed its names; an alternative is the names of
theirs whose tensors, joined along the first axis, are ours.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from voxmix.backbone_rows import DavitSettings, VitSettings
from voxmix.encoders.checkpoint_folder import listed
from voxmix.errors import InputError

Alternative = tuple[str, ...]
Names = dict[str, tuple[Alternative, ...]]


class Reading(NamedTuple):
    """What a table found in a checkpoint.

    Attributes:
        state: our weights.
        fresh: weights of ours that the checkpoint does not have, and need not.
        used: names of theirs that were read.
    """

    state: dict[str, Tensor]
    fresh: tuple[str, ...]
    used: frozenset[str]


class Misfit(NamedTuple):
    """What does not fit, in their names."""

    missing: list[str]
    shapes: list[str]


def read_by(
    names: Names,
    tensors: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    optional: Iterable[str] = (),
) -> tuple[Reading, Misfit]:
    """Return our weights from a checkpoint's tensors, and what is missing or of another shape.

    A leading axis of 1, which some libraries keep, is taken off.

    Args:
        names: table of every weight in ``expected``.
        expected: our weights' shapes.
        optional: those that a checkpoint may lack.
    """
    state: dict[str, Tensor] = {}
    used: set[str] = set()
    misfit = Misfit([], [])
    fresh = []
    for ours, shape in ((name, tuple(tensor.shape)) for name, tensor in expected.items()):
        chosen = _chosen(names[ours], tensors)
        lacking = [name for name in chosen if name not in tensors]
        if lacking:
            if ours in set(optional) and len(lacking) == len(chosen):
                fresh.append(ours)
            else:
                misfit.missing.extend(lacking)
                used |= tensors.keys() & set(chosen)
            continue
        used |= set(chosen)
        parts = [_without_lead(tensors[name], len(shape)) for name in chosen]
        fit = len({part.shape[1:] for part in parts}) == 1
        joined = torch.cat(parts) if fit and len(parts) > 1 else parts[0]
        if not fit or tuple(joined.shape) != shape:
            found = " + ".join(str(tuple(part.shape)) for part in parts)
            misfit.shapes.append(f"{' + '.join(chosen)} is {found}, the network has {shape}")
            continue
        state[ours] = joined.contiguous()
    return Reading(state, tuple(fresh), frozenset(used)), misfit


def refuse_misfit(misfit: Misfit, unexpected: Iterable[str], *, what: str) -> None:
    """Raise where anything does not fit.

    Raises:
        InputError: names every missing and unexpected weight, and every shape that differs.
    """
    extra = sorted(unexpected)
    if misfit.missing or misfit.shapes or extra:
        raise InputError(
            f"{what} does not fit its configuration. Missing: {listed(misfit.missing)}. Unexpected: {listed(extra)}. Shapes: "
            f"{'; '.join(misfit.shapes[:12]) or 'all agree'}. Copy the whole folder of the checkpoint again"
        )


def _chosen(alternatives: tuple[Alternative, ...], tensors: Mapping[str, Tensor]) -> Alternative:
    """Return the alternative of which the checkpoint has any name, the first if it has none."""
    return next((each for each in alternatives if any(name in tensors for name in each)), alternatives[0])


def _without_lead(tensor: Tensor, axes: int) -> Tensor:
    while tensor.ndim > axes and tensor.shape[0] == 1:
        tensor = tensor[0]
    return tensor


def prefix_of(tensors: Mapping[str, Tensor], mark: str, prefixes: tuple[str, ...]) -> str:
    """Return which of the ``prefixes`` the name ``mark`` stands under; the first if it is nowhere."""
    return next((prefix for prefix in prefixes if prefix + mark in tensors), prefixes[0])


def _both(ours: str, *theirs: str, parts: tuple[str, ...] = ("weight", "bias")) -> Names:
    """Return the rows of a weight and its bias, for one name of theirs or several that are joined."""
    return {f"{ours}.{part}": (tuple(f"{name}.{part}" for name in theirs),) for part in parts}


def _either(*tables: Names) -> Names:
    """Return rows whose alternatives are those of each table in turn."""
    return {name: tuple(each for table in tables for each in table[name]) for name in tables[0]}


def dinov2_names(settings: VitSettings, prefix: str = "") -> Names:
    """Return the names of transformers' ``Dinov2Model`` and ``Dinov2WithRegistersModel``, of releases 4 and 5."""
    found: Names = {
        "cls_token": (("embeddings.cls_token",),),
        "mask_token": (("embeddings.mask_token",),),
        "register_tokens": (("embeddings.register_tokens",),),
        "position_embeddings": (("embeddings.position_embeddings",),),
        **_both("patch_embedding", "embeddings.patch_embeddings.projection"),
        **_both("norm", "layernorm"),
    }
    for number in range(settings.depth):
        ours, theirs = f"layer.{number}", f"encoder.layer.{number}"
        old = [f"{theirs}.attention.attention.{part}" for part in ("query", "key", "value")]
        new = [f"{theirs}.attention.{part}_proj" for part in "qkv"]
        found |= {
            **_both(f"{ours}.norm1", f"{theirs}.norm1"),
            **_both(f"{ours}.norm2", f"{theirs}.norm2"),
            **_either(_both(f"{ours}.qkv", *old), _both(f"{ours}.qkv", *new)),
            **_either(
                _both(f"{ours}.proj", f"{theirs}.attention.output.dense"),
                _both(f"{ours}.proj", f"{theirs}.attention.o_proj"),
            ),
            f"{ours}.scale1": ((f"{theirs}.layer_scale1.lambda1",),),
            f"{ours}.scale2": ((f"{theirs}.layer_scale2.lambda1",),),
        }
        mlp = f"{theirs}.mlp"
        if settings.ffn == "swiglu":
            found |= _either(
                _both(f"{ours}.fc1", f"{mlp}.weights_in"),
                _both(f"{ours}.fc1", f"{mlp}.gate_proj", f"{mlp}.up_proj"),
            )
            found |= _either(
                _both(f"{ours}.fc2", f"{mlp}.weights_out"), _both(f"{ours}.fc2", f"{mlp}.down_proj")
            )
        else:
            found |= _both(f"{ours}.fc1", f"{mlp}.fc1") | _both(f"{ours}.fc2", f"{mlp}.fc2")
    return _under(prefix, found)


def clip_vision_names(settings: VitSettings, prefix: str = "") -> Names:
    """Return the names of transformers' ``CLIPVisionModel``."""
    found: Names = {
        "cls_token": (("embeddings.class_embedding",),),
        "mask_token": (("embeddings.mask_token",),),  # it has none
        "position_embeddings": (("embeddings.position_embedding.weight",),),
        **_both("patch_embedding", "embeddings.patch_embedding", parts=("weight",)),
        **_both("norm_before", "pre_layrnorm"),
        **_both("norm", "post_layernorm"),
    }
    return _under(prefix, found | _clip_blocks("layer", settings.depth))


def clip_text_names(depth: int, prefix: str = "") -> Names:
    """Return the names of transformers' ``CLIPTextModel``."""
    found: Names = {
        "token_embedding.weight": (("embeddings.token_embedding.weight",),),
        "position_embeddings": (("embeddings.position_embedding.weight",),),
        **_both("norm", "final_layer_norm"),
    }
    return _under(prefix, found | _clip_blocks("layer", depth))


def _clip_blocks(ours: str, depth: int) -> Names:
    found: Names = {}
    for number in range(depth):
        mine, theirs = f"{ours}.{number}", f"encoder.layers.{number}"
        found |= {
            **_both(f"{mine}.norm1", f"{theirs}.layer_norm1"),
            **_both(f"{mine}.norm2", f"{theirs}.layer_norm2"),
            **_both(f"{mine}.qkv", *(f"{theirs}.self_attn.{part}_proj" for part in "qkv")),
            **_both(f"{mine}.proj", f"{theirs}.self_attn.out_proj"),
            **_both(f"{mine}.fc1", f"{theirs}.mlp.fc1"),
            **_both(f"{mine}.fc2", f"{theirs}.mlp.fc2"),
        }
    return found


def open_text_names(depth: int, prefix: str = "") -> Names:
    """Return the names of the text transformer of CLIP's own code, open_clip and UniCL (MedImageInsight)."""
    found: Names = {
        "token_embedding.weight": (("token_embedding.weight",),),
        "position_embeddings": (("positional_embedding",),),
        **_both("norm", "ln_final"),
    }
    for number in range(depth):
        mine = f"layer.{number}"
        theirs = f"resblocks.{number}"
        rows: Names = {
            f"{mine}.qkv.weight": ((f"{theirs}.attn.in_proj_weight",),),
            f"{mine}.qkv.bias": ((f"{theirs}.attn.in_proj_bias",),),
            **_both(f"{mine}.norm1", f"{theirs}.ln_1"),
            **_both(f"{mine}.norm2", f"{theirs}.ln_2"),
            **_both(f"{mine}.proj", f"{theirs}.attn.out_proj"),
            **_both(f"{mine}.fc1", f"{theirs}.mlp.c_fc"),
            **_both(f"{mine}.fc2", f"{theirs}.mlp.c_proj"),
        }
        found |= {
            name: (*each, *(tuple(f"transformer.{part}" for part in one) for one in each))
            for name, each in rows.items()
        }
    return _under(prefix, found)


def mae_names(settings: VitSettings, prefix: str = "") -> Names:
    """Return the names of voxmix's own encoder (:class:`voxmix.encoders.mae.Encoder`), which are MONAI's ``ViT``'s."""
    found: Names = {
        "mask_token": (("mask_token",),),  # it has none
        "position_embeddings": (("patch_embedding.position_embeddings",),),
        **_both("patch_embedding", "patch_embedding.patch_embeddings"),
        **_both("norm", "norm"),
    }
    for number in range(settings.depth):
        block = f"blocks.{number}"
        mine = f"layer.{number}"
        found |= {
            **_both(f"{mine}.norm1", f"{block}.norm1"),
            **_both(f"{mine}.norm2", f"{block}.norm2"),
            **_both(f"{mine}.qkv", f"{block}.attn.qkv", parts=("weight",)),
            **_both(f"{mine}.proj", f"{block}.attn.out_proj"),
            **_both(f"{mine}.fc1", f"{block}.mlp.linear1"),
            **_both(f"{mine}.fc2", f"{block}.mlp.linear2"),
        }
    return _under(prefix, found)


DavitLayout = Literal["named", "numbered", "florence"]
"""timm's with blocks by name (those of Florence's kind) or by number, or Florence-2's and MedImageInsight's own names."""

_DAVIT_PARTS = (
    ("position1", "cpe1.proj", "conv1.fn.dw"),
    ("norm1", "norm1", "{}_attn.norm"),
    ("qkv", "attn.qkv", "{}_attn.fn.qkv"),
    ("proj", "attn.proj", "{}_attn.fn.proj"),
    ("position2", "cpe2.proj", "conv2.fn.dw"),
    ("norm2", "norm2", "ffn.norm"),
    ("fc1", "mlp.fc1", "ffn.fn.net.fc1"),
    ("fc2", "mlp.fc2", "ffn.fn.net.fc2"),
)  # ours, timm's, Florence's


def davit_names(settings: DavitSettings, prefix: str = "", *, layout: DavitLayout) -> Names:
    """Return the names of timm's ``DaVit``, or of Florence-2's and MedImageInsight's image tower."""
    florence = layout == "florence"
    found: Names = {
        "mask_token": (("mask_token",),),  # it has none
        **_both("norm", "norms" if florence else "head.norm"),
    }
    for stage, depth in enumerate(settings.depths):
        timm = f"stages.{stage}.downsample" if stage else "stem"
        found |= _both(f"reductions.{stage}.conv", f"convs.{stage}.proj" if florence else f"{timm}.conv")
        found |= _both(f"reductions.{stage}.norm", f"convs.{stage}.norm" if florence else f"{timm}.norm")
        for number in range(depth):
            for place, (kind, attention) in enumerate((("spatial", "window"), ("channel", "channel"))):
                block = {
                    "named": f"stages.{stage}.blocks.{number}.{kind}_block",
                    "numbered": f"stages.{stage}.blocks.{number}.{place}",
                    "florence": f"blocks.{stage}.{number}.{kind}_block",
                }[layout]
                for part, in_timm, in_florence in _DAVIT_PARTS:
                    theirs = in_florence.format(attention) if florence else in_timm
                    found |= _both(f"stages.{stage}.{number}.{kind}.{part}", f"{block}.{theirs}")
    return _under(prefix, found)


def _under(prefix: str, names: Names) -> Names:
    return {
        ours: tuple(tuple(prefix + name for name in each) for each in alternatives)
        for ours, alternatives in names.items()
    }
