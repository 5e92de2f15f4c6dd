"""Finetuning as an objective: the one training loop learns a task from cases, and scores its test cases at the end."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix import __version__
from voxmix._io import read_mapping, write_json
from voxmix.compute import ComputeSettings
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.inference import SavePrediction, mean_score, scored
from voxmix.downstream.loss import build_loss
from voxmix.downstream.networks import build_network, flops_per_crop, initialize
from voxmix.downstream.spec import FinetuneSpec
from voxmix.downstream.views import CaseBatch, CaseViews
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.encoders.mae import TransformerBlock
from voxmix.encoders.networks import parameter_count
from voxmix.errors import InputError, VoxmixError
from voxmix.runs.files import FINETUNING_FORMAT, RESULT_FILE, SPEC_FILE
from voxmix.runs.provenance import provenance
from voxmix.training.devices import loaders_of
from voxmix.training.objective import Course, Running
from voxmix.training.optimizer import decays_usually


@dataclass(kw_only=True)
class Finetuning:
    """Learning a task from crops of its training cases, from an encoder or from scratch.

    Attributes:
        surface: score the distance of surfaces too.
        save_prediction: gets every test case's prediction.
        curve: scores of the validation cases on the way.
    """

    spec: FinetuneSpec
    cases: CaseSet
    encoder: PretrainedEncoder | None
    surface: bool = False
    save_prediction: SavePrediction | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)
    flat: ClassVar[bool] = False  # one by one, as ever: norms, and so all results, keep their bits

    def __post_init__(self) -> None:
        protocol = self.spec.protocol
        self._loss = build_loss(protocol)
        steps, looks = self.course.training.steps(protocol.settings.draws), protocol.settings.validations
        self._looks = {math.ceil(steps * k / looks) for k in range(1, looks + 1)}

    @cached_property
    def course(self) -> Course:
        """The draws of the protocol, in its steps."""
        spec, settings = self.spec, self.spec.protocol.settings
        return Course(
            spec=spec,
            training=settings.optimization,
            draws=settings.draws,
            described={**spec.as_dict(), "run_id": spec.run_id},
        )

    def check(self, folder: Path) -> None:
        """Refuse a spec, cases, an encoder and a folder that do not belong together.

        Raises:
            InputError: names what does not.
        """
        _check(self.spec, self.cases, self.encoder, folder)

    def build(self) -> nn.Module:
        """Return the network with the encoder's weights, changed as the control asks."""
        spec = self.spec
        network = build_network(spec.protocol, classes=len(self.cases.classes), seed=spec.seed)
        weights = None if self.encoder is None else self.encoder.weights
        initialize(network, weights, control=spec.control, seed=spec.seed)
        return network

    def blocks(self, model: nn.Module) -> Iterable[nn.Module]:
        """Return the transformer blocks of the encoder."""
        return [module for module in model.modules() if isinstance(module, TransformerBlock)]

    def decays(self, name: str, parameter: nn.Parameter) -> bool:
        """Return whether weight decay acts on a parameter."""
        return decays_usually(name, parameter)

    def views(self, draws: int | None, *, least: int, fabric: Fabric, compute: ComputeSettings) -> CaseViews:
        """Return the reader of the protocol's draws."""
        return CaseViews(
            self.cases,
            self.spec.protocol,
            seed=self.spec.seed,
            fabric=fabric,
            loaders=loaders_of(compute, fabric.device),
        )

    def losses(self, network: nn.Module, batch: CaseBatch) -> dict[str, Tensor]:
        """Return the loss of the task."""
        return {"loss": self._loss(network(batch.images), batch.labels, batch.known)}

    def after_step(self, run: Running) -> Mapping[str, float] | None:
        """Score the validation cases, as often as the protocol says; the first process does, the others wait for it."""
        if run.steps_done not in self._looks:
            return None
        settings = self.spec.protocol.settings
        model, value = run.whole_model(), None
        if run.fabric.is_global_zero:
            model.eval()
            value = mean_score(
                scored(model, self.cases, "validation", self.spec.protocol, overlap=settings.training_overlap)
            )
            run.model.train()
        draws = min(run.steps_done * settings.batch_size, settings.draws)
        self.curve.append({"step": run.steps_done, "draws": draws, "validation": value})
        return {} if value is None else {"validation_score": value}

    def state(self) -> dict[str, Any]:
        """Return the scores so far."""
        return {"curve": self.curve}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the scores so far."""
        self.curve = state["curve"]

    def publish(self, run: Running, model: nn.Module) -> Mapping[str, float]:
        """Score the test cases and write the result; return their mean score."""
        rows = scored(
            model,
            self.cases,
            "test",
            self.spec.protocol,
            overlap=self.spec.protocol.settings.final_overlap,
            surface=self.surface,
            save=self.save_prediction,
        )
        write_json(run.folder / RESULT_FILE, self._result(run, model, rows))
        value = mean_score(rows)
        return {} if value is None else {"test_score": value}

    def _result(self, run: Running, model: nn.Module, rows: list[dict[str, Any]]) -> dict[str, Any]:
        spec, protocol = self.spec, self.spec.protocol
        classes = len(self.cases.classes)
        if not rows:
            raise VoxmixError(f"no test case of task {protocol.task.name} could be scored")
        environment = provenance()
        return {
            "format": FINETUNING_FORMAT,
            "task": protocol.task.name,
            "kind": protocol.task.kind,
            "init": spec.init,
            "control": spec.control,
            "seed": spec.seed,
            "run_id": spec.run_id,
            "protocol_digest": protocol.digest,
            "protocol": protocol.as_dict(),
            "checkpoint": spec.checkpoint,
            "draws": protocol.settings.draws,
            "flops": protocol.settings.draws * flops_per_crop(protocol, classes=classes),
            "parameters": self._parameters(model),
            "seconds": round(run.seconds(), 3),
            "classes": list(self.cases.classes),
            "sigmoid": protocol.task.regions,
            "cases": rows,
            "curve": self.curve,
            "split": {part: len(self.cases.part(part)) for part in ("train", "validation", "test")},
            "notes": list(self.cases.notes),
            "set_aside": self.cases.set_aside,
            "training_subjects_also_pretrained_on": self.cases.overlap,
            "threads": torch.get_num_threads(),
            "computed": run.computed,
            "versions": environment["versions"],
            "machine": environment["machine"],
            "finished": environment["time"],
            "code": __version__,
        }

    def _parameters(self, model: nn.Module) -> int:
        """Return how many numbers learn; those that a control keeps from having an effect count as if they did."""
        if self.spec.control == "no-tokens":
            return sum(parameter.numel() for parameter in model.parameters())
        return parameter_count(model)


def _check(spec: FinetuneSpec, cases: CaseSet, encoder: PretrainedEncoder | None, folder: Path) -> None:
    if spec.protocol.cases != cases.digest:
        raise InputError(
            f"the run was planned for cases {spec.protocol.cases}, those given are {cases.digest}; plan it again"
        )
    if (spec.checkpoint is None) != (encoder is None):
        raise InputError(f"initialization {spec.init} needs {'no ' if encoder else 'an '}encoder")
    path = folder / SPEC_FILE
    if path.exists() and read_mapping(path).get("run_id") != spec.run_id:
        raise InputError(
            f"{folder} holds a run with other settings than those asked for; delete the folder to start again, or "
            "give the changed task a name of its own"
        )
