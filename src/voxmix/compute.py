"""How a run is computed, as opposed to what it computes: nothing here enters a run's id."""

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from voxmix.errors import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeSettings:
    """Devices, memory and logging of a run. These settings do not change results beyond rounding.

    Attributes:
        device: ``auto`` takes a GPU where there is one.
        devices: processes that share every batch of one run.
        nodes: machines that share a run, started by ``srun`` or ``torchrun``.
        sharing: how several devices share a batch: ``ddp`` keeps the whole network in every process, ``fsdp`` a part
            of it (FSDP2), for networks that one GPU cannot hold.
        micro_batch: draws computed at once; gradients are added up to a whole batch. None: the batch.
        compile: let ``torch.compile`` fuse the network; pays for long runs, needs a C++ compiler on a CPU.
        loaders: threads that read crops ahead; 0 reads in the training thread. One pays where files are on a slow or
            distant disk.
        threads: CPU threads of each process. None: the cores, divided among the processes that run at once, at most
            ``OMP_NUM_THREADS`` where that is set.
        checkpoint_seconds: time between states written to disk.
        pictures: keep a picture of every domain's reconstruction in the run's folder; it shows slices of volumes.
        trackers: where losses are logged: ``tensorboard``, ``mlflow``, ``wandb``, or a plug-in.

    Raises:
        InputError: a number below its least value.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    device: Device = "auto"
    devices: int = 1
    nodes: int = 1
    sharing: Literal["ddp", "fsdp"] = "ddp"
    micro_batch: int | None = None
    compile: bool = False
    loaders: int = 0
    threads: int | None = None
    checkpoint_seconds: float = 60.0
    pictures: bool = True
    trackers: tuple[str, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        least = {"devices": 1, "nodes": 1, "loaders": 0, "checkpoint_seconds": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise InputError(
                f"micro_batch must be at least 1 draw, got {self.micro_batch}; leave it out for whole batches"
            )
        if self.threads is not None and self.threads < 1:
            raise InputError(
                f"threads must be at least 1, got {self.threads}; leave it out to share the cores out"
            )

    def threads_of_each(self, processes: int, *, cores: int) -> int:
        """Return the threads of each of so many processes that compute at once on so many cores.

        More threads than free cores wait for each other at every product: on a busy machine a run with two is many times
        slower than with one.
        """
        if self.threads is not None:
            return self.threads
        return max(1, min(cores // processes, _asked_threads() or cores))

    @property
    def processes(self) -> int:
        """How many processes share a batch."""
        return self.devices * self.nodes


def _asked_threads() -> int | None:
    """Return what ``OMP_NUM_THREADS`` says (a number, or one per level of nesting); None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None
