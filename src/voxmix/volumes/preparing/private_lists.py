"""What stays out of a cache: who stands behind its pseudonyms, and the paths of what was set aside.

    of a study:      STUDY/private/subjects.json, STUDY/private/set-aside.csv
    without a study: <cache>.private/subjects.json, <cache>.private/set-aside.csv, beside the cache
    where the user says (data.names, --names): DIR/<key>.subjects.json, DIR/<key>.set-aside.csv

A cache holds neither a path nor a name, nor the secret that could test one: those are here, readable by their owner
only. Nothing is written beside the data. Earlier versions did (``voxmix-subjects.json``, ``<table>.subjects.json``):
such a map is still read, so that pseudonyms stay as they were.
"""

import csv
import secrets
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from voxmix._io import ESCAPED, atomic_path, digest, naming_damage, read_versioned, write_json, write_text
from voxmix.errors import InputError, VoxmixWarning
from voxmix.volumes.manifest import SetAside, VolumeRecord
from voxmix.volumes.manifest_files import relative_name
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume

SALT = "salt"
"""Name of the file in a cache that holds its secret where no map can be kept."""

KIND = "subject map"
FORMAT = 1
_MAP, _ASIDE = "subjects.json", "set-aside.csv"


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """Where the names behind one cache are kept: a folder, and what its files begin with where others share it."""

    folder: Path
    key: str = ""

    @classmethod
    def shared(cls, folder: Path, *, owner: Path) -> "Names":
        """Return the place of ``owner`` (a study or a cache) in a folder that others may use too."""
        own = owner.resolve()
        return cls(folder=folder.resolve(), key=f"{own.name}-{digest(str(own))[:6]}.")

    @classmethod
    def beside(cls, cache: Path) -> "Names":
        """Return the place for a cache without a study: next to it, so that it is not passed on with it."""
        return cls(folder=cache.with_name(f"{cache.name}.private"))

    @property
    def map_path(self) -> Path:
        """The subject map."""
        return self.folder / f"{self.key}{_MAP}"

    @property
    def set_aside_path(self) -> Path:
        """The list of files that were set aside."""
        return self.folder / f"{self.key}{_ASIDE}"

    def check_apart(self, cache: Path) -> None:
        """Check that the names do not lie in the cache, which is passed on.

        Raises:
            InputError: they do.
        """
        if self.folder.resolve().is_relative_to(cache.resolve()):
            raise InputError(
                f"{self.folder} lies in the cache, which is passed on; name another folder for the private lists "
                "(data.names, --names)"
            )

    def open_folder(self) -> None:
        """Make the folder, closed to others.

        Raises:
            InputError: it is a link, which could lead anywhere.
        """
        if self.folder.is_symlink():
            raise InputError(
                f"{self.folder} is a link; names are kept in a folder of their own: remove the link, or name a folder in "
                "data.names (--names)"
            )
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True)
            self.folder.chmod(0o700)
            write_text(
                self.folder / ".gitignore", "*\n"
            )  # a study under version control keeps its names out of it


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectMap:
    """Secret and names behind a cache: ``subjects`` is salted digest to subject, ``volumes`` key to file."""

    salt: str
    subjects: dict[str, str]
    volumes: dict[str, str]


def earlier_map_path(source: Path) -> Path:
    """Return where earlier versions kept the map of a manifest file or a folder of volumes."""
    return source / "voxmix-subjects.json" if source.is_dir() else source.with_suffix(".subjects.json")


def read_map(path: Path) -> SubjectMap | None:
    """Return a subject map, or None where there is none.

    Raises:
        InputError: the file is there and cannot be used.
    """
    with suppress(PermissionError):
        if not path.exists():
            return None
    value = read_versioned(path, kind=KIND, version=FORMAT)
    with naming_damage(path, remedy="restore a good copy, or delete it: persons then get new pseudonyms"):
        salt, subjects, volumes = value["salt"], dict(value["subjects"]), dict(value["volumes"])
        if not isinstance(salt, str) or len(salt) < 32:
            raise ValueError("no secret")
    return SubjectMap(salt=salt, subjects=subjects, volumes=volumes)


def _earlier_map(source: Path | None) -> SubjectMap | None:
    """Return the map beside the data; None where there is none, or it is another person's."""
    if source is None:
        return None
    try:
        with earlier_map_path(source).open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return read_map(earlier_map_path(source))


def salt_of(cache: PreparedCache, names: Names | None, source: Path | None = None) -> str | None:
    """Return the secret of a cache's pseudonyms, or None where nobody knows it any more.

    A map counts when it knows every subject of the cache: its own, or that which an earlier version left beside
    ``source``, the folder or table that the cache was made from. Else the secret may still lie in the cache.
    """
    people = set(cache.columns.texts("subject"))
    for found in (None if names is None else read_map(names.map_path), _earlier_map(source)):
        if found is not None and people <= found.subjects.keys():
            return found.salt
    return _kept(cache.root)


