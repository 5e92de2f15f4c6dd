"""Settings of encoder studies to start from: for a laptop's cores, and at the size of published encoders."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from voxmix._table import Table
from voxmix.backbone_rows import VitSettings
from voxmix.encoder_runs import TextSettings, ViewSettings
from voxmix.encoder_study.config import EncoderDesign, MadeRadiographs, ObjectivePlan
from voxmix.objective_rows import OBJECTIVES, SMALL, objective_settings
from voxmix.run_settings import TrainingSettings
from voxmix.subsets import ALL

MARGIN = 1.25
"""Shorter side of a prepared image, in edges of what the network sees: parts of it are then not blown up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderPreset:
    """Everything of an encoder study but its images, starts and objectives.

    Attributes:
        description: for whom it is.
        plans: objective to its settings and optimization; of others the defaults.
        tasks: which of the tasks that the images allow; None: all.
    """

    description: str
    backbone: VitSettings
    text: TextSettings
    design: EncoderDesign
    views: ViewSettings = field(default_factory=ViewSettings)
    plans: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    tasks: tuple[str, ...] | None = None

    def objectives(self, names: Sequence[str]) -> dict[str, ObjectivePlan]:
        """Return how each of the named objectives is trained.

        Raises:
            InputError: there is no objective of a name.
        """
        found = {}
        for name in names:
            _ = OBJECTIVES[name]
            own = self.plans.get(name, {})
            found[name] = ObjectivePlan(
                settings=objective_settings(name, own.get("objective")),
                training=TrainingSettings(**own.get("training", {})),
            )
        return found


DEMO_RADIOGRAPHS = MadeRadiographs(count=2000, edge=64)
"""What the demo draws."""

_SMALL_TEXT = TextSettings(width=64, depth=1, heads=2, context=48, vocabulary=2000)
_SMALL_VIEWS = ViewSettings(area=(0.8, 1.0))
"""Of small images smaller parts lose the findings (MedImageInsight sees 0.8 to 1, too)."""

PRESETS = Table(
    "encoder_presets",
    {
        "demo": EncoderPreset(
            description="the small preset on three subsets of made radiographs; minutes on 2 cores",
            backbone=VitSettings(**SMALL["dino"]["backbone"]),
            text=_SMALL_TEXT,
            views=_SMALL_VIEWS,
            design=EncoderDesign(samples=(64, 256, ALL), budget=8192),
            plans=SMALL,
            tasks=("findings", "tubes", "retrieval"),
        ),
        "small": EncoderPreset(
            description="a ViT of 0.5 M parameters at 32 pixels, for the cores of any machine",
            backbone=VitSettings(**SMALL["dino"]["backbone"]),
            text=_SMALL_TEXT,
            views=_SMALL_VIEWS,
            design=EncoderDesign(),
            plans=SMALL,
        ),
        "base": EncoderPreset(
            description="ViT-B/14 at 224 pixels with the settings of DINOv2 and CLIP; needs a GPU",
            backbone=VitSettings(),
            text=TextSettings(),
            design=EncoderDesign(budget=1_000_000),
            plans={
                "dino": {
                    "training": {
                        "learning_rate": 1e-3,
                        "batch_size": 128,
                        "weight_decay": 0.04,
                        "clip_norm": 3.0,
                    }
                },
                **{
                    name: {
                        "training": {
                            "learning_rate": 5e-4,
                            "batch_size": 256,
                            "weight_decay": 0.2,
                            "warmup_steps": 500,
                        }
                    }
                    for name in ("clip", "unicl", "siglip")
                },
                "mae": {"training": {"learning_rate": 1.5e-4, "batch_size": 256}},
            },
        ),
    },
)
"""Packages add rows by entry points of the group ``voxmix.encoder_presets``."""
