"""What made a result: versions of the code and the libraries, the kind of machine, the time."""

import contextlib
import math
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_GROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")  # of a container or a cluster's job
_LIBRARIES = ("numpy", "scipy", "torch", "monai", "lightning-fabric", "nibabel", "SimpleITK")


def cores() -> int:
    """Return how many cores this process may use: of the machine, or of the container or job if that is less."""
    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
        quota, period = (int(word) for word in _GROUP_LIMIT.read_text(encoding="ascii").split())
        found = min(found, max(1, math.ceil(quota / period)))
    return found


def provenance() -> dict[str, Any]:
    """Return versions, machine and UTC time as JSON-like data; no host name, no user, no path."""
    versions = {"python": platform.python_version(), "voxmix": version("voxmix")}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {cores()} cores",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
