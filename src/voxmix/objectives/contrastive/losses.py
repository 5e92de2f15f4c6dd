"""One function of a target matrix: CLIP, UniCL and SigLIP differ in which pairs belong together, and in the sigmoid."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid


def belong_together(ids: Int[Tensor, " pair"]) -> Bool[Tensor, "pair pair"]:
    """Return which images belong to which texts: those of equal ``ids`` (Yang et al. 2022, equation 3)."""
    return ids.unsqueeze(1) == ids.unsqueeze(0)


def targets(positive: Bool[Tensor, "image text"]) -> Float[Tensor, "image text"]:
    """Return the target matrix: each row shares 1 among the texts that belong to its image."""
    return positive / positive.sum(dim=1, keepdim=True)


def contrastive_loss(
    logits: Float[Tensor, "image text"], positive: Bool[Tensor, "image text"]
) -> Float[Tensor, ""]:
    """Return the soft cross-entropy of images over texts and of texts over images, their mean.

    With the diagonal alone as positives it is CLIP's loss (Radford et al. 2021), else UniCL's (Yang et al. 2022, equation
    1). Who knows nothing pays the logarithm of the number of pairs.
    """
    logits = logits.float()
    of_images = -(targets(positive) * log_softmax(logits, dim=1)).sum(dim=1).mean()
    of_texts = -(targets(positive.T) * log_softmax(logits.T, dim=1)).sum(dim=1).mean()
    return (of_images + of_texts) / 2


def sigmoid_loss(
    logits: Float[Tensor, "image text"], positive: Bool[Tensor, "image text"]
) -> Float[Tensor, ""]:
    """Return the loss of SigLIP: every pair judged by itself, the sum over pairs per image (Zhai et al. 2023)."""
    logits = logits.float()
    return -logsigmoid(torch.where(positive, logits, -logits)).sum() / len(logits)
