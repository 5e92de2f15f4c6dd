"""What must hold before a run begins, and the words for when it does not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from voxmix._io import read_json
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.errors import InputError, VoxmixError
from voxmix.runs.files import SPEC_FILE
from voxmix.training.held_out_crops import EvaluationSet
from voxmix.volumes.preparing.cache import PreparedCache


def check_belongs(spec: RunSpec, *, cache: PreparedCache, evaluation: EvaluationSet, folder: Path) -> None:
    """Check that a run, its volumes, its evaluation set and its folder belong together.

    Raises:
        InputError: names the two that do not.
    """
    unknown = [name for name in spec.mixture.domains if name not in cache.domains]
    if unknown:
        raise InputError(
            f"the mixture names {unknown}, the prepared volumes have {list(cache.domains)}; "
            "correct the name, or prepare volumes of it"
        )
    if spec.cache and spec.cache != cache.digest:
        raise InputError(
            f"the run was planned for prepared volumes {spec.cache}, those given are {cache.digest}; "
            "plan it again for these volumes, or give the folder it was planned for"
        )
    if evaluation.crops.shape[-1] != spec.model.crop:
        raise InputError(
            f"the evaluation set has crops of {evaluation.crops.shape[-1]} voxels, the run of "
            f"{spec.model.crop}; build the evaluation set with the run's model settings"
        )
    path = folder / SPEC_FILE
    if path.exists() and RunSpec.from_dict(read_json(path)).run_id != spec.run_id:
        raise InputError(
            f"{folder} holds another run than the one asked for: its settings were changed after it began; "
            "delete the folder to start again, or restore the settings to go on"
        )


@contextmanager
def naming_lost_memory(spec: RunSpec, compute: ComputeSettings) -> Iterator[None]:
    """Turn "out of memory" of the device or the machine into a sentence with the settings to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        words = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in words:
            raise
        rows = min(compute.micro_batch or spec.training.batch_size, spec.training.batch_size)
        raise VoxmixError(
            f"out of memory with {rows} draws at once of batch_size {spec.training.batch_size}, crop "
            f"{spec.model.crop} and width {spec.model.width}; set compute.micro_batch to {rows // 2} (the same "
            "result in less memory), or lower batch_size, crop or width. The last state is kept"
            if rows > 1
            else f"out of memory with one draw of crop {spec.model.crop} and width {spec.model.width}; lower "
            "crop, width or depth, or set compute.sharing to fsdp on several GPUs. The last state is kept"
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
        raise InputError(
            f"torch.compile cannot build the network here ({str(error).strip().splitlines()[0]}); on a CPU it needs a "
            "C++ compiler: install g++, or name yours in the variable CXX. Or set compute.compile to false "
            "(--no-compile): the same run, but for rounding"
        ) from error
