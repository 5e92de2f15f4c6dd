"""The networks whose features are kept (backbones), as rows with their settings; readable without torch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from voxmix._table import Table
from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.run_settings import LATER, at_least, from_identity


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneSettings:
    """What every backbone has. A row's settings class adds its own.

    Raises:
        InputError: an edge below 1, or patches that do not fill the image.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}
    name: ClassVar[str] = ""

    image: int = 224
    """Edge of the square (with axes 3, cube) that the network sees, in pixels."""
    channels: int = 1
    """Channels of an image; weights made for three take a gray image three times."""
    axes: Literal[2, 3] = 2
    """2 for images, 3 for volumes."""

    def __post_init__(self) -> None:
        at_least(self, "image", 1)
        at_least(self, "channels", 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class VitSettings(BackboneSettings):
    """A vision transformer with a class token, as DINOv2's (Oquab et al. 2023). Defaults: ViT-B/14, from scratch."""

    name: ClassVar[str] = "vit"

    patch: int = 14
    """Edge of a patch (one token), in pixels; divides image."""
    width: int = 768
    """Width; a multiple of heads."""
    depth: int = 12
    """Layers."""
    heads: int = 12
    """Attention heads."""
    mlp_ratio: float = 4.0
    """Width of the hidden layer of each block, in units of width."""
    registers: int = 0
    """Register tokens (Darcet et al. 2023)."""
    layer_scale: float = 1e-5
    """Start of the scale of each block's branches; 0 for none."""
    ffn: Literal["mlp", "swiglu"] = "mlp"
    """Hidden layer of each block."""
    drop_path: float = 0.0
    """Share of draws for which a branch of the last block is left out, rising linearly from 0 over the depth."""
    style: Literal["dinov2", "dinov2-registers", "clip", "clip-gelu", "mae"] = field(
        default="dinov2", metadata=LATER
    )
    """What open weights fix beyond sizes: biases, norms, activation, how positions are resized; see encoders/vit.py."""

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is another class than the one that super() would look for.
        BackboneSettings.__post_init__(self)
        for each in ("patch", "width", "depth", "heads"):
            at_least(self, each, 1)
        at_least(self, "mlp_ratio", 1e-3)
        at_least(self, "registers", 0)
        at_least(self, "layer_scale", 0)
        _ = self.grid
        if self.width % self.heads:
            raise InputError(
                f"width must be a multiple of heads, got width {self.width} and heads {self.heads}"
            )
        if not 0 <= self.drop_path < 1:
            raise InputError(f"drop_path must lie in [0, 1), got {self.drop_path}")

    @property
    def grid(self) -> Grid:
        """The image and its patches."""
        return Grid.of(self.image, self.patch, axes=self.axes)


@dataclass(frozen=True, kw_only=True, slots=True)
class DavitSettings(BackboneSettings):
    """A dual attention vision transformer (Ding et al. 2022). Defaults: MedImageInsight's tower (MIT); images only."""

    name: ClassVar[str] = "davit"

    dims: tuple[int, ...] = (256, 512, 1024, 2048)
    """Width of each stage."""
    depths: tuple[int, ...] = (1, 1, 9, 1)
    """Pairs of spatial and channel blocks of each stage."""
    heads: tuple[int, ...] = (8, 16, 32, 64)
    """Attention heads of each stage."""
    window: int = 12
    """Edge of an attention window, in tokens."""
    drop_path: float = 0.0
    """Share of draws for which a branch of the last block is left out, rising linearly from 0 over the depth."""
    style: Literal["florence", "paper"] = field(default="florence", metadata=LATER)
    """Whose weights fit: MedImageInsight's and Florence-2's, or those of the paper's code; see encoders/davit.py."""

    def __post_init__(self) -> None:
        BackboneSettings.__post_init__(self)
        for each in ("dims", "depths", "heads"):
            object.__setattr__(self, each, tuple(getattr(self, each)))
        if not len(self.dims) == len(self.depths) == len(self.heads) >= 1:
            raise InputError(
                "dims, depths and heads need one number per stage, got "
                f"{len(self.dims)}, {len(self.depths)} and {len(self.heads)}"
            )
        at_least(self, "window", 1)
        for width, heads in zip(self.dims, self.heads, strict=True):
            if min(width, heads) < 1 or width % heads:
                raise InputError(
                    f"dims must be multiples of heads, got {list(self.dims)} and {list(self.heads)}"
                )
        if min(self.depths) < 1:
            raise InputError(f"depths must be at least 1, got {list(self.depths)}")
        if not 0 <= self.drop_path < 1:
            raise InputError(f"drop_path must lie in [0, 1), got {self.drop_path}")
        if self.axes != 2:
            raise InputError(f"davit is for images (axes: 2), got axes {self.axes}; use vit for volumes")


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneRow:
    """One backbone.

    Attributes:
        about: what it is, in a sentence.
        settings: its class of settings.
        made_by: "package.module:class"; called with the settings, it is a :class:`voxmix.encoders.backbone.Backbone`.
    """

    about: str
    settings: type[BackboneSettings]
    made_by: str


BACKBONES = Table(
    "backbones",
    {
        "vit": BackboneRow(
            about="vision transformer with a class token, in 2D and 3D; takes DINOv2 and RAD-DINO weights",
            settings=VitSettings,
            made_by="voxmix.encoders.vit:Vit",
        ),
        "davit": BackboneRow(
            about="dual attention transformer in stages, in 2D; takes MedImageInsight's image tower",
            settings=DavitSettings,
            made_by="voxmix.encoders.davit:Davit",
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.backbones``."""


def backbone_from_dict(value: dict[str, Any]) -> BackboneSettings:
    """Return the settings of a backbone written with its name.

    Raises:
        InputError: no backbone of this name, or a value that cannot be used.
    """
    known = dict(value)
    return from_identity(BACKBONES[known.pop("name")].settings, known)
