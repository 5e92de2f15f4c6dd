"""Study settings to start from: for a laptop's cores, and at the paper's size."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voxmix.allocation.strategies import new_study_strategies
from voxmix.design import StudyDesign
from voxmix.errors import InputError
from voxmix.run_settings import EvaluationSettings, ModelSettings, TrainingSettings
from voxmix.study.config import DataSettings, FitSettings, StudyAllocation, StudyConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """Everything of a study but its volumes."""

    description: str
    recipe: dict[str, Any]
    model: ModelSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    design: StudyDesign
    allocation: StudyAllocation
    fit: FitSettings = field(default_factory=FitSettings)

    def adapted(self, *, spacing_mm: float, crop: int, min_shape: int) -> "Preset":
        """Return the preset at another spacing, crop and least shape."""
        recipe = {**self.recipe, "spacing_mm": spacing_mm, "min_shape": [min_shape] * 3}
        return replace(self, recipe=recipe, model=replace(self.model, crop=crop))

    def study(self, *, name: str, data: DataSettings) -> StudyConfig:
        """Return the settings of a study on these volumes."""
        return StudyConfig(
            name=name,
            data=data,
            recipe=self.recipe,
            model=self.model,
            training=self.training,
            evaluation=self.evaluation,
            design=self.design,
            fit=self.fit,
            allocation=self.allocation,
        )


_SMALL_MODEL = ModelSettings(
    crop=32, patch=8, width=96, depth=3, heads=3, decoder_width=64, decoder_depth=1, decoder_heads=2
)
_SMALL_TRAINING = TrainingSettings(
    learning_rate=2e-3, batch_size=8, warmup_steps=10, scale=0.3, contrast=0.6, contrast_probability=0.5
)
"""Stronger intensity augmentation than the paper's: with the light one, small proxies specialize, and a source's
loss on far targets rises with the budget instead of falling (NOTEBOOK.md, 2026-11-22)."""

_WITH_VERTICES = tuple(
    {"diversity-aware": "offset-diversity-aware"}.get(name, name) for name in new_study_strategies()
)
"""Strategies of a study with vertex runs: the law that held-out vertices and anchors prefer (docs/concepts/law.md)."""

# Demo and small have pure runs, for the paper's law, and vertex runs, for the laws of mixtures; paper is the paper's.
PRESETS: dict[str, Preset] = {
    "demo": Preset(
        description="small proxies at 7 mm, where 32^3 crops hold the phantoms' whole anatomy; minutes on 2 cores",
        recipe={"spacing_mm": 7.0, "min_shape": [40, 40, 40]},
        model=_SMALL_MODEL,
        training=_SMALL_TRAINING,
        evaluation=EvaluationSettings(crops_per_domain=64),
        design=StudyDesign(budgets=(800, 1500, 2800, 5000), vertex_seeds=1),
        allocation=StudyAllocation(budget=8000, seeds=2, strategies=_WITH_VERTICES),
    ),
    "small": Preset(
        description="proxies of 0.5 M parameters on 32^3 crops at 4 mm, for the cores of any machine",
        recipe={"spacing_mm": 4.0, "min_shape": [40, 40, 40]},
        model=_SMALL_MODEL,
        training=_SMALL_TRAINING,
        evaluation=EvaluationSettings(crops_per_domain=64),
        design=StudyDesign(budgets=(1000, 2000, 4000, 8000), vertex_seeds=1),
        allocation=StudyAllocation(budget=16000, seeds=3, strategies=_WITH_VERTICES),
    ),
    "paper": Preset(
        description="the paper's encoder (ViT-B, 96^3 crops, patch 16) at 1.5 mm in bf16-mixed; needs a GPU",
        recipe={"spacing_mm": 1.5, "min_shape": [96, 96, 96]},
        model=ModelSettings(),
        training=TrainingSettings(precision="bf16-mixed"),  # what GPUs multiply fastest; part of a run's id
        evaluation=EvaluationSettings(crops_per_domain=64),
        design=StudyDesign(budgets=(5000, 10000, 20000, 40000)),
        allocation=StudyAllocation(budget=100000),
    ),
}

DEMO_COUNTS = {"ABD-CT": 20, "ABD-MRI": 6, "BRAIN-T1": 20, "BRAIN-T2": 20, "HN-CT": 20, "HN-PET": 6}
"""Phantom volumes per domain: the paper's 500 to 150, scaled by 1/25."""


def preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        InputError: no such preset; names those that exist.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; choose one of {list(PRESETS)}")
    return PRESETS[name]


def phantom_counts(domains: Sequence[str]) -> dict[str, int]:
    """Return the phantom volumes of the demo, of all domains or (if any are named) of those.

    Raises:
        InputError: no phantoms of that name; names those that exist.
    """
    unknown = sorted(set(domains) - set(DEMO_COUNTS))
    if unknown:
        raise InputError(f"no phantoms of {unknown}; choose from {list(DEMO_COUNTS)}")
    return {name: count for name, count in DEMO_COUNTS.items() if not domains or name in domains}
