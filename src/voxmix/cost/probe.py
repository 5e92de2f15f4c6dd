"""A few steps of a run's own training loop on random volumes: how long a draw takes here, and how much memory."""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric

from voxmix._memory import installed_bytes, process_peak_bytes
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import flops_per_draw
from voxmix.objectives.mae.objective import MaskedReconstruction
from voxmix.training.devices import launch_fabric
from voxmix.training.loop import make_step
from voxmix.training.objective import Objective
from voxmix.training.run_checks import naming_failed_compiler, naming_lost_memory
from voxmix.training.session import Session
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.recipe import Recipe

_VOLUMES, _ROOM = 4, 16  # volumes per domain, and voxels beyond the crop that each has along an axis
MANY_STEPS = 1 << 12
"""Steps that are planned, and never all made."""
_LEAST_STEPS = 2
LONG_STEP = 10**11
"""Operations of a step that takes a CPU several seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a few steps took.

    Attributes:
        device: kind of device, and its name where it has one.
        threads: of the CPU.
        steps: steps timed, after one to warm up.
        batch: draws of a step: the run's, or 1 (2 where a loss compares draws) where a CPU would take many seconds for them.
        seconds_per_draw: of reading, augmentation and the step, for one run by itself.
        peak_bytes: most memory in use: of the GPU, or of this whole process on a CPU.
        installed_bytes: memory that the GPU or the machine has; None where it does not tell.
    """

    device: str
    threads: int
    steps: int
    batch: int
    seconds_per_draw: float
    peak_bytes: int
    installed_bytes: int | None

    @property
    def on_gpu(self) -> bool:
        """Whether the steps were made on a GPU with memory of its own."""
        return self.device not in ("cpu", "mps")


def probe(spec: RunSpec, *, compute: ComputeSettings, threads: int, seconds: float) -> Probe:
    """Make steps of a run for about so many seconds, at least two, and say what they took.

    The loop is that of :func:`voxmix.objectives.mae.train.train`, with its device, precision, micro-batches and
    compiler, on random volumes a little larger than a crop; nothing is kept. Volumes are read from memory by then, so
    a slow disk comes on top.

    Raises:
        VoxmixError: memory runs out; names the settings to change.
    """
    quiet = replace(compute, devices=1, nodes=1, trackers=(), pictures=False)
    torch.set_num_threads(threads)
    fabric = launch_fabric(quiet, precision=spec.training.precision)
    batch = spec.training.batch_size
    if fabric.device.type == "cpu" and batch * flops_per_draw(spec.model) > LONG_STEP:
        batch = 1
    training = replace(spec.training, batch_size=batch, schedule="cosine", cooldown=0.2)
    short = replace(spec, budget=batch * MANY_STEPS, budget_unit="draws", training=training, cache="")
    with (
        tempfile.TemporaryDirectory() as name,
        naming_lost_memory(short.model, batch=batch, compute=quiet),
        naming_failed_compiler(quiet),
    ):
        objective = MaskedReconstruction(spec=short, cache=_random_cache(Path(name), short))
        return timed_steps(objective, fabric, compute=quiet, batch=batch, threads=threads, seconds=seconds)


def timed_steps(
    objective: Objective,
    fabric: Fabric,
    *,
    compute: ComputeSettings,
    batch: int,
    threads: int,
    seconds: float,
) -> Probe:
    """Make steps of ``batch`` draws for about so many seconds, at least two after one to warm up; keep nothing."""
    with tempfile.TemporaryDirectory() as name:
        session = Session.start(objective, fabric, compute=compute, folder=Path(name))
        try:
            session.network.train()
            _whole_step(session)
            began, steps = time.perf_counter(), 0
            while steps < _LEAST_STEPS or (time.perf_counter() - began < seconds and steps < MANY_STEPS - 1):
                _whole_step(session)
                steps += 1
            spent = time.perf_counter() - began
        finally:
            session.close()
    return Probe(
        device=_name_of(fabric.device),
        threads=threads,
        steps=steps,
        batch=batch,
        seconds_per_draw=spent / (steps * batch),
        peak_bytes=_peak_bytes(fabric.device),
        installed_bytes=_installed_bytes(fabric.device),
    )


def _whole_step(session: Session) -> None:
    make_step(session)
    session.look()
    _finished(session.fabric.device)


def _random_cache(root: Path, spec: RunSpec) -> PreparedCache:
    (root / "volumes").mkdir()
    rng, edge = np.random.default_rng(0), max(spec.model.grid.crop) + _ROOM
    volumes = []
    for domain in spec.mixture.domains:
        for number in range(_VOLUMES):
            file = f"volumes/{domain}-{number}.npy"
            np.save(root / file, rng.random((edge,) * 3, dtype=np.float32).astype(np.float16))
            volumes.append(
                PreparedVolume(
                    key=f"{domain}-{number}",
                    domain=domain,
                    subject=str(number),
                    split="train",
                    shape=(edge,) * 3,
                    spacing_mm=1.0,
                    file=file,
                )
            )
    return PreparedCache(root=root, volumes=tuple(volumes), recipe=Recipe(spacing_mm=1.0))


def _finished(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak_bytes(device: torch.device) -> int:
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else process_peak_bytes()


def _installed_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return installed_bytes()
