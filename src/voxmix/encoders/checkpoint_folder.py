"""The files of a checkpoint's folder: a configuration and safetensors, one file or an index of several; never a pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voxmix._io import read_mapping
from voxmix.encoders.interchange import read_tensors
from voxmix.encoders.unicl_config import UNICL_FILE, read_unicl_config
from voxmix.errors import InputError

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
DINO_HEAD_FILE = "dino_head.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".tar")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a checkpoint.

    Raises:
        InputError: no such folder, no configuration, or one that is not JSON.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; give the folder that holds {CONFIG_FILE} and {SINGLE_FILE}")
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; give the folder of a checkpoint, downloaded before")
    file = config_file(folder)
    if not file.is_file():
        runs = folder / "runs"
        do = (
            f"give a run of this study, {runs}/ID"
            if runs.is_dir()
            else "copy the whole folder of the checkpoint"
        )
        raise InputError(f"no {CONFIG_FILE} in {folder}, which says what network the weights are of; {do}")
    return read_unicl_config(folder) if file.name == UNICL_FILE else read_mapping(file)


def config_file(folder: Path) -> Path:
    """Return the file that configures a checkpoint: ``config.json``, or MedImageInsight's ``config.yaml`` where there is none."""
    own, theirs = folder / CONFIG_FILE, folder / UNICL_FILE
    return theirs if theirs.is_file() and not own.is_file() else own


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint under its own names, floating ones as float32.

    Raises:
        InputError: only pickles, nothing, a file that is damaged, a shard that is missing or holds other names than the
            index says, or numbers that are not finite.
    """
    if (folder / INDEX_FILE).is_file():
        tensors = _of_shards(folder)
    elif (folder / SINGLE_FILE).is_file():
        tensors = read_tensors(folder / SINGLE_FILE)
    else:
        if config_file(folder).name == UNICL_FILE:
            raise InputError(
                f"no {SINGLE_FILE} in {folder}; voxmix never opens a pickle, so make that file of MedImageInsight's weights as "
                "docs/how-to/encoders.md says"
            )
        _refuse_pickles(folder)
        raise InputError(f"no {SINGLE_FILE} in {folder}; copy the whole folder of the checkpoint")
    return finite(tensors, where=folder)


def finite(tensors: Mapping[str, Tensor], *, where: Path) -> dict[str, Tensor]:
    """Return tensors, floating ones as float32.

    Raises:
        InputError: numbers that are not finite, by name.
    """
    broken = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise InputError(
            f"weights of {where} hold numbers that are not finite, in {listed(broken)}; copy them again"
        )
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def listed(names: list[str], *, most: int = 12) -> str:
    """Return names for a sentence; of many the first and how many more there are."""
    if not names:
        return "none"
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _refuse_pickles(folder: Path) -> None:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds weights only as a pickle ({pickles[0]}), which can run code when it is opened; voxmix never opens "
            "one. Where you trust it, turn it into safetensors by AutoModel.from_pretrained(FOLDER).save_pretrained(NEW) of "
            "transformers, and give NEW"
        )


def _of_shards(folder: Path) -> dict[str, Tensor]:
    index = read_mapping(folder / INDEX_FILE)
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise InputError(f"{folder / INDEX_FILE} has no weight_map from names to files; copy it again")
    tensors: dict[str, Tensor] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise InputError(
                f"{folder / INDEX_FILE} names {file!r}; expected a .safetensors file in the same folder"
            )
        if not (folder / file).is_file():
            raise InputError(f"no {file} in {folder}, which {INDEX_FILE} names; copy every shard")
        held = read_tensors(folder / file)
        told = {name for name, place in places.items() if place == file}
        if held.keys() != told:
            raise InputError(
                f"{folder / file} is not the shard that {INDEX_FILE} describes. Missing: {listed(sorted(told - held.keys()))}. "
                f"Unexpected: {listed(sorted(held.keys() - told))}. Copy both again"
            )
        tensors |= held
    return tensors
