"""Intensity rules: from HU, arbitrary MR units or SUV to [0, 1], one rule per domain, as data."""

import re
import warnings
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError, VoxmixWarning


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityRule:
    """How the voxels of a domain become numbers in [0, 1]; values outside [low, high] are clipped.

    - ``window``: low and high in the image's own unit (HU for CT).
    - ``zscore``: low and high in standard deviations from the mean, both taken over non-zero voxels.
    - ``percentile``: low and high in percent of the non-zero voxels.

    Raises:
        InputError: low is not below high, or a percentile lies outside 0 to 100.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    kind: Literal["window", "zscore", "percentile"]
    """window: values in the image's unit. zscore: standard deviations from the mean of the voxels that are not 0. percentile: percentiles of these voxels."""
    low: float
    """What becomes 0."""
    high: float
    """What becomes 1."""

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise InputError(f"intensity rule needs low < high, got {self.low} and {self.high}")
        if self.kind == "percentile" and not (self.low >= 0 and self.high <= 100):
            raise InputError(
                f"percentiles lie from 0 to 100, got {self.low} and {self.high}; e.g. 0.5 and 99.5"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as JSON-like data."""
        return asdict(self)

    def limits(self, values: Float[np.ndarray, "*edge"]) -> tuple[float, float]:
        """Return the two values of this image, in its own unit, that become 0 and 1."""
        if self.kind == "window":
            return self.low, self.high
        inside = values[values != 0]
        if inside.size and self.kind == "percentile":
            low, high = (float(value) for value in np.percentile(inside, (self.low, self.high)))
        elif inside.size:
            mean, deviation = float(inside.mean(dtype=np.float64)), float(inside.std(dtype=np.float64))
            low, high = mean + self.low * deviation, mean + self.high * deviation
        else:
            low = high = 0.0
        # A mask has one value that is not 0, and so no spread: black and white are then all there is.
        return (low, high) if high > low else (float(values.min()), float(values.max()))

    def apply(self, values: Float[np.ndarray, "*edge"]) -> Float[np.ndarray, "*edge"]:
        """Return float32 values in [0, 1].

        Background goes through the same map as tissue, so the map is monotone; in the z-score rule a
        voxel of 0 keeps its place below the tissue instead of falling on the mean.
        """
        low, high = self.limits(values)
        if not high > low:
            return np.zeros(values.shape, dtype=np.float32)
        scaled = (values - np.float32(low)) * np.float32(1 / (high - low))
        return np.clip(scaled, 0, 1, out=scaled)


SOFT_TISSUE_WINDOW = IntensityRule(kind="window", low=-175, high=250)
"""CT of abdomen and of head and neck, HU (spec of the method, table 6 of arXiv 2605.06859; default)."""

BONE_WINDOW = IntensityRule(kind="window", low=-450, high=1050)
"""CT option that keeps bone apart: level 300, width 1500 HU."""

Z_SCORE = IntensityRule(kind="zscore", low=-5, high=5)
"""MR and PET (table 6; the clip is a default)."""

PERCENTILES = IntensityRule(kind="percentile", low=0.5, high=99.5)
"""Anything whose unit is not known."""

RULES: dict[str, IntensityRule] = {
    "soft-tissue": SOFT_TISSUE_WINDOW,
    "bone": BONE_WINDOW,
    "brain": IntensityRule(kind="window", low=0, high=80),
    "lung": IntensityRule(kind="window", low=-1350, high=150),
    "z-score": Z_SCORE,
    "percentile": PERCENTILES,
}
"""Rules by the name that a recipe may use for them. Windows are the usual ones of reading rooms (level 40 width 80
for brain, -600 and 1500 for lung), in HU."""

PRESETS: dict[str, IntensityRule] = {
    "ABD-CT": SOFT_TISSUE_WINDOW,
    "ABD-MRI": Z_SCORE,
    "BRAIN-T1": Z_SCORE,
    "BRAIN-T2": Z_SCORE,
    "HN-CT": SOFT_TISSUE_WINDOW,
    "HN-PET": Z_SCORE,
}
"""The paper's six domains (table 6)."""

_PET = re.compile(r"PET|PT|SUV")

_BY_WORD = (
    (re.compile(r"CT|CECT|NCCT|CTA"), SOFT_TISSUE_WINDOW),
    (re.compile(r"MR\w*|T1\w*|T2\w*|FLAIR|PD|DWI|ADC|SWI"), Z_SCORE),
    (_PET, Z_SCORE),
)


def rule_from_name(domain: str) -> IntensityRule:
    """Return the rule for a domain by its name: a preset, else by a word in it (CT, MR, T1, PET, ...).

    Warns:
        VoxmixWarning: no modality is named, and the percentile rule is used; or several of different rules, and the
            first of CT, MR and PET is used.
    """
    if domain in PRESETS:
        return PRESETS[domain]
    words = re.split(r"[^0-9A-Z]+", domain.upper())
    found = [rule for pattern, rule in _BY_WORD if any(pattern.fullmatch(word) for word in words)]
    if len(set(found)) == 1:
        return found[0]
    if found:
        warnings.warn(
            f"domain {domain} names CT and another modality: it takes the soft-tissue window of CT; if its volumes are "
            f'no CT, write in the recipe: intensity: {{"{domain}": z-score}}, else {{"{domain}": soft-tissue}}',
            VoxmixWarning,
            stacklevel=2,
        )
        return found[0]
    warnings.warn(
        f"domain {domain} names no modality: its intensities are scaled by percentiles 0.5 to 99.5 of each "
        f'volume; if it is CT, write in the recipe: intensity: {{"{domain}": soft-tissue}}, for MR or PET z-score',
        VoxmixWarning,
        stacklevel=2,
    )
    return PERCENTILES


def is_sparse(domain: str) -> bool:
    """Return whether images of a domain are rightly dark but for a few places: PET, by a word in its name."""
    return any(_PET.fullmatch(word) for word in re.split(r"[^0-9A-Z]+", domain.upper()))
