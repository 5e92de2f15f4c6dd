"""What this machine has for voxmix: versions, devices, cores, memory, disk and extras; and what would be slow, with the reason."""

import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from voxmix._io import size_text
from voxmix._limits import cores
from voxmix._memory import installed_bytes
from voxmix.errors import InputError, MissingDependencyError

_LIBRARIES = (
    "numpy",
    "scipy",
    "pandas",
    "pydantic",
    "torch",
    "monai",
    "lightning-fabric",
    "nibabel",
    "SimpleITK",
)
_NOT_FOR_USERS = ("all", "dev", "docs", "test")
_REQUIREMENT = re.compile(r"""([A-Za-z0-9._-]+)[^;]*;.*extra\s*==\s*['"]([\w-]+)['"]""")
_NETWORK = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "9p",
    "lustre",
    "beegfs",
    "ceph",
    "gpfs",
    "afs",
)
_ESCAPED = re.compile(r"\\([0-7]{3})")  # how /proc/mounts writes a blank
_PROBE_BYTES, _PROBE_FILES = 16 * 2**20, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Something that networks are trained on.

    Attributes:
        kind: cuda, mps or cpu.
        name: what its maker calls it.
        memory_bytes: its own memory; None where it has none, or the system does not tell.
        bfloat16: whether it computes in bfloat16 at speed.
    """

    kind: str
    name: str
    memory_bytes: int | None = None
    bfloat16: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """Where files would lie.

    Attributes:
        free_bytes: what is free.
        total_bytes: its size.
        file_system: its kind, such as ext4 or nfs4; "" where the system does not tell.
        write_bytes_per_second: rate at which a file is written and flushed; None where the folder cannot be written to.
        seconds_per_small_file: time that making and renaming a small file takes.
    """

    free_bytes: int
    total_bytes: int
    file_system: str
    write_bytes_per_second: float | None
    seconds_per_small_file: float | None

    @property
    def is_network(self) -> bool:
        """Whether its files lie on another machine."""
        return self.file_system in _NETWORK


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What voxmix finds.

    Attributes:
        versions: of voxmix, Python and libraries.
        system: operating system and processor.
        devices: GPUs, and the CPU last.
        cores: how many this process may use; ``machine_cores`` how many there are.
        threads: variables that limit the threads of numerical libraries, as they are set.
        memory_bytes: of the machine, container or job; None where the system does not tell.
        disk: of the folder that was asked for.
        extras: extra to the libraries that it lacks; empty where it is installed whole.
    """

    versions: Mapping[str, str]
    system: str
    devices: tuple[Device, ...]
    cores: int
    machine_cores: int
    threads: Mapping[str, str]
    memory_bytes: int | None
    disk: Disk
    extras: Mapping[str, tuple[str, ...]]

    def slow(self) -> tuple[str, ...]:
        """Return what would be slow or would not work here, why, and what to do: a sentence each."""
        return tuple(_slow(self))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return asdict(self) | {
            "extras": {
                name: {"installed": not lacks, "missing": list(lacks)} for name, lacks in self.extras.items()
            },
            "slow": list(self.slow()),
        }


