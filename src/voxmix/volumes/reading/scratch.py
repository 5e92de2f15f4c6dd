"""Scratch: folders for files of patients that must be gone afterwards, also when the process is killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "voxmix-zip-"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder that only this user can read, gone afterwards: at the latest when the next one is wanted."""
    _remove_orphans()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        yield Path(name)


def _remove_orphans() -> None:
    """Remove what processes that were killed left: the files of a zip name patients."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # Another user's process, or no process number.
        return True
    return True
