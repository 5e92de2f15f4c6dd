"""What the run of any objective of images is made of, as a part of the objective: views, paces, fresh and given weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from lightning_fabric import Fabric

from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, Source
from voxmix.encoders.backbone import Backbone, backbone_of
from voxmix.objectives.images.parts import ViewKind
from voxmix.objectives.images.reader import ImageBatch, ImageViews, Text, has, plan_images, planned_draws
from voxmix.objectives.images.subset import items_of, warm_steps
from voxmix.training.devices import loaders_of
from voxmix.training.objective import Pace
from voxmix.training.pieces import Piece, rows_at_once

Batch = TypeVar("Batch")


@dataclass(frozen=True, kw_only=True)  # no slots: what is computed is kept
class ImageRun:
    """A run's spec and images, and how its draws are read.

    Attributes:
        kinds: the views of each draw.
        texts: what goes with the draws.
        chance: further random numbers that each draw gets.
        context: most tokens of a text.
    """

    spec: EncoderSpec
    source: Source
    kinds: tuple[ViewKind, ...]
    texts: tuple[Text, ...] = ("none",)
    chance: int = 0
    context: int = 0

    def views(self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings) -> ImageViews:
        """Return the reader of a run of so many draws, or of an open trunk."""
        spec = self.spec
        return ImageViews(
            self.source,
            plan_images(
                items_of(self.source, "train"), planned_draws(draws, least), seed=spec.seed, texts=self.texts
            ),
            self.kinds,
            views=spec.views,
            training=spec.training,
            seed=spec.seed,
            fabric=fabric,
            rows=rows_at_once(spec.training, compute),
            loaders=loaders_of(compute, fabric.device),
            chance=self.chance,
            context=self.context,
        )

    def held_out_items(self) -> int:
        """Return how many images of validation persons can be measured: those with the first kind of text."""
        return sum(has(item, self.texts[0]) for item in items_of(self.source, "validation"))

    def held_out_views(self, *, draws: int, fabric: Fabric, rows: int) -> ImageViews:
        """Return fixed views of the validation persons' images, as many draws; intensities stay as they are."""
        return ImageViews(
            self.source,
            plan_images(items_of(self.source, "validation"), draws, seed=0, texts=self.texts[:1]),
            self.kinds,
            views=self.spec.views,
            training=None,
            seed=0,
            fabric=fabric,
            rows=rows,
            chance=self.chance,
            context=self.context,
        )


class CompletedViews(Generic[Batch]):
    """Reads draws as :class:`ImageViews` does, and makes of each batch what an objective's losses take."""

    def __init__(self, images: ImageViews, complete: Callable[[ImageBatch], Batch]) -> None:
        self._images, self._complete = images, complete
        self.planned = images.planned
        self.expect, self.close = images.expect, images.close

    def read(self, piece: Piece) -> Batch:
        """Return the draws of a piece."""
        return self._complete(self._images.read(piece))


def one_view(spec: EncoderSpec) -> ViewKind:
    """Return the view of objectives that see each draw once: of the backbone's size."""
    return ViewKind(count=1, edge=spec.backbone.image, area=spec.views.area)


def weightless(spec: EncoderSpec) -> Backbone:
    """Return the backbone of a run without memory, for questions about its shape."""
    with torch.device("meta"):
        return backbone_of(spec.backbone)


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Within the block, torch's global generator begins at ``seed``; afterwards it goes on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def group_of(name: str) -> str:
    """Return the group of a parameter: the backbone, or what is new beside it."""
    return "backbone" if name.startswith("backbone.") else "rest"


def warm_pace(spec: EncoderSpec, group: str, *, step: int) -> Pace:
    """Return the pace of a group of :func:`group_of`: the backbone waits while what is new beside it is warmed."""
    return Pace(rate=0.0 if group == "backbone" and step < warm_steps(spec) else 1.0)
