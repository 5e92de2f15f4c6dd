"""Images against texts as an objective: CLIP, UniCL and SigLIP, by a target matrix."""

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import normalize

from voxmix.compute import ComputeSettings
from voxmix.encoder_runs import EncoderSpec, Source
from voxmix.encoders.backbone import Backbone, backbone_of, build_backbone
from voxmix.encoders.text import TextEncoder, build_text_encoder
from voxmix.errors import InputError
from voxmix.objective_rows import ContrastiveSettings
from voxmix.objectives.contrastive.losses import belong_together, contrastive_loss, sigmoid_loss
from voxmix.objectives.images.alarms import Alarm, mean_cosine
from voxmix.objectives.images.cost import counted_flops
from voxmix.objectives.images.image_run import ImageRun, drawing_from, group_of, one_view, warm_pace
from voxmix.objectives.images.publish import publish
from voxmix.objectives.images.reader import (
    ImageBatch,
    ImageViews,
    Text,
    has,
    id_of,
    text_of,
)
from voxmix.objectives.images.subset import (
    StartingWeights,
    check_run,
    check_whole_batch,
    course_of,
    items_of,
    take_start,
)
from voxmix.training.objective import Course, Pace, Running
from voxmix.training.optimizer import decays_usually
from voxmix.training.transfer import send
from voxmix.training.whole_batch import BatchFeatures

TEXTS: dict[str, tuple[Text, ...]] = {
    "reports": ("report",),
    "labels": ("labels",),
    "both": ("report", "labels"),
}
"""What goes with the draws, by the setting ``targets``."""
START_PARTS = ("backbone", "text", "image_projection", "text_projection", "logit_scale")


class TwoTowers(nn.Module):
    """A backbone and a text transformer, each projected to one space; the factor of similarities, and their bias."""

    def __init__(self, backbone: Backbone, text: TextEncoder, settings: ContrastiveSettings) -> None:
        super().__init__()
        self.backbone, self.text = backbone, text
        self.image_projection = nn.Linear(backbone.width, settings.projection, bias=False)
        self.text_projection = nn.Linear(text.width, settings.projection, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(settings.start_scale)))
        self.logit_bias = (
            None if settings.start_bias is None else nn.Parameter(torch.tensor(settings.start_bias))
        )
        for name, parameter in backbone.named_parameters():
            if name.endswith("mask_token"):
                parameter.requires_grad_(False)  # nothing is hidden
        self.average: nn.Module | None = None

    def initialize(self) -> None:
        """Draw the projections from torch's global generator: normal, of the size that keeps lengths (CLIP)."""
        for module in (self.image_projection, self.text_projection):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)

    def forward(
        self,
        images: Float[Tensor, "draw channel *edge"],
        tokens: Int[Tensor, "draw token"],
        lengths: Int[Tensor, " draw"],
        keys: Int[Tensor, " draw"],
    ) -> BatchFeatures:
        with self.backbone.keyed(keys):
            seen = self.backbone.forward_at(images).cls
        rows = {
            "image": normalize(self.image_projection(seen), dim=-1),
            "text": normalize(self.text_projection(self.text(tokens, lengths)), dim=-1),
        }
        shared = {"scale": self.logit_scale.exp()}
        if self.logit_bias is not None:
            shared["bias"] = self.logit_bias * 1.0
        return BatchFeatures(rows, shared)


