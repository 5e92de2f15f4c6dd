"""How a run is computed, as opposed to what it computes: nothing here enters a run's id."""

import os
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from voxmix.errors import InputError

Device = Literal["auto", "cpu", "cuda", "mps"]
Resident = Literal["auto", "on", "off"]
_MOST_LOADERS = 8

_SET_BY_US = {
    "array", "chdir", "error", "export", "job-name", "no-requeue", "nodes", "ntasks", "open-mode", "output", "parsable",
    "requeue", "signal", "test-only", "wait", "wrap",
}  # fmt: skip
_NAMED = {
    "cpus-per-task": "cpus", "mem": "memory_gb", "gpus-per-node": "gpus", "time": "minutes", "partition": "partition",
    "account": "account", "qos": "qos",
}  # fmt: skip
_OPTION = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSettings:
    """What each job asks a scheduler for. A job starts workers, which take what is left of a study until nothing is.

    Attributes:
        jobs: jobs at most; no more are submitted than there is work for.
        at_once: jobs that the scheduler may run at the same time; null: as many as it has room for.
        workers_per_job: processes of a job that each make a run at a time; several small ones share its GPU or its cores.
        cpus: cores of each job, shared by its workers, and by the devices that share a run.
        memory_gb: memory of each job, in GB of 1024^3 bytes; null: what the partition gives.
        gpus: GPUs of each job, given to its workers in turn; one that is alone has all of them.
        minutes: time limit of a job. One that reaches it writes its states and is queued again.
        save_seconds: how long before its limit a job is told to write its states.
        requeues: how often a job is queued again.
        partition: where jobs are queued; null: the cluster's default.
        account: who is charged; null: the user's default.
        qos: quality of service; null: the user's default.
        python: Python of the nodes, which has voxmix; null: the one that runs this command.
        setup: lines of shell that a job runs first, such as `module load cuda`.
        extra: other options of the scheduler by their long names, such as `constraint: a100`; true for one without a value.
        wait: whether a command waits for its jobs; false: it ends once they are submitted.
        dry_run: print what would be submitted, and submit nothing.

    Raises:
        InputError: a number below its least value, a text with a line break, or an option that has a name of its own here.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    jobs: int = 1
    at_once: int | None = None
    workers_per_job: int = 1
    cpus: int = 1
    memory_gb: float | None = None
    gpus: int = 0
    minutes: int = 60
    save_seconds: int = 120
    requeues: int = 50
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    python: str | None = None
    setup: tuple[str, ...] = ()
    extra: dict[str, bool | int | float | str] = field(default_factory=dict)
    wait: bool = True
    dry_run: bool = False

    def __post_init__(self) -> None:
        least = {
            "jobs": 1, "at_once": 1, "workers_per_job": 1, "cpus": 1, "gpus": 0, "minutes": 1, "save_seconds": 10,
            "requeues": 0,
        }  # fmt: skip
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise InputError(f"{name} must be at least {low}, got {value}")
        if self.memory_gb is not None and not self.memory_gb > 0:
            raise InputError(
                f"memory_gb must be above 0, got {self.memory_gb}; leave it out for what the partition gives"
            )
        if self.save_seconds >= 60 * self.minutes:
            raise InputError(
                f"save_seconds must be less than the time limit, got {self.save_seconds} s of {self.minutes} min; states take "
                "seconds to write: give jobs more minutes, or less time to save"
            )
        for name in ("partition", "account", "qos", "python"):
            _check_line(name, getattr(self, name))
        for line in self.setup:
            _check_line("setup", line)
        for option, value in self.extra.items():
            if not _OPTION.fullmatch(option):
                raise InputError(
                    f"extra names options of the scheduler by their long names without dashes before them, such as "
                    f"constraint, got {option!r}"
                )
            if option in _SET_BY_US or option in _NAMED:
                instead = f"give {_NAMED[option]}" if option in _NAMED else "voxmix sets it itself"
                raise InputError(f"extra must not hold {option}: {instead}; take it out")
            _check_line(f"extra.{option}", value)


def _check_line(name: str, value: object) -> None:
    if isinstance(value, str) and not (value.strip() and value.isprintable()):
        raise InputError(
            f"{name} must be one line of text, got {value!r}; leave it out, or give every line its own entry"
        )


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
        graphs: with ``compile``, launch each pass of the network on a GPU as one piece (CUDA graphs): for small batches, where
            launching takes longer than computing. For one process and whole batches.
        tf32: let a GPU round the inputs of products in float32 to 10 bits: several times as fast, nearly the same result;
            noted in the result. It touches what ``training.precision`` leaves in float32.
        loaders: threads that read crops ahead; 0 reads in the training thread. None: on a GPU the cores there are for
            it, at most 8; on a CPU 0, where one pays only if files are on a slow or distant disk.
        resident: whether the volumes of a run stay in the memory of its GPU, so that nothing is read or copied in a step:
            ``auto`` where they take at most half of what is free. ``on`` keeps them on any device.
        threads: CPU threads of each process. None: the cores, divided among the processes that run at once, at most
            ``OMP_NUM_THREADS`` where that is set; in jobs of a cluster those of a job, divided among its workers.
        checkpoint_seconds: time between states written to disk, beside training; up to ten times as much where a state
            would cost more than 2% of the time.
        lease_seconds: a process that shows no sign of life for so long is taken for dead, and others go on with its run.
        pictures: keep a picture of every domain's reconstruction in the run's folder; it shows slices of volumes.
        trackers: where losses are logged: ``tensorboard`` (where it is installed), ``mlflow``, ``wandb``, or a plug-in.
        engine: where runs are made: ``local``, in processes of this machine, ``slurm``, in jobs of a cluster, or a plug-in.
        cluster: what each of these jobs asks for. None: one core for an hour.

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
    graphs: bool = False
    tf32: bool = False
    loaders: int | None = None
    resident: Resident = "auto"
    threads: int | None = None
    checkpoint_seconds: float = 60.0
    lease_seconds: float = 120.0
    pictures: bool = True
    trackers: tuple[str, ...] = ("tensorboard",)
    engine: str = "local"
    cluster: ClusterSettings | None = None

    def __post_init__(self) -> None:
        least = {"devices": 1, "nodes": 1, "checkpoint_seconds": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not self.lease_seconds > 0:
            raise InputError(f"lease_seconds must be above 0, got {self.lease_seconds}")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise InputError(
                f"micro_batch must be at least 1 draw, got {self.micro_batch}; leave it out for whole batches"
            )
        if self.graphs and not self.compile:
            raise InputError("graphs goes with compile; set compute.compile to true too, or graphs to false")
        if self.graphs and (self.micro_batch is not None or self.processes > 1):
            raise InputError(
                f"graphs is for one process and whole batches, got {self.processes} process(es) and micro_batch "
                f"{self.micro_batch}; set compute.graphs to false, or leave the others out"
            )
        if self.loaders is not None and self.loaders < 0:
            raise InputError(
                f"loaders must be at least 0, got {self.loaders}; leave it out for what suits the device"
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
        if self.engine != "local":
            job = self.cluster or ClusterSettings()
            return max(1, job.cpus // (job.workers_per_job * self.devices))
        return max(1, min(cores // processes, _asked_threads() or cores))

    def loaders_on(self, kind: str, *, cores: int, gpus: int) -> int:
        """Return the threads that read ahead on a kind of device, where so many GPUs share so many cores."""
        if self.loaders is not None:
            return self.loaders
        return min(_MOST_LOADERS, max(1, cores // max(gpus, 1))) if kind == "cuda" else 0

    @property
    def processes(self) -> int:
        """How many processes share a batch."""
        return self.devices * self.nodes


def _asked_threads() -> int | None:
    """Return what ``OMP_NUM_THREADS`` says (a number, or one per level of nesting); None where it says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None
