"""ImageRecipe: everything that decides how a film becomes a prepared array."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, UInt

from voxmix._io import digest
from voxmix.images.image import MAX_PIXELS, Image
from voxmix.run_settings import at_least
from voxmix.volumes.intensity import IntensityRule

PREPARATION_VERSION = 1
"""Raised whenever the same file and recipe give other pixels than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecipe:
    """How films are prepared: a window by percentiles, the shorter side of so many pixels, aspect kept, [0, 1].

    Values are stored as whole numbers of 8 bits: half the size of float16, in steps of 1/255 of the window, less than
    the noise of a film and all that a PNG or JPEG of 8 bits ever had. 16 bits are for what has a finer scale.

    Raises:
        InputError: sizes or percentiles that cannot be.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    pixels: int = 224
    """Shorter side of the prepared image, in pixels; the aspect is kept."""
    low: float = 1.0
    """Percentile of the pixels that are not 0 that becomes 0."""
    high: float = 99.0
    """Percentile of the pixels that are not 0 that becomes 1."""
    bits: Literal[8, 16] = 8
    """How finely values are stored: 8 for a byte, 16 for two bytes per pixel."""
    max_pixels: int = MAX_PIXELS
    """Larger images are set aside."""

    def __post_init__(self) -> None:
        at_least(self, "pixels", 8)
        at_least(self, "max_pixels", 1)
        _ = self.rule  # checks the percentiles

    @property
    def rule(self) -> IntensityRule:
        """The window, as a rule of intensities."""
        return IntensityRule(kind="percentile", low=self.low, high=self.high)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """How values are stored."""
        return np.uint8 if self.bits == 8 else np.uint16

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-like data; :meth:`from_dict` is its inverse."""
        return {"version": PREPARATION_VERSION, **asdict(self)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "ImageRecipe":
        """Return the recipe written by :meth:`as_dict`."""
        return cls(**{name: item for name, item in value.items() if name != "version"})

    @property
    def digest(self) -> str:
        """Digest of what decides the pixels."""
        return digest({name: item for name, item in self.as_dict().items() if name != "max_pixels"})


def prepare_pixels(image: Image, recipe: ImageRecipe) -> UInt[np.ndarray, "row column"]:
    """Return the prepared image: windowed, resized with antialiasing (bicubic), as whole numbers of the recipe's bits.

    Where the spacing differs along rows and columns, the image is made of square pixels.
    """
    import PIL.Image

    values = recipe.rule.apply(image.pixels)
    height, width = target_shape(image, recipe)
    small = PIL.Image.fromarray(values).resize((width, height), PIL.Image.Resampling.BICUBIC)
    top = float(np.iinfo(recipe.dtype).max)
    resized = np.asarray(small, dtype=np.float32)
    stored: np.ndarray = np.rint(np.clip(resized, 0, 1) * top).astype(recipe.dtype)
    return stored


def target_shape(image: Image, recipe: ImageRecipe) -> tuple[int, int]:
    """Return rows and columns of the prepared image."""
    down, across = image.spacing_mm or (1.0, 1.0)
    height, width = (n * s for n, s in zip(image.pixels.shape, (down, across), strict=True))
    scale = recipe.pixels / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def as_unit(stored: UInt[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Return stored whole numbers as float16 in [0, 1]."""
    top = np.float32(np.iinfo(stored.dtype).max)
    return (stored * (np.float32(1) / top)).astype(np.float16)
