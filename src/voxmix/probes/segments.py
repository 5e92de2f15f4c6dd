"""Arrays by image on disk: written once, found by key, made again where damaged.

<folder>/<digest of keys>.npy    one row per image
<folder>/<digest of keys>.json   their keys, in the order of the rows, and the array's SHA-256; written last
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from voxmix._io import atomic_path, digest, file_digest, remove_leftovers, write_json

_FORMAT = 1


class Segments:
    """Rows of equal shape by key, in as many files as times that some were missing.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place: dict[str, tuple[np.ndarray, int]] = {}
        if folder.is_dir():
            remove_leftovers([folder])
            for index in sorted(folder.glob("*.json")):
                self._open(index)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that have no row yet, each once, in their order."""
        return [key for key in dict.fromkeys(keys) if key not in self._place]

    def rows(self, keys: Sequence[str]) -> Shaped[np.ndarray, "row ..."]:
        """Return the rows of keys that are all there: in memory, or mapped where they are one whole file."""
        first = self._place[keys[0]][0] if keys else np.zeros(0)
        if len(first) == len(keys) and all(
            self._place[key][0] is first and self._place[key][1] == row for row, key in enumerate(keys)
        ):
            return first
        return np.stack([self._place[key][0][self._place[key][1]] for key in keys])

    def add(self, keys: Sequence[str], rows: Shaped[np.ndarray, "row ..."]) -> None:
        """Write rows, whole or not at all."""
        path = self.folder / f"{digest(list(keys))}.npy"
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, np.ascontiguousarray(rows), allow_pickle=False)
        write_json(
            path.with_suffix(".json"), {"format": _FORMAT, "keys": list(keys), "sha256": file_digest(path)}
        )
        self._open(path.with_suffix(".json"))

    def _open(self, index: Path) -> None:
        """Take up a file; one that is damaged counts as not there."""
        path = index.with_suffix(".npy")
        try:
            value = json.loads(index.read_text(encoding="utf-8"))
            if value["format"] != _FORMAT or value["sha256"] != file_digest(path):
                raise ValueError("another format, or changed")
            array = np.load(path, mmap_mode="c", allow_pickle=False)  # torch wants it writable
            keys = [str(key) for key in value["keys"]]
            if len(keys) != len(array):
                raise ValueError("rows without a key")
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            index.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            return
        self._place |= {key: (array, row) for row, key in enumerate(keys)}
