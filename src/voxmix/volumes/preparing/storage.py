"""How a prepared array lies on disk, plain (npy) or compressed (blosc2), and how a window of it is read.

A crop of a large volume does not need whole planes: npy files are read through a memory map that lives as long as the
crop, or row by row with positioned reads; of small ones all planes of the crop come in one read. blosc2 files are stored in
blocks of 32^3 voxels, so that a crop decompresses few voxels besides its own.
"""

import contextlib
import hashlib
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from voxmix._optional import require
from voxmix.errors import InputError, VoxmixError
from voxmix.volumes.grids.geometry import Shape

Codec = Literal["npy", "blosc2"]
SUFFIXES: dict[Codec, str] = {"npy": ".npy", "blosc2": ".b2nd"}
_BLOCK, _CHUNK = 32, 64  # edges in voxels; of 16 to 96 these gave the smallest files at the same speed
_LEVEL = 5  # LZ4HC: decodes five times as fast as Zstandard, at the same size
_ONE_PIECE = 1 << 18  # bytes: so few are read faster than mapped, together with what lies beside the window
_SLOW = 1e9  # bytes per second: slower reads come from a disk, not from the page cache


def check_codec(codec: str) -> Codec:
    """Return the name of a codec.

    Raises:
        InputError: there is none of that name.
    """
    for known in get_args(Codec):
        if codec == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"unknown codec {codec!r}; choose npy (fastest) or blosc2 (half the size)")


def codec_of(path: Path) -> Codec:
    """Return the codec of a file by its name."""
    return "blosc2" if path.suffix == SUFFIXES["blosc2"] else "npy"


def write_array(path: Path, array: Shaped[np.ndarray, "x y z"], *, codec: Codec) -> None:
    """Write an array; both codecs give back the same bits."""
    if codec == "npy":
        with path.open("wb") as stream:
            np.save(stream, array, allow_pickle=False)
        return
    blosc2 = require("blosc2", extra="blosc2")
    chunks = tuple(min(_CHUNK, n) for n in array.shape)
    packed = blosc2.asarray(
        np.ascontiguousarray(array),
        chunks=chunks,
        blocks=tuple(min(_BLOCK, n) for n in chunks),
        cparams={
            "codec": blosc2.Codec.LZ4HC,
            "clevel": _LEVEL,
            "filters": [blosc2.Filter.SHUFFLE],
            "nthreads": 1,
        },
    )
    path.write_bytes(packed.to_cframe())


def read_array(path: Path) -> Shaped[np.ndarray, "x y z"]:
    """Return a whole array, read-only: a memory map of an npy file, else decompressed.

    Raises:
        VoxmixError: the file is missing or damaged.
    """
    if codec_of(path) == "blosc2":
        array: np.ndarray = _decoded(_open_blosc2(path, mapped=False), (slice(None),) * 3)
        array.flags.writeable = False
        return array
    return _map(path)


def stored_digest(path: Path) -> str:
    """Return the SHA-256 (64 hex digits) of a stored file, which a reader can map fast afterwards."""
    with path.open("rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:  # nothing to map
            return hashlib.sha256().hexdigest()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as pages:
            _ask_for_large_pages(pages)
            return hashlib.sha256(pages).hexdigest()


@runtime_checkable
class StoredArray(Protocol):
    """A prepared array on disk, of which windows are read."""

    @property
    def shape(self) -> Shape:
        """Voxels along x, y and z."""
        ...

    def window(
        self, corner: tuple[int, ...], edges: tuple[int, ...], scratch: "Scratch"
    ) -> Shaped[np.ndarray, "x y z"]:
        """Return a box of ``edges`` voxels from ``corner`` on; it may lie in ``scratch`` until that is used again.

        Raises:
            VoxmixError: the file is missing or damaged.
        """
        ...


@dataclass(kw_only=True, slots=True)
class Scratch:
    """Memory that one thread reads into, used again and again, and whether its last read came from a disk."""

    bytes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint8))
    cold: bool = False

    def room(self, size: int) -> Shaped[np.ndarray, " byte"]:
        """Return ``size`` bytes."""
        if len(self.bytes) < size:
            self.bytes = np.empty(size, dtype=np.uint8)
        return self.bytes[:size]


def open_array(path: Path, *, mapped: bool) -> StoredArray:
    """Return an array ready for reading windows; nothing is held but a path, not even a file descriptor.

    ``mapped`` is the fastest where the files stay in the page cache: what a window needs of them is read in large
    pages, up to 2 MB, also around the window. Otherwise only the window's rows are read. Where the planes that the window
    crosses are small, they are read in one piece either way.

    Raises:
        VoxmixError: the file is missing or damaged.
    """
    if codec_of(path) == "blosc2":
        return _Blosc2File(path=path, shape=_open_blosc2(path, mapped=False).shape, mapped=mapped)
    array = _map(path)
    shape: Shape = array.shape
    return _NpyFile(path=path, shape=shape, dtype=array.dtype, offset=array.offset, mapped=mapped)


