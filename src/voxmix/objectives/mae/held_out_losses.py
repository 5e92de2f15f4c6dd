"""Losses of a model on every target of an evaluation set, with the target's adapter and with the source's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.patches import patchify, take
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.padding import mean_square_of_existing
from voxmix.training.resident import free_bytes

_CHUNK_VOXELS = 1 << 21  # voxels evaluated at once on a CPU: 64 crops of 32^3
_BYTES_A_VOXEL = (
    512  # what a network holds without a graph: that of the paper, at most 8 tensors of 16 channels
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetLoss:
    """Masked reconstruction loss of one target; padding has no part in it.

    Attributes:
        loss: mean squared error over masked voxels, the mean over crops.
        loss_se: standard error of ``loss`` with volumes as the unit; None for a single volume.
        foreground_loss: the same error over masked foreground voxels alone, since air is easy; None where there
            is no foreground.
        crops: crops measured.
        volumes: volumes they come from.
        adapter: domain whose adapter served the target in ``loss``: its own; None for the identity.
        source_adapter_loss: the loss with the adapter of the run's only source; None for a run of several.
    """

    loss: float
    loss_se: float | None
    foreground_loss: float | None
    crops: int
    volumes: int
    adapter: str | None
    source_adapter_loss: float | None


@torch.no_grad()
def reconstruct(
    model: Autoencoder,
    evaluation: EvaluationSet,
    rows: Int[Tensor, " crop"],
    served: Int[Tensor, " target"],
) -> tuple[
    Float[Tensor, "crop masked voxel"], Float[Tensor, "crop masked voxel"], Float[Tensor, "crop masked voxel"]
]:
    """Return (prediction, truth, foreground) of the masked patches of the crops ``rows``.

    ``served`` is the adapter's index of every target, -1 for the identity.
    """
    device = next(model.parameters()).device
    order = evaluation.order[rows].to(device)
    visible = order[:, : evaluation.visible].contiguous()
    masked = order[:, evaluation.visible :].contiguous()
    crops = evaluation.crops[rows].to(device).float()
    predicted, truth = model(crops, visible, masked, served[evaluation.domain[rows]].to(device))
    body = patchify(evaluation.foreground[rows].to(device).float(), model.settings.grid)
    return predicted.float(), truth, take(body, masked)


def own_adapters(
    targets: Sequence[str], adapters: Sequence[str], drawn: Mapping[str, int] | None
) -> Int[Tensor, " target"]:
    """Return the index of each target's own adapter; -1, the identity, where no draw has trained one."""
    trained = {name for name in adapters if drawn is None or drawn.get(name, 0) > 0}
    return torch.tensor([adapters.index(name) if name in trained else -1 for name in targets])


def measure(
    model: Autoencoder,
    evaluation: EvaluationSet,
    *,
    adapters: Sequence[str],
    drawn: Mapping[str, int] | None = None,
    source: str | None = None,
) -> dict[str, TargetLoss]:
    """Return the loss of every target.

    ``adapters`` names the adapters of the model, in their order; ``drawn`` are the draws that trained them (None:
    all are trained). A target is served by its own adapter, one that no draw has trained by the identity. With
    the ``source`` of a pure run every target is measured once more, served by the source's adapter: the paper
    leaves open which of the two it means.
    """
    own = own_adapters(evaluation.domains, adapters, drawn)
    everything = torch.arange(len(evaluation.crops))
    error, inside, voxels = _errors(model, evaluation, everything, own)
    by_source = error
    if source is not None:
        served = torch.full_like(own, adapters.index(source))
        other = torch.where(own[evaluation.domain] != served[0])[0]  # the others are measured already
        by_source = error.copy()
        if len(other):
            by_source[other.numpy()] = _errors(model, evaluation, other, served)[0]
    losses = {}
    for d, name in enumerate(evaluation.domains):
        chosen = (evaluation.domain == d).numpy()
        volume = evaluation.volume.numpy()[chosen]
        total = float(voxels[chosen].sum())
        losses[name] = TargetLoss(
            loss=float(error[chosen].mean()),
            loss_se=clustered_standard_error(error[chosen], volume),
            foreground_loss=float(inside[chosen].sum()) / total if total else None,
            crops=int(chosen.sum()),
            volumes=len(np.unique(volume)),
            adapter=adapters[int(own[d])] if own[d] >= 0 else None,
            source_adapter_loss=None if source is None else float(by_source[chosen].mean()),
        )
    return losses


def _errors(
    model: Autoencoder, evaluation: EvaluationSet, rows: Int[Tensor, " crop"], served: Int[Tensor, " target"]
) -> tuple[Float[np.ndarray, " crop"], Float[np.ndarray, " crop"], Float[np.ndarray, " crop"]]:
    """Return (mean squared error, sum of squared errors in the foreground, foreground voxels) per crop."""
    parts, done = [], 0
    at_once = crops_at_once(evaluation, device=next(model.parameters()).device)
    while done < len(rows):
        try:
            parts.append(_sums(model, evaluation, rows[done : done + at_once], served))
        except torch.OutOfMemoryError:  # of a GPU that others use too
            if at_once == 1:
                raise
            at_once = at_once // 2
            continue
        done += at_once
    error, inside, voxels = torch.cat(parts, dim=1).cpu().numpy()
    return error, inside, voxels


def crops_at_once(evaluation: EvaluationSet, *, device: torch.device) -> int:
    """Return how many crops are measured at once: on a GPU as many as half of its free memory holds."""
    voxels = evaluation.crops[0].numel()
    least = max(_CHUNK_VOXELS // voxels, 1)
    if device.type != "cuda":
        return least
    return max((free_bytes(device) or 0) // 2 // (_BYTES_A_VOXEL * voxels), 1)


def _sums(
    model: Autoencoder, evaluation: EvaluationSet, some: Int[Tensor, " crop"], served: Int[Tensor, " target"]
) -> Float[Tensor, "3 crop"]:
    predicted, truth, body = reconstruct(model, evaluation, some, served)
    squared = (predicted - truth).square()
    mean = squared.mean(dim=(1, 2))
    if evaluation.span is not None:
        masked = evaluation.order[some, evaluation.visible :].to(truth.device)
        exists = evaluation.exists(some, masked, model.settings.grid)
        mean = mean_square_of_existing(predicted, truth, exists)
    sums = (mean, (squared * body).sum(dim=(1, 2)), body.sum(dim=(1, 2)))
    return torch.stack([s.double() for s in sums])


def clustered_standard_error(
    values: Float[np.ndarray, " crop"], cluster: Int[np.ndarray, " crop"]
) -> float | None:
    """Return the standard error of the mean when values of one cluster are not independent.

    ``sqrt(G / (G - 1) * sum_g (sum_i in g (v_i - mean))**2) / n`` for G clusters; None for one cluster.
    """
    _, group = np.unique(cluster, return_inverse=True)
    groups = int(group.max()) + 1
    if groups < 2:
        return None
    sums = np.bincount(group, weights=values - values.mean())
    return float(np.sqrt(groups / (groups - 1) * np.sum(sums**2)) / len(values))
