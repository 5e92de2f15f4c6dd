"""The loss of finetuning: cross-entropy for classes, Dice and cross-entropy for voxels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxmix._optional import require
from voxmix.datasets.task import IGNORED
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.transforms import to_regions

Loss = Callable[[Tensor, Tensor, float | None], Tensor]
"""Of (logits, labels, known): a mean over draws. ``known`` are the voxels of a draw whose label is known, where other draws
than these count too; else None."""


def build_loss(protocol: Protocol) -> Loss:
    """Return the loss of (logits, labels): cross-entropy for classes, DiceCE for voxels (paper, A.6).

    Softmax where every voxel has one class. Where classes overlap, Dice of the sigmoids plus the binary
    cross-entropy of every mask: MONAI's ``DiceCELoss(sigmoid=True)`` takes a softmax over the masks in its
    second part, which pushes overlapping classes apart.
    """
    if protocol.task.kind == "classification":
        return _of_classes
    losses = require("monai.losses", extra="train")
    if protocol.task.ignore:
        return _where_known(protocol, losses.DiceLoss())
    if not protocol.task.regions:
        softmax = losses.DiceCELoss(to_onehot_y=True, softmax=True)

        def exclusive(logits: Tensor, labels: Tensor, known: float | None = None) -> Tensor:
            total: Tensor = softmax(logits, labels.unsqueeze(1))
            return total

        return exclusive
    dice = losses.DiceLoss(sigmoid=True)

    def overlapping(logits: Tensor, labels: Tensor, known: float | None = None) -> Tensor:
        masks = to_regions(labels, protocol)
        binary = nn.functional.binary_cross_entropy_with_logits(logits, masks)
        total: Tensor = dice(logits, masks) + binary
        return total

    return overlapping


def _of_classes(logits: Tensor, labels: Tensor, known: float | None = None) -> Tensor:
    return nn.functional.cross_entropy(logits, labels)


def _where_known(protocol: Protocol, dice: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """Return the same sum of Dice and cross-entropy, over the voxels that are not ignored alone."""

    def loss(logits: Tensor, labels: Tensor, known: float | None = None) -> Tensor:
        inside = (labels != IGNORED).unsqueeze(1)
        count = inside.sum().clamp(min=1) if known is None else known * len(labels)
        if protocol.task.regions:
            wanted = to_regions(labels, protocol)
            found = logits.sigmoid()
            entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(
                dim=1
            )
        else:
            classes = torch.where(inside[:, 0], labels, 0).long()
            wanted = nn.functional.one_hot(classes, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
            found = logits.softmax(dim=1)
            entropy = nn.functional.cross_entropy(logits, classes, reduction="none")
        total: Tensor = dice(found * inside, wanted * inside) + (entropy * inside[:, 0]).sum() / count
        return total

    return loss
