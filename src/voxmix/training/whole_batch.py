"""Losses that need the whole batch, in pieces: features twice, the loss once (GradCache: Gao et al. 2021).

A contrastive loss compares every image with every text; balancing and spreading look at all draws too. Such a loss is no
mean over pieces. So features of all pieces of all processes are computed first, without a graph, and gathered; then the loss
and its gradient by the features; then features again, piece by piece, each pulled by its share of that gradient. The sum is
the gradient of one large batch, but for rounding, at the price of a second forward pass. Where a process has one piece
alone, its graph is kept and there is one pass.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix.training.pieces import Piece


class BatchFeatures(NamedTuple):
    """What a loss of the whole batch is computed from.

    Attributes:
        rows: tensors with a row for each draw.
        shared: tensors that are the same for every draw: parameters of the loss, and what follows from the step.
    """

    rows: dict[str, Tensor]
    shared: dict[str, Tensor]


@runtime_checkable
class WholeBatch(Protocol):
    """An objective whose loss needs the whole batch; its ``losses`` are those of its ``features``."""

    def features(self, network: nn.Module, batch: Any) -> BatchFeatures:
        """Return what the loss needs of the draws of a piece: what the network returns, and no parameter by itself."""

    def losses_of(self, features: BatchFeatures) -> dict[str, Tensor]:
        """Return the losses of a whole batch, as ``losses`` does; called once per step in every process."""


def backward(
    objective: WholeBatch,
    network: Any,
    pieces: Sequence[Piece],
    *,
    read: Callable[[Piece], Any],
    fabric: Fabric,
    around: Callable[[Piece], AbstractContextManager[object]],
) -> dict[str, Tensor]:
    """Add the gradient of the whole batch to the parameters, and return its losses.

    Args:
        pieces: those of this process.
        read: gives the draws of a piece; called twice for each where there are several.
        around: a context for the work on a piece.
    """
    world, alone = fabric.world_size, len(pieces) == 1
    if alone and world == 1:
        with around(pieces[0]):
            found = objective.losses_of(objective.features(network, read(pieces[0])))
            fabric.backward(found["loss"])
        return _detached(found)

    first: list[BatchFeatures] = []
    for piece in pieces:
        with around(piece), torch.set_grad_enabled(alone), fabric.no_backward_sync(network, enabled=False):
            first.append(objective.features(network, read(piece)))
    counts = [piece.last - piece.first if piece.weight else 0 for piece in pieces]
    leaves, begin = _leaves(first, counts, batch=pieces[0].stop - pieces[0].start, fabric=fabric)
    losses = objective.losses_of(leaves)
    by_row, by_shared = _gradients(losses["loss"], leaves)

    for number, (piece, count) in enumerate(zip(pieces, counts, strict=True)):
        last = number == len(pieces) - 1
        with around(piece), fabric.no_backward_sync(network, enabled=not last):
            found_here = first[0] if alone else objective.features(network, read(piece))
            # Processes are averaged: each has its own rows, and all have the whole gradient of what is shared.
            pull = [
                world * (found_here.rows[name][:count] * gradient[begin : begin + count]).sum()
                + 0.0 * found_here.rows[name][count:].sum()
                for name, gradient in by_row.items()
            ]
            pull += [
                float(number == 0) * (found_here.shared[name] * gradient).sum()
                for name, gradient in by_shared.items()
            ]
            fabric.backward(torch.stack(pull).sum())
        begin += count
    return _detached(losses)


def _detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in losses.items()}


def _leaves(
    found: Sequence[BatchFeatures], counts: Sequence[int], *, batch: int, fabric: Fabric
) -> tuple[BatchFeatures, int]:
    """Return the features of the whole batch as leaves of a graph, and the place of this process's first row."""
    world, rank = fabric.world_size, fabric.global_rank
    edges = [r * batch // world for r in range(world + 1)]  # as pieces are shared out
    longest = max(edges[r + 1] - edges[r] for r in range(world))
    rows = {}
    for name in found[0].rows:
        own = torch.cat([each.rows[name].detach()[:n] for each, n in zip(found, counts, strict=True)])
        if world > 1:
            flag = own.dtype == torch.bool
            padded = own.new_zeros(longest, *own.shape[1:], dtype=torch.uint8 if flag else own.dtype)
            padded[: len(own)] = own
            every = fabric.all_gather(padded)
            assert isinstance(every, Tensor)
            own = torch.cat([every[r, : edges[r + 1] - edges[r]] for r in range(world)])
            own = own.bool() if flag else own
        rows[name] = own.requires_grad_(own.is_floating_point())
    shared = {
        name: value.detach().clone().requires_grad_(value.is_floating_point())
        for name, value in found[0].shared.items()
    }
    return BatchFeatures(rows, shared), edges[rank]


def _gradients(loss: Tensor, leaves: BatchFeatures) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the gradients by rows and by what is shared, where there are any."""
    parts = [{n: v for n, v in part.items() if v.requires_grad} for part in leaves]
    flat = [value for part in parts for value in part.values()]
    found = iter(torch.autograd.grad(loss, flat, allow_unused=True))
    rows, shared = ({n: g for n in part if (g := next(found)) is not None} for part in parts)
    return rows, shared
