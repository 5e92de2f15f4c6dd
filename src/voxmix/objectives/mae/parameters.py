"""Which crop, augmentation and mask draw n gets: a pure function of (seed, n)."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

from voxmix.encoders.patches import token_count, visible_count
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.draws import counted_uniforms

_AUGMENT = 7  # random numbers per draw, between those of the corner and those of the mask


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawParameters:
    """Crop, augmentation and mask of some draws.

    ``corner`` is the crop's place as a share of the room that the volume leaves; ``scale`` multiplies,
    ``gamma`` is the exponent, ``noise`` the standard deviation added (1, 1 and 0 where not drawn), and
    ``noise_offset`` in [0, 1) the place in the bank of normal numbers.
    """

    corner: Float[np.ndarray, "draw axis"]
    scale: Float[np.ndarray, " draw"]
    gamma: Float[np.ndarray, " draw"]
    noise: Float[np.ndarray, " draw"]
    noise_offset: Float[np.ndarray, " draw"]
    visible: Int[np.ndarray, "draw visible"]
    masked: Int[np.ndarray, "draw masked"]

    def __len__(self) -> int:
        return len(self.corner)

    def part(self, start: int, stop: int) -> "DrawParameters":
        """Return some of the draws, counted from the first one here."""
        return DrawParameters(**{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})


def draw_parameters(
    start: int, stop: int, *, seed: int, model: ModelSettings, training: TrainingSettings
) -> DrawParameters:
    """Return the parameters of draws ``start`` to ``stop``; each row depends on (seed, n) alone."""
    tokens, seen, axes = token_count(model), visible_count(model), model.axes
    u = counted_uniforms(seed, start, stop, columns=axes + _AUGMENT + tokens)
    a = u[:, axes : axes + _AUGMENT]
    order = np.argsort(u[:, axes + _AUGMENT :], axis=1, kind="stable")
    scaled, contrasted, noisy = (
        a[:, k] < p
        for k, p in enumerate(
            (training.scale_probability, training.contrast_probability, training.noise_probability)
        )
    )
    return DrawParameters(
        corner=u[:, :axes],
        scale=np.where(scaled, 1 + training.scale * (2 * a[:, 3] - 1), 1.0),
        gamma=np.where(contrasted, np.exp(training.contrast * (2 * a[:, 4] - 1)), 1.0),
        noise=np.where(noisy, training.noise * a[:, 5], 0.0),
        noise_offset=a[:, 6],
        visible=order[:, :seen],
        masked=order[:, seen:],
    )