def claim_salt(root: Path, names: Names | None, source: Path | None = None) -> str:
    """Return the secret for a cache in ``root``.

    That of its map, else of the map beside the data, else of the cache, else of another map in the same folder (so
    that one person has one pseudonym in all of them), else a new one.
    """
    return known_salt(root, names, source) or _neighbours(names) or new_salt()


def known_salt(root: Path, names: Names | None, source: Path | None = None) -> str | None:
    """Return the secret of a cache in ``root`` that was made before, as :func:`claim_salt` finds it; None where it is gone."""
    found = (None if names is None else read_map(names.map_path)) or _earlier_map(source)
    return found.salt if found is not None else _kept(root)


def _neighbours(names: Names | None) -> str | None:
    if names is None or not names.folder.is_dir():
        return None
    for path in sorted(names.folder.glob(f"*{_MAP}")):
        with suppress(InputError):
            found = read_map(path)
            if found is not None:
                return found.salt
    return None


def _kept(root: Path) -> str | None:
    kept = root / SALT
    if not kept.is_file():
        return None
    salt = kept.read_text(encoding="utf-8", errors="replace").strip()
    return salt or None


def new_salt() -> str:
    """Return a new secret of 128 bits."""
    return secrets.token_hex(16)


def write_map(found: SubjectMap, names: Names) -> bool:
    """Write the map, with what an earlier one of the same cache holds; return whether that was possible.

    Warns:
        VoxmixWarning: the folder cannot be written.
    """
    before = read_map(names.map_path)
    merged = {
        "salt": found.salt,
        "subjects": {**(before.subjects if before else {}), **found.subjects},
        "volumes": {**(before.volumes if before else {}), **found.volumes},
    }

    def write() -> None:
        names.open_folder()
        write_json(names.map_path, {"kind": KIND, "format": FORMAT, **merged})
        names.map_path.chmod(0o600)

    return _done_or_warned(
        write,
        f"the map from pseudonyms to subjects could not be written to {names.folder}",
        ": the pseudonyms cannot be resolved, and their secret stays in the cache; leave it out when you pass the cache on",
    )


def _done_or_warned(write: Callable[[], None], what: str, effect: str) -> bool:
    """Return whether something could be written; warn of what could not, why, and of the effect."""
    try:
        write()
    except OSError as error:
        warnings.warn(f"{what} ({error.strerror}){effect}", VoxmixWarning, stacklevel=3)
        return False
    return True


def keep_names(
    root: Path,
    names: Names | None,
    source: Path | None,
    *,
    salt: str,
    shown: Iterable[tuple[PreparedVolume, VolumeRecord]],
) -> None:
    """Write the map and take the secret out of the cache; without a map it stays there."""
    pairs = list(shown)
    found = SubjectMap(
        salt=salt,
        subjects={volume.subject: record.subject for volume, record in pairs},
        volumes={volume.key: relative_to_source(record.path, source) for volume, record in pairs},
    )
    keep_map(root, names, found)


def keep_map(root: Path, names: Names | None, found: SubjectMap) -> None:
    """Write a map and take the secret out of the cache; where no map can be kept, it stays there."""
    kept = root / SALT
    if names is not None and write_map(found, names):
        kept.unlink(missing_ok=True)
        return
    if not kept.exists():
        with atomic_path(kept) as temporary:
            temporary.write_text(found.salt, encoding="utf-8")
        kept.chmod(0o600)


def relative_to_source(path: Path, source: Path | None) -> str:
    """Return a path relative to the data's folder, as the map names it."""
    if source is None:
        return str(path)
    return relative_name(path, source if source.is_dir() else source.parent)


def write_set_aside(items: Iterable[SetAside], names: Names, source: Path | None) -> Path | None:
    """Write path, domain and reason of every file that was set aside; None when there is none.

    Warns:
        VoxmixWarning: the folder cannot be written.
    """
    path, rows = names.set_aside_path, list(items)

    def write() -> None:
        if not rows:
            path.unlink(missing_ok=True)
            return
        names.open_folder()
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", errors=ESCAPED, newline="") as stream,
        ):
            table = csv.writer(stream)
            table.writerow(["path", "domain", "reason"])
            table.writerows([relative_to_source(s.path, source), s.domain, s.reason] for s in rows)
        path.chmod(0o600)

    written = _done_or_warned(
        write,
        f"the list of files that were set aside could not be written to {names.folder}",
        "; they are named on the terminal",
    )
    return path if written and rows else None
