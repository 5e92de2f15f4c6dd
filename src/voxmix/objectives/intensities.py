"""Light augmentation of a batch on its device: intensity scale, contrast, noise."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxmix._random import stream
from voxmix.run_settings import TrainingSettings
from voxmix.training.transfer import send

INTENSITY_COLUMNS = 7
"""Random numbers that the changes of one image take."""

_BANK = 1 << 20


def noise_bank(*, voxels: int, device: torch.device) -> Float[Tensor, " number"]:
    """Return standard normal numbers; a draw's noise is a window of them.

    A fixed bank makes the noise of a draw depend on its number alone, on every device and in every batch,
    for the price of a copy.
    """
    numbers = stream(0, "noise bank").standard_normal(_BANK + voxels, dtype=np.float32)
    return torch.from_numpy(numbers).to(device)


@runtime_checkable
class Changes(Protocol):
    """How the intensities of some images change: ``scale`` multiplies, ``gamma`` is the exponent, ``noise`` the deviation
    added (1, 1 and 0 where not drawn), ``noise_offset`` in [0, 1) the place in the bank of normal numbers.
    """

    @property
    def scale(self) -> Float[np.ndarray, " image"]: ...
    @property
    def gamma(self) -> Float[np.ndarray, " image"]: ...
    @property
    def noise(self) -> Float[np.ndarray, " image"]: ...
    @property
    def noise_offset(self) -> Float[np.ndarray, " image"]: ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Intensities:
    """:class:`Changes` as they are drawn."""

    scale: Float[np.ndarray, " image"]
    gamma: Float[np.ndarray, " image"]
    noise: Float[np.ndarray, " image"]
    noise_offset: Float[np.ndarray, " image"]


def draw_intensities(a: Float[np.ndarray, "image column"], training: TrainingSettings) -> Intensities:
    """Return the changes of images from :data:`INTENSITY_COLUMNS` uniform numbers each."""
    scaled, contrasted, noisy = (
        a[:, k] < p
        for k, p in enumerate(
            (training.scale_probability, training.contrast_probability, training.noise_probability)
        )
    )
    return Intensities(
        scale=np.where(scaled, 1 + training.scale * (2 * a[:, 3] - 1), 1.0),
        gamma=np.where(contrasted, np.exp(training.contrast * (2 * a[:, 4] - 1)), 1.0),
        noise=np.where(noisy, training.noise * a[:, 5], 0.0),
        noise_offset=a[:, 6],
    )


def plan_changes(parameters: Changes) -> dict[str, np.ndarray]:
    """Return what :func:`change` needs on the device: the images that each change was drawn for, and how much."""
    curved = np.flatnonzero(parameters.gamma != 1)
    noisy = np.flatnonzero(parameters.noise)
    return {
        "curved": curved,
        "gamma": parameters.gamma[curved].astype(np.float32),
        "scale": parameters.scale.astype(np.float32)[
            : len(parameters.scale) * bool(np.any(parameters.scale != 1))
        ],
        "noisy": noisy,
        "noise": parameters.noise[noisy].astype(np.float32),
        "window": (parameters.noise_offset[noisy] * _BANK).astype(np.int64),
    }


def change(
    crops: Float[Tensor, "batch *edge"], plan: Mapping[str, Tensor], bank: Float[Tensor, " number"]
) -> Float[Tensor, "batch *edge"]:
    """Change the crops in place and return them: ``clip(scale * v ** gamma + noise, 0, 1)``.

    Only the images that a change was drawn for are touched by it. Nothing is asked of a GPU, so that the host goes on.
    """
    of_each = (-1, *(1,) * (crops.ndim - 1))
    if len(plan["curved"]):
        rows = plan["curved"]
        crops[rows] = crops[rows].clamp_(min=1e-6).pow_(plan["gamma"].view(of_each))
    if len(plan["scale"]):
        crops.mul_(plan["scale"].view(of_each))
    if len(plan["noisy"]):
        _add_noise(crops, plan, bank, together=crops.device.type == "cuda")
    return crops.clamp_(0, 1)


def _add_noise(
    crops: Float[Tensor, "batch *edge"],
    plan: Mapping[str, Tensor],
    bank: Float[Tensor, " number"],
    *,
    together: bool,
) -> None:
    """Add to each noisy image its window of the bank, one after the other or, for a GPU, all ``together``."""
    voxels = crops[0].numel()
    if together:
        windows = bank.as_strided((len(bank) - voxels + 1, voxels), (1, 1))[plan["window"]]
        noise = windows.mul_(plan["noise"].unsqueeze(1)).view(-1, *crops.shape[1:])
        crops.index_add_(0, plan["noisy"], noise)
        return
    each = (plan[name].tolist() for name in ("noisy", "window", "noise"))
    for row, first, deviation in zip(*each, strict=True):
        crops[row].add_(bank[first : first + voxels].view_as(crops[row]), alpha=deviation)


def augment(
    crops: Float[Tensor, "batch *edge"], parameters: Changes, bank: Float[Tensor, " number"]
) -> Float[Tensor, "batch *edge"]:
    """Return :func:`change` by the plan of these parameters."""
    return change(crops, send(plan_changes(parameters), crops.device), bank)
