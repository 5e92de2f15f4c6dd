"""Scratch: folders for files of patients that must be gone afterwards, also when the process is killed.

The folder of temporary files may be shared by machines and containers, in which a process number means nothing: a folder
is removed for a dead owner only where the owner was of this place, and elsewhere only when it is older than any that is
still in use.
"""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from voxmix._io import digest

_PREFIX = "voxmix-zip-"
_LONGEST_SECONDS = 2 * 24 * 3600
"""A zip is unpacked and read in minutes; clocks of machines differ by less than the rest."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that only this user can read, gone afterwards: at the latest when the next one is wanted."""
    _remove_orphans()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{_place()}-{os.getpid()}-") as name:
        yield Path(name)


def _remove_orphans() -> None:
    """Remove what processes that were killed left: the files of a zip name patients."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        place, _, rest = folder.name.removeprefix(_PREFIX).partition("-")
        owner = rest.split("-")[0]
        own = place == _place() and owner.isdecimal()
        if _is_old(folder) if not own else not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _place() -> str:
    """Return a sign of where process numbers mean what they mean here: this machine, or this container of it.

    A digest, so that no name of a machine stands in a path.
    """
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/etc/machine-id").read_text(encoding="utf-8").strip())
    with suppress(OSError):
        known.append(os.readlink("/proc/self/ns/pid"))
    return digest(known)[:8]


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _LONGEST_SECONDS
    except OSError:  # another process has removed it
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # Another user's process, or no process number.
        return True
    return True
