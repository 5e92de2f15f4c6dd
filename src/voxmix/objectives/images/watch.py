"""A probe at the start of a run and a few times along it: whether what the run began from is being ruined."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from voxmix.encoder_runs import EncoderSpec, Item, Source
from voxmix.encoders.backbone import Backbone
from voxmix.errors import VoxmixWarning
from voxmix.objectives.images.cost import counted_flops
from voxmix.objectives.images.frozen_probe import ProbeScore, probe_score
from voxmix.objectives.images.image_run import one_view, weightless
from voxmix.objectives.images.looks import fallen
from voxmix.objectives.images.parts import Parts, samples_per_pixel, see
from voxmix.objectives.images.publish import Measured
from voxmix.objectives.images.subset import items_of
from voxmix.training.objective import Objective, Running

LEAST = 48
"""Images below which a probe tells nothing."""
_OF_EACH = 8
"""Cases that a label needs with it, and without it."""
_SHARE = 0.1
"""Of a run's floating-point operations, the most that it is watched for."""
_ROWS = 32


@dataclass(kw_only=True)
class Watch:
    """Looks at a run of an objective, a few times at even distances: at its start, along it, at its end.

    A ridge probe reads labels from class token and mean of patches of the encoder, frozen as it is then, on images of
    training persons: those outside the run's subset where there are enough of them, else its own. The run does not feel it:
    no random number is drawn, no weight touched, and its time is not counted.

    Attributes:
        images: most images that are looked at; fewer where that would cost more than a tenth of the run.
        times: looks after the first one; 0 for none at all.
    """

    objective: Objective
    images: int = 256
    times: int = 4
    _first: ProbeScore | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    @property
    def _measured(self) -> Measured:
        assert isinstance(self.objective, Measured)
        return self.objective

    @cached_property
    def cases(self) -> tuple[Item, ...]:
        """The images: the same in every run of a study that draws from the same persons; none where labels are too few."""
        wanted = min(self.images, self._affordable)
        if self.times < 1 or wanted < LEAST:
            return ()
        found = watched_items(self._measured.source, wanted)
        return found if len(found) >= LEAST and known_labels(found) else ()

    @property
    def _affordable(self) -> int:
        draws = self.objective.course.draws
        if draws is None:
            return self.images
        run = draws * self._measured.flops_per_draw()
        return int(_SHARE * run / ((self.times + 1) * _flops_of_one(self._measured.spec)))

    def due(self, steps_done: int, steps: int | None) -> bool:
        """Return whether to look after so many steps; before the first one too."""
        if self.times < 1:
            return False
        if steps_done == 0 or steps is None:
            return steps_done == 0
        return steps_done in {max(1, round(k * steps / self.times)) for k in range(1, self.times + 1)}

    def look(self, run: Running) -> Mapping[str, float] | None:
        """Return the probe's score with its standard error, and how it changed since the start; None where nothing is probed.

        Warns:
            VoxmixWarning: once, when it has fallen below the start by more than chance.
        """
        parted = run.compute.sharing == "fsdp" and run.compute.processes > 1
        if parted or not run.fabric.is_global_zero or not self.cases:
            return None
        if self._first is None and run.steps_done > 0:  # taken up in the middle
            begun = self.objective.build()
            run.fabric.to_device(begun)
            self._first = self._score(begun, run)
        found = self._score(run.model, run)
        if found is None:
            return None
        if run.steps_done == 0:
            self._first = found
            return {"probe_at_start": found.value, "probe_at_start_se": found.error}
        if self._first is None:
            return None
        change, error = found.change_from(self._first)
        seen = {
            "probe": found.value,
            "probe_se": found.error,
            "probe_change": change,
            "probe_change_se": error,
        }
        alarm = fallen(seen, self._measured.spec)
        if alarm and not self._told:
            self._told = True
            of = "" if run.steps is None else f" of {run.steps:,}"
            warnings.warn(
                f"run {self._measured.spec.run_id}, step {run.steps_done:,}{of}: {alarm}",
                VoxmixWarning,
                stacklevel=2,
            )
        return seen

    def _score(self, model: nn.Module, run: Running) -> ProbeScore | None:
        features = self._features(model.get_submodule(self._measured.encoder_prefix.rstrip(".")), run)
        if not np.isfinite(features).all():
            return None
        names = known_labels(self.cases)
        truth = np.array(
            [[item.labels.get(name, np.nan) for name in names] for item in self.cases], dtype=np.float64
        )
        return probe_score(features, truth, [item.person for item in self.cases])

    @torch.no_grad()
    def _features(self, backbone: nn.Module, run: Running) -> Float[np.ndarray, "case feature"]:
        """Return class tokens beside means of patches of the images' middles, and leave everything as it was."""
        assert isinstance(backbone, Backbone)
        modes = {name: module.training for name, module in backbone.named_modules()}
        dtype = next(backbone.parameters()).dtype
        found = []
        backbone.eval()
        try:
            for start in range(0, len(self.cases), _ROWS):
                pixels = self._pixels(self.cases[start : start + _ROWS], run).to(dtype)
                with run.fabric.autocast():
                    seen = backbone(pixels)
                parts = (seen.cls, seen.patches.mean(dim=1))
                found.append(torch.cat([part.float() for part in parts], dim=1).cpu())
        finally:
            for name, module in backbone.named_modules():
                module.training = modes[name]
        return torch.cat(found).double().numpy()

    def _pixels(self, items: Sequence[Item], run: Running) -> Float[torch.Tensor, "case channel *edge"]:
        source = self._measured.source
        shapes = np.array([item.shape for item in items], dtype=np.int64)
        canvas = torch.zeros(len(items), *shapes.max(axis=0).tolist())
        for row, item in zip(canvas, items, strict=True):
            array = torch.from_numpy(np.ascontiguousarray(source.array(item))).float()
            row[tuple(slice(0, edge) for edge in array.shape)] = array
        axes = shapes.shape[1]
        kind = one_view(self._measured.spec)
        whole = Parts(
            center=shapes / 2,
            half=np.repeat(shapes.min(axis=1, keepdims=True) / 2, axes, axis=1),
            turn=np.broadcast_to(np.eye(axes), (len(items), axes, axes)),
        )
        finer = samples_per_pixel(tuple(shapes.max(axis=0).tolist()), kind)
        return see(canvas.to(run.fabric.device), shapes, whole, edge=kind.edge, finer=finer)


