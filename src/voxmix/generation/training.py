"""Training an adapter and its decoder by teacher forcing, and choosing the epoch on persons of their own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float16, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from voxmix._progress import ProgressCallback, silent
from voxmix._random import stream
from voxmix.errors import VoxmixError
from voxmix.generation.adapter import Adapter
from voxmix.generation.decoder import Decoder

_DECAY = 0.05
_CLIP = 1.0
_LEFT_OUT = -100
_REPLACED = 0.3
"""Share of the words before that are another one while training (word dropout, Bowman et al. 2016): a decoder that may rely on
them alone never looks at the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What training came to.

    Attributes:
        epoch: whose weights were kept, from 1.
        losses: of the persons that choose, after each epoch, in nats per token.
        without_images: the same loss where every image is given another's features, of the weights that were kept; NaN where
            one image alone chooses.
    """

    epoch: int
    losses: tuple[float, ...]
    without_images: float


def learn(
    adapter: Adapter,
    decoder: Decoder,
    features: Float16[np.ndarray, "case token feature"],
    texts: Sequence[Int[np.ndarray, " _"]],
    chooses: Bool[np.ndarray, " case"],
    *,
    epochs: int,
    patience: int,
    batch: int,
    rate: float,
    seed: int,
    progress: ProgressCallback = silent,
) -> Learned:
    """Train in place, AdamW with a rate that falls to 0 by a cosine; the weights of the best epoch are left in place.

    Args:
        features: Of training images, the class token first.
        texts: Their tokens, the end included.
        chooses: Images of the persons that choose the epoch; nothing is learned from them.
        patience: Epochs without a better loss after which it ends.

    Raises:
        VoxmixError: a loss that is not finite.
    """
    said = _said(max(int(tokens.max()) for tokens in texts) + 1, decoder.width, seed)
    whole = nn.ModuleDict({"adapter": adapter, "decoder": decoder.network, "said": said})
    weights = {name: one for name, one in whole.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW(
        [
            {"params": [one for one in weights.values() if one.ndim > 1], "weight_decay": _DECAY},
            {"params": [one for one in weights.values() if one.ndim < 2], "weight_decay": 0.0},
        ],
        lr=rate,
    )
    learns, judges = np.flatnonzero(~chooses), np.flatnonzero(chooses)
    steps = epochs * math.ceil(len(learns) / batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / (1 + steps // 20)) * (1 + math.cos(math.pi * step / steps)) / 2,
    )
    best, kept, losses = math.inf, {}, []
    for epoch in range(epochs):
        whole.train()
        order = stream(seed, "reports", epoch).permutation(learns)
        for first in range(0, len(order), batch):
            few = order[first : first + batch]
            optimizer.zero_grad()
            draws = stream(seed, "words", epoch, first)
            loss = _loss(adapter, decoder, features, texts, few, few, draws=draws, said=said)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(list(weights.values()), _CLIP)
            optimizer.step()
            schedule.step()
        losses.append(_mean_loss(whole, adapter, decoder, features, texts, judges, judges, batch))
        if not math.isfinite(losses[-1]):
            raise VoxmixError(
                "report generation: the loss is not finite; lower probes.reports.rate, or leave the task out"
            )
        if losses[-1] < best:
            best, kept = losses[-1], {name: one.detach().clone() for name, one in weights.items()}
        progress(epoch + 1, epochs)
        if len(losses) - 1 - int(np.argmin(losses)) >= patience:
            break
    with torch.no_grad():
        for name, one in weights.items():
            one.copy_(kept[name])
    whole.eval()
    others = np.roll(judges, len(judges) // 2)  # of another person, unless one has half of the images
    blind = (
        _mean_loss(whole, adapter, decoder, features, texts, others, judges, batch)
        if len(judges) > 1
        else math.nan
    )
    return Learned(epoch=int(np.argmin(losses)) + 1, losses=tuple(losses), without_images=blind)


def _said(entries: int, width: int, seed: int) -> nn.Sequential:
    """Return what reads words from the mean embedding of an image; it is not kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, entries))


def _loss(
    adapter: Adapter,
    decoder: Decoder,
    features: np.ndarray,
    texts: Sequence[np.ndarray],
    images: np.ndarray,
    words: np.ndarray,
    *,
    reduction: str = "mean",
    draws: np.random.Generator | None = None,
    said: nn.Sequential | None = None,
) -> Tensor:
    """Return the cross-entropy of the tokens of some texts after the features of some images.

    Args:
        draws: While training: which of the words before are another one.
        said: While training: reads from the embeddings of an image alone which words its report has, in any order (Zhao et
            al. 2017); its cross-entropy is added.
    """
    prefix = adapter(torch.from_numpy(features[images]).float())
    longest = max(len(texts[k]) for k in words)
    tokens = np.full((len(words), longest), _LEFT_OUT, dtype=np.int64)
    for row, k in enumerate(words):
        tokens[row, : len(texts[k])] = texts[k]
    truth = torch.from_numpy(tokens)
    before = np.maximum(tokens, 0)
    if draws is not None:
        others = draws.choice(tokens[tokens >= 0], size=tokens.shape)
        before = np.where(draws.random(tokens.shape) < _REPLACED, others, before)
    found = decoder.logits(prefix, torch.from_numpy(before))
    loss = cross_entropy(found.flatten(0, 1), truth.flatten(), ignore_index=_LEFT_OUT, reduction=reduction)
    if said is None:
        return loss
    guess = said(prefix.mean(dim=1))
    there = torch.zeros_like(guess)
    for row, k in enumerate(words):
        there[row, torch.from_numpy(np.unique(texts[k]))] = 1
    return loss + cross_entropy(guess, there / there.sum(dim=1, keepdim=True))


def _mean_loss(
    whole: nn.Module,
    adapter: Adapter,
    decoder: Decoder,
    features: np.ndarray,
    texts: Sequence[np.ndarray],
    images: np.ndarray,
    words: np.ndarray,
    batch: int,
) -> float:
    """Return the loss per token over all texts."""
    whole.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for first in range(0, len(words), batch):
            few = words[first : first + batch]
            total += float(
                _loss(adapter, decoder, features, texts, images[first : first + batch], few, reduction="sum")
            )
            count += sum(len(texts[k]) for k in few)
    return total / count