def this_machine(folder: Path) -> Machine:
    """Return what this machine has, and how fast files are written in a folder.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one in which a study lies or would lie")
    return Machine(
        versions=_versions(),
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        devices=_devices(),
        cores=cores(),
        machine_cores=os.cpu_count() or 1,
        threads={
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            if name in os.environ
        },
        memory_bytes=installed_bytes(),
        disk=_disk(folder),
        extras=_extras(),
    )


def _versions() -> dict[str, str]:
    found = {"voxmix": _version("voxmix") or "not installed", "python": platform.python_version()}
    return found | {name: known for name in _LIBRARIES if (known := _version(name)) is not None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> tuple[Device, ...]:
    try:
        from voxmix.training.devices import found_devices
    except (ImportError, MissingDependencyError):
        return ()
    return tuple(Device(**one) for one in found_devices())


def _disk(folder: Path) -> Disk:
    usage = shutil.disk_usage(folder)
    rate, small = _tried(folder)
    return Disk(
        free_bytes=usage.free,
        total_bytes=usage.total,
        file_system=_file_system(folder),
        write_bytes_per_second=rate,
        seconds_per_small_file=small,
    )


def _tried(folder: Path) -> tuple[float | None, float | None]:
    """Write a file and some small ones into a folder of its own there, and take all away again."""
    try:
        with tempfile.TemporaryDirectory(prefix=".voxmix-doctor-", dir=folder) as place:
            begun = time.perf_counter()
            with open(Path(place) / "large", "wb") as file:
                file.write(os.urandom(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            written = time.perf_counter()
            for number in range(_PROBE_FILES):
                (Path(place) / "small").write_bytes(b"voxmix")
                (Path(place) / "small").rename(Path(place) / str(number))
            ended = time.perf_counter()
    except OSError:
        return None, None
    return _PROBE_BYTES / (written - begun), (ended - written) / _PROBE_FILES


def _file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the kind of file system of the mount that holds a folder."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    place = folder.resolve()
    known = {}
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        known[Path(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), mount))] = kind
    return next((known[parent] for parent in (place, *place.parents) if parent in known), "")


def _extras() -> dict[str, tuple[str, ...]]:
    """Return the extras of voxmix as it is installed, each with the libraries that it lacks."""
    try:
        lines = requires("voxmix") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        named = _REQUIREMENT.match(line)
        if named is not None and named[2] not in _NOT_FOR_USERS:
            found.setdefault(named[2], []).extend([] if _version(named[1]) else [named[1]])
    return {name: tuple(lacks) for name, lacks in sorted(found.items())}


def _slow(machine: Machine) -> Iterator[str]:
    disk, gpus = machine.disk, [one for one in machine.devices if one.kind != "cpu"]
    if "torch" not in machine.versions:
        yield 'training does not work: torch is not installed; run: pip install "voxmix[train]"'
    elif not gpus:
        why = (
            "an NVIDIA driver is here, and this torch is built without CUDA: install a torch with CUDA"
            if shutil.which("nvidia-smi")
            else "no GPU is found: fine for the demo and small studies; voxmix estimate tells the time of yours"
        )
        yield f"training is slow: {why}"
    elif not all(one.bfloat16 for one in gpus):
        yield "training is slower than it could be: a GPU here has no bfloat16; set training.precision to 16-mixed"
    if machine.cores < machine.machine_cores:
        yield (
            f"this process may use {machine.cores} of {machine.machine_cores} cores (affinity, container or job): preparing and "
            "training on the CPU take longer; ask for more where you may"
        )
    elif machine.cores < 4:
        yield f"preparing and training on the CPU are slow: {machine.cores} cores"
    for name, value in machine.threads.items():
        if value == "1" and machine.cores > 1:
            yield (
                f"{name} is 1: one run at a time uses one core of {machine.cores}; several at once (--workers) use them all"
            )
    if machine.memory_bytes is not None and machine.memory_bytes < 8e9:
        yield f"{size_text(machine.memory_bytes)} of memory: large crops and many workers may not fit; voxmix estimate tells"
    if disk.write_bytes_per_second is None:
        yield "the folder cannot be written to: a study must lie elsewhere"
    elif disk.write_bytes_per_second < 50e6:
        yield (
            f"files are written at {size_text(round(disk.write_bytes_per_second))}/s: preparing and states of runs wait for the "
            "disk; data.codec blosc2 halves what is written"
        )
    if disk.is_network or (disk.seconds_per_small_file or 0) > 0.02:
        took = (
            ""
            if disk.seconds_per_small_file is None
            else f", {1000 * disk.seconds_per_small_file:.0f} ms for a small file"
        )
        yield (
            f"files lie on another machine or a slow disk ({disk.file_system or 'unknown'}{took}): prepared volumes belong on a "
            "local disk where training reads them often"
        )
    if disk.free_bytes < 20e9:
        yield f"{size_text(disk.free_bytes)} are free: prepared volumes take tens of GB; voxmix prepare says how many before it begins"
