"""Draws as tensors on the device, and how processes share them."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor

from voxmix.design import RunSpec
from voxmix.pretraining.augment import augment, noise_bank
from voxmix.pretraining.crops import CropReader
from voxmix.pretraining.sampling import DrawPlan, draw_parameters
from voxmix.volumes.cache import PreparedCache


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Draws ``first`` to ``last`` that one process computes at once; their loss counts ``weight``."""

    first: int
    last: int
    weight: float


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
        if first < last:
            pieces.append(Piece(first=first, last=last, weight=(last - first) * world / total))
        else:
            pieces.append(Piece(first=start, last=start + 1, weight=0.0))
    return pieces


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Some draws on the device: augmented crops, seen and masked patches, adapter indices."""

    crops: Float[Tensor, "draw x y z"]
    visible: Int[Tensor, "draw visible"]
    masked: Int[Tensor, "draw masked"]
    domain: Int[Tensor, " draw"]


class Batches:
    """Reads the draws of a plan; the host's memory is used again for every batch."""

    def __init__(
        self, spec: RunSpec, plan: DrawPlan, *, cache: PreparedCache, fabric: Fabric, rows: int
    ) -> None:
        edge, device = spec.model.crop, fabric.device
        self._spec, self._fabric = spec, fabric
        self._reader = CropReader(cache, plan, crop=edge)
        self._host = torch.empty(
            (rows, edge, edge, edge), dtype=torch.float16, pin_memory=device.type == "cuda"
        )
        self._bank = noise_bank(voxels=edge**3, device=device)

    def read(self, piece: Piece) -> Batch:
        """Return the draws of a piece."""
        spec, fabric, reader = self._spec, self._fabric, self._reader
        drawn = draw_parameters(
            piece.first, piece.last, seed=spec.seed, model=spec.model, training=spec.training
        )
        crops = reader.read(piece.first, drawn, self._host).to(fabric.device, torch.float32)
        augment(crops, drawn, self._bank)
        visible, masked = torch.from_numpy(drawn.visible), torch.from_numpy(drawn.masked)
        rest = fabric.to_device((visible, masked, reader.domains(piece.first, piece.last)))
        return Batch(crops=crops, visible=rest[0], masked=rest[1], domain=rest[2])

    def close(self) -> None:
        """Let go of what reads ahead."""
