"""Which runs an encoder study asks for: objectives, starts, nested subsets, seeds, and the two controls of compute."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from voxmix.backbone_rows import BackboneSettings
from voxmix.encoder_runs import EncoderSpec, Item, Source, Start, TextSettings, learned_from
from voxmix.encoder_study.config import EncoderStudyConfig, StartSettings
from voxmix.errors import InputError
from voxmix.objective_rows import OBJECTIVES
from voxmix.subsets import ALL, Subset, nested_subsets

EQUAL_COMPUTE, EXTREMES, EQUAL_EPOCHS = "equal compute", "more compute", "equal epochs"


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFacts:
    """What of a start decides its runs.

    Attributes:
        digest: of its weights and settings.
        backbone: its network, at the edge of the study's images.
        text: its text transformer; None without one.
        head: settings of an objective that fit its released head; {} where it has none.
        shorter_side: edge to which its own images are resized, in pixels.
    """

    digest: str
    backbone: BackboneSettings
    text: TextSettings | None
    head: Mapping[str, Any]
    shorter_side: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A run with the place that it has in the study."""

    spec: EncoderSpec
    start: str
    subset: Subset
    kind: str


def training_pool(config: EncoderStudyConfig, source: Source) -> tuple[Item, ...]:
    """Return the training images that subsets are chosen from.

    Raises:
        InputError: an objective reads reports, and no training image has one.
    """
    items = tuple(item for item in source.items if item.split == "train")
    if not config.reads_texts or not config.design.only_with_reports:
        return items
    pool = tuple(item for item in items if item.has_text)
    if not pool:
        names = ", ".join(name for name in config.objectives if OBJECTIVES[name].reads_texts)
        raise InputError(
            f"objective {names} reads reports, and none of the {len(items):,} training images has one; add reports to the "
            "table, take dino or mae, or set design.only_with_reports to false where labels are enough (unicl)"
        )
    return pool


def plan_runs(
    config: EncoderStudyConfig,
    source: Source,
    subsets: Sequence[Subset],
    starts: Mapping[str, StartFacts],
    *,
    vocabulary: int | None,
) -> tuple[PlannedRun, ...]:
    """Return every run of the design, each once: those at equal compute first, then the controls.

    Args:
        source: the prepared images.
        subsets: those of :func:`subsets_of`.
        starts: facts of every start but scratch.
        vocabulary: entries of the study's tokenizer; None without texts.

    Raises:
        InputError: a start whose facts are not given.
    """
    design = config.design
    unknown = [
        name for name, start in config.starts.items() if start.folder is not None and name not in starts
    ]
    if unknown:
        raise InputError(
            f"what the starts {', '.join(unknown)} are is not known; delete starts.json in the study's folder and prepare again"
        )
    wanted = [(EQUAL_COMPUTE, subset, design.budget, design.budget_unit) for subset in subsets]
    if design.extremes_at is not None:
        more = max(round(design.budget * design.extremes_at), 1)
        ends = subsets if len(subsets) == 1 else (subsets[0], subsets[-1])
        wanted += [(EXTREMES, subset, more, design.budget_unit) for subset in ends]
    if design.epochs is not None:
        wanted += [
            (EQUAL_EPOCHS, subset, max(round(design.epochs * subset.images), 1), "draws")
            for subset in subsets
        ]
    found: dict[str, PlannedRun] = {}
    for kind, subset, budget, unit in wanted:
        for objective in config.objectives:
            for name, start in config.starts.items():
                for seed in range(design.seeds):
                    spec = _spec(config, source, objective, start, starts.get(name), name, subset, vocabulary)
                    spec = replace(spec, seed=seed, budget=budget, budget_unit=unit)
                    spec = replace(spec, warm_draws=_warm_draws(spec, start, starts.get(name)))
                    found.setdefault(spec.run_id, PlannedRun(spec=spec, start=name, subset=subset, kind=kind))
    return tuple(found.values())


def subsets_of(config: EncoderStudyConfig, source: Source) -> tuple[Subset, ...]:
    """Return the nested subsets, each once: two sizes that hold the same images are one.

    Raises:
        InputError: more images asked for than there are; no report where an objective reads them.
    """
    pool = training_pool(config, source)
    asked = max((size for size in config.design.samples if not isinstance(size, str)), default=0)
    if asked > len(pool):
        train = sum(item.split == "train" for item in source.items)
        reports = f" with a report ({train - len(pool):,} have none)" if train > len(pool) else ""
        raise InputError(
            f"design.samples asks for {asked:,} images, and there are {len(pool):,} training images{reports} after preparing, "
            f"which sets repeated and unreadable ones aside; write {ALL} in its place"
        )
    nested = nested_subsets(pool, config.design.samples, seed=config.design.subset_seed)
    return tuple({subset.digest: subset for subset in reversed(nested)}.values())[::-1]


def _spec(
    config: EncoderStudyConfig,
    source: Source,
    objective: str,
    start: StartSettings,
    facts: StartFacts | None,
    name: str,
    subset: Subset,
    vocabulary: int | None,
) -> EncoderSpec:
    plan, row = config.objectives[objective], OBJECTIVES[objective]
    training = replace(plan.training, learning_rate=plan.training.learning_rate * start.rate)
    settings, text = plan.settings, config.text
    if vocabulary is not None:
        text = replace(text, vocabulary=vocabulary)
    if facts is not None:
        if facts.text is not None:
            text = facts.text
        fitting = {key: value for key, value in facts.head.items() if hasattr(settings, key)}
        settings = replace(settings, **fitting)
    return EncoderSpec(
        objective=objective,
        objective_settings=settings,
        backbone=config.backbone if facts is None else facts.backbone,
        samples=subset.images,
        subset=subset.digest,
        seed=0,
        budget=config.design.budget,
        start=None if facts is None else Start(name=name, digest=facts.digest),
        text=text,
        views=config.views,
        training=training,
        cache=learned_from(source, objective),
        tokenizer=source.tokenizer if row.reads_texts else "",
    )


def _warm_draws(spec: EncoderSpec, start: StartSettings, facts: StartFacts | None) -> int:
    """Return the draws that warm a fresh head: none from scratch, where the head is given, or where no draw is counted."""
    if facts is None or OBJECTIVES[spec.objective].head in facts.head or spec.budget_unit != "draws":
        return 0
    return math.floor(spec.budget * start.warm)
