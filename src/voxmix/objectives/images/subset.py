"""What every encoder run checks and counts of its source before it begins."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from voxmix._io import digest, read_mapping
from voxmix.encoder_runs import EncoderSpec, Item, Source, subset_digest
from voxmix.errors import InputError
from voxmix.objectives.images.reader import Text, has
from voxmix.runs.files import SPEC_FILE
from voxmix.training.objective import Course


def items_of(source: Source, split: str) -> tuple[Item, ...]:
    """Return the images of a split, in the order of the source."""
    return tuple(item for item in source.items if item.split == split)


def check_run(
    spec: EncoderSpec, source: Source, folder: Path, *, texts: tuple[Text, ...] = ("none",)
) -> None:
    """Refuse a run, images and a folder that do not belong together.

    Raises:
        InputError: names what does not.
    """
    if spec.cache != source.digest:
        raise InputError(
            f"the run was planned for images {spec.cache or 'of no name'}, those given are {source.digest}; plan it again"
        )
    if spec.backbone.axes != source.axes:
        kinds = {2: "images", 3: "volumes"}
        raise InputError(
            f"the backbone is for {kinds[spec.backbone.axes]} (axes {spec.backbone.axes}), and {kinds[source.axes]} were "
            f"prepared; set axes to {source.axes}, or prepare {kinds[spec.backbone.axes]}"
        )
    items = items_of(source, "train")
    if not items:
        raise InputError(
            "there is no training image; prepare images of at least one person of the training side"
        )
    if len(items) != spec.samples or subset_digest(items) != spec.subset:
        raise InputError(
            f"the run was planned for {spec.samples} images of subset {spec.subset}, the images given are {len(items)} of "
            f"subset {subset_digest(items)}; plan it again"
        )
    for text in texts:
        if not any(has(item, text) for item in items):
            lacking = {"report": "a report", "labels": "a known label"}[text]
            raise InputError(
                f"objective {spec.objective} needs images with {lacking}, and none of the {len(items)} training images has "
                "one; add them to the table and prepare again, or take an objective that does without, e.g. dino"
            )
    if texts != ("none",) and spec.tokenizer != source.tokenizer:
        raise InputError(
            f"the run was planned for tokenizer {spec.tokenizer or 'of no name'}, the prepared texts are of "
            f"{source.tokenizer or 'none'}: the tokenizer changed, plan the run again"
        )
    if spec.budget_unit == "seconds" and spec.training.schedule != "trunk":
        raise InputError(
            "a budget in seconds needs training.schedule trunk; set it, or give the budget in draws"
        )
    path = folder / SPEC_FILE
    if path.exists() and EncoderSpec.from_dict(read_mapping(path)).run_id != spec.run_id:
        raise InputError(
            f"{folder} holds a run with other settings than those asked for; delete the folder to start again"
        )


def check_whole_batch(spec: EncoderSpec) -> None:
    """Refuse batches of one draw, for losses that compare draws with each other.

    Raises:
        InputError: the batch is smaller than two.
    """
    if spec.training.batch_size < 2:
        raise InputError(
            f"objective {spec.objective} compares the images of a batch with each other, and batch_size is "
            f"{spec.training.batch_size}; give at least 2, better 64 or more"
        )


def course_of(spec: EncoderSpec, *, flops_per_draw: Any, whole_batch: bool) -> Course:
    """Return how far a run goes. A last batch of one draw is left out where a loss compares draws with each other.

    Args:
        flops_per_draw: called without arguments where the budget is in floating-point operations.

    Raises:
        InputError: the budget does not pay for one batch of two.
    """
    draws: int | None = spec.budget
    if spec.budget_unit == "flops":
        each = flops_per_draw()
        draws = int(spec.budget // each)
        if draws < 1:
            raise InputError(
                f"a budget of {spec.budget:.3g} floating-point operations does not pay for one draw, which takes "
                f"{each:.3g}; raise the budget, or set budget_unit to draws"
            )
    elif spec.budget_unit == "seconds":
        draws = None
    if whole_batch and draws is not None and draws % spec.training.batch_size == 1:
        draws -= 1
        if draws < 2:
            raise InputError(
                f"objective {spec.objective} compares the images of a batch with each other, and the budget is one draw; "
                "give at least 2"
            )
    return Course(
        spec=spec,
        training=spec.training,
        draws=draws,
        seconds=spec.budget if spec.budget_unit == "seconds" else None,
        inputs={"cache": spec.cache, "subset": spec.subset},
        trunk_id=trunk_id(spec),
    )


def warm_steps(spec: EncoderSpec) -> int:
    """Return the steps in which a fresh head is trained with the backbone frozen."""
    return math.ceil(spec.warm_draws / spec.training.batch_size)


def trunk_id(spec: EncoderSpec) -> str:
    """Return what runs that differ in their budget alone share."""
    value = spec.as_dict()
    for name in ("budget", "budget_unit"):
        del value[name]
    return digest(value)


def take_start(model: nn.Module, weights: Mapping[str, Any], *, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Copy starting weights into a model, and return the names of what the start has no weights for.

    Args:
        weights: by name; those of the backbone begin with ``backbone.``, those of a head as the model calls them.
        prefixes: before ``backbone.`` in the model: one for each tower.

    Raises:
        InputError: a tensor of the backbone is missing, not expected or of another shape.
    """
    own = model.state_dict()
    given: dict[str, Any] = {}
    for name, value in weights.items():
        names = [f"{prefix}{name}" for prefix in prefixes] if name.startswith("backbone.") else [name]
        given |= dict.fromkeys(names, value)
    backbones = {name for name in own if any(name.startswith(f"{prefix}backbone.") for prefix in prefixes)}
    missing = sorted(backbones - set(given))
    unexpected = sorted(set(given) - set(own))
    shapes = sorted(n for n in set(given) & set(own) if tuple(given[n].shape) != tuple(own[n].shape))
    for found, what in ((missing, "lack"), (unexpected, "have"), (shapes, "have in another shape")):
        if found:
            raise InputError(
                f"the starting weights {what} {found[:3]} ({len(found)} in all); they are of another network: give the settings "
                "of theirs, or other weights"
            )
    model.load_state_dict(given, strict=False)
    return tuple(sorted(set(own) - set(given)))