def watched_items(source: Source, count: int) -> tuple[Item, ...]:
    """Return images of training persons with labels, of as many persons as can be, in an order that no run changes.

    Of a subset those outside it, where they are half as many as wanted.
    """
    whole = getattr(source, "whole", source)
    own = {item.key for item in items_of(source, "train")}
    labeled = [item for item in items_of(whole, "train") if item.labels]
    outside = [item for item in labeled if item.key not in own]
    pool = outside if len(outside) >= max(count / 2, LEAST) else labeled
    met: Counter[str] = Counter()
    ranked = []
    for item in sorted(pool, key=lambda item: _place(item.key)):
        ranked.append((met[item.person], _place(item.person), item))
        met[item.person] += 1
    ranked.sort(key=lambda entry: entry[:2])
    return tuple(item for *_, item in ranked[:count])


def known_labels(items: Sequence[Item]) -> tuple[str, ...]:
    """Return the labels that enough of these images have, and enough are known to lack, sorted."""
    counts = Counter((name, value) for item in items for name, value in item.labels.items())
    return tuple(
        sorted(name for name in {n for n, _ in counts} if min(counts[name, 0], counts[name, 1]) >= _OF_EACH)
    )


def _flops_of_one(spec: EncoderSpec) -> int:
    """Return the operations of one image through the backbone."""
    backbone = weightless(spec)
    pixels = torch.zeros(1, 1, *(spec.backbone.image,) * spec.backbone.axes, device="meta")
    return max(counted_flops(lambda: backbone(pixels)), 1)


def _place(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
