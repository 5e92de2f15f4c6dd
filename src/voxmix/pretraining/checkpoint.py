"""What training leaves on disk: its state while it runs, its weights and their card when it ends."""

import io
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from voxmix._io import atomic_path, file_digest, naming_full_disk, write_json
from voxmix.errors import InputError
from voxmix.store.cards import CARD_FILE, CARD_FORMAT

STATE_FILE, WEIGHTS_FILE = "state.pt", "weights.safetensors"
_STATE_FORMAT = 1


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
        write_json(folder / CARD_FILE, {"kind": "checkpoint", "format": CARD_FORMAT, **stamped})
