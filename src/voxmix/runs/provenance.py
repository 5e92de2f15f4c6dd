"""What made a result: versions of the code and the libraries, the kind of machine, the time."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from voxmix._limits import cores

_LIBRARIES = ("numpy", "scipy", "torch", "monai", "lightning-fabric", "nibabel", "SimpleITK")


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
