"""What goes from the host to the device in every step, so that neither waits for the other.

A copy from ordinary memory to a GPU stops the host until the GPU has come so far; one from page-locked memory does not.
Crops go through two places on the device, on a stream of their own: the next one is copied while the network computes. What
is small goes together, as one copy.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Shaped
from torch import Tensor

_ALIGNED = 16  # bytes
_LANDINGS = 2


def send(arrays: Mapping[str, Shaped[np.ndarray, "..."]], device: torch.device) -> dict[str, Tensor]:
    """Return arrays as tensors on the device; to a GPU they go in one copy that nobody waits for.

    The page-locked memory is PyTorch's own, which is not used again before the copy is done.
    """
    if device.type != "cuda":
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    size = packed_size(arrays)
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    pack(arrays, host)
    return unpack(arrays, host.to(device, non_blocking=True))


def packed_size(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> int:
    """Return the bytes that :func:`pack` fills."""
    return sum(_room(array) for array in arrays.values())


def pack(arrays: Mapping[str, Shaped[np.ndarray, "..."]], memory: Shaped[Tensor, " byte"]) -> None:
    """Write arrays one after the other into bytes on the host."""
    place, room = 0, memory.numpy()
    for array in arrays.values():
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        room[place : place + len(flat)] = flat
        place += _room(array)


def unpack(
    arrays: Mapping[str, Shaped[np.ndarray, "..."]], memory: Shaped[Tensor, " byte"]
) -> dict[str, Tensor]:
    """Return the tensors that lie in bytes, wherever these are, as :func:`pack` has written them."""
    place, found = 0, {}
    for name, array in arrays.items():
        kind = torch.from_numpy(np.empty(0, dtype=array.dtype)).dtype
        found[name] = memory[place : place + array.nbytes].view(kind).view(array.shape)
        place += _room(array)
    return found


def _room(array: Shaped[np.ndarray, "..."]) -> int:
    return -(-array.nbytes // _ALIGNED) * _ALIGNED


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies in the host's memory, those of a GPU's tensors through page-locked memory, waiting once for all."""
    found = {}
    for name, value in tensors.items():
        value = value.detach()
        if value.device.type == "cuda":
            found[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            found[name].copy_(value, non_blocking=True)
        else:
            found[name] = value.cpu().clone()
    for device in {value.device for value in tensors.values() if value.device.type == "cuda"}:
        torch.cuda.current_stream(device).synchronize()
    return found


class Landing:
    """Takes batches of crops from the host's buffers to the device as float32: two bytes a voxel go, the cast is made there.

    Args:
        shape: of the largest batch.
    """

    def __init__(self, device: torch.device, *, shape: Sequence[int]) -> None:
        self._device, self._turn = device, 0
        self._under_way: dict[int, Any] = {}  # events, by the buffer that is being read
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._landed: list[tuple[Tensor, Any]] = []
        if self._stream is not None:
            here = torch.cuda.current_stream(device)
            for _ in range(_LANDINGS):
                self._landed.append(
                    (torch.empty(tuple(shape), dtype=torch.float16, device=device), here.record_event())
                )

    def take(
        self, host: Float[Tensor, "draw *edge"] | Float16[Tensor, "draw *edge"]
    ) -> Float[Tensor, "draw *edge"]:
        """Return a batch on the device; on a CPU that is the batch itself, where it is float32 already."""
        if self._stream is None:
            return host.to(self._device).float()
        place, free = self._landed[self._turn]
        there = place.view(-1)[: prod(host.shape)].view(host.shape)
        self._stream.wait_event(free)  # the device waits, where the batch before the last is still to be cast
        with torch.cuda.stream(self._stream):
            there.copy_(host, non_blocking=True)
            copied = self._stream.record_event()
        self._under_way[_buffer(host)] = copied
        here = torch.cuda.current_stream(self._device)
        here.wait_event(copied)
        batch = there.float()
        self._landed[self._turn] = (place, here.record_event())
        self._turn = (self._turn + 1) % _LANDINGS
        return batch

    def settle(self, host: Shaped[Tensor, "..."]) -> None:
        """Return when a buffer of the host may be written again; any thread may ask."""
        event = self._under_way.pop(_buffer(host), None)
        if event is not None:
            event.synchronize()


def _buffer(host: Tensor) -> int:
    return host.untyped_storage().data_ptr()