@dataclass(kw_only=True)
class Contrastive:
    """Finding the text of an image and the image of a text, among those of a batch.

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
    def settings(self) -> ContrastiveSettings:
        """The settings of the objective."""
        assert isinstance(self.spec.objective_settings, ContrastiveSettings)
        return self.spec.objective_settings

    @property
    def texts(self) -> tuple[Text, ...]:
        """What goes with the draws."""
        return TEXTS[self.settings.targets]

    @cached_property
    def course(self) -> Course:
        """The budget in draws or seconds, and the digests of images and subset."""
        return course_of(self.spec, flops_per_draw=self.flops_per_draw, whole_batch=True)

    @cached_property
    def images(self) -> ImageRun:
        """The images, the one view of each draw, and its text."""
        return ImageRun(
            spec=self.spec,
            source=self.source,
            kinds=(one_view(self.spec),),
            texts=self.texts,
            context=self.spec.text.context,
        )

    def check(self, folder: Path) -> None:
        """Refuse a run, images and a folder that do not belong together.

        Raises:
            InputError: names what does not; a batch smaller than two; images without texts; texts that are all equal.
        """
        spec, settings = self.spec, self.settings
        check_run(spec, self.source, folder, texts=self.texts)
        check_whole_batch(spec)
        if len(self.texts) > 1 and spec.training.batch_size % 2:
            raise InputError(
                f"with targets both half of each batch has reports and half has labels, and batch_size is "
                f"{spec.training.batch_size}; give an even number"
            )
        if settings.average is not None and spec.training.precision == "bf16-true":
            raise InputError(
                "precision bf16-true does not go with average: the average moves by less than bfloat16 can tell; use bf16-mixed"
            )
        for text, (_, distinct) in self.text_counts().items():
            if distinct < 2:
                what = "reports" if text == "report" else "sets of labels"
                raise InputError(
                    f"all {what} of the training images are equal, so nothing tells which image belongs to which; give "
                    "images with different ones, or take an objective that does without, e.g. dino"
                )

    def text_counts(self) -> dict[Text, tuple[int, int]]:
        """Return by kind of text how many training images have one, and how many different ones there are."""
        found: dict[Text, tuple[int, int]] = {}
        for text in self.texts:
            items = [item for item in items_of(self.source, "train") if has(item, text)]
            context = self.spec.text.context
            ids = {id_of(text_of(self.source, item, text, context=context), text) for item in items}
            found[text] = (len(items), len(ids))
        return found

    def build(self) -> TwoTowers:
        """Return both towers with their starting weights."""
        spec = self.spec
        model = TwoTowers(
            build_backbone(spec.backbone, spec.seed),
            build_text_encoder(spec.text, spec.seed + 1),
            self.settings,
        )
        with drawing_from(spec.seed + 2):
            model.initialize()
        take_start(model, self.start, *START_PARTS, seed=spec.seed)
        if self.settings.average is not None:
            model.average = copy.deepcopy(model).requires_grad_(False)
        return model

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the blocks of both towers."""
        assert isinstance(model, TwoTowers)
        return [*model.backbone.blocks, *model.text.blocks]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter: not on embeddings, as MedImageInsight has it."""
        return decays_usually(name, parameter) and "token_embedding" not in name

    def group(self, name: str) -> str:
        """Return the group of a parameter: the backbone, or what is new beside it."""
        return group_of(name)

    def pace(self, group: str, *, step: int, steps: int | None) -> Pace:
        """Return the pace of a group: the backbone waits while a fresh head is warmed."""
        return warm_pace(self.spec, group, step=step)

    def views(self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings) -> ImageViews:
        """Return the reader of a run of so many draws, or of an open trunk."""
        return self.images.views(draws, least=least, fabric=fabric, compute=compute)

    def features(self, network: nn.Module, batch: ImageBatch) -> BatchFeatures:
        """Return the directions of images and texts, and the ids of those that belong together."""
        (images,) = batch.views
        assert batch.tokens is not None
        assert batch.lengths is not None
        assert batch.ids is not None
        keys = send({"keys": batch.keys}, images.device)["keys"]
        found: BatchFeatures = network(images, batch.tokens, batch.lengths, keys)
        found.rows["ids"] = batch.ids
        return found

    def losses_of(self, features: BatchFeatures) -> dict[str, Tensor]:
        """Return the loss of a batch, and what tells of a collapse.

        ``image_cosine`` and ``text_cosine`` are the mean cosines between those of different draws; ``positives`` is how many
        texts belong to an image, in the mean: above 1 where texts repeat; ``scale`` is the factor of similarities.
        """
        rows, shared = features
        images, texts = rows["image"].float(), rows["text"].float()
        logits = shared["scale"] * images @ texts.T
        positive = belong_together(rows["ids"])
        if "bias" in shared:
            loss = sigmoid_loss(logits + shared["bias"], positive)
        else:
            loss = contrastive_loss(logits, positive)
        return {
            "loss": loss,
            "image_cosine": mean_cosine(images.detach()),
            "text_cosine": mean_cosine(texts.detach()),
            "positives": positive.sum(dim=1).float().mean(),
            "scale": shared["scale"].detach().float(),
        }

    def losses(self, network: nn.Module, batch: ImageBatch) -> dict[str, Tensor]:
        """Return the losses of a whole batch."""
        return self.losses_of(self.features(network, batch))

    @torch.no_grad()
    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Hold the factor of similarities below its cap, and move the average of the weights."""
        model = run.model
        assert isinstance(model, TwoTowers)
        model.logit_scale.clamp_(max=math.log(self.settings.most_scale))
        if model.average is not None and self.settings.average is not None:
            own = dict(model.named_parameters())
            pairs = [(value, own[name].detach()) for name, value in model.average.named_parameters()]
            averaged, learned = zip(*pairs, strict=True)
            torch._foreach_lerp_(list(averaged), list(learned), 1 - self.settings.average)
        return None

    def state(self) -> dict[str, Any]:
        """Return nothing: the average is the network's, draws are pure functions of the seed."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up nothing."""

    def flops_per_draw(self) -> int:
        """Return floating-point operations of one draw, both towers forward and backward."""
        spec = self.spec
        with torch.device("meta"):
            model = TwoTowers(backbone_of(spec.backbone), TextEncoder(spec.text), self.settings)
            images = torch.zeros(1, 1, *(spec.backbone.image,) * spec.backbone.axes)
            tokens = torch.zeros(1, spec.text.context, dtype=torch.int64)
            lengths = torch.full((1,), spec.text.context)
            keys = torch.zeros(1, dtype=torch.int64)
        return 3 * counted_flops(lambda: model(images, tokens, lengths, keys))

    def alarms(self, final: Mapping[str, float], batch: int) -> tuple[Alarm, ...]:
        """Return what is wrong with a run, from the means of its last steps."""
        found = []
        # The sigmoid loss of a constant at its best: each of so many texts belongs with chance 1 / batch.
        constant = math.log(batch) if self.settings.start_bias is None else _constant_sigmoid(batch)
        if final["loss"] > 0.97 * constant:
            found.append(
                f"the loss stayed at {final['loss']:.2f}, where one that knows nothing costs {constant:.2f} (batches of "
                f"{batch}): the run learned nothing; more draws, a higher learning rate or a longer warm-up may help"
            )
        if final["image_cosine"] > 0.99:
            found.append(
                f"the features of different images are nearly the same (mean cosine {final['image_cosine']:.3f}): the run "
                "collapsed or has not begun to learn; lower the learning rate, or train longer"
            )
        return tuple(found)

    def held_out_items(self) -> int:
        """Return how many images of validation persons can be measured."""
        return self.images.held_out_items()

    def held_out_views(self, *, draws: int, fabric: Fabric, rows: int) -> ImageViews:
        """Return fixed views of the validation persons' images, as many draws."""
        return self.images.held_out_views(draws=draws, fabric=fabric, rows=rows)

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Measure held-out losses, write weights (averaged, if asked for), card and result; return the losses."""
        assert isinstance(model, TwoTowers)
        kept = model if model.average is None else model.average
        counts = {text: {"images": n, "distinct": m} for text, (n, m) in self.text_counts().items()}
        return publish(self, run, model, weights=kept, more={"texts": counts})


def _constant_sigmoid(batch: int) -> float:
    chance = 1 / batch
    return batch * -(chance * math.log(chance) + (1 - chance) * math.log1p(-chance))
