"""What autograd keeps of a batch, counted on a device that holds shapes alone."""

import copy
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from voxmix.training.objective import Objective

_META = torch.device("meta")


def kept_bytes(objective: Objective, model: nn.Module, batch: Any) -> int:
    """Return the bytes of all storages that autograd keeps of one forward pass, and of the batch.

    Args:
        model: on the device ``meta``.
        batch: as the objective's views read it, on the CPU. Its flags (which patches are hidden) stay there, since shapes
            follow from them.
    """
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage's address is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    shapes = _without_memory(batch, keep)
    with saved_tensors_hooks(keep, lambda tensor: tensor), _FlagsOnCpu():  # type: ignore[no-untyped-call]
        losses = objective.losses(model, shapes)
        total = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    del losses
    return total


def _without_memory(value: Any, seen: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch whose tensors have shapes alone, but for flags; each is ``seen``."""
    if isinstance(value, Tensor):
        return seen(value if value.dtype == torch.bool else value.to(_META))
    if isinstance(value, tuple):
        return tuple(_without_memory(item, seen) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in fields(value)]
        return replace(value, **{name: _without_memory(getattr(value, name), seen) for name in names})
    if hasattr(value, "__dict__"):
        found = copy.copy(value)
        for name, item in vars(value).items():
            setattr(found, name, _without_memory(item, seen))
        return found
    return value


class _FlagsOnCpu(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lets tensors of shapes alone meet flags that have values: what flags choose has the right shape."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        ops = torch.ops.aten
        if func is ops._local_scalar_dense.default:
            return func(args[0]) if args[0].device != _META else 1.0
        if func in (ops.index.Tensor, ops.index_put_.default) and args[0].device == _META:
            place = args[1]
            if len(place) == 1 and place[0] is not None and place[0].dtype == torch.bool:
                (flags,) = place
                if func is ops.index_put_.default:
                    return args[0]
                return args[0].new_empty((int(flags.sum()), *args[0].shape[flags.ndim :]))
        return func(*_alike(args), **(kwargs or {}))


def _alike(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return arguments on one device: the one without memory, where any is there."""
    flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else (arg,))]
    if not any(isinstance(each, Tensor) and each.device == _META for each in flat):
        return args
    return tuple(
        type(arg)(_moved(each) for each in arg) if isinstance(arg, list | tuple) else _moved(arg)
        for arg in args
    )


def _moved(value: Any) -> Any:
    return value.to(_META) if isinstance(value, Tensor) else value
