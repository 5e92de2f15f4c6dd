"""Attention pooling: one learned query reads labels or a class from the tokens of several layers of a frozen encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from voxmix.probes.data import PARTS
from voxmix.probes.heads import HeadResult, Probing, known_truth, scored
from voxmix.probes.persons import inner_split
from voxmix.probes.side_by_side import Choice, Stack, batch_of, fit_side_by_side

_BATCH = 32
_START = 0.02
_EPS = 1e-6


class AttentionHead(nn.Module):
    """One query over the tokens of all layers, each normed and weighted by a scalar, then a linear map.

    ``forward`` takes tokens that are normed already, so that heads side by side share that work; each layer's gain and
    bias, and its scalar, come after.
    """

    def __init__(self, layers: int, width: int, outputs: int, *, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.gain = nn.Parameter(torch.ones(layers, width))
        self.shift = nn.Parameter(torch.zeros(layers, width))
        self.weight = nn.Parameter(torch.ones(layers))
        self.query = nn.Parameter(_START * torch.randn(width, generator=draw))
        self.linear = nn.Parameter(torch.zeros(outputs, width))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, normed: Float[Tensor, "case layer token width"]) -> Float[Tensor, "case output"]:
        """Return logits."""
        return nn.functional.linear(self._pooled(normed), self.linear, self.bias)

    def attention(self, normed: Float[Tensor, "case layer token width"]) -> Float[Tensor, "case layer token"]:
        """Return how much each token is looked at; the sum over all tokens of all layers is 1."""
        # query . weight (gain x + shift), without a copy of all tokens for each head
        asked = self.weight[:, None] * self.gain * self.query
        constant = self.weight * (self.shift @ self.query)
        scores = (torch.einsum("nltc,lc->nlt", normed, asked) + constant[:, None]) / normed.shape[-1] ** 0.5
        share: Tensor = scores.flatten(1).softmax(dim=1).view_as(scores)
        return share

    def _pooled(self, normed: Float[Tensor, "case layer token width"]) -> Float[Tensor, "case width"]:
        share = self.attention(normed)
        seen = (
            torch.einsum("nlt,nltc->nlc", share, normed) * self.gain
            + share.sum(dim=2)[:, :, None] * self.shift
        )
        return torch.einsum("nlc,l->nc", seen, self.weight)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tokens:
    """Class token and patches of some cases, read a batch at a time: they may lie on disk.

    Attributes:
        cls: of all cases.
        patches: the same.
        places: where the cases stand among all.
    """

    cls: Float[np.ndarray, "case layer width"]
    patches: Float[np.ndarray, "case layer token width"]
    places: Int[np.ndarray, " some"]

    def __len__(self) -> int:
        return len(self.places)

    def normed(self, index: Int[Tensor, " some"]) -> Float[Tensor, "some layer token width"]:
        """Return all tokens of the cases at ``index``, the class token first, each with mean 0 and variance 1."""
        rows = self.places[index.numpy()]
        both = np.concatenate([self.cls[rows][:, :, None], self.patches[rows]], axis=2, dtype=np.float32)
        return nn.functional.layer_norm(torch.from_numpy(both), both.shape[-1:], eps=_EPS)


class AttentionStack(Stack):
    """Attention heads over the same tokens.

    Args:
        tokens: of the cases.
        truth: 1 or 0 of each output, NaN where it is not known; of classes 1 for one of them.
        exclusive: whether outputs are classes, of which a case has one.
    """

    def __init__(
        self,
        tokens: Tokens,
        truth: Float[np.ndarray, "case output"],
        *,
        exclusive: bool,
        heads: int,
        seed: int,
    ) -> None:
        super().__init__()
        _, layers, width = tokens.cls.shape
        wanted = torch.from_numpy(np.asarray(truth, dtype=np.float32))
        self.tokens, self.exclusive = tokens, exclusive
        self.known = ~wanted.isnan()
        self.wanted = torch.where(self.known, wanted, 0.0)
        self.heads = nn.ModuleList(
            AttentionHead(layers, width, truth.shape[1], seed=seed) for _ in range(heads)
        )

    def losses(self, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, " head"], float]:
        """Return the mean loss of each head: binary cross-entropy of what is known, or cross-entropy of classes."""
        logits = self._logits(index)
        wanted, known = self.wanted[index], self.known[index]
        if self.exclusive:
            return torch.stack([cross_entropy(found, wanted) for found in logits]), float(len(index))
        count = float(known.sum())
        each = [
            (binary_cross_entropy_with_logits(found, wanted, reduction="none") * known).sum()
            / max(count, 1.0)
            for found in logits
        ]
        return torch.stack(each), count

    def errors(self, index: Int[Tensor, " some"]) -> tuple[Float[Tensor, " head"], float]:
        """Return the mean squared error of probabilities, as other heads choose by it (:func:`voxmix.probes.heads.brier`)."""
        wanted, known = self.wanted[index], self.known[index]
        count = float(known.sum())
        each = [
            (((probability_of(found, exclusive=self.exclusive) - wanted) ** 2) * known).sum()
            / max(count, 1.0)
            for found in self._logits(index)
        ]
        return torch.stack(each), count

    def _logits(self, index: Int[Tensor, " some"]) -> list[Float[Tensor, "some output"]]:
        normed = self.tokens.normed(index)
        return [head(normed) for head in self.heads]


def probability_of(logits: Float[Tensor, "case output"], *, exclusive: bool) -> Float[Tensor, "case output"]:
    """Return probabilities of classes, or of labels, each for itself."""
    return logits.softmax(dim=1) if exclusive else logits.sigmoid()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AttentionFit:
    """A fitted head, and what was chosen."""

    head: AttentionHead
    exclusive: bool
    choice: Choice

    @torch.no_grad()
    def probability(self, tokens: Tokens) -> Float[np.ndarray, "case output"]:
        """Return the probabilities of labels or classes of other cases."""
        places = torch.arange(len(tokens))
        parts = [places[first : first + _BATCH] for first in range(0, len(tokens), _BATCH)]
        found = [
            probability_of(self.head(tokens.normed(part)).double(), exclusive=self.exclusive)
            for part in parts
        ]
        whole: np.ndarray = torch.cat(found).numpy()
        return whole


def fit_attention(
    tokens: Tokens,
    truth: Float[np.ndarray, "case output"],
    held: Bool[np.ndarray, " case"],
    *,
    rates: Sequence[float],
    epochs: int,
    seed: int,
    exclusive: bool = False,
) -> AttentionFit:
    """Return attention pooling fitted on training cases, with the rate and the epochs that persons held out have chosen.

    Args:
        tokens: of the training cases, layers from the lower to the topmost.
        truth: 1 or 0 of each label, NaN where it is not known; of classes 1 for that of the case and 0 for the others.
        held: which cases choose; those of persons of their own.
        rates, epochs, seed: as :class:`voxmix.probe_tasks.ProbeSettings` has them.
        exclusive: whether outputs are classes.

    Raises:
        InputError: nothing is known of the cases that choose.
    """

    def make(heads: int) -> Stack:
        return AttentionStack(tokens, truth, exclusive=exclusive, heads=heads, seed=seed)

    stack, choice = fit_side_by_side(
        make, held, rates=rates, epochs=epochs, seed=seed, batch=batch_of(len(held), most=_BATCH)
    )
    head = stack.heads[0]
    assert isinstance(head, AttentionHead)
    return AttentionFit(head=head, exclusive=exclusive, choice=choice)


def attention_head(probing: Probing) -> HeadResult:
    """Return the scores of attention pooling over the last layers of an encoder.

    Raises:
        InputError: one training person alone, or as :func:`fit_attention`.
    """
    data, settings = probing.data, probing.settings
    features = probing.store.features(
        probing.encoder, data, layers=settings.layers, patches=True, progress=probing.progress
    )
    assert features.tokens is not None
    places = {part: data.places(part) for part in PARTS}
    held = inner_split(data, share=settings.inner, seed=settings.seed)
    names = [case.case for case in data.part("train")]
    order = np.array(sorted(range(len(names)), key=lambda place: names[place]))  # not that of the table
    train, test = (
        Tokens(cls=features.cls, patches=features.tokens, places=own)
        for own in (places["train"][order], places["test"])
    )
    fit = fit_attention(
        train,
        known_truth(data)[order],
        held[order],
        rates=settings.rates,
        epochs=settings.epochs,
        seed=settings.seed,
        exclusive=data.task.kind == "classes",
    )
    layers = float(features.cls.shape[1])
    return replace(
        scored(data, fit.probability(test)),
        chosen={"rate": fit.choice.rate, "epochs": fit.choice.epochs},
        figures={"error of choice": fit.choice.error, "layers": layers},
    )
