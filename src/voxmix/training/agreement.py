"""When the processes of one run stop, and when they save: all after the same step."""

import time

import torch
from lightning_fabric import Fabric
from torch import Tensor

from voxmix.training.step_log import FLUSH_STEPS

_AGREE_SECONDS = 1.0


class Agreement:
    """Why any process was told to stop (0: none was), and whether the first one wants to save.

    Several processes ask each other about once a second: a question at every step would make fast ones wait for it.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._asked, self._steps, self._every = time.monotonic(), 0, 1

    def __call__(self, reason: int, due: bool, *, last: bool = False) -> tuple[int, bool]:
        """Return the same answer in every process; after the ``last`` step they ask in any case."""
        fabric = self._fabric
        if fabric.world_size == 1:
            return reason, due
        self._steps += 1
        if self._steps < self._every and not last:
            return 0, False
        now = time.monotonic()
        own = [reason, due and fabric.is_global_zero, (now - self._asked) / self._steps]
        shared = fabric.all_reduce(
            torch.tensor(own, dtype=torch.float32, device=fabric.device), reduce_op="max"
        )
        assert isinstance(shared, Tensor)
        largest, first_due, seconds = shared.tolist()
        self._asked, self._steps = now, 0
        self._every = max(1, min(FLUSH_STEPS, int(_AGREE_SECONDS / max(seconds, 1e-6))))
        return int(largest), first_due > 0
