"""The losses of DINOv2 (Oquab et al. 2023) and what balances the teacher's outputs, as functions of a whole batch."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

SINKHORN_ROUNDS = 3
"""Rounds of balancing (DINOv2)."""
CENTER_MOMENTUM = 0.9
"""Momentum of the center (Caron et al. 2021)."""
NEAREST = 1e-3
"""Distances are never counted as smaller than this: two copies of an image have one of 0, whose logarithm is infinite."""


def dino_loss(
    targets: Float[Tensor, "draw large prototype"],
    logits: Float[Tensor, "draw view prototype"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the student's views with the teacher's, mean over draws and pairs of different views.

    The first views of the student are those of the teacher (Caron et al. 2021, equation 3). A student that knows nothing
    costs the logarithm of the number of prototypes.
    """
    likely = torch.log_softmax(logits.float() / temperature, dim=-1)
    pairs = -torch.einsum("dtk,dsk->ts", targets, likely)
    own = torch.eye(*pairs.shape, dtype=torch.bool, device=pairs.device)
    return pairs.masked_fill(own, 0).sum() / ((~own).sum() * len(logits))


def ibot_loss(
    targets: Float[Tensor, "patch prototype"],
    logits: Float[Tensor, "patch prototype"],
    hidden: Bool[Tensor, "view token"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of hidden patches: mean over those of a view, then over views (Zhou et al. 2022).

    The rows are the patches that are ``hidden``, view by view. A view without one costs nothing and is counted.
    """
    likely = torch.log_softmax(logits.float() / temperature, dim=-1)
    each = -(targets * likely).sum(dim=-1)
    count = hidden.sum(dim=1, keepdim=True).clamp(min=1)
    weight = (1.0 / count).expand(hidden.shape)[hidden]
    return (each * weight).sum() / len(hidden)


def koleo_loss(features: Float[Tensor, "draw width"], *, floor: float = NEAREST) -> Float[Tensor, ""]:
    """Return minus the mean logarithm of each direction's distance to its nearest (Sablayrolles et al. 2019).

    Distances are ``sqrt(d ** 2 + floor ** 2)``, so that near-duplicates pull at most ``1 / (2 floor)`` hard.
    """
    unit = normalize(features.float(), dim=-1)
    with torch.no_grad():
        nearest = (unit @ unit.T).fill_diagonal_(-2).argmax(dim=1)
    squared = (unit - unit[nearest]).square().sum(dim=-1)
    return -0.5 * torch.log(squared + floor**2).mean()


def sinkhorn(
    logits: Float[Tensor, "row prototype"], *, temperature: float, rounds: int = SINKHORN_ROUNDS
) -> Float[Tensor, "row prototype"]:
    """Return probabilities of every row such that prototypes are used about equally often (Cuturi 2013; SwAV, DINOv2).

    Each round divides by the sums over rows, then by those over prototypes; so rows sum to 1, and prototypes to
    ``rows / prototypes`` as nearly as the rounds bring them. In logarithms, so that no temperature overflows.
    """
    rows, prototypes = logits.shape
    found = logits.float() / temperature
    for _ in range(rounds):
        found = found - torch.logsumexp(found, dim=0, keepdim=True) + math.log(rows / prototypes)
        found = found - torch.logsumexp(found, dim=1, keepdim=True)
    return found.exp()


def centered(
    logits: Float[Tensor, "row prototype"], center: Float[Tensor, " prototype"], *, temperature: float
) -> Float[Tensor, "row prototype"]:
    """Return probabilities of every row after a center, the moving mean of outputs, is taken away (Caron et al. 2021)."""
    return torch.softmax((logits.float() - center) / temperature, dim=-1)


def entropy(probabilities: Float[Tensor, "*row prototype"]) -> Float[Tensor, "*row"]:
    """Return the entropy of each row, in nats."""
    each: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return each
