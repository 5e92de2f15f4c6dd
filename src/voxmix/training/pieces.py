"""How processes share the draws of a batch, and how many of them are computed at once."""

from dataclasses import dataclass
from itertools import pairwise

from voxmix.compute import ComputeSettings
from voxmix.run_settings import TrainingSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Draws ``first`` to ``last`` that one process computes at once; their loss counts ``weight``.

    ``start`` to ``stop`` are the draws of the whole batch, over all pieces of all processes.
    """

    first: int
    last: int
    weight: float
    start: int
    stop: int


def pieces_of(start: int, stop: int, *, rank: int, world: int, rows: int) -> list[Piece]:
    """Return what process ``rank`` of ``world`` computes of the draws ``start`` to ``stop``, ``rows`` at a time.

    Gradients are averaged over processes, hence the weight's factor. A process without a row in a small last
    batch computes one with weight 0, because the others wait for it; and every process has as many pieces.
    """
    total = stop - start
    edges = [start + r * total // world for r in range(world + 1)]
    mine, end = edges[rank], edges[rank + 1]
    longest = max(b - a for a, b in pairwise(edges))
    pieces = []
    for first in range(mine, mine + longest, rows):
        last = min(first + rows, end)
        weight = (last - first) * world / total
        if first >= last:
            first, last, weight = start, start + 1, 0.0
        pieces.append(Piece(first=first, last=last, weight=weight, start=start, stop=stop))
    return pieces


def rows_at_once(training: TrainingSettings, compute: ComputeSettings) -> int:
    """Return how many draws one process computes at once."""
    return min(compute.micro_batch or training.batch_size, training.batch_size)
