"""Floating-point operations of parts of a network, counted on a device that computes nothing."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


def counted_flops(forward: Callable[[], Any]) -> int:
    """Return the operations of a forward pass of modules and tensors of the device ``meta``.

    Matrix products and convolutions, two operations per multiply-add, as :mod:`voxmix.encoders.networks` counts them.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        forward()
    return int(counter.get_total_flops())
