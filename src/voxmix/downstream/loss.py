"""The loss of finetuning: cross-entropy for classes, Dice and cross-entropy for voxels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxmix._optional import require
from voxmix.datasets.task import IGNORED
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.transforms import to_regions


def build_loss(protocol: Protocol) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of (logits, labels): cross-entropy for classes, DiceCE for voxels (paper, A.6).

    Softmax where every voxel has one class. Where classes overlap, Dice of the sigmoids plus the binary
    cross-entropy of every mask: MONAI's ``DiceCELoss(sigmoid=True)`` takes a softmax over the masks in its
    second part, which pushes overlapping classes apart.
    """
    if protocol.task.kind == "classification":
        return nn.functional.cross_entropy
    losses = require("monai.losses", extra="train")
    if protocol.task.ignore:
        return _where_known(protocol, losses.DiceLoss())
    if not protocol.task.regions:
        softmax = losses.DiceCELoss(to_onehot_y=True, softmax=True)
        return lambda logits, labels: softmax(logits, labels.unsqueeze(1))
    dice = losses.DiceLoss(sigmoid=True)

    def overlapping(logits: Tensor, labels: Tensor) -> Tensor:
        masks = to_regions(labels, protocol)
        binary = nn.functional.binary_cross_entropy_with_logits(logits, masks)
        total: Tensor = dice(logits, masks) + binary
        return total

    return overlapping


def _where_known(
    protocol: Protocol, dice: Callable[[Tensor, Tensor], Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the same sum of Dice and cross-entropy, over the voxels that are not ignored alone."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        known = (labels != IGNORED).unsqueeze(1)
        count = known.sum().clamp(min=1)
        if protocol.task.regions:
            wanted = to_regions(labels, protocol)
            found = logits.sigmoid()
            entropy = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(
                dim=1
            )
        else:
            classes = torch.where(known[:, 0], labels, 0).long()
            wanted = nn.functional.one_hot(classes, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
            found = logits.softmax(dim=1)
            entropy = nn.functional.cross_entropy(logits, classes, reduction="none")
        total: Tensor = dice(found * known, wanted * known) + (entropy * known[:, 0]).sum() / count
        return total

    return loss
