"""The loss of finetuning: cross-entropy for classes, Dice and cross-entropy for voxels."""

from collections.abc import Callable

from torch import Tensor, nn

from voxmix._optional import require
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
