"""Light augmentation of a batch on its device: intensity scale, contrast, noise."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from voxmix._random import stream
from voxmix.run_settings import TrainingSettings

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


def augment(
    crops: Float[Tensor, "batch *edge"], parameters: Changes, bank: Float[Tensor, " number"]
) -> Float[Tensor, "batch *edge"]:
    """Change the crops in place and return them: ``clip(scale * v ** gamma + noise, 0, 1)``.

    Only the samples that a change was drawn for are touched by it.
    """
    device, voxels = crops.device, crops[0].numel()
    of_each = (-1, *(1,) * (crops.ndim - 1))
    changed = np.flatnonzero(parameters.gamma != 1)
    if len(changed):
        rows = torch.from_numpy(changed).to(device)
        gamma = torch.from_numpy(parameters.gamma[changed].astype(np.float32)).to(device)
        crops[rows] = crops[rows].clamp_(min=1e-6).pow_(gamma.view(of_each))
    if np.any(parameters.scale != 1):
        scale = torch.from_numpy(parameters.scale.astype(np.float32)).to(device)
        crops.mul_(scale.view(of_each))
    for row in np.flatnonzero(parameters.noise):
        offset = int(parameters.noise_offset[row] * _BANK)
        window = bank[offset : offset + voxels].view_as(crops[row])
        crops[row].add_(window, alpha=float(parameters.noise[row]))
    return crops.clamp_(0, 1)
