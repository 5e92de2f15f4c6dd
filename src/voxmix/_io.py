"""Files on disk: atomic writes, canonical JSON, digests."""

import errno
import hashlib
import json
import math
import os
import shlex
import tempfile
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voxmix.errors import InputError, VoxmixError

_NOT_WRITABLE = (
    errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip

ESCAPED = "backslashreplace"
r"""How text that holds bytes of file names that are no UTF-8 is written: \udce9, which JSON reads back."""


def canonical_json(value: Any) -> str:
    """Return JSON text that is the same for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def json_text(value: Any) -> str:
    """Return indented JSON that any file and terminal of UTF-8 takes, names with other bytes as escapes.

    NaN is refused: missing is ``null``, never a number.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    return text.encode("utf-8", ESCAPED).decode("utf-8") + "\n"


def digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a JSON-like value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", ESCAPED)).hexdigest()[:16]


def name_fault(name: str) -> str:
    """Return why a name can stand in no table and on no terminal, "" if it can."""
    kinds = {unicodedata.category(character) for character in name.replace("\t", "")}
    if "Cs" in kinds:
        return "is not UTF-8 text"
    return "holds a line break or a control character" if kinds & {"Cc", "Zl", "Zp"} else ""


def printable(text: str) -> str:
    """Return a text for the terminal: what would steer it, and bytes that are no text, as escapes; lines stay lines."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
        else character.encode("unicode_escape").decode()
        for character in text
    )


def as_argument(path: Path) -> str:
    """Return a path as it is typed into a command: quoted where a shell would take it apart."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def size_text(count: int) -> str:
    """Return a number of bytes as people read it."""
    size, unit = next(
        ((count / s, u) for s, u in ((1e9, "GB"), (1e6, "MB")) if count >= s), (count / 1e3, "kB")
    )
    return f"{size:.1f} {unit}"


def mean_text(values: Sequence[float]) -> str:
    """Return a mean with half the range behind it, as people read it; "-" for none."""
    if not values:
        return "-"
    mean, half = sum(values) / len(values), (max(values) - min(values)) / 2
    return f"{mean:.3f} \u00b1 {half:.3f}" if len(values) > 1 else f"{mean:.3f}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; publish it by rename when the block ends well.

    The bytes are on disk before the rename, so a reader never meets half a file, whatever happens.
    A disk that is full leaves the old file as it was.

    Raises:
        InputError: there is a folder of this name.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


_STALE_SECONDS = 3600


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove what a killed process left half-written, once no other can still be writing it."""
    for folder in folders:
        for leftover in folder.glob(".*.tmp"):
            if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; bytes of file names that are no UTF-8 become escapes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPED)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. NaN is refused: missing is ``null``, never a number."""
    write_text(path, json_text(value))


def read_json(path: Path) -> Any:
    """Return the parsed JSON of a file: UTF-8 with or without a mark, finite numbers, not nested without end.

    Raises:
        InputError: no such file, a folder, unreadable, or not JSON; says which.
    """
    give = "give the file that voxmix wrote"
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is {'a folder' if path.is_dir() else 'no plain file'}; {give}")
        text = path.read_text(encoding="utf-8-sig")
        if not text.strip():
            raise InputError(f"{path} is empty; {give}")
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_finite)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; check the path") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {give}") from None
    except RecursionError:
        raise InputError(f"{path} is not JSON that voxmix wrote (nested too deep); {give}") from None
    except InputError:
        raise
    except ValueError as error:  # not JSON, not UTF-8, a number beyond all bounds
        raise InputError(f"{path} is not JSON ({error}); {give}") from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file.

    Raises:
        InputError: as :func:`read_json`, or another kind of value.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(
            f"{path} should hold a JSON object, found {type(value).__name__}; give the file that voxmix wrote"
        )
    return value


_MOST_DIGITS = 30


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:_MOST_DIGITS]} is not a finite number")
    return number


@contextmanager
def naming_damage(path: Path, *, remedy: str) -> Iterator[None]:
    """Turn what a value of the wrong form raises while it is taken apart into a sentence that names its file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; {remedy}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); {remedy}") from None


@contextmanager
def with_remedy(remedy: str) -> Iterator[None]:
    """Add to a sentence on a file that cannot be used what else can be done."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error}, or {remedy}") from None


def read_versioned(path: Path, *, kind: str, version: int, former: Sequence[int] = ()) -> dict[str, Any]:
    """Return the JSON object of a file that voxmix wrote, after checking its ``kind`` and ``format``.

    ``former`` are earlier format versions that are read too.

    Raises:
        InputError: another kind of file, or one written in another format version.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("kind") != kind:
        found = value.get("kind") if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path} should hold a voxmix {kind}, found {found!r}; give another file")
    if value.get("format") not in (version, *former):
        raise InputError(
            f"{path} has format version {value.get('format')!r}, this voxmix reads {version}; "
            f"make it again with this version of voxmix"
        )
    return value


@contextmanager
def naming_full_disk(where: Path) -> Iterator[None]:
    """Turn "no space left" and "read-only" errors into a sentence with what to do."""
    try:
        yield
    except OSError as error:
        # NumPy's short write carries no number: "4096 requested and 12 written".
        short_write = error.errno is None and "requested and" in str(error)
        if short_write or error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise VoxmixError(
                f"no space left on the disk of {where}; free some space and give the same command "
                "again: what is finished is kept"
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise VoxmixError(
                f"cannot write below {where} ({error.strerror}); choose a folder you may write to"
            ) from error
        raise
