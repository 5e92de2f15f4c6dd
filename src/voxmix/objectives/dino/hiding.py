"""Which patches of a large view are hidden: one block of neighbours, of a random place, shape and size."""

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.objective_rows import DinoSettings


def hiding_columns(axes: int) -> int:
    """Return how many random numbers a view takes: whether, how many, where, of which shape, and for ties."""
    return 3 + 2 * axes


def most_hidden(settings: DinoSettings, tokens: int) -> int:
    """Return the most patches that are hidden in a view: at least one, and at least one is seen."""
    return min(max(round(settings.hidden_patches[1] * tokens), 1), tokens - 1)


def hide(
    u: Float[np.ndarray, "view column"], cells: tuple[int, ...], settings: DinoSettings
) -> tuple[Bool[np.ndarray, "view token"], Int[np.ndarray, "view most"], Bool[np.ndarray, "view most"]]:
    """Return the patches that are hidden, the places of those that may be, and which of these are.

    A share of the views hides a share of its patches, both as the settings say: those nearest to a random middle, by a
    distance that stretches each axis at random. So blocks, as of iBOT (Zhou et al. 2022), with the exact number.
    """
    axes, tokens, views = len(cells), int(np.prod(cells)), len(u)
    most = most_hidden(settings, tokens)
    low, high = settings.hidden_patches
    chosen = u[:, 0] < settings.hidden_images
    count = np.clip(np.round((low + (high - low) * u[:, 1]) * tokens), 1, most).astype(np.int64)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in cells], indexing="ij"), axis=-1).reshape(
        tokens, axes
    )
    middle = u[:, None, 3 : 3 + axes] * np.array(cells) - 0.5
    stretch = np.exp(0.7 * (2 * u[:, None, 3 + axes :] - 1))
    apart = (np.abs(places - middle) * stretch).max(axis=2)
    ties = np.mod(np.arange(tokens) * 0.6180339887 + u[:, 2:3], 1) * 1e-6
    index = np.argsort(apart + ties, axis=1, kind="stable")[:, :most]
    valid = (np.arange(most) < count[:, None]) & chosen[:, None]
    mask = np.zeros((views, tokens), dtype=bool)
    np.put_along_axis(mask, index, valid, axis=1)
    return mask, index, valid