@dataclass(frozen=True, kw_only=True, slots=True)
class _NpyFile:
    path: Path
    shape: Shape
    dtype: np.dtype[Any]
    offset: int
    mapped: bool

    def window(
        self, corner: tuple[int, ...], edges: tuple[int, ...], scratch: Scratch
    ) -> Shaped[np.ndarray, "x y z"]:
        (x, y, z), (long, high, deep), (_, height, depth) = corner, edges, self.shape
        row = depth * self.dtype.itemsize
        plane = height * row
        first = self.offset + x * plane
        if long * plane <= _ONE_PIECE:
            values = self._read([first], long * plane, scratch).reshape(long, height, depth)
            return values[:, y : y + high, z : z + deep]
        if self.mapped:
            return self._mapped_window(corner, edges)
        # Of each plane, the rows that the box crosses.
        starts = [first + y * row + k * plane for k in range(long)]
        return self._read(starts, high * row, scratch).reshape(long, high, depth)[:, :, z : z + deep]

    def _read(self, starts: Sequence[int], size: int, scratch: Scratch) -> Shaped[np.ndarray, " value"]:
        """Return ``size`` bytes from each of the places ``starts``."""
        room = scratch.room(len(starts) * size)
        view = memoryview(room)  # type: ignore[arg-type]  # NumPy's stubs do not say so before Python 3.12
        began = time.perf_counter()
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                if scratch.cold and hasattr(os, "posix_fadvise"):
                    for start in starts:  # All at once: the disk sees what comes.
                        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)
                for k, start in enumerate(starts):
                    part = view[k * size : (k + 1) * size]
                    read = os.preadv(descriptor, [part], start)
                    if read < size:
                        _read_rest(descriptor, part[read:], start + read)
            finally:
                os.close(descriptor)
        except (OSError, EOFError):
            raise _damaged(self.path) from None
        scratch.cold = len(room) < _SLOW * (time.perf_counter() - began)
        return room.view(self.dtype)

    def _mapped_window(self, corner: tuple[int, ...], edges: tuple[int, ...]) -> Shaped[np.ndarray, "x y z"]:
        """Return a part of a map of the file, which goes with the last reference to that part.

        Touched pages of a map count as memory of the process, so maps that were kept would grow with the data.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                # Copy on write, though nobody writes: torch warns of memory that it may not write to.
                pages = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
            finally:
                os.close(descriptor)
            _ask_for_large_pages(pages)
            whole = np.ndarray(self.shape, dtype=self.dtype, buffer=pages, offset=self.offset)
        except (OSError, ValueError, TypeError):  # gone, empty, cut
            raise _damaged(self.path) from None
        return whole[_box(corner, edges)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Blosc2File:
    path: Path
    shape: Shape
    mapped: bool

    def window(
        self, corner: tuple[int, ...], edges: tuple[int, ...], scratch: Scratch
    ) -> Shaped[np.ndarray, "x y z"]:
        return _decoded(_open_blosc2(self.path, mapped=self.mapped), _box(corner, edges))


def _read_rest(descriptor: int, room: memoryview, offset: int) -> None:
    """Fill ``room`` where a signal or a network disk has cut a read short."""
    while room:
        read = os.preadv(descriptor, [room], offset)
        if read == 0:
            raise EOFError
        room, offset = room[read:], offset + read


def _box(corner: tuple[int, ...], edges: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(first, first + edge) for first, edge in zip(corner, edges, strict=True))


def _map(path: Path) -> np.memmap:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise _damaged(path) from None
    if not isinstance(array, np.memmap) or array.ndim != 3 or not array.flags.c_contiguous:
        raise _damaged(path)
    pages: object = array.base
    if isinstance(pages, mmap.mmap):
        _ask_for_large_pages(pages)
    return array


def _ask_for_large_pages(pages: mmap.mmap) -> None:
    """Let a file that is not in the page cache yet come in pages of up to 2 MB: then maps of it cost next to nothing.

    Only Linux does so, and only some file systems; where a system knows no such thing, nothing is lost.
    """
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)


def _open_blosc2(path: Path, *, mapped: bool) -> Any:
    blosc2 = require("blosc2", extra="blosc2")
    try:
        opened = blosc2.open(str(path), mode="r", mmap_mode="r" if mapped else None, dparams={"nthreads": 1})
    except (OSError, RuntimeError, ValueError):
        raise _damaged(path) from None
    if not isinstance(opened, blosc2.NDArray) or opened.ndim != 3:
        raise _damaged(path)
    return opened


def _decoded(opened: Any, window: tuple[slice, ...]) -> np.ndarray:
    try:
        array: np.ndarray = opened[window]
    except (RuntimeError, ValueError):
        raise _damaged(Path(opened.schunk.urlpath)) from None
    return array


def _damaged(path: Path) -> VoxmixError:
    return VoxmixError(
        f"{path.parent.name}/{path.name} is missing or damaged in {path.parent.parent}; prepare again to make it"
    )
