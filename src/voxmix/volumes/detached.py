"""Headers that name another file for their voxels: which files those are, and that they lie beside the header."""

import re
from pathlib import Path

from voxmix.volumes.volume import UnreadableVolumeError

_HEADER_BYTES = 1 << 16
_FIELDS = {
    ".mha": rb"^ElementDataFile[ \t]*=[ \t]*(.+?)\s*$",
    ".mhd": rb"^ElementDataFile[ \t]*=[ \t]*(.+?)\s*$",
    ".nrrd": rb"^data ?file:[ \t]*(.+?)\s*$",
    ".nhdr": rb"^data ?file:[ \t]*(.+?)\s*$",
}
_ANALYZE = (".img", ".img.gz")


def data_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside a header that hold its voxels; none where the header holds them itself.

    Raises:
        UnreadableVolumeError: the header names a file outside its own folder, or several.
        OSError: the header cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        return tuple(path.with_suffix(end) for end in _ANALYZE if path.with_suffix(end).exists())
    if suffix not in _FIELDS:
        return ()
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    if suffix in (".nrrd", ".nhdr"):
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[
            0
        ]  # An empty line ends the header; voxels may follow.
    match = re.search(_FIELDS[suffix], head, re.MULTILINE | re.IGNORECASE)
    given = match[1].decode("utf-8", errors="replace") if match else "LOCAL"
    if given.upper() == "LOCAL":
        return ()
    if given.upper().startswith("LIST") or "%" in given:
        raise UnreadableVolumeError("its header spreads the voxels over several files; join them into one")
    if given != Path(given).name or given in (".", "..") or "\\" in given:
        raise UnreadableVolumeError("its header names a data file outside its own folder")
    beside = path.with_name(given)
    if not beside.exists():
        raise UnreadableVolumeError("the data file that its header names does not exist")
    return (beside,)
