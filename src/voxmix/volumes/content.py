"""Content: the digest of the bytes that make a volume, wherever they lie and whatever they are called."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from voxmix._io import digest, file_digest
from voxmix.volumes.volume import UnreadableVolumeError


def content_digest(path: Path) -> str:
    """Return the digest of a file's bytes, of a header and its data file, or of a folder's files."""
    try:
        if path.is_dir():
            return digest(sorted(file_digest(p) for p in path.iterdir() if p.is_file() and p.name[0] != "."))
        return digest([_file_digest(p) for p in (path, *_data_files(path))])
    except FileNotFoundError:
        raise UnreadableVolumeError("no such file") from None
    except PermissionError:
        raise UnreadableVolumeError("no permission to read the file") from None


def _file_digest(path: Path) -> str:
    return _remembered(str(path), path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=8)
def _remembered(path: str, changed: int, size: int) -> str:
    """Return the digest of a file that may be asked for once per volume it holds."""
    return file_digest(Path(path))


def _data_files(path: Path) -> Iterator[Path]:
    others = {".hdr": (".img", ".img.gz"), ".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}
    for suffix in others.get(path.suffix.lower(), ()):
        beside = path.with_suffix(suffix)
        if beside.exists():
            yield beside
