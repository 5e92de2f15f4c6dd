"""What training leaves on disk: its state while it runs, its weights and their card when it ends."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from voxmix._io import atomic_path, file_digest, naming_full_disk, read_versioned, write_json
from voxmix.errors import InputError

STATE_FILE, WEIGHTS_FILE, CARD_FILE = "state.pt", "weights.safetensors", "card.json"
_STATE_FORMAT, _CARD_FORMAT = 1, 1


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run atomically: the last good one stays until the new one is on disk.

    Raises:
        VoxmixError: the disk is full or read-only.
    """
    buffer = io.BytesIO()  # PyTorch's own writer hides a full disk behind an error without a number
    torch.save({"format": _STATE_FORMAT, **state}, buffer)
    with naming_full_disk(folder), atomic_path(folder / STATE_FILE) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the last state of a run; None where there is none.

    Raises:
        InputError: the file is damaged or of another version.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(
            f"{path} cannot be read ({error}); delete it and the run starts again from its beginning"
        ) from error
    if not isinstance(state, dict) or state.get("format") != _STATE_FORMAT:
        raise InputError(f"{path} was written by another version; delete it and the run starts again")
    return state


def save_weights(folder: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write weights (safetensors) and their card (JSON, readable without torch), the card last."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with naming_full_disk(folder):
        with atomic_path(folder / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors))
        stamped = {"weights": WEIGHTS_FILE, "weights_sha256": file_digest(folder / WEIGHTS_FILE), **card}
        write_json(folder / CARD_FILE, {"kind": "checkpoint", "format": _CARD_FORMAT, **stamped})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PretrainedEncoder:
    """An encoder's weights under MONAI's names (``patch_embedding.*``, ``blocks.N.*``, ``norm.*``) and the card
    that says how its volumes were prepared."""

    weights: dict[str, Tensor]
    card: dict[str, Any]


def load_encoder(folder: Path) -> PretrainedEncoder:
    """Return the encoder of a finished run.

    Only safetensors is read: nothing is ever unpickled.

    Raises:
        InputError: no card or weights, or weights that are not those the card was written for.
    """
    card = read_versioned(folder / CARD_FILE, kind="checkpoint", version=_CARD_FORMAT)
    path = folder / card["weights"]
    if not path.is_file():
        raise InputError(f"no such file: {path}; the card {folder / CARD_FILE} names it, copy both together")
    found = file_digest(path)
    if found != card["weights_sha256"]:
        raise InputError(
            f"{path} has SHA-256 {found[:16]}..., its card expects {card['weights_sha256'][:16]}...; "
            "the file was changed or damaged, copy it again together with its card"
        )
    tensors = safetensors.torch.load_file(path)
    prefix = card["encoder_prefix"]
    encoder = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    return PretrainedEncoder(weights=encoder, card=card)
