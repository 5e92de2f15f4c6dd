"""Pictures of many volumes in a file without a name, which goes with the process: in memory they would be gigabytes."""

import os
import tempfile
import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8


@dataclass(frozen=True, slots=True, eq=False)
class StoredPicture:
    """A picture in a file: NumPy reads it when it is asked for an array."""

    shape: tuple[int, ...]
    place: int
    file: "PictureFile" = field(repr=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> UInt8[np.ndarray, "row column"]:
        data = self.file.read(self.place, int(np.prod(self.shape)))
        return np.frombuffer(data, dtype=np.uint8).reshape(self.shape)


class PictureFile:
    """Takes pictures one after the other. The file lives as long as one of them does."""

    def __init__(self) -> None:
        self._stream = tempfile.TemporaryFile()  # noqa: SIM115
        self._end = 0
        weakref.finalize(self, self._stream.close)

    def store(self, picture: UInt8[np.ndarray, "row column"]) -> StoredPicture:
        """Write a picture and return what reads it."""
        data = np.ascontiguousarray(picture).tobytes()
        self._stream.write(data)
        self._stream.flush()
        stored = StoredPicture(picture.shape, self._end, self)
        self._end += len(data)
        return stored

    def read(self, place: int, size: int) -> bytes:
        """Return the bytes of a picture."""
        return os.pread(self._stream.fileno(), size, place)
