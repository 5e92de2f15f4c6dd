"""What stays beside the data: who stands behind a cache's pseudonyms, and the paths of what was set aside.

    manifest.csv -> manifest.subjects.json, manifest.set-aside.csv
    volumes/     -> volumes/voxmix-subjects.json, volumes/voxmix-set-aside.csv

A cache holds neither a path nor a name, nor the secret that could test one: those are here, readable by their
owner only, in the folder that holds the images anyway.
"""

import csv
import errno
import os
import secrets
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxmix._io import ESCAPED, atomic_path, read_versioned, write_json
from voxmix.errors import VoxmixWarning
from voxmix.volumes.cache import PreparedCache, PreparedVolume
from voxmix.volumes.manifest import SetAside, VolumeRecord
from voxmix.volumes.tables import relative_name

SALT = "salt"
"""Name of the file in a cache that holds its secret where there is no map beside the data."""

KIND = "subject map"
FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectMap:
    """Secret and names behind a cache: ``subjects`` is salted digest to subject, ``volumes`` key to file."""

    salt: str
    subjects: dict[str, str]
    volumes: dict[str, str]


def map_path(source: Path) -> Path:
    """Return where the subject map of a manifest file or a folder of volumes lies."""
    return source / "voxmix-subjects.json" if source.is_dir() else source.with_suffix(".subjects.json")


def set_aside_path(source: Path) -> Path:
    """Return where the list of files that were set aside lies."""
    return source / "voxmix-set-aside.csv" if source.is_dir() else source.with_suffix(".set-aside.csv")


def read_map(source: Path) -> SubjectMap | None:
    """Return the subject map of a source, or None where none was made yet.

    Raises:
        InputError: the file is there and cannot be used.
    """
    path = map_path(source)
    if not path.exists():
        return None
    value = read_versioned(path, kind=KIND, version=FORMAT)
    return SubjectMap(salt=value["salt"], subjects=value["subjects"], volumes=value["volumes"])


def salt_of(cache: PreparedCache, source: Path | None) -> str | None:
    """Return the secret of a cache's pseudonyms, or None where nobody knows it any more.

    ``source`` is the folder or table that the cache was made from. A map beside it counts when it knows every
    subject of the cache; else the secret may still lie in the cache.
    """
    found = None if source is None else read_map(source)
    if found is not None and {volume.subject for volume in cache.volumes} <= found.subjects.keys():
        return found.salt
    return _kept(cache.root)


def claim_salt(root: Path, source: Path | None) -> str:
    """Return the secret for a cache in ``root``: that of the data's map, else that of the cache, else a new one.

    A new one is published beside the data at once, so that two caches made of the same data at the same time
    agree on it.
    """
    found = None if source is None else read_map(source)
    if found is not None:
        return found.salt
    salt = _kept(root) or secrets.token_hex(16)
    if source is None:
        return salt
    path = map_path(source)
    if _is_closed(path.parent):
        return salt
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_json(temporary, {"kind": KIND, "format": FORMAT, "salt": salt, "subjects": {}, "volumes": {}})
        temporary.chmod(0o600)
        os.link(temporary, path)  # Unlike a rename this never replaces the map of another.
    except FileExistsError:
        found = read_map(source)
        return salt if found is None else found.salt
    except OSError:
        return salt  # No hard links, or no right to write: the map itself is written, or missed, in the end.
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return salt


def _is_closed(folder: Path) -> bool:
    """Return whether nobody may write to a folder by its mode: an archive, which root could write to and shall not."""
    return os.name == "posix" and folder.stat().st_mode & 0o222 == 0


def _refuse_closed(folder: Path) -> None:
    if _is_closed(folder):
        raise PermissionError(errno.EACCES, "the folder is read-only")


def _kept(root: Path) -> str | None:
    kept = root / SALT
    return kept.read_text(encoding="utf-8") if kept.exists() else None


def new_salt() -> str:
    """Return a new secret of 128 bits."""
    return secrets.token_hex(16)


def write_map(found: SubjectMap, source: Path) -> bool:
    """Write the map beside the source, with what an earlier map of it holds; return whether that was possible.

    Warns:
        VoxmixWarning: the folder cannot be written.
    """
    path = map_path(source)
    before = read_map(source)
    merged = {
        "salt": found.salt,
        "subjects": {**(before.subjects if before else {}), **found.subjects},
        "volumes": {**(before.volumes if before else {}), **found.volumes},
    }
    try:
        _refuse_closed(path.parent)
        write_json(path, {"kind": KIND, "format": FORMAT, **merged})
        path.chmod(0o600)
    except OSError as error:
        warnings.warn(
            f"the map from pseudonyms to subjects could not be written beside the data ({error.strerror}): nobody can "
            "tell from the cache who is who, and its secret stays in the cache; leave that out when you pass it on",
            VoxmixWarning,
            stacklevel=2,
        )
        return False
    return True


def keep_names(
    root: Path,
    source: Path | None,
    *,
    salt: str,
    shown: Iterable[tuple[PreparedVolume, VolumeRecord]],
) -> None:
    """Write the map beside the data and take the secret out of the cache; without a map it stays there."""
    kept, pairs = root / SALT, list(shown)
    if source is not None:
        folder = source if source.is_dir() else source.parent
        names = SubjectMap(
            salt=salt,
            subjects={volume.subject: record.subject for volume, record in pairs},
            volumes={volume.key: relative_name(record.path, folder) for volume, record in pairs},
        )
        if write_map(names, source):
            kept.unlink(missing_ok=True)
            return
    if not kept.exists():
        with atomic_path(kept) as temporary:
            temporary.write_text(salt, encoding="utf-8")
        kept.chmod(0o600)


def write_set_aside(items: Iterable[SetAside], source: Path) -> Path | None:
    """Write path, domain and reason of every file that was set aside; None when there is none.

    Warns:
        VoxmixWarning: the folder cannot be written.
    """
    path, rows = set_aside_path(source), list(items)
    try:
        if rows or path.exists():
            _refuse_closed(path.parent)
        if not rows:
            path.unlink(missing_ok=True)
            return None
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors=ESCAPED, newline="") as stream,
        ):
            table = csv.writer(stream)
            table.writerow(["path", "domain", "reason"])
            table.writerows([relative_name(s.path, path.parent), s.domain, s.reason] for s in rows)
        path.chmod(0o600)
    except OSError as error:
        warnings.warn(
            f"the list of files that were set aside could not be written beside the data ({error.strerror}); they "
            "are named on the terminal",
            VoxmixWarning,
            stacklevel=2,
        )
        return None
    return path
