"""What an encoder can learn by (objectives), as rows with their settings; readable without torch."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from voxmix._table import Table
from voxmix.errors import InputError
from voxmix.run_settings import at_least


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveSettings:
    """What every objective's settings are made of: nothing but their name."""

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class DinoSettings(ObjectiveSettings):
    """Self-distillation: DINO, iBOT and KoLeo (DINOv2, Oquab et al. 2023, whose values are the defaults)."""

    local_views: int = 8
    """Small views beside the two large ones."""
    local_image: int = 98
    """Edge of a small view, in pixels; a multiple of the patch."""
    global_area: tuple[float, float] = (0.32, 1.0)
    """Part of the image that a large view shows."""
    local_area: tuple[float, float] = (0.05, 0.32)
    """Part of the image that a small view shows."""
    prototypes: int = 65536
    """Prototypes of the head; far fewer (256 to 4,096) for small data."""
    head_hidden: int = 2048
    """Width of the head's hidden layers."""
    head_bottleneck: int = 256
    """Width before the prototypes."""
    head_layers: int = 3
    """Layers of the head before the prototypes."""
    shared_head: bool = True
    """Whether patches (iBOT) use the head of the class token."""
    dino_weight: float = 1.0
    """Weight of the loss of class tokens."""
    ibot_weight: float = 1.0
    """Weight of the loss of hidden patches; 0 hides none."""
    koleo_weight: float = 0.1
    """Weight of the spread of class tokens in a batch (KoLeo, Sablayrolles et al. 2019)."""
    hidden_images: float = 0.5
    """Share of large views with hidden patches."""
    hidden_patches: tuple[float, float] = (0.1, 0.5)
    """Least and largest share of patches hidden in such a view."""
    centering: Literal["sinkhorn", "center"] = "sinkhorn"
    """How the teacher's outputs are balanced over prototypes."""
    teacher_momentum: float = 0.992
    """Momentum of the teacher at the start; it rises to 1 as half a cosine."""
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    """The teacher's temperature at the start and after warm-up."""
    teacher_warmup: float = 0.3
    """Share of the steps over which the teacher's temperature rises."""
    student_temperature: float = 0.1
    """The student's temperature."""
    final_weight_decay: float | None = 0.4
    """Weight decay at the end, from training.weight_decay by half a cosine; null keeps it."""
    layer_decay: float = 0.9
    """Factor of the learning rate from each block to the one below it."""
    patch_rate: float = 0.2
    """Factor of the learning rate of the patch embedding."""
    frozen_last_layer: float = 0.01
    """Share of the steps in which the prototypes do not move."""

    def __post_init__(self) -> None:
        for name in ("local_views", "dino_weight", "ibot_weight", "koleo_weight"):
            at_least(self, name, 0)
        for name in ("local_image", "head_hidden", "head_bottleneck", "head_layers"):
            at_least(self, name, 1)
        at_least(self, "prototypes", 2)
        for name in ("global_area", "local_area", "hidden_patches"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (low, high))
            if not 0 < low <= high <= 1:
                raise InputError(f"{name} must be two numbers with 0 < least <= most <= 1, got {[low, high]}")
        object.__setattr__(self, "teacher_temperature", tuple(self.teacher_temperature))
        for value in (*self.teacher_temperature, self.student_temperature):
            if not value > 0:
                raise InputError(f"temperatures must be above 0, got {value}")
        for name in ("hidden_images", "teacher_momentum", "teacher_warmup", "frozen_last_layer"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveSettings(ObjectiveSettings):
    """Images against reports: CLIP (Radford et al. 2021), UniCL (Yang et al. 2022), SigLIP (Zhai et al. 2023)."""

    projection: int = 512
    """Width of the space that images and texts share."""
    targets: Literal["reports", "labels", "both"] = "reports"
    """reports: pairs, equal texts are positives. labels: images of one set of labels are. both: half of each batch is each."""
    start_scale: float = 14.285714
    """The factor of similarities at the start (CLIP: 1 / 0.07; MedImageInsight: e; SigLIP: 10)."""
    start_bias: float | None = None
    """The bias of similarities at the start (SigLIP: -10); null for objectives that have none."""
    most_scale: float = 100.0
    """Largest factor of similarities (CLIP: 100)."""
    average: float | None = None
    """Weights are averaged with this momentum and the average is published (MedImageInsight: 0.999); null for none."""

    def __post_init__(self) -> None:
        at_least(self, "projection", 1)
        for name in ("start_scale", "most_scale"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.average is not None and not 0 <= self.average < 1:
            raise InputError(f"average must be null or lie in [0, 1), got {self.average}")


@dataclass(frozen=True, kw_only=True, slots=True)
class MaeSettings(ObjectiveSettings):
    """Masked reconstruction of images (He et al. 2022): the decoder's size and the share of patches hidden."""

    mask_ratio: float = 0.75
    """Share of patches hidden and predicted."""
    decoder_width: int = 384
    """Width of the decoder; a multiple of decoder_heads."""
    decoder_depth: int = 4
    """Layers of the decoder."""
    decoder_heads: int = 12
    """Attention heads of the decoder."""

    def __post_init__(self) -> None:
        for name in ("decoder_width", "decoder_depth", "decoder_heads"):
            at_least(self, name, 1)
        if not 0 < self.mask_ratio < 1:
            raise InputError(f"mask_ratio must lie between 0 and 1, got {self.mask_ratio}")
        if self.decoder_width % self.decoder_heads:
            raise InputError(
                f"decoder_width must be a multiple of decoder_heads, got {self.decoder_width} and {self.decoder_heads}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveRow:
    """One objective.

    Attributes:
        about: what it is, in a sentence.
        settings: its class of settings.
        defaults: values of the settings that are this objective's own.
        made_by: "package.module:class"; called with (spec=, source=, start=), it meets
            :class:`voxmix.training.objective.Objective`.
        reads_texts: whether it needs reports.
        reads_labels: whether it needs labels.
        head: setting that a released head fixes; "" where no start brings the head. A fresh head can be warmed.
    """

    about: str
    settings: type[ObjectiveSettings]
    made_by: str
    reads_texts: bool = False
    reads_labels: bool = False
    head: str = ""
    defaults: dict[str, Any] = field(default_factory=dict)


_CONTRASTIVE = "voxmix.objectives.contrastive:Contrastive"
OBJECTIVES = Table(
    "objectives",
    {
        "mae": ObjectiveRow(
            about="reconstruct hidden patches",
            settings=MaeSettings,
            made_by="voxmix.objectives.mae_images:ImageReconstruction",
        ),
        "dino": ObjectiveRow(
            about="agree with a slowly moving teacher on views of one image; needs no report",
            settings=DinoSettings,
            made_by="voxmix.objectives.dino:SelfDistillation",
            head="prototypes",
        ),
        "clip": ObjectiveRow(
            about="find the report of an image and the image of a report",
            settings=ContrastiveSettings,
            made_by=_CONTRASTIVE,
            head="projection",
            reads_texts=True,
        ),
        "unicl": ObjectiveRow(
            about="as clip, and images that share their labels belong together",
            settings=ContrastiveSettings,
            made_by=_CONTRASTIVE,
            head="projection",
            reads_texts=True,
            reads_labels=True,
            defaults={"targets": "both", "start_scale": 2.718281828},
        ),
        "siglip": ObjectiveRow(
            about="as clip, each pair judged by itself",
            settings=ContrastiveSettings,
            made_by=_CONTRASTIVE,
            head="projection",
            reads_texts=True,
            defaults={"start_scale": 10.0, "start_bias": -10.0},
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.objectives``."""


def objective_settings(name: str, given: dict[str, Any] | None = None) -> ObjectiveSettings:
    """Return the settings of an objective: its own defaults, and what is ``given``.

    Raises:
        InputError: no objective of this name, or a value that cannot be used.
    """
    row = OBJECTIVES[name]
    return row.settings(**row.defaults | dict(given or {}))


_SMALL_VIT = {
    "image": 32,
    "patch": 8,
    "width": 96,
    "depth": 4,
    "heads": 3,
    "layer_scale": 0.0,
}
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "dino": {
        "backbone": _SMALL_VIT,
        "objective": {
            "local_views": 4,
            "local_image": 16,
            "global_area": (0.4, 1.0),
            "local_area": (0.1, 0.4),
            "prototypes": 256,
            "head_hidden": 128,
            "head_bottleneck": 32,
            "koleo_weight": 0.05,
            "ibot_weight": 0.5,
            "teacher_momentum": 0.98,
            "teacher_temperature": (0.04, 0.06),
            "final_weight_decay": None,
            "layer_decay": 1.0,
            "patch_rate": 1.0,
            "frozen_last_layer": 0.02,
        },
        "training": {
            "learning_rate": 1e-3,
            "batch_size": 64,
            "weight_decay": 0.04,
            "warmup_steps": 20,
            "clip_norm": 3.0,
        },
    },
    "mae": {
        "backbone": _SMALL_VIT,
        "objective": {"decoder_width": 48, "decoder_depth": 1, "decoder_heads": 3},
        "training": {"learning_rate": 2e-3, "batch_size": 64, "warmup_steps": 20},
    },
    **{
        name: {
            "backbone": _SMALL_VIT,
            "objective": {"projection": 64, **scale},
            "training": {"learning_rate": 1e-3, "batch_size": 64, "weight_decay": 0.2, "warmup_steps": 20},
        }
        for name, scale in (("clip", {}), ("unicl", {"start_scale": 14.285714}), ("siglip", {}))
    },
}
"""Settings with which each objective learns in minutes on one core, from images of 32 pixels: backbone, objective, training.

UniCL begins with CLIP's factor of similarities: MedImageInsight's e stays near e in so few steps, and holds the loss up.
"""
