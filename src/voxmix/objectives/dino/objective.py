"""Self-distillation as an objective: a student agrees with its slowly moving teacher on views of one image."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, Source
from voxmix.encoders.backbone import Backbone, backbone_of, build_backbone
from voxmix.errors import InputError
from voxmix.objective_rows import DinoSettings
from voxmix.objectives.dino.hiding import hide, hiding_columns, most_hidden
from voxmix.objectives.dino.losses import (
    CENTER_MOMENTUM,
    centered,
    dino_loss,
    entropy,
    ibot_loss,
    koleo_loss,
    sinkhorn,
)
from voxmix.objectives.dino.network import DinoHead, Hidden, StudentTeacher, Tower
from voxmix.objectives.dino.schedule import HEAD, PATCHES, PROTOTYPES, Schedule
from voxmix.objectives.images.alarms import Alarm, mean_cosine
from voxmix.objectives.images.cost import counted_flops
from voxmix.objectives.images.image_run import CompletedViews, ImageRun, drawing_from, weightless
from voxmix.objectives.images.parts import ViewKind
from voxmix.objectives.images.publish import publish
from voxmix.objectives.images.reader import ImageBatch
from voxmix.objectives.images.subset import (
    StartingWeights,
    check_run,
    check_whole_batch,
    course_of,
    take_start,
)
from voxmix.training.objective import Course, Pace, Running
from voxmix.training.optimizer import decays_usually
from voxmix.training.transfer import send
from voxmix.training.whole_batch import BatchFeatures

LARGE_VIEWS = 2


@dataclass(kw_only=True)
class SelfDistillation:
    """DINO, iBOT and KoLeo on views of the images of a subset (Oquab et al. 2023).

    Attributes:
        spec: the run.
        source: the images of its subset, and those of validation persons.
        start: weights that it begins from.
    """

    spec: EncoderSpec
    source: Source
    start: StartingWeights | None = None
    encoder_prefix: ClassVar[str] = "teacher.backbone."
    flat: ClassVar[bool] = True
    _centers: dict[str, Tensor] = field(default_factory=dict)

    @property
    def settings(self) -> DinoSettings:
        """The settings of the objective."""
        assert isinstance(self.spec.objective_settings, DinoSettings)
        return self.spec.objective_settings

    @cached_property
    def course(self) -> Course:
        """The budget in draws or seconds, and the digests of images and subset."""
        return course_of(self.spec, flops_per_draw=self.flops_per_draw, whole_batch=True)

    @cached_property
    def schedule(self) -> Schedule:
        """What changes with the steps."""
        return Schedule.of(self.spec, top=len(self._meta.blocks) + 1)

    @cached_property
    def kinds(self) -> tuple[ViewKind, ...]:
        """The two large views, and the small ones."""
        own, edge = self.settings, self.spec.backbone.image
        return (
            ViewKind(count=LARGE_VIEWS, edge=edge, area=own.global_area),
            ViewKind(count=own.local_views, edge=own.local_image, area=own.local_area),
        )

    @cached_property
    def images(self) -> ImageRun:
        """The images, the views of each draw, and chance for what is hidden."""
        chance = LARGE_VIEWS * hiding_columns(self.spec.backbone.axes)
        return ImageRun(spec=self.spec, source=self.source, kinds=self.kinds, chance=chance)

    @cached_property
    def _meta(self) -> Backbone:
        return weightless(self.spec)

    def check(self, folder: Path) -> None:
        """Refuse a run, images and a folder that do not belong together.

        Raises:
            InputError: names what does not; a batch smaller than two; small views that are no whole number of patches.
        """
        check_run(self.spec, self.source, folder)
        check_whole_batch(self.spec)
        if self.spec.training.precision == "bf16-true":
            raise InputError(
                "precision bf16-true does not go with objective dino: its teacher moves by less than bfloat16 can tell; use "
                "bf16-mixed"
            )
        for kind in self.kinds:
            if kind.count:
                self._meta.cells((kind.edge,) * self.spec.backbone.axes)

    def build(self) -> StudentTeacher:
        """Return student and teacher with the same starting weights."""
        spec = self.spec
        tower = Tower(build_backbone(spec.backbone, spec.seed), self.settings)
        with drawing_from(spec.seed + 1):
            for module in tower.modules():
                if isinstance(module, DinoHead):
                    module.initialize()
        model = StudentTeacher(tower, self.settings)
        take_start(model, self.start, "backbone", "head", seed=spec.seed, towers=("student.", "teacher."))
        return model

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the blocks of student and teacher."""
        assert isinstance(model, StudentTeacher)
        return [*model.student.backbone.blocks, *model.teacher.backbone.blocks]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter."""
        return decays_usually(name, parameter)

    def group(self, name: str) -> str:
        """Return the group of a parameter: prototypes, the rest of the heads, or its level of the backbone."""
        own = name.removeprefix("student.")
        if not own.startswith("backbone."):
            return PROTOTYPES if own.endswith("prototypes") else HEAD
        inner = own.removeprefix("backbone.")
        return PATCHES if inner.startswith("patch_embedding") else str(self._meta.level(inner))

    def pace(self, group: str, *, step: int, steps: int | None) -> Pace:
        """Return the pace of a group in a step."""
        return self.schedule.pace(group, step=step, steps=steps)

    def views(
        self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings
    ) -> "CompletedViews[DinoBatch]":
        """Return the reader of a run of so many draws, or of an open trunk."""
        images = self.images.views(draws, least=least, fabric=fabric, compute=compute)
        steps = None if draws is None else self.spec.training.steps(draws)
        return CompletedViews(images, partial(self._taught, steps=steps))

    def _taught(self, images: ImageBatch, *, steps: int | None) -> "DinoBatch":
        step = images.start // self.spec.training.batch_size
        return DinoBatch(
            images=images,
            hidden=self._hidden(images) if self.settings.ibot_weight else None,
            temperature=self.schedule.temperature(step, steps),
        )

    def _hidden(self, images: ImageBatch) -> Hidden:
        backbone = self.spec.backbone
        u = images.chance.reshape(-1, hiding_columns(backbone.axes))
        found = hide(u, self._meta.cells((backbone.image,) * backbone.axes), self.settings)
        sent = send(dict(zip(("mask", "index", "valid"), found, strict=True)), images.views[0].device)
        return Hidden(sent["mask"], sent["index"], sent["valid"])

    def features(self, network: nn.Module, batch: "DinoBatch") -> BatchFeatures:
        """Return the directions of class tokens and hidden patches, of student and teacher."""
        large, small = batch.images.views
        keys = send({"keys": batch.images.keys}, large.device)["keys"]
        found: BatchFeatures = network(large, small, batch.hidden, keys)
        found.shared["temperature"] = torch.tensor(batch.temperature)  # on the host, where it is read
        return found

    def losses_of(self, features: BatchFeatures) -> dict[str, Tensor]:
        """Return the losses of a batch by parts, and what tells of a collapse.

        ``teacher_entropy`` is that of the teacher's mean output over the batch, ``teacher_doubt`` the mean of the outputs'
        entropies (both before balancing, in nats), ``cls_cosine`` the mean cosine between class tokens of different images.
        """
        own, rows, shared = self.settings, *features
        temperature = float(shared["temperature"].detach())
        views = rows["student"].shape[1]
        with torch.no_grad():
            outputs = rows["teacher"].flatten(0, 1) @ shared["taught"].T
            targets = self._balanced(outputs, shared["center"], temperature)
            plain = torch.softmax((outputs - shared["center"]) / temperature, dim=-1)
            self._centers = {"center": outputs.mean(dim=0)}
        logits = rows["student"] @ shared["prototypes"].T
        parts = {
            "dino": dino_loss(
                targets.view(len(logits), LARGE_VIEWS, -1), logits, temperature=own.student_temperature
            )
        }
        loss = own.dino_weight * parts["dino"]
        if "patches" in rows:
            hidden = rows["hidden"].flatten(0, 1)
            with torch.no_grad():
                taught = rows["taught_patches"].flatten(0, 1)[hidden] @ shared["taught_patch_prototypes"].T
                aims = self._balanced(taught, shared["patch_center"], temperature) if len(taught) else taught
                if len(taught):
                    self._centers["patch_center"] = taught.mean(dim=0)
            guesses = rows["patches"].flatten(0, 1)[hidden] @ shared["patch_prototypes"].T
            parts["ibot"] = ibot_loss(aims, guesses, hidden, temperature=own.student_temperature)
            loss = loss + own.ibot_weight * parts["ibot"]
        if own.koleo_weight:
            spread = [koleo_loss(rows["cls"][:, view]) for view in range(LARGE_VIEWS)]
            parts["koleo"] = torch.stack(spread).sum()
            loss = loss + own.koleo_weight * parts["koleo"]
        assert views >= LARGE_VIEWS
        seen = rows["cls"].detach()
        return {
            "loss": loss,
            **parts,
            "teacher_entropy": entropy(plain.mean(dim=0)),
            "teacher_doubt": entropy(plain).mean(),
            "cls_cosine": torch.stack([mean_cosine(seen[:, view]) for view in range(LARGE_VIEWS)]).mean(),
        }

    def _balanced(self, outputs: Tensor, center: Tensor, temperature: float) -> Tensor:
        if self.settings.centering == "sinkhorn":
            return sinkhorn(outputs, temperature=temperature)
        return centered(outputs, center, temperature=temperature)

    def losses(self, network: nn.Module, batch: "DinoBatch") -> dict[str, Tensor]:
        """Return the losses of a whole batch."""
        return self.losses_of(self.features(network, batch))

    @torch.no_grad()
    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Move the teacher and the centers."""
        model = run.model
        assert isinstance(model, StudentTeacher)
        momentum = self.schedule.momentum(run.steps_done - 1, run.steps)
        pairs = zip(model.teacher.parameters(), model.student.parameters(), strict=True)
        taught, learned = zip(*((a, b.detach()) for a, b in pairs), strict=True)
        torch._foreach_lerp_(list(taught), list(learned), 1 - momentum)
        for name, value in self._centers.items():
            getattr(model, name).lerp_(value.to(model.center.dtype), 1 - CENTER_MOMENTUM)
        return None

    def state(self) -> dict[str, Any]:
        """Return nothing: teacher and centers are the network's, draws are pure functions of the seed."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up nothing."""

    def flops_per_draw(self) -> int:
        """Return floating-point operations of one draw: student forward and backward, teacher forward, prototypes."""
        own = self.settings
        with torch.device("meta"):
            tower = Tower(backbone_of(self.spec.backbone), own)
        large, small = self.kinds
        axes, backbone = self.spec.backbone.axes, tower.backbone
        total, rows = 0, 0
        for kind, passes in ((large, 4), (small, 3)):
            pixels = torch.zeros(kind.count, 1, *(kind.edge,) * axes, device="meta")
            index = None
            if kind is large and own.ibot_weight:
                few = most_hidden(own, math.prod(backbone.cells((large.edge,) * axes)))
                index = torch.zeros(kind.count, few, dtype=torch.int64, device="meta")
            if kind.count:
                total += passes * counted_flops(
                    lambda p=pixels, i=index: tower.head(backbone.forward_at(p, i).cls)  # type: ignore[misc]
                )
                rows += passes * kind.count
        if own.ibot_weight:
            tokens = math.prod(backbone.cells((large.edge,) * axes))
            mean = own.hidden_images * sum(own.hidden_patches) / 2 * tokens
            features = torch.zeros(1, backbone.width, device="meta")
            each = counted_flops(lambda: tower.of_patches(features))
            total += round(4 * LARGE_VIEWS * mean * each)
            rows += round(4 * LARGE_VIEWS * mean)
        return int(total + 2 * rows * own.prototypes * own.head_bottleneck)

    def alarms(self, final: Mapping[str, float], batch: int) -> tuple[Alarm, ...]:
        """Return what is wrong with a run, from the means of its last steps."""
        own = self.settings
        most = math.log(own.prototypes)
        found = []
        if final["dino"] > 0.98 * most:
            found.append(
                f"the loss of class tokens stayed at {final['dino']:.2f}, where one that knows nothing costs {most:.2f}: "
                "fewer prototypes, a lower teacher temperature, a higher learning rate or more steps may help"
            )
        room = min(most, math.log(LARGE_VIEWS * batch))
        if final["teacher_entropy"] < 0.1 * room:
            found.append(
                f"the teacher gives nearly every image the same prototype (entropy of its mean output "
                f"{final['teacher_entropy']:.2f} of {room:.2f}): the run collapsed; take centering sinkhorn, or lower the "
                "learning rate"
            )
        if final["cls_cosine"] > 0.99:
            found.append(
                f"the features of different images are nearly the same (mean cosine {final['cls_cosine']:.3f}): the run "
                "collapsed or has not begun to learn; raise koleo_weight, or lower the learning rate"
            )
        return tuple(found)

    def held_out_items(self) -> int:
        """Return how many images of validation persons there are."""
        return self.images.held_out_items()

    def held_out_views(self, *, draws: int, fabric: Fabric, rows: int) -> "CompletedViews[DinoBatch]":
        """Return fixed views of the validation persons' images, as many draws."""
        images = self.images.held_out_views(draws=draws, fabric=fabric, rows=rows)
        return CompletedViews(images, partial(self._taught, steps=None))

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Measure held-out losses, write weights, card and result; return the losses."""
        return publish(self, run, model)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DinoBatch:
    """Some draws on the device, with what is hidden of their large views, and the teacher's temperature."""

    images: ImageBatch
    hidden: Hidden | None
    temperature: float
