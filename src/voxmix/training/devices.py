"""Where a run is computed: devices, processes and precision, by lightning-fabric."""

import ctypes
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import nn

from voxmix._limits import cores
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError
from voxmix.run_settings import Precision
from voxmix.training.launchers import cluster_environment, meet_apart, naming_devices

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_MEET_SECONDS = 600.0
_PATIENCE = timedelta(hours=24)  # of processes that wait while the first one scores whole images
_EXACT = 1e-5  # relative: float32 errs by 1e-6 over 512 terms, bfloat16 by 1e-3


def gpu_count(device: str) -> int:
    """Return how many GPUs of CUDA a device setting means: those of this machine for auto and cuda, none for others."""
    return torch.cuda.device_count() if device in ("auto", "cuda") else 0


def loaders_of(compute: ComputeSettings, device: torch.device) -> int:
    """Return the threads that read ahead on a device; the cores of this machine are shared out among its GPUs."""
    return compute.loaders_on(device.type, cores=cores(), gpus=gpu_count(device.type))


def launch_fabric(
    compute: ComputeSettings,
    *,
    precision: Precision,
    device_index: int | None = None,
    blocks: Callable[[nn.Module], Iterable[nn.Module]] = lambda model: (),
) -> Fabric:
    """Return lightning-fabric for these settings, its processes connected.

    ``device_index`` chooses the GPU of a run that has one; ``blocks`` gives the parts of the network that FSDP shares out
    one by one. Every process must have been started already, by
    ``torchrun``, ``srun`` or a study.

    Raises:
        InputError: no such device, a pair of settings that does not go together, or one process where several
            were asked for.
    """
    if compute.sharing == "fsdp" and precision == "16-mixed":
        raise InputError("precision 16-mixed does not go with sharing fsdp; use bf16-mixed, or sharing ddp")
    if compute.device == "mps" and precision == "16-mixed":
        raise InputError("precision 16-mixed needs CUDA or a CPU; on mps use bf16-mixed or 32-true")
    gpu = compute.device == "cuda" or (compute.device == "auto" and torch.cuda.is_available())
    options: dict[str, Any] = {"precision": precision}
    plugins: list[Any] = []
    if precision == "16-mixed" and not gpu:  # Fabric would take bf16 instead, with a warning
        scaler = torch.amp.GradScaler("cpu")
        options, plugins = {}, [MixedPrecision("16-mixed", device="cpu", scaler=scaler)]
    with _hushed(), naming_devices(compute), _own_settings():
        environment = cluster_environment(compute)
        fabric = Fabric(
            accelerator=compute.device,
            devices=[device_index] if gpu and device_index is not None else compute.devices,
            num_nodes=compute.nodes,
            strategy=_strategy(compute, blocks),
            plugins=[*plugins, environment],
            **options,
        )
    if compute.processes > 1 and not environment.creates_processes_externally:
        raise InputError(
            f"{compute.processes} processes share this run and only one was started; start it with torchrun "
            f"--nproc-per-node {compute.devices}, with srun, or as a run of a study"
        )
    if compute.processes > 1:
        meet_apart(environment.global_rank(), seconds=_MEET_SECONDS)
    with _hushed():
        fabric.launch()
    tune_cpu(fabric.device)
    if fabric.device.type == "cuda":
        allow_tf32(compute.tf32)
    return fabric


def tune_cpu(device: torch.device) -> None:
    """Set this process up for training on a CPU: :func:`use_fast_products`, :func:`keep_freed_memory`."""
    if device.type == "cpu":
        use_fast_products()
        keep_freed_memory()


def allow_tf32(allowed: bool) -> None:
    """Let a GPU round the inputs of float32 products and convolutions to 10 bits, or not; PyTorch's own defaults differ."""
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


def use_fast_products() -> None:
    """Let oneDNN multiply the float32 matrices of a CPU, where that is as exact as MKL.

    On processors of AMD, MKL uses half of a vector's width; oneDNN is then more than twice as fast. PyTorch has no switch
    for it but the permission to round inputs to bfloat16. oneDNN makes use of the permission where the
    processor multiplies such matrices itself (Intel AMX); one product shows it, and the permission is taken back.
    """
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:  # set by PyTorch's newer switches, backend by backend: whoever did so has decided
        return
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(size, generator=generator) for size in ((128, 512), (512, 96)))
    torch.set_float32_matmul_precision("medium")
    exact = a.double() @ b.double()
    if float(((a @ b) - exact).abs().max() / exact.max()) > _EXACT:
        torch.set_float32_matmul_precision(before)


def keep_freed_memory() -> None:
    """Let glibc keep the memory that a step frees for the next step.

    By default it gives large tensors back to the system at once, and every step of a CPU then pays for thousands of fresh
    pages: a quarter of its time with crops of 96^3. Elsewhere nothing happens.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # macOS, Windows, musl
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def _hushed() -> Iterator[None]:
    """Leave out what Fabric says about itself at level INFO, in the middle of a progress bar."""
    loggers = [logging.getLogger(name) for name in ("lightning_fabric", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Leave out the variables (``LT_DEVICES``, ...) by which Fabric's own command changes what it is told."""
    names = [f"LT_{name}" for name in ("ACCELERATOR", "STRATEGY", "DEVICES", "NUM_NODES", "PRECISION")]
    held = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(held)


def _strategy(compute: ComputeSettings, blocks: Callable[[nn.Module], Iterable[nn.Module]]) -> Any:
    if compute.processes == 1:
        return "auto"
    if compute.sharing == "ddp":
        return DDPStrategy(timeout=_PATIENCE)
    return ModelParallelStrategy(
        timeout=_PATIENCE,
        parallelize_fn=partial(_shard, blocks=blocks),
        data_parallel_size=compute.processes,
        tensor_parallel_size=1,
    )


def _shard(model: nn.Module, mesh: Any, *, blocks: Callable[[nn.Module], Iterable[nn.Module]]) -> nn.Module:
    """Share the parameters out (FSDP2): block by block, then what is left."""
    from torch.distributed.fsdp import fully_shard

    for block in blocks(model):
        fully_shard(block, mesh=mesh["data_parallel"])
    fully_shard(model, mesh=mesh["data_parallel"])
    return model


def found_devices() -> list[dict[str, Any]]:
    """Return the devices of this machine: kind, name, memory_bytes and bfloat16 of each, GPUs before the CPU."""
    found: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count()):
        own = torch.cuda.get_device_properties(index)
        found.append(
            {"kind": "cuda", "name": own.name, "memory_bytes": own.total_memory, "bfloat16": own.major >= 8}
        )
    if torch.backends.mps.is_available():
        found.append({"kind": "mps", "name": "Apple GPU", "memory_bytes": None, "bfloat16": True})
    capability = torch.backends.cpu.get_cpu_capability()
    return [
        *found,
        {"kind": "cpu", "name": f"CPU with {capability}", "memory_bytes": None, "bfloat16": False},
    ]
