"""Masked reconstruction as an objective: one network, one crop and one mask per draw, the error of what was hidden."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.mae import TransformerBlock
from voxmix.encoders.networks import budget_in_draws, build_model
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.publish import publish
from voxmix.objectives.mae.run_checks import check_belongs
from voxmix.objectives.mae.views import Batch, Batches, plan_run
from voxmix.training.devices import loaders_of
from voxmix.training.objective import Course, Running
from voxmix.training.optimizer import decays_usually
from voxmix.training.pieces import rows_at_once
from voxmix.volumes.preparing.cache import PreparedCache


@dataclass(frozen=True, kw_only=True)
class MaskedReconstruction:
    """Pretraining by reconstructing hidden patches of volumes that a mixture of domains draws.

    Attributes:
        evaluation: the held-out crops on which the network is measured; None for a run that is not published.

    Raises:
        InputError: the budget does not pay for one draw.
    """

    spec: RunSpec
    cache: PreparedCache
    evaluation: EvaluationSet | None = None
    flat: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self.course  # refuses a budget that does not pay for one draw

    @cached_property
    def course(self) -> Course:
        """The budget in draws or seconds, and the digests of crops and volumes."""
        spec = self.spec
        measured = "" if self.evaluation is None else self.evaluation.digest
        return Course(
            spec=spec,
            training=spec.training,
            draws=budget_in_draws(spec),
            seconds=spec.budget if spec.budget_unit == "seconds" else None,
            inputs={"evaluation": measured, "cache": self.cache.digest},
            trunk_id=spec.trunk_id,
        )

    def check(self, folder: Path) -> None:
        """Refuse a run, volumes, crops and a folder that do not belong together.

        Raises:
            InputError: names what does not; a domain with weight has no training volume.
        """
        assert self.evaluation is not None
        check_belongs(self.spec, cache=self.cache, evaluation=self.evaluation, folder=folder)
        plan_run(self.spec, self.course.draws, cache=self.cache)

    def build(self) -> Autoencoder:
        """Return the autoencoder with its starting weights."""
        return build_model(self.spec.model, domains=len(self.spec.mixture.domains), seed=self.spec.seed)

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the transformer blocks of encoder and decoder."""
        return [module for module in model.modules() if isinstance(module, TransformerBlock)]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter."""
        return decays_usually(name, parameter)

    def views(self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings) -> Batches:
        """Return the reader of a run of so many draws, or of an open trunk."""
        plan = plan_run(self.spec, draws, cache=self.cache, least=least)
        rows = rows_at_once(self.spec.training, compute)
        return Batches(
            self.spec,
            plan,
            cache=self.cache,
            fabric=fabric,
            rows=rows,
            loaders=loaders_of(compute, fabric.device),
            resident=compute.resident,
        )

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared error of the hidden voxels."""
        predicted, truth = network(batch.crops, batch.visible, batch.masked, batch.domain)
        return {"loss": batch.loss(predicted, truth)}

    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Do nothing: the network is measured when it is trained."""
        return None

    def state(self) -> dict[str, Any]:
        """Return nothing: draws are pure functions of the seed."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up nothing."""

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Measure the network on every target, write weights, card, pictures and the result; return the losses."""
        assert self.evaluation is not None
        assert isinstance(model, Autoencoder)
        plan = plan_run(self.spec, run.draws, cache=self.cache)
        return publish(self.spec, model, run, plan=plan, cache=self.cache, evaluation=self.evaluation)
