"""How images must be prepared for a backbone: what its weights were trained with, in a run's card and in its features."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from voxmix.errors import InputError

Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
RESAMPLE: tuple[Resample, ...] = get_args(Resample)
"""In the order of Pillow's numbers, as preprocessor_config.json has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """How a checkpoint's images were prepared.

    Attributes:
        image: edge of the square that the network sees, in pixels, after the crop at the centre.
        shorter_side: edge to which the shorter side is resized before.
        resample: by which filter.
        channels: of the network's input; a gray image is taken once for each.
        mean: of intensities in [0, 1], per channel.
        std: the same.

    Raises:
        InputError: numbers that do not belong together.
    """

    image: int
    shorter_side: int
    resample: Resample = "bicubic"
    channels: int = 3
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
            if len(getattr(self, name)) != self.channels:
                raise InputError(
                    f"{name} needs one number for each of {self.channels} channels, got {list(getattr(self, name))}"
                )
        if not all(value > 0 for value in self.std):
            raise InputError(f"std must be above 0, got {list(self.std)}")
        if not 1 <= self.image <= self.shorter_side:
            raise InputError(
                f"the crop must lie in the resized image, got a crop of {self.image} and a shorter side of {self.shorter_side}"
            )
        resample_of(self.resample)

    def as_dict(self) -> dict[str, Any]:
        """Return the contract as JSON-like data; :meth:`from_dict` is its inverse."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Contract":
        """Return the contract written by :meth:`as_dict`.

        Raises:
            InputError: a part that is missing, not known, or of the wrong kind.
        """
        try:
            return cls(**{**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the contract of images cannot be used ({error}); copy the card again"
            ) from None

    @classmethod
    def of_preprocessor(cls, config: Mapping[str, Any], *, channels: int) -> "Contract":
        """Return the contract that a Hugging Face ``preprocessor_config.json`` states.

        Raises:
            InputError: a key that is missing, or a step that voxmix does not take.
        """
        shorter = _edge(config, "size")
        image = _edge(config, "crop_size") if config.get("do_center_crop") else shorter
        if not config.get("do_resize", True):
            shorter = image
        factor = config.get("rescale_factor", 1 / 255)
        scaled = type(factor) in (int, float) and abs(factor * 255 - 1) < 1e-3
        if not config.get("do_rescale", True) or not scaled:
            raise InputError(
                f"preprocessor_config.json scales intensities by {factor!r}; voxmix takes weights whose images were scaled by "
                "1/255, to [0, 1]"
            )
        normed = bool(config.get("do_normalize", True))
        resample = config.get("resample", 3)
        if not isinstance(resample, int) or not 0 <= resample < len(RESAMPLE):
            raise InputError(
                f"preprocessor_config.json: resample should be a filter of Pillow, 0 to 5, got {resample!r}"
            )
        return cls(
            image=image,
            shorter_side=shorter,
            resample=RESAMPLE[resample],
            channels=channels,
            mean=_numbers(config, "image_mean", channels) if normed else (0.0,) * channels,
            std=_numbers(config, "image_std", channels) if normed else (1.0,) * channels,
        )


def resample_of(name: str) -> Resample:
    """Return the filter of this name.

    Raises:
        InputError: there is none.
    """
    for known in RESAMPLE:
        if known == name:
            return known
    raise InputError(f"resample must be one of {', '.join(RESAMPLE)}, got {name!r}")


def _edge(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if isinstance(value, Mapping):
        edges = [value[key] for key in ("shortest_edge", "height", "width") if key in value]
        value = edges[0] if edges and all(edge == edges[0] for edge in edges) else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(
            f"preprocessor_config.json: {name} should be one edge in pixels (of a square), got {config.get(name)!r}"
        )
    return value


def _numbers(config: Mapping[str, Any], name: str, channels: int) -> tuple[float, ...]:
    value = config.get(name)
    if not isinstance(value, list) or not all(type(number) in (int, float) for number in value):
        raise InputError(
            f"preprocessor_config.json: {name} should be {channels} numbers, got {value!r}; copy the file again"
        )
    return tuple(float(number) for number in value) * (channels if len(value) == 1 else 1)
