"""What training leaves on disk: its state while it runs, its weights and their card when it ends."""

import errno
import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor

from voxmix._io import atomic_path, file_digest, naming_full_disk, write_json
from voxmix.errors import InputError, VoxmixError, VoxmixWarning
from voxmix.runs.files import (
    CARD_FILE,
    CARD_FORMAT,
    CHECKPOINT,
    PREVIOUS_STATE_FILE,
    STATE_FILE,
    STATE_FORMAT,
    WEIGHTS_FILE,
)
from voxmix.training.optimizer import load_named_state, named_state
from voxmix.training.transfer import copied

_HEAD_BYTES = 65  # the SHA-256 of what follows, in hexadecimal digits, and a line's end


def save_state(folder: Path, state: dict[str, Any], *, ready: Callable[[], None] = lambda: None) -> None:
    """Write the state of a run atomically; the one before is kept until the new one is verified.

    ``ready`` is called when all is written and nothing replaced yet: what it raises keeps the state before. Where the disk is full, the one before makes room once; the newest good state is never given up.

    Raises:
        VoxmixError: the disk is full or read-only, or does not give back what was written.
    """
    buffer = io.BytesIO()  # PyTorch's own writer hides a full disk behind an error without a number
    torch.save({"format": STATE_FORMAT, **state}, buffer)
    with naming_full_disk(folder):
        try:
            _publish_state(folder, buffer.getbuffer(), ready)
        except OSError as error:
            if error.errno != errno.ENOSPC or not (folder / PREVIOUS_STATE_FILE).exists():
                raise
            if not _is_whole(folder / STATE_FILE):
                raise
            (folder / PREVIOUS_STATE_FILE).unlink()
            _publish_state(folder, buffer.getbuffer(), ready)


def _publish_state(folder: Path, payload: memoryview, ready: Callable[[], None]) -> None:
    head = hashlib.sha256(payload).hexdigest().encode() + b"\n"
    path = folder / STATE_FILE
    with atomic_path(path) as temporary:
        _write(temporary, head, payload)
        if not _is_whole(temporary):
            raise VoxmixError(
                f"what was written to {folder} reads back differently: the disk is failing; the last good "
                "state is kept, copy the folder to another disk and give the same command again"
            )
        ready()
        if path.exists():
            path.replace(folder / PREVIOUS_STATE_FILE)


def _write(path: Path, *parts: bytes | memoryview) -> None:
    with path.open("wb") as file:
        file.writelines(parts)


def _is_whole(path: Path) -> bool:
    """Return whether a state file holds the bytes its first line promises."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        promised = file.readline(_HEAD_BYTES).strip().decode("ascii", "replace")
        return hashlib.file_digest(file, "sha256").hexdigest() == promised


def load_state(folder: Path) -> dict[str, Any] | None:
    """Return the last good state of a run; None where there is none.

    Warns:
        VoxmixWarning: the newest state is damaged, the one before it is used.

    Raises:
        InputError: every state is damaged, or of another version.
    """
    paths = [path for name in (STATE_FILE, PREVIOUS_STATE_FILE) if (path := folder / name).exists()]
    for path in paths:
        if not _is_whole(path):
            continue
        if path != paths[0]:
            warnings.warn(
                f"{paths[0]} is damaged; the run goes on from the state before it",
                VoxmixWarning,
                stacklevel=2,
            )
        payload = io.BytesIO(path.read_bytes()[_HEAD_BYTES:])
        state = torch.load(payload, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise InputError(f"{path} was written by another version; delete it and the run starts again")
        return state
    if paths:
        raise InputError(
            f"{paths[0]} cannot be read: it is damaged or of another version, and there is no good state "
            "before it; delete it and the run starts again from its beginning"
        )
    return None


def drop_states(folder: Path) -> None:
    """Remove the states of a run that has ended."""
    for name in (STATE_FILE, PREVIOUS_STATE_FILE):
        (folder / name).unlink(missing_ok=True)


def whole_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of model and optimizer by parameter names, however many processes share them.

    Every process must ask; with shared weights only the first one gets them.
    """
    if not _is_shared(model):
        return {"model": copied(model.state_dict()), "optimizer": named_state(model, optimizer)}
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, moments = get_state_dict(model, optimizer, options=options)
    return {"model": weights, "optimizer": moments}


def restore_state(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give model and optimizer, shared among processes or not, the whole state that every process has read."""
    if not _is_shared(model):
        model.load_state_dict(state["model"])
        load_named_state(model, optimizer, state["optimizer"])
        return
    set_model_state_dict(model, state["model"], options=StateDictOptions(full_state_dict=True))
    # Not strict: a parameter that had no gradient yet has no state.
    loose = StateDictOptions(full_state_dict=True, strict=False)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=loose)


def _is_shared(model: nn.Module) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def save_weights(folder: Path, model: nn.Module, card: dict[str, Any]) -> None:
    """Write weights (safetensors) and their card (JSON, readable without torch), the card last."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with naming_full_disk(folder):
        with atomic_path(folder / WEIGHTS_FILE) as temporary:
            temporary.write_bytes(safetensors.torch.save(tensors))
        stamped = {"weights": WEIGHTS_FILE, "weights_sha256": file_digest(folder / WEIGHTS_FILE), **card}
        write_json(folder / CARD_FILE, {"kind": CHECKPOINT, "format": CARD_FORMAT, **stamped})
