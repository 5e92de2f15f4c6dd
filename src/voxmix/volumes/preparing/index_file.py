"""The index of a cache on disk: a small JSON file, and the volumes that it names in columns beside it.

One writer replaces both at once: the columns have a name of their own, from their bytes, and ``index.json``, which names
them, is replaced last and in one step. So no lock is needed on any disk, readers keep what they opened, and nobody
reads or writes a whole index to change one volume: what changes while volumes are prepared are the small files of
:mod:`voxmix.volumes.preparing.outcomes`. SQLite would bring locks that network disks do not keep, and one file a volume
100,000 opens before the first question is answered; columns of 100,000 volumes are 25 MB and read in one go.

The index of an earlier voxmix holds the volumes themselves. It is read as before, and written anew when volumes are prepared again.
"""

import hashlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from voxmix._io import atomic_path, naming_damage, read_versioned, write_json
from voxmix.errors import InputError
from voxmix.volumes.preparing.prepared_volume import PreparedVolume
from voxmix.volumes.preparing.volume_columns import VolumeColumns, from_bytes, to_bytes

INDEX = "index.json"
KIND = "prepared volumes"
FORMAT = 2
FORMER = 1
REMEDY = "prepare again: finished volumes are kept"
_COLUMNS = "index-*.npz"
_STALE_SECONDS = 3600
"""How long former columns stay for those who have read the former index and not yet its columns."""


def read_index(root: Path) -> tuple[dict[str, Any], VolumeColumns]:
    """Return what the index of a cache says, and its volumes.

    Raises:
        InputError: the index is damaged, or of another format.
    """
    path = root / INDEX
    value = read_versioned(path, kind=KIND, version=FORMAT, former=(FORMER,))
    with naming_damage(path, remedy=REMEDY):
        if value["format"] == FORMER:
            return value, VolumeColumns(tuple(PreparedVolume.from_dict(item) for item in value["volumes"]))
        about = value["volumes"]
        read = partial(
            _read_columns, root / _plain_name(about["file"]), about["checksum"], int(about["count"])
        )
        return value, VolumeColumns.from_columns(read, length=int(about["count"]), head=about)


def write_index(root: Path, volumes: VolumeColumns, about: Mapping[str, Any]) -> None:
    """Write the columns of volumes, then the index that names them; former columns go once nobody can still want them."""
    data = to_bytes(volumes.columns)
    checksum = hashlib.sha256(data).hexdigest()
    path = root / f"index-{checksum[:16]}.npz"
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    named = {"file": path.name, "checksum": checksum, "count": len(volumes), **volumes.head()}
    write_json(root / INDEX, {"kind": KIND, "format": FORMAT, **about, "volumes": named})
    for other in former_columns(root):
        other.unlink(missing_ok=True)


def former_columns(root: Path) -> tuple[Path, ...]:
    """Return the files of columns that the index of a cache does not name, and nobody can still want."""
    value = read_versioned(root / INDEX, kind=KIND, version=FORMAT, former=(FORMER,))
    named = value["volumes"]["file"] if value["format"] == FORMAT else ""
    long_ago = time.time() - _STALE_SECONDS
    return tuple(
        path for path in sorted(root.glob(_COLUMNS)) if path.name != named and path.stat().st_mtime < long_ago
    )


def _read_columns(path: Path, checksum: str, length: int) -> Mapping[str, np.ndarray]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None
    if hashlib.sha256(data).hexdigest() != checksum:
        raise InputError(f"{path} is damaged (its bytes changed); {REMEDY}")
    with naming_damage(path, remedy=REMEDY):
        return from_bytes(data, length=length, path=path)


def _plain_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a file")
    return name
