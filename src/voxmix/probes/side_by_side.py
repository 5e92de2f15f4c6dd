"""Heads that are trained by steps: one for each learning rate, side by side; the rate and the epoch chosen on persons held out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from voxmix.errors import InputError

_LEAST_DECAY = 0.01
"""Weight decay of AdamW, torch's own default: heads differ in their learning rate alone."""

_LEAST_BATCH, _STEPS = 4, 16


class Stack(nn.Module, ABC):
    """Heads of one kind that see the same cases, one for each learning rate.

    Attributes:
        heads: each with its own parameters.
    """

    heads: nn.ModuleList

    @abstractmethod
    def losses(self, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, " head"], float]:
        """Return the mean loss of each head over the cases at ``index``, and how much is known of them.

        Where nothing is known, losses are 0 and so are their gradients.
        """

    def errors(self, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, " head"], float]:
        """Return what rate and epoch are chosen by, as :meth:`losses` returns losses; the losses themselves by default."""
        return self.losses(index)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What an inner split by person has chosen: a learning rate and a number of epochs, by the error of persons held out."""

    rate: float
    epochs: int
    error: float


def batch_of(cases: int, *, most: int) -> int:
    """Return the cases of a step: at least 16 steps an epoch where there are cases enough, so that few cases are learned from too."""
    return min(most, max(_LEAST_BATCH, cases // _STEPS))


def fit_side_by_side(
    make: Callable[[int], Stack],
    held: Bool[np.ndarray, " case"],
    *,
    rates: Sequence[float],
    epochs: int,
    seed: int,
    batch: int,
) -> tuple[Stack, Choice]:
    """Return one head, fitted on all cases with the rate and for the epochs that do best on persons held out.

    The learning rate falls along a half cosine over ``epochs``, also where the fit ends before.

    Args:
        make: makes a stack of so many equal heads; a pure function.
        held: which of the stack's cases choose rate and epoch: those of persons of their own, see
            :func:`voxmix.probes.persons.inner_split`.
        rates: learning rates to choose from.
        epochs: most times that each case is seen.
        seed: decides in which order cases are seen.
        batch: cases of a step.

    Raises:
        InputError: nothing is known of the cases that choose.
    """
    seen, choosing = (torch.from_numpy(np.flatnonzero(side)) for side in (~held, held))
    curve = _train(make(len(rates)), seen, rates, epochs, epochs, seed, batch, held=choosing)
    if not np.isfinite(curve).any():
        raise InputError(
            "nothing is known of the persons that choose a probe's learning rate, or every rate diverged; label more persons, or "
            "give lower rates"
        )
    epoch, which = (int(place) for place in np.unravel_index(np.nanargmin(curve), curve.shape))
    chosen = Choice(rate=float(rates[which]), epochs=epoch + 1, error=float(curve[epoch, which]))
    final = make(1)
    _train(final, torch.arange(len(held)), (chosen.rate,), chosen.epochs, epochs, seed, batch)
    return final.eval(), chosen


def _train(
    stack: Stack,
    cases: Int[Tensor, " case"],
    rates: Sequence[float],
    epochs: int,
    of: int,
    seed: int,
    batch: int,
    *,
    held: Int[Tensor, " held"] | None = None,
) -> Float[np.ndarray, "epoch head"]:
    """Train the heads, and return their error on held-out cases after each epoch; NaN without any, or where it is no number."""
    optimizer = torch.optim.AdamW(
        [
            {"params": list(head.parameters()), "lr": rate}
            for head, rate in zip(stack.heads, rates, strict=True)
        ],
        weight_decay=_LEAST_DECAY,
    )
    steps, done = math.ceil(len(cases) / batch) * of, 0
    order = torch.Generator().manual_seed(seed)
    curve = np.full((epochs, len(rates)), np.nan)
    for epoch in range(epochs):
        stack.train()
        for part in _parts(cases[torch.randperm(len(cases), generator=order)], batch):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done / steps))
            optimizer.zero_grad(set_to_none=True)
            losses, known = stack.losses(part)
            if known:
                torch.autograd.backward(losses.sum())
                optimizer.step()
            done += 1
        if held is not None:
            curve[epoch] = _held_out(stack, held, batch)
    return curve


@torch.no_grad()
def _held_out(stack: Stack, cases: Int[Tensor, " case"], batch: int) -> Float[np.ndarray, " head"]:
    stack.eval()
    total, weight = np.zeros(len(stack.heads)), 0.0
    for part in _parts(cases, batch):
        losses, known = stack.errors(part)
        total += known * losses.double().cpu().numpy()
        weight += known
    found: np.ndarray = (
        np.where(np.isfinite(total), total, np.nan) / weight if weight else np.full(len(total), np.nan)
    )
    return found


def _parts(cases: Int[Tensor, " case"], size: int) -> Iterator[Int[Tensor, " some"]]:
    for first in range(0, len(cases), size):
        yield cases[first : first + size]
