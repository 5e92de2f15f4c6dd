"""Where and with how many threads frozen encoders compute: the device that a setting means here, an encoder on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import get_args

import torch

from voxmix.compute import Device
from voxmix.encoders.backbone import Backbone
from voxmix.errors import InputError


def device_of(name: str, *, index: int | None = None) -> torch.device:
    """Return the device that a setting of :class:`voxmix.compute.ComputeSettings` means on this machine.

    Args:
        index: of the GPU, where there are several.

    Raises:
        InputError: no such device here, or no such name.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(known for known in ("cuda", "mps", "cpu") if there[known])
    if not there.get(name, False):
        known = name in there
        raise InputError(
            f"frozen encoders cannot compute on device {name}: "
            + ("this machine has none" if known else f"the devices are {', '.join(get_args(Device))}")
            + "; set compute.device, or --device, to auto or cpu"
        )
    return torch.device(name, index) if name == "cuda" and index is not None else torch.device(name)


@contextmanager
def on_device(backbone: Backbone, device: torch.device) -> Iterator[Backbone]:
    """Yield a frozen backbone on a device, where it multiplies as :func:`whole_products` says; the backbone itself stays."""
    with whole_products():
        yield backbone if device.type == "cpu" else deepcopy(backbone).to(device)


@contextmanager
def whole_products() -> Iterator[None]:
    """Multiply in whole float32 within the block, whatever this process computed before: equal within rounding on any device.

    A GPU would round inputs to 10 bits (TF32) where it is let. On a CPU a run that was trained in this process leaves other
    kernels behind (:func:`voxmix.training.devices.use_fast_products`), and scores would differ from those of a process of its own.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def threads_here(count: int) -> Iterator[None]:
    """Let torch compute with so many CPU threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
