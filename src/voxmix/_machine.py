"""Which process of which machine this is: for people, and to know of a process of this machine that it has ended."""

import os
import platform
import socket
import uuid
from contextlib import suppress
from pathlib import Path

from voxmix._io import digest

_SCHEDULERS = (
    ("Slurm", "SLURM_JOB_ID"),
    ("PBS", "PBS_JOBID"),
    ("LSF", "LSB_JOBID"),
    ("Grid Engine", "JOB_ID"),
)
_ARRAYS = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def this_machine() -> str:
    """Return a digest that this start of this machine (or container) has and no other; it is no name."""
    return this_kernel() or digest([platform.node(), uuid.getnode()])


def this_kernel() -> str:
    """Return a digest of this start of the kernel and of the room of process numbers in it; "" where it does not say.

    Two processes of one digest see each other's numbers. Names of hosts do not say so: containers often share them.
    """
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))
    return digest(parts) if len(parts) == 2 else ""


def machine_label() -> str:
    """Return what people call this machine."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def scheduler_job() -> str:
    """Return the scheduler's job that this process is part of, such as "Slurm 17_3"; "" without one."""
    array = [os.environ.get(name, "") for name in _ARRAYS]
    for scheduler, variable in _SCHEDULERS:
        if number := os.environ.get(variable):
            return f"{scheduler} {'_'.join(array) if all(array) and scheduler == 'Slurm' else number}"
    return ""


def process_start(process: int) -> int:
    """Return when a process of this machine was started, in ticks of its clock; 0 where that is not known."""
    fields = _stat(process)
    return int(fields[19]) if len(fields) > 19 else 0


def is_running(process: int, *, start: int = 0) -> bool:
    """Return whether a process of this machine runs; with its ``start``, not another one of the same number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    fields = _stat(process)
    if fields and fields[0] in ("Z", "X"):  # ended, and nobody has asked how
        return False
    return not (start and len(fields) > 19 and int(fields[19]) != start)


def _stat(process: int) -> list[str]:
    """Return what Linux says of a process, from its state on; [] elsewhere."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
