"""The backbone of a finished encoder run as a folder for a model hub: weights, configuration, card and a README."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from voxmix._io import atomic_path, file_digest, naming_full_disk, write_json, write_text
from voxmix.backbone_rows import BackboneSettings, VitSettings
from voxmix.encoders.checkpoint_folder import CONFIG_FILE, PREPROCESSOR_FILE, SINGLE_FILE
from voxmix.encoders.checkpoint_names import dinov2_names
from voxmix.encoders.checkpoint_parts import OpenWeights
from voxmix.encoders.contract import RESAMPLE
from voxmix.encoders.run_weights import HEADS_FILE, HUGGING_FACE, OWN, read_run_weights
from voxmix.errors import InputError
from voxmix.export.backbone_readme import readme
from voxmix.run_settings import identity
from voxmix.runs.cards import read_card
from voxmix.runs.files import CARD_FILE, CARD_FORMAT, ENCODER

_README = "README.md"
_KEPT = (
    "run_id", "objective", "objective_settings", "text", "tokenizer", "start", "samples", "subset", "budget", "seed",
    "cache", "recipe", "code",
)  # fmt: skip
"""What of a run's card goes on: settings, counts and digests."""


def export_backbone(
    run: Path, folder: Path, *, license: str | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write the backbone of a finished encoder run for other tools, and return its card and the names of the files.

    A ViT of DINOv2's style in 2D becomes a folder that transformers opens (``AutoModel.from_pretrained``):
    ``model.safetensors`` under its names, ``config.json``, ``preprocessor_config.json``. Another backbone keeps voxmix's own
    names. Both have ``card.json`` and a ``README.md``, and :func:`voxmix.encoders.start.load_start` gives the weights of
    either back, with head and text transformer, which lie in ``heads.safetensors`` beside a folder of transformers. The
    tokenizer stays with the run: its entries are pieces of the reports.

    ``run`` may be an exported folder. No image, report, person or path is in what is written.

    Args:
        run: folder of a finished run, or of an earlier export.
        folder: where to write; files of an earlier export are replaced.
        license: identifier for the README's header, such as ``apache-2.0``; none is invented.

    Raises:
        InputError: the checkpoint is incomplete or was changed, or ``folder`` is ``run``.
    """
    if folder.resolve() == run.resolve():
        raise InputError(f"{folder} is what is exported; choose another folder to write to")
    weights, card = read_run_weights(run), read_card(run)
    settings = weights.settings
    hub = fits_dinov2(settings)
    beside = dict(weights.head)
    if weights.text is not None:
        beside |= {f"text.{name}": tensor for name, tensor in weights.text.state.items()}
    own = {f"backbone.{name}": tensor for name, tensor in weights.state.items()}
    main = (
        dinov2_tensors(settings, weights.state) if isinstance(settings, VitSettings) and hub else own | beside
    )
    written: dict[str, Any] = {
        "kind": ENCODER,
        "format": CARD_FORMAT,
        "weights": SINGLE_FILE,
        **{name: card[name] for name in _KEPT if name in card},
        "names": HUGGING_FACE if hub else OWN,
        "encoder": {"name": settings.name, **identity(settings)},
        "encoder_prefix": "backbone.",
        "contract": weights.contract.as_dict(),
    }
    with naming_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in (HEADS_FILE, CONFIG_FILE, PREPROCESSOR_FILE):
            (folder / name).unlink(missing_ok=True)
        _write_tensors(folder / SINGLE_FILE, main)
        written["weights_sha256"] = file_digest(folder / SINGLE_FILE)
        if hub and beside:
            _write_tensors(folder / HEADS_FILE, beside)
            written |= {"heads": HEADS_FILE, "heads_sha256": file_digest(folder / HEADS_FILE)}
        if isinstance(settings, VitSettings) and hub:
            write_json(folder / CONFIG_FILE, dinov2_config(settings))
            write_json(folder / PREPROCESSOR_FILE, preprocessor_config(weights))
        write_text(folder / _README, readme(written, license=license))
        write_json(folder / CARD_FILE, written)
    names = (SINGLE_FILE, HEADS_FILE, CONFIG_FILE, PREPROCESSOR_FILE, CARD_FILE, _README)
    return written, tuple(name for name in names if (folder / name).is_file())


def fits_dinov2(settings: BackboneSettings) -> bool:
    """Return whether a network is one of transformers' ``Dinov2Model`` or ``Dinov2WithRegistersModel``.

    Its ``mlp_ratio`` is then a whole number: theirs takes no other.
    """
    return (
        isinstance(settings, VitSettings)
        and settings.axes == 2
        and settings.mlp_ratio == int(settings.mlp_ratio)
        and (settings.style == "dinov2" or (settings.style == "dinov2-registers" and settings.registers > 0))
    )


def dinov2_tensors(settings: VitSettings, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of transformers, of releases 4 and 5, and in its shapes.

    A network without LayerScale, which transformers does not have, gets scales of 1.
    """
    leads = {"cls_token": (1, 1), "mask_token": (1,), "register_tokens": (1,), "position_embeddings": (1,)}
    ones = torch.ones(settings.width)
    found: dict[str, Tensor] = {}
    for ours, (theirs, *_) in dinov2_names(settings).items():
        scale = ours.endswith((".scale1", ".scale2")) and not settings.layer_scale
        if ours not in state and not scale:
            continue  # registers of a network without
        tensor = ones if scale else state[ours]
        tensor = tensor.reshape(*leads.get(ours, ()), *tensor.shape)
        parts = [tensor] if len(theirs) == 1 else tensor.chunk(len(theirs))
        found |= dict(zip(theirs, parts, strict=True))
    return found


def dinov2_config(settings: VitSettings) -> dict[str, Any]:
    """Return the ``config.json`` of a network; the drop of paths in training is no part of it."""
    registers = settings.registers > 0
    return {
        "architectures": ["Dinov2WithRegistersModel" if registers else "Dinov2Model"],
        "model_type": "dinov2_with_registers" if registers else "dinov2",
        "image_size": settings.image,
        "num_channels": settings.channels,
        "patch_size": settings.patch,
        "hidden_size": settings.width,
        "num_hidden_layers": settings.depth,
        "num_attention_heads": settings.heads,
        "mlp_ratio": int(settings.mlp_ratio),
        **({"num_register_tokens": settings.registers} if registers else {}),
        "layerscale_value": settings.layer_scale or 1.0,
        "use_swiglu_ffn": settings.ffn == "swiglu",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "qkv_bias": True,
        "drop_path_rate": 0.0,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def preprocessor_config(weights: OpenWeights) -> dict[str, Any]:
    """Return the ``preprocessor_config.json``: the contract of the weights, at the edge that the run saw."""
    contract, image = weights.contract, weights.settings.image
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": max(round(contract.shorter_side * image / contract.image), image)},
        "resample": RESAMPLE.index(contract.resample),
        "do_center_crop": True,
        "crop_size": {"height": image, "width": image},
        "do_convert_rgb": contract.channels == 3,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(contract.mean),
        "image_std": list(contract.std),
    }


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(whole, metadata={"format": "pt"}))
