"""Logistic regression with a squared penalty, many at once: several labels, or several classes, under several penalties.

The minimum of the mean log loss plus ``penalty / 2`` times the squared weights, in double precision; the bias is free. In the
terms of scikit-learn's ``LogisticRegression`` on the same standardized features: ``C = 1 / (penalty * images)``.

Features are turned to their principal axes, which changes neither loss nor penalty and leaves at most as many as there are
images. There the bound of Boehning (1992, Ann. Inst. Stat. Math. 44:197) on the second derivatives is diagonal; L-BFGS (Nocedal
1980) begins from it, all problems side by side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

SOLVED = 1e-8
"""Largest part of the gradient, per image, at which a problem is solved: scores are right to about 1e-6."""
_MOST_STEPS = 2000
_HISTORY = 12
_DECREASE = 1e-4
_MOST_HALVINGS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Linear:
    """Linear maps of features to logits.

    Attributes:
        weight: one row for each label or class; of standardized features.
        bias: the same.
        center, scale: of each feature, over the images that it was fitted on.
        gradient: largest part of the gradient at the end, per image; 0 at the minimum.
    """

    weight: Float[np.ndarray, "output feature"]
    bias: Float[np.ndarray, " output"]
    center: Float[np.ndarray, " feature"]
    scale: Float[np.ndarray, " feature"]
    gradient: float

    def logits(self, features: Float[np.ndarray, "case feature"]) -> Float[np.ndarray, "case output"]:
        """Return the logits of images."""
        standard = (np.asarray(features, dtype=np.float64) - self.center) / self.scale
        found: np.ndarray = standard @ self.weight.T + self.bias
        return found


class Turned:
    """Features of training images, standardized and on their principal axes: made once for all fits on these images.

    Attributes:
        values: double precision.
        curvature: mean square of each.
    """

    def __init__(self, features: Float[np.ndarray, "case feature"]) -> None:
        plain = torch.from_numpy(np.array(features, dtype=np.float64))
        self.center = plain.mean(dim=0)
        spread = plain.std(dim=0, correction=0)
        tiny = spread <= 1e-10 * (
            self.center.abs() + 1e-30
        )  # a feature that is the same everywhere says nothing
        self.scale = torch.where(tiny, torch.ones_like(spread), spread)
        standard = (plain - self.center) / self.scale
        standard[:, tiny] = 0.0
        basis = torch.eye(standard.shape[1], dtype=torch.float64)
        if standard.shape[0] < standard.shape[1]:
            basis, lower = torch.linalg.qr(standard.T)
            standard = lower.T
        axes = torch.linalg.eigh(standard.T @ standard).eigenvectors
        self.basis = basis @ axes
        self.values = standard @ axes
        self.curvature = self.values.square().mean(dim=0)

    def linear(self, weights: Float[Tensor, "output axis"], gradient: float) -> Linear:
        """Return a map in terms of the features; the last weight is the bias."""
        return Linear(
            weight=(weights[:, :-1] @ self.basis.T).numpy(),
            bias=weights[:, -1].numpy(),
            center=self.center.numpy(),
            scale=self.scale.numpy(),
            gradient=gradient,
        )


def fit_labels(
    features: Turned,
    truth: Float[np.ndarray, "case label"],
    penalties: Sequence[float],
    *,
    tolerance: float = SOLVED,
) -> list[Linear]:
    """Return one map of all labels per penalty.

    Args:
        truth: 1, 0, or NaN where it is not known: such a cell has no part in the loss of its label.
    """
    known = torch.from_numpy(np.isfinite(truth))
    count, labels = len(penalties), truth.shape[1]
    sign = torch.from_numpy(np.where(truth == 1, 1.0, -1.0)).repeat(1, count)
    weight = (known / known.sum(dim=0).clamp(min=1)).repeat(1, count)

    def loss(logits: Tensor, chosen: Tensor) -> Tensor:
        return (weight[:, chosen] * softplus(-sign[:, chosen] * logits[..., 0])).sum(dim=0)

    def slope(logits: Tensor, chosen: Tensor) -> Tensor:
        signs = sign[:, chosen]
        return (-weight[:, chosen] * signs * torch.sigmoid(-signs * logits[..., 0])).unsqueeze(2)

    penalty = torch.tensor(penalties, dtype=torch.float64).repeat_interleave(labels)
    found, gradient = _minimum(features, loss, slope, penalty, outputs=1, bound=0.25, tolerance=tolerance)
    return [
        features.linear(
            found[k * labels : (k + 1) * labels, 0], float(gradient[k * labels : (k + 1) * labels].max())
        )
        for k in range(count)
    ]


def fit_classes(
    features: Turned,
    target: Int[np.ndarray, " case"],
    classes: int,
    penalties: Sequence[float],
    *,
    tolerance: float = SOLVED,
) -> list[Linear]:
    """Return one map to the logits of all classes per penalty (multinomial); of two classes one logit, of the second."""
    if classes == 2:
        return fit_labels(features, (target == 1).astype(np.float64)[:, None], penalties, tolerance=tolerance)
    own = torch.from_numpy(np.eye(classes)[target]).unsqueeze(1)
    images = len(target)

    def loss(logits: Tensor, chosen: Tensor) -> Tensor:
        return -(own * log_softmax(logits, dim=2)).sum(dim=(0, 2)) / images

    def slope(logits: Tensor, chosen: Tensor) -> Tensor:
        return (logits.softmax(dim=2) - own) / images

    penalty = torch.tensor(penalties, dtype=torch.float64)
    found, gradient = _minimum(
        features, loss, slope, penalty, outputs=classes, bound=0.5, tolerance=tolerance
    )
    return [features.linear(one, float(worst)) for one, worst in zip(found, gradient, strict=True)]


def probabilities(
    logits: Float[np.ndarray, "case output"], *, classes: int = 0
) -> Float[np.ndarray, "case kind"]:
    """Return the probability of each label, or with ``classes`` of each class."""
    values = torch.from_numpy(np.asarray(logits, dtype=np.float64))
    if not classes:
        return values.sigmoid().numpy()
    if classes == 2:
        second = values.sigmoid().numpy()
        return np.concatenate([1 - second, second], axis=1)
    return values.softmax(dim=1).numpy()


def _minimum(
    features: Turned,
    loss: Callable[[Tensor, Tensor], Tensor],
    slope: Callable[[Tensor, Tensor], Tensor],
    penalty: Tensor,
    *,
    outputs: int,
    bound: float,
    tolerance: float,
) -> tuple[Tensor, Tensor]:
    """Return the weights of each problem, [problem, output, axis and bias], and the largest part of its gradient."""
    images, axes = features.values.shape
    inputs = torch.cat([features.values, torch.ones(images, 1, dtype=torch.float64)], dim=1)
    size = axes + 1
    shrink = torch.cat(
        [penalty[:, None].expand(-1, axes), torch.zeros(len(penalty), 1, dtype=torch.float64)], dim=1
    )
    steep = bound * torch.cat([features.curvature, torch.ones(1, dtype=torch.float64)])
    first = 1.0 / (steep + shrink).clamp(min=1e-12)  # [problem, axis and bias]

    def logits_of(weights: Tensor) -> Tensor:
        flat = weights.reshape(-1, size)
        return (inputs @ flat.T).reshape(images, len(weights), outputs)

    def gradient_of(logits: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        part = slope(logits, chosen).reshape(images, -1)
        return (part.T @ inputs).reshape(weights.shape) + shrink[chosen, None] * weights

    def value_of(logits: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
        return loss(logits, chosen) + 0.5 * (shrink[chosen, None] * weights.square()).sum(dim=(1, 2))

    done = torch.zeros(len(penalty), outputs, size, dtype=torch.float64)
    worst = torch.full((len(penalty),), torch.inf, dtype=torch.float64)
    chosen = torch.arange(len(penalty))
    weights = done.clone()
    logits = logits_of(weights)
    value = value_of(logits, weights, chosen)
    gradient = gradient_of(logits, weights, chosen)
    moves: list[tuple[Tensor, Tensor, Tensor]] = []  # steps, changes of gradients, one over their products
    for _ in range(_MOST_STEPS):
        largest = gradient.abs().amax(dim=(1, 2))
        done[chosen], worst[chosen] = weights, largest
        stays = largest > tolerance
        if not bool(stays.any()):
            break
        if not bool(stays.all()):
            chosen, weights, value, gradient = chosen[stays], weights[stays], value[stays], gradient[stays]
            logits = logits[:, stays]
            moves = [(s[stays], y[stays], r[stays]) for s, y, r in moves]
        direction = _two_loops(gradient, moves, first[chosen, None])
        along = (direction * gradient).sum(dim=(1, 2))
        lost = along >= 0  # history that misleads: begin again from the bound
        if bool(lost.any()):
            direction[lost] = -(first[chosen, None] * gradient)[lost]
            along = (direction * gradient).sum(dim=(1, 2))
        change = logits_of(direction)
        length = torch.ones(len(chosen), dtype=torch.float64)
        for _ in range(_MOST_HALVINGS):
            tried = weights + length[:, None, None] * direction
            moved = logits + length[None, :, None] * change
            reached = value_of(moved, tried, chosen)
            short = reached > value + _DECREASE * length * along + 1e-15 * value.abs()
            if not bool(short.any()):
                break
            length = torch.where(short, length / 2, length)
        slopes = gradient_of(moved, tried, chosen)
        step, bent = tried - weights, slopes - gradient
        product = (step * bent).sum(dim=(1, 2))
        inverse = torch.where(product > 1e-300, 1.0 / product.clamp(min=1e-300), torch.zeros_like(product))
        moves = [*moves[-(_HISTORY - 1) :], (step, bent, inverse)]
        weights, logits, value, gradient = tried, moved, reached, slopes
    return done, worst


def _two_loops(gradient: Tensor, moves: list[tuple[Tensor, Tensor, Tensor]], first: Tensor) -> Tensor:
    """Return the direction of L-BFGS of each problem (Nocedal's two loops); a move without curvature has no part."""
    rest = gradient.clone()
    shares = []
    for step, bent, inverse in reversed(moves):
        share = inverse * (step * rest).sum(dim=(1, 2))
        rest -= share[:, None, None] * bent
        shares.append(share)
    rest = first * rest
    for (step, bent, inverse), share in zip(moves, reversed(shares), strict=True):
        back = inverse * (bent * rest).sum(dim=(1, 2))
        rest += (share - back)[:, None, None] * step
    return -rest
