"""How a self-distillation goes on with its steps: teacher, temperatures, weight decay, what does not move yet."""

import math
from dataclasses import dataclass

from voxmix.encoder_runs import EncoderSpec
from voxmix.objective_rows import DinoSettings
from voxmix.objectives.images.subset import warm_steps
from voxmix.training.objective import Pace

HEAD, PROTOTYPES = "head", "prototypes"
"""Groups of parameters beside those of the backbone's levels, which are called by their number."""
PATCHES = "patches"
"""The group of the patch embedding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """What changes with the steps of a run, as DINOv2 (Oquab et al. 2023) has it.

    What rises over a share of the run holds where runs of several budgets share a trunk: momentum and weight decay at
    their start, the temperature at its end. So a trunk is the same for all of them.

    Attributes:
        settings: of the objective.
        top: level of what is above the blocks of the backbone.
        weight_decay: at the start.
        warm_steps: steps in which the backbone does not move.
        trunk: whether runs share a trunk.
    """

    settings: DinoSettings
    top: int
    weight_decay: float
    warm_steps: int
    trunk: bool

    @classmethod
    def of(cls, spec: EncoderSpec, *, top: int) -> "Schedule":
        """Return the schedule of a run."""
        settings, training = spec.objective_settings, spec.training
        assert isinstance(settings, DinoSettings)
        return cls(
            settings=settings,
            top=top,
            weight_decay=training.weight_decay,
            warm_steps=warm_steps(spec),
            trunk=training.schedule == "trunk",
        )

    def momentum(self, step: int, steps: int | None) -> float:
        """Return the teacher's momentum after a step: half a cosine from its start to 1."""
        return _half_cosine(self.settings.teacher_momentum, 1.0, self._share(step, steps))

    def temperature(self, step: int, steps: int | None) -> float:
        """Return the teacher's temperature: linear up to the end of its warm-up."""
        first, last = self.settings.teacher_temperature
        if self.trunk or steps is None or not self.settings.teacher_warmup:
            return last
        return first + (last - first) * min(step / (self.settings.teacher_warmup * steps), 1.0)

    def pace(self, group: str, *, step: int, steps: int | None) -> Pace:
        """Return the pace of a group of parameters."""
        own = self.settings
        final = self.weight_decay if own.final_weight_decay is None else own.final_weight_decay
        decay = _half_cosine(self.weight_decay, final, self._share(step, steps))
        frozen = 0 if self.trunk or steps is None else own.frozen_last_layer * steps
        if group == PROTOTYPES:
            rate = 0.0 if step < frozen else 1.0
        elif group == HEAD:
            rate = 1.0
        else:
            level = 0 if group == PATCHES else int(group)
            rate = own.layer_decay ** (self.top - level) * (own.patch_rate if group == PATCHES else 1.0)
            rate = 0.0 if step < self.warm_steps else rate
        return Pace(rate=rate, weight_decay=decay)

    def _share(self, step: int, steps: int | None) -> float:
        return 0.0 if self.trunk or steps is None else step / max(steps, 1)


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
