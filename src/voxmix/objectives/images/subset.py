"""What every encoder run checks and counts of its source before it begins."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from voxmix._io import digest, read_mapping
from voxmix.encoder_runs import EncoderSpec, Item, Source, learned_from, subset_digest
from voxmix.encoders.contract import Contract
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
    if spec.cache != (given := learned_from(source, spec.objective)):
        raise InputError(
            f"the run was planned for images {spec.cache or 'of no name'}, those given are {given}; plan it again"
        )
    kinds = {2: "images", 3: "volumes"}
    if spec.backbone.axes != source.axes:
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
            more = (
                "take" if source.axes == 3 else "add them to the table and prepare again, or take"
            )  # reports of volumes are not read today
            raise InputError(
                f"objective {spec.objective} needs {kinds[source.axes]} with {lacking}, and none of the {len(items)} training "
                f"{kinds[source.axes]} has one; {more} an objective that does without, e.g. dino"
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


def course_of(spec: EncoderSpec, *, flops_per_draw: Callable[[], int], whole_batch: bool) -> Course:
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


@runtime_checkable
class StartingWeights(Protocol):
    """What a run begins from: :class:`voxmix.encoders.start.LoadedStart`."""

    @property
    def contract(self) -> Contract:
        """How images must be made for these weights."""

    def weights(self, *parts: str, seed: int = 0) -> Mapping[str, Tensor]:
        """Return weights by name, of parts: backbone, head, text, image_projection, text_projection, logit_scale."""


def take_start(
    model: nn.Module, start: StartingWeights | None, *parts: str, seed: int, towers: tuple[str, ...] = ("",)
) -> None:
    """Copy starting weights into every tower of a model; a head that the start does not have stays fresh.

    Args:
        start: None leaves the model as it is.
        parts: of the start that the model has a place for.
        towers: what stands before the names of the start in the model.

    Raises:
        InputError: a tensor of the backbone is missing, or one is not expected or of another shape.
    """
    if start is None:
        return
    own = model.state_dict()
    found = start.weights(*parts, seed=seed)
    given = {f"{tower}{name}": value for tower in towers for name, value in found.items()}
    backbones = {name for name in own if any(name.startswith(f"{tower}backbone.") for tower in towers)}
    wrong = {
        "lack": sorted(backbones - given.keys()),
        "have": sorted(given.keys() - own.keys()),
        "have in another shape": sorted(
            n for n in given.keys() & own.keys() if given[n].shape != own[n].shape
        ),
    }
    for what, names in wrong.items():
        if names:
            raise InputError(
                f"the starting weights {what} {', '.join(names[:3])} ({len(names)} in all); they are of another network: give "
                "the settings of theirs, or other weights"
            )
    model.load_state_dict(given, strict=False)
