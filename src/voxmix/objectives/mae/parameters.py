"""Which crop, augmentation and mask draw n gets: a pure function of (seed, n)."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float, Int

from voxmix.encoders.patches import token_count, visible_count
from voxmix.objectives.intensities import INTENSITY_COLUMNS, draw_intensities
from voxmix.run_settings import ModelSettings, TrainingSettings
from voxmix.training.draws import counted_uniforms


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
    u = counted_uniforms(seed, start, stop, columns=axes + INTENSITY_COLUMNS + tokens)
    a = u[:, axes : axes + INTENSITY_COLUMNS]
    order = np.argsort(u[:, axes + INTENSITY_COLUMNS :], axis=1, kind="stable")
    changes = draw_intensities(a, training)
    return DrawParameters(
        corner=u[:, :axes],
        scale=changes.scale,
        gamma=changes.gamma,
        noise=changes.noise,
        noise_offset=changes.noise_offset,
        visible=order[:, :seen],
        masked=order[:, seen:],
    )
