"""How much memory this process may use, and how much it has used."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voxmix._limits import memory_limit

_KILO = 1024


def installed_bytes() -> int | None:
    """Return the memory of the machine, or of the container or job if that is less; None where the system does not tell.

    The page cache counts in a container or job too.
    """
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # Windows
        return None
    limit = memory_limit()
    return installed if limit is None else min(installed, limit)


@contextmanager
def without_collecting() -> Iterator[None]:
    """Look for no cycles of garbage while many small objects are made that stay: each look goes through all of them."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def process_peak_bytes() -> int:
    """Return the most memory that this process has held at once.

    From Linux's own count where there is one: what getrusage gives a child begins at its parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KILO
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else _KILO
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
