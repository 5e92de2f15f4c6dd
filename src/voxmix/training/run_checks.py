"""The words for what stops a run: memory that is not enough, a compiler that is not there, sharing that does not go."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from voxmix.backbone_rows import BackboneSettings
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError
from voxmix.run_settings import ModelSettings
from voxmix.training.objective import Objective
from voxmix.training.whole_batch import WholeBatch


def check_sharing(objective: Objective, compute: ComputeSettings) -> None:
    """Refuse to share one network out among processes, where a loss needs the features of all of them.

    Raises:
        InputError: sharing is fsdp.
    """
    if isinstance(objective, WholeBatch) and compute.sharing == "fsdp" and compute.processes > 1:
        name = objective.course.spec.as_dict().get("objective", "of this run")
        raise InputError(
            f"objective {name} does not go with sharing fsdp: its loss gathers the features of whole networks; set "
            "compute.sharing to ddp, and micro_batch where memory is short"
        )


def ran_out(error: Exception) -> bool:
    """Return whether an error says that the device or the machine has no memory left."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "allocate memory" in str(error).lower()


@contextmanager
def naming_lost_memory(
    model: ModelSettings | BackboneSettings, *, batch: int, compute: ComputeSettings
) -> Iterator[None]:
    """Turn "out of memory" of the device or the machine into a sentence with the settings to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        rows = min(compute.micro_batch or batch, batch)
        if isinstance(model, BackboneSettings):
            size, less, rather = f"images of {model.image} pixels", "image, width or depth", ""
        else:
            size, less = f"crop {model.crop} and width {model.width}", "crop, width or depth"
            rather = ", or set compute.sharing to fsdp on several GPUs"
        on_gpu = compute.resident != "off" and compute.device != "cpu" and torch.cuda.is_available()
        room = ", or set compute.resident to off, so that no volumes stay on the GPU" if on_gpu else ""
        raise VoxmixError(
            f"out of memory with {rows} draws at once of batch_size {batch}, {size}; set compute.micro_batch to {rows // 2} (the "
            f"same result in less memory), or lower batch_size, {less}{room}. The last state is kept"
            if rows > 1
            else f"out of memory with one draw of {size}; lower {less}{rather}{room}. The last state is kept"
        ) from error


@contextmanager
def naming_failed_compiler(compute: ComputeSettings) -> Iterator[None]:
    """Turn what ``torch.compile`` cannot do on this machine into a sentence."""
    if not compute.compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        lines = str(error).strip().splitlines()
        said = [found.strip() for line in lines if (found := line.partition(" error: ")[2])]
        raise InputError(
            f"torch.compile cannot build the network here ({(said or lines)[0]}); on a CPU it needs a C++ compiler and the "
            "headers of Python: install g++ and python3-dev, or name your compiler in the variable CXX. Or set compute.compile "
            "to false (--no-compile): the same run, but for rounding"
        ) from error
