"""Masked reconstruction of images by any backbone: the encoder sees a quarter, a light decoder guesses the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, Source
from voxmix.encoders.backbone import Backbone, backbone_of, build_backbone
from voxmix.encoders.mae import Decoder
from voxmix.encoders.patches import patchify, take
from voxmix.grid import Grid
from voxmix.objective_rows import MaeSettings
from voxmix.objectives.images.alarms import Alarm
from voxmix.objectives.images.cost import counted_flops
from voxmix.objectives.images.image_run import (
    CompletedViews,
    ImageRun,
    drawing_from,
    group_of,
    one_view,
    warm_pace,
    weightless,
)
from voxmix.objectives.images.publish import publish
from voxmix.objectives.images.reader import ImageBatch
from voxmix.objectives.images.subset import (
    StartingWeights,
    check_run,
    course_of,
    take_start,
)
from voxmix.run_settings import ModelSettings
from voxmix.training.objective import Course, Pace, Running
from voxmix.training.optimizer import decays_usually
from voxmix.training.transfer import send


class ImageAutoencoder(nn.Module):
    """A backbone, and the light decoder of :mod:`voxmix.encoders.mae`.

    A backbone that can leave patches out sees the visible ones alone; another sees its mask token in place of the hidden ones.
    """

    def __init__(self, backbone: Backbone, settings: MaeSettings) -> None:
        super().__init__()
        self.backbone = backbone
        self.grid = grid_of(backbone)
        self.leaves_out = type(backbone).forward_visible is not Backbone.forward_visible
        if self.leaves_out:
            for name, parameter in backbone.named_parameters():
                if name.endswith("mask_token"):
                    parameter.requires_grad_(False)
        self.decoder = Decoder(
            ModelSettings(
                crop=self.grid.crop[0],
                patch=self.grid.patch[0],
                axes=backbone.settings.axes,
                width=backbone.width,
                heads=1,
                decoder_width=settings.decoder_width,
                decoder_depth=settings.decoder_depth,
                decoder_heads=settings.decoder_heads,
                mask_ratio=settings.mask_ratio,
            )
        )

    def initialize(self) -> None:
        """Draw the decoder's starting weights from torch's global generator, as those of the masked autoencoder."""
        for module in self.decoder.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.decoder.mask_token, std=0.02)
        nn.init.normal_(self.decoder.head.weight, std=1e-3)

    def forward(
        self,
        images: Float[Tensor, "draw channel *edge"],
        visible: Int[Tensor, "draw visible"],
        masked: Int[Tensor, "draw masked"],
        keys: Int[Tensor, " draw"],
    ) -> tuple[Float[Tensor, "draw masked pixel"], Float[Tensor, "draw masked pixel"], Float[Tensor, ""]]:
        """Return (prediction, truth) of the masked patches, and the error of the mean patch that is seen."""
        rows = patchify(images[:, 0], self.grid)
        seen, truth = take(rows, visible), take(rows, masked)
        with self.backbone.keyed(keys):
            if self.leaves_out:
                features = self.backbone.forward_visible(images, visible).patches
            else:
                hidden = torch.zeros(rows.shape[:2], dtype=torch.bool, device=rows.device)
                features = take(self.backbone(images, hidden.scatter(1, masked, True)).patches, visible)
        predicted = self.decoder(features, seen, visible, masked)
        return predicted, truth, (truth - seen.mean(dim=1, keepdim=True)).square().mean()


def grid_of(backbone: Backbone) -> Grid:
    """Return the image and the patches that a backbone has features of."""
    edges = (backbone.settings.image,) * backbone.settings.axes
    cells = backbone.cells(edges)
    return Grid(edges, tuple(edge // count for edge, count in zip(edges, cells, strict=True)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MaskedBatch:
    """Some draws on the device, with their seen and masked patches."""

    images: ImageBatch
    visible: Int[Tensor, "draw visible"]
    masked: Int[Tensor, "draw masked"]


@dataclass(kw_only=True)
class ImageReconstruction:
    """Reconstructing hidden patches of the images of a subset (He et al. 2022), in 2D and 3D.

    Attributes:
        spec: the run.
        source: the images of its subset, and those of validation persons.
        start: weights that it begins from.
    """

    spec: EncoderSpec
    source: Source
    start: StartingWeights | None = None
    encoder_prefix: ClassVar[str] = "backbone."
    flat: ClassVar[bool] = True

    @property
    def settings(self) -> MaeSettings:
        """The settings of the objective."""
        assert isinstance(self.spec.objective_settings, MaeSettings)
        return self.spec.objective_settings

    @cached_property
    def course(self) -> Course:
        """The budget in draws or seconds, and the digests of images and subset."""
        return course_of(self.spec, flops_per_draw=self.flops_per_draw, whole_batch=False)

    @cached_property
    def images(self) -> ImageRun:
        """The images, and the one view of each draw."""
        kinds, tokens = (one_view(self.spec),), self.grid.patches
        return ImageRun(spec=self.spec, source=self.source, kinds=kinds, chance=tokens)

    @cached_property
    def grid(self) -> Grid:
        """The view and its patches."""
        return grid_of(weightless(self.spec))

    def check(self, folder: Path) -> None:
        """Refuse a run, images and a folder that do not belong together.

        Raises:
            InputError: names what does not.
        """
        check_run(self.spec, self.source, folder)

    def build(self) -> ImageAutoencoder:
        """Return backbone and decoder with their starting weights."""
        spec = self.spec
        model = ImageAutoencoder(build_backbone(spec.backbone, spec.seed), self.settings)
        with drawing_from(spec.seed + 1):
            model.initialize()
        take_start(model, self.start, "backbone", seed=spec.seed)
        return model

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the blocks of backbone and decoder."""
        assert isinstance(model, ImageAutoencoder)
        return [*model.backbone.blocks, *model.decoder.blocks]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter."""
        return decays_usually(name, parameter)

    def group(self, name: str) -> str:
        """Return the group of a parameter: the backbone, or the decoder."""
        return group_of(name)

    def pace(self, group: str, *, step: int, steps: int | None) -> Pace:
        """Return the pace of a group: the backbone waits while a fresh decoder is warmed."""
        return warm_pace(self.spec, group, step=step)

    def views(
        self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings
    ) -> CompletedViews[MaskedBatch]:
        """Return the reader of a run of so many draws, or of an open trunk."""
        images = self.images.views(draws, least=least, fabric=fabric, compute=compute)
        return CompletedViews(images, self._masked)

    def _masked(self, images: ImageBatch) -> MaskedBatch:
        found = {"order": np.argsort(images.chance, axis=1, kind="stable")}
        order = send(found, images.views[0].device)["order"]
        return MaskedBatch(images=images, visible=order[:, : self.seen], masked=order[:, self.seen :])

    def losses(self, network: nn.Module, batch: MaskedBatch) -> dict[str, Tensor]:
        """Return the mean squared error of the hidden pixels, and that of a guess: the mean of the patches that are seen."""
        (images,) = batch.images.views
        keys = send({"keys": batch.images.keys}, images.device)["keys"]
        predicted, truth, mean_patch = network(images, batch.visible, batch.masked, keys)
        return {"loss": mse_loss(predicted, truth), "mean_patch": mean_patch}

    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Do nothing."""
        return None

    def state(self) -> dict[str, Any]:
        """Return nothing: draws are pure functions of the seed."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up nothing."""

    def flops_per_draw(self) -> int:
        """Return floating-point operations of one draw, forward and backward."""
        with torch.device("meta"):
            model = ImageAutoencoder(backbone_of(self.spec.backbone), self.settings)
            images = torch.zeros(1, 1, *self.grid.crop)
            order = torch.zeros(1, self.grid.patches, dtype=torch.int64)
        seen = self.seen
        return 3 * counted_flops(lambda: model(images, order[:, :seen], order[:, seen:], order[:, 0]))

    @property
    def seen(self) -> int:
        """Patches that are seen: at least one, and at least one is hidden."""
        tokens = self.grid.patches
        return min(max(round(tokens * (1 - self.settings.mask_ratio)), 1), tokens - 1)

    def alarms(self, final: Mapping[str, float], batch: int) -> tuple[Alarm, ...]:
        """Return what is wrong with a run, from the means of its last steps."""
        if final["loss"] < 0.98 * final["mean_patch"]:
            return ()
        return (
            f"the error of hidden patches stayed at {final['loss']:.4g}, where the mean of the patches that are seen has "
            f"{final['mean_patch']:.4g}: the run learned nothing; more draws or a higher learning rate may help",
        )

    def held_out_items(self) -> int:
        """Return how many images of validation persons there are."""
        return self.images.held_out_items()

    def held_out_views(self, *, draws: int, fabric: Fabric, rows: int) -> CompletedViews[MaskedBatch]:
        """Return fixed views of the validation persons' images, as many draws."""
        return CompletedViews(self.images.held_out_views(draws=draws, fabric=fabric, rows=rows), self._masked)

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Measure held-out losses, write weights, card and result; return the losses."""
        return publish(self, run, model)
