"""Who has started the processes of a run (``srun``, ``torchrun``, ``mpirun``, a study): their ranks, their number, where they meet."""

import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.lsf import LSFEnvironment
from lightning_fabric.plugins.environments.mpi import MPIEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch.distributed.rendezvous import rendezvous

from voxmix.compute import ComputeSettings
from voxmix.errors import InputError, VoxmixError

_STORE_OF_TORCHRUN = "TORCHELASTIC_USE_AGENT_STORE"
_LOOK_SECONDS = 0.2


def cluster_environment(compute: ComputeSettings) -> ClusterEnvironment:
    """Return who has started the processes of a run: their ranks and their number come from there.

    Left to itself, Fabric takes every job of Slurm for one of its own, because a batch script has Slurm's variables too,
    and warns wherever ``srun`` is installed. A run of one process has no ranks to ask for; ``LOCAL_RANK`` is set by
    ``torchrun`` and by a study for its own workers, and comes before what the job around them says.

    Raises:
        ValueError: ``torchrun`` has started another number of processes than the settings say.
        InputError: ``srun`` has, or on other machines.
    """
    if TorchElasticEnvironment.detect():
        elastic = TorchElasticEnvironment()
        elastic.validate_settings(num_devices=compute.devices, num_nodes=compute.nodes)
        return elastic
    if compute.processes > 1 and "LOCAL_RANK" not in os.environ:
        if (
            int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
        ):  # set by srun for what it starts, and by no other
            return _started_by_srun(compute)
        for known in (LSFEnvironment, MPIEnvironment):
            if known.detect():
                return known()
    return LightningEnvironment()


def _started_by_srun(compute: ComputeSettings) -> SLURMEnvironment:
    """Return the ranks of ``srun``'s tasks, which may have been asked for by any of its options.

    Fabric looks at the options themselves, and wants ``--ntasks-per-node``; what counts is where the tasks are.

    Raises:
        InputError: they are not where the settings say.
    """
    placed = _tasks_of_nodes(os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    wanted = [compute.devices] * compute.nodes
    if placed and placed != wanted:
        raise InputError(
            f"srun has started {_counts(placed)} task(s) on {len(placed)} machine(s), and compute.nodes {compute.nodes} x "
            f"compute.devices {compute.devices} are {compute.devices} on each of {compute.nodes}; give srun --nodes "
            f"{compute.nodes} --ntasks-per-node {compute.devices}, or --nodes and --devices as they were started"
        )
    unsaid = "SLURM_NTASKS_PER_NODE" not in os.environ
    if unsaid and placed:
        os.environ["SLURM_NTASKS_PER_NODE"] = str(compute.devices)
    try:
        found = SLURMEnvironment(auto_requeue=False)
    finally:
        if unsaid:
            os.environ.pop("SLURM_NTASKS_PER_NODE", None)
    if not placed:
        found.validate_settings(num_devices=compute.devices, num_nodes=compute.nodes)
    return found


def _tasks_of_nodes(text: str) -> list[int]:
    """Return the tasks of each machine of a step from Slurm's words, such as ``2(x3),1``; [] where it does not say."""
    parts = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    return [int(part[1]) for part in parts if part for _ in range(int(part[2] or 1))]


def _counts(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else ", ".join(map(str, numbers))


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """One of the processes that ``srun``, ``torchrun`` or ``mpirun`` has started together.

    Attributes:
        rank: which one, from 0.
        world: how many.
        address, port: where they meet.
    """

    rank: int
    world: int
    address: str
    port: int


def started_together(compute: ComputeSettings) -> Started | None:
    """Return which of the processes this one is that share runs by these settings; None where it was started alone.

    Raises:
        InputError: another number of processes was started than the settings say.
    """
    wanted, several = compute.processes, f"compute.nodes {compute.nodes} x compute.devices {compute.devices}"
    how = (
        f"srun --nodes {compute.nodes} --ntasks-per-node {compute.devices} voxmix ..., or torchrun --nnodes "
        f"{compute.nodes} --nproc-per-node {compute.devices} -m voxmix ..."
    )
    count = _started_processes()
    if count == 1:
        if compute.nodes > 1:
            raise InputError(
                f"{several} are {wanted} processes on {compute.nodes} machines, and only one was started; start all of them, "
                f"each with the same command: {how}"
            )
        return None
    if count != wanted:
        raise InputError(
            f"{count} processes were started with this command, and {several} are {wanted}; give --nodes and --devices as they "
            f"were started, or start it so: {how}"
        )
    with naming_devices(compute):
        environment = cluster_environment(compute)
        named = "RANK" in os.environ and "LOCAL_RANK" in os.environ
        rank = int(os.environ["RANK"]) if named else environment.global_rank()
        return Started(rank=rank, world=count, address=environment.main_address, port=environment.main_port)


def _started_processes() -> int:
    """Return how many processes a launcher has started with the same command; 1 without one."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ.get("WORLD_SIZE", "1"))
    steps = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if steps == 1:
        for known in (LSFEnvironment, MPIEnvironment):
            if known.detect():
                return known().world_size()
    return steps


def meet_apart(rank: int, *, seconds: float) -> None:
    """Let the processes that ``torchrun`` has started meet in a store of their own; elsewhere nothing happens.

    Those that it starts again would find in its store what the ones before them have said there: where they listened, which
    run they were about to make.

    Args:
        rank: of this process.
        seconds: to wait for the first one.

    Raises:
        VoxmixError: torchrun's store has gone, or the first process has not come.
    """
    if os.environ.get(_STORE_OF_TORCHRUN) != "True":
        return
    try:
        port = _port_apart(rank, seconds=seconds)
    except RuntimeError as error:
        raise VoxmixError(
            f"process {rank} did not meet the others that torchrun has started ({str(error).splitlines()[0]}); look at their logs"
        ) from error
    os.environ.update({"MASTER_PORT": str(port), _STORE_OF_TORCHRUN: "False"})


def _port_apart(rank: int, *, seconds: float) -> int:
    """Return the port on which the first process listens, or will; it chooses one."""
    address, world = os.environ["MASTER_ADDR"], int(os.environ["WORLD_SIZE"])
    said, _, _ = next(rendezvous("env://", rank, world, timeout=timedelta(seconds=seconds)))
    if rank == 0:
        port = free_port()
        said.set("voxmix-port", str(port))
        return port
    deadline = time.monotonic() + seconds
    while not _listens(
        address, port := int(said.get("voxmix-port"))
    ):  # nobody does on that of the ones before
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody listens on port {port} after {seconds:.0f} s")
        time.sleep(_LOOK_SECONDS)
    return port


def _listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_LOOK_SECONDS * 10):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("", 0))
        port: int = listening.getsockname()[1]
    return port


@contextmanager
def naming_devices(compute: ComputeSettings) -> Iterator[None]:
    """Turn what Fabric says of devices that are not there into a sentence."""
    try:
        yield
    except InputError:
        raise
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise InputError(
            f"device {compute.device} with {compute.devices} process(es) cannot be used here ({error}); set "
            "compute.device to auto or cpu, or devices to what the machine has"
        ) from error
