"""What this process may use of the machine: cores and memory, less where a container, a cluster's job or a user says so."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")


def cores(root: Path = _ROOT) -> int:
    """Return how many cores this process may use.

    The least of what the system lets it run on (affinity), what its control groups and those around them grant
    (``cpu.max``; Kubernetes and Docker limit so), and what its Slurm job was given on this machine.

    Args:
        root: where ``/proc`` and ``/sys`` are.
    """
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    shares = [share for folder in _groups("cpu", root) if (share := _share(folder)) is not None]
    job = _job_cores()
    return max(1, min([found, *(math.ceil(share) for share in shares), *([] if job is None else [job])]))


def memory_limit(root: Path = _ROOT) -> int | None:
    """Return the least limit of memory, in bytes, of this process's control groups and those around them; None: no limit.

    Args:
        root: where ``/proc`` and ``/sys`` are.
    """
    found = [_number(folder / name) for folder in _groups("memory", root) for name in _MEMORY]
    return min((limit for limit in found if limit is not None), default=None)


_MEMORY = ("memory.max", "memory.limit_in_bytes")  # of cgroup v2, of v1


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those around it, of version 2 and of version 1.

    A container may see its own group as the root, or only that while its path names those outside.
    """
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, _, rest = line.partition(":")
        named, _, place = rest.partition(":")
        if number == "0":
            tops = [mounts, mounts / "unified"]
        elif controller in named.split(","):
            tops = [mounts / named, mounts / controller]
        else:
            continue
        parts = [part for part in place.split("/") if part not in ("", "..")]
        for top in tops:
            for count in range(len(parts), -1, -1):
                yield top.joinpath(*parts[:count])


def _share(folder: Path) -> float | None:
    """Return the cores that a control group grants; None where it sets no limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):  # no such file, or "max"
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    old = [_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    return None if old[0] is None or old[1] is None else old[0] / old[1]


def _number(path: Path) -> int | None:
    """Return the positive number in a file; None where there is none."""
    with suppress(OSError, ValueError):
        found = int(path.read_text(encoding="ascii"))
        return found if found > 0 else None
    return None


def _job_cores() -> int | None:
    """Return the cores that Slurm has given this process; None outside of its jobs.

    A batch script, or the shell of ``salloc``, has all cores that the job has on the machine. One of several tasks that
    ``srun`` has started has those of a task.
    """
    here, each, tasks, nodes = (
        _count(f"SLURM_{name}")
        for name in ("CPUS_ON_NODE", "CPUS_PER_TASK", "STEP_NUM_TASKS", "STEP_NUM_NODES")
    )
    if tasks is None or tasks == 1:
        return each if here is None else here
    if each is not None or here is None:
        return each
    return max(1, here // math.ceil(tasks / (nodes or 1)))


def cores_are_of_a_task() -> bool:
    """Return whether this is one of several tasks of ``srun``, whose cores are no other's."""
    return (_count("SLURM_STEP_NUM_TASKS") or 1) > 1


def _count(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else None
