"""A finished run's encoder as a folder for a model hub: weights, card, configuration and a README."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from voxmix._io import atomic_path, file_digest, naming_full_disk, write_json, write_text
from voxmix.encoders.interchange import encoder_settings, load_encoder, read_tensors
from voxmix.encoders.weight_names import ENCODER, MonaiLine, bare, to_monai, to_timm
from voxmix.errors import InputError
from voxmix.export.hub_readme import readme
from voxmix.export.model_card import data_licenses, measured
from voxmix.export.nnunet import FOLDER, TRAINER, write_trainer
from voxmix.export.targets import Names
from voxmix.runs.cards import checked_weights, read_card
from voxmix.runs.files import CARD_FILE
from voxmix.runs.files import ENCODER as EXPORTED

EXPORTED_WEIGHTS, EXPORTED_ADAPTERS, EXPORTED_CONFIG = (
    "model.safetensors",
    "adapters.safetensors",
    "config.json",
)
_README = "README.md"


def export_encoder(
    run: Path,
    folder: Path,
    *,
    names: Names = "monai-unetr",
    line: MonaiLine = "1.6",
    license: str | None = None,
    data_license: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a finished run's encoder as a folder that a model hub takes, and return its card.

    ``model.safetensors`` under the asked names; ``adapters.safetensors``, the input adapter of every domain;
    ``card.json`` (encoder settings, preprocessing, mixture, losses, digest of the weights); ``config.json``; and a
    model card, ``README.md`` with a hub's YAML header: how to load the weights and prepare volumes for them, what they learned
    from in counts, losses, limits. ``nnunet`` also writes a trainer, see :mod:`voxmix.export.nnunet`.
    ``run`` may be an exported folder: its weights are written again under other names.

    Args:
        run: folder of a finished run, or of an earlier export.
        folder: where to write; files of an earlier export are replaced.
        names: ``monai-unetr`` (``vit.*``), ``monai-vit`` or ``timm``; ``nnunet`` has those of ``monai-unetr``.
        line: MONAI's release line for a strict load there; without effect on timm's names.
        license: identifier for the README's header, such as ``apache-2.0``; none is invented.
        data_license: ``DOMAIN=LICENSE`` for the table of the data; what is left out is "not stated".

    Raises:
        InputError: the checkpoint is incomplete or was changed, a license of a domain that it lacks, its encoder is one of images, or ``folder`` is ``run``.
    """
    if folder.resolve() == run.resolve():
        raise InputError(f"{folder} is what is exported; choose another folder to write to")
    weights, card = load_encoder(run)
    axes = encoder_settings(card).axes
    if axes != 3:
        raise InputError(
            f"the encoder in {run} is of {axes} axes, and an export describes volumes; load it by "
            "voxmix.encoders.load_encoder, and rename its weights by voxmix.encoders.weight_names"
        )
    licenses = data_licenses(data_license, list(card["mixture"])) or card.get("data_licenses", {})
    nnunet, names = names == "nnunet", "monai-unetr" if names == "nnunet" else names
    state = to_timm(weights) if names == "timm" else to_monai(weights, line=line)
    if names == "monai-vit":
        state = bare(state)
    written = {
        **card,
        "kind": EXPORTED,
        "weights": EXPORTED_WEIGHTS,
        "encoder_prefix": ENCODER if names == "monai-unetr" else "",
        "names": names,
        "monai": None if names == "timm" else line,
        "nnunet": nnunet,
        "measured": measured(run, card),
        "data_licenses": licenses,
    }
    with naming_full_disk(folder):
        _write_tensors(folder / EXPORTED_ADAPTERS, _adapters(run))
        _write_tensors(folder / EXPORTED_WEIGHTS, state)
        written["weights_sha256"] = file_digest(folder / EXPORTED_WEIGHTS)
        write_json(folder / EXPORTED_CONFIG, _config(written))
        if nnunet:
            write_trainer(folder)
        write_text(folder / _README, readme(written, license=license))
        write_json(folder / CARD_FILE, written)
    return written


def exported_files(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of what an export with this card holds, relative to its folder."""
    trainer = (f"{FOLDER}/{TRAINER}.py",) if card["nnunet"] else ()
    return (EXPORTED_WEIGHTS, EXPORTED_ADAPTERS, CARD_FILE, EXPORTED_CONFIG, _README, *trainer)


def _adapters(run: Path) -> dict[str, Tensor]:
    """Return the input adapters of a run or an export: weight (domain, 1, x, y, z) and bias (domain)."""
    card = read_card(run)
    kept = run / EXPORTED_ADAPTERS if card["kind"] == EXPORTED else checked_weights(run, card)
    if not kept.is_file():
        raise InputError(f"no such file: {kept}; copy the whole folder")
    tensors = read_tensors(kept)
    return {name: tensor for name, tensor in tensors.items() if name.startswith("adapter.")}


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(whole, metadata={"format": "pt"}))


def _config(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return the network in the words that hub configurations use."""
    encoder = card["encoder"]
    return {
        "architectures": ["VisionTransformer3D"],
        "model_type": "vit-3d",
        "image_size": encoder["crop"],
        "patch_size": encoder["patch"],
        "num_channels": 1,
        "hidden_size": encoder["width"],
        "num_hidden_layers": encoder["depth"],
        "num_attention_heads": encoder["heads"],
        "intermediate_size": round(encoder["width"] * encoder["mlp_ratio"]),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "qkv_bias": False,
        "weight_names": card["names"],
        "preprocessing": {
            "axes": "RAS",
            "spacing_mm": card["recipe"]["spacing_mm"],
            "range": [0, 1],
            "intensity": card["recipe"]["intensity"],
        },
    }
