"""The finetuning loop: every task, initialization and control is a call of :func:`finetune`."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix import __version__
from voxmix._io import digest, naming_full_disk, read_mapping, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings, Device
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.inference import CasePrediction, mean_score, predict, score
from voxmix.downstream.loss import build_loss
from voxmix.downstream.networks import Control, build_network, flops_per_crop, initialize
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.transforms import CropSource, change
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.encoders.networks import parameter_count
from voxmix.errors import InputError, VoxmixError
from voxmix.runs.files import FINETUNING_FORMAT, METRICS_FILE, RESULT_FILE, SPEC_FILE, STATE_FILE
from voxmix.runs.provenance import provenance
from voxmix.settings import checked
from voxmix.training.checkpoint import drop_states, load_state, save_state
from voxmix.training.devices import launch_fabric
from voxmix.training.interrupt import interrupts_deferred
from voxmix.training.optimizer import build_optimizer, learning_rate
from voxmix.training.step_log import MetricsLog

SavePrediction = Callable[[CasePrediction, CaseSet], None]
_FLUSH_STEPS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneSpec:
    """One finetuning run. All runs that are compared share ``protocol``.

    ``init`` names the initialization; ``checkpoint`` the pretraining run that its weights come from, None from
    scratch.
    """

    protocol: Protocol
    init: str
    seed: int
    control: Control | None = None
    checkpoint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-like data."""
        return {
            "protocol": self.protocol.as_dict(),
            "init": self.init,
            "control": self.control,
            "seed": self.seed,
            "checkpoint": self.checkpoint,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "FinetuneSpec":
        """Return the spec written by :meth:`as_dict`.

        Raises:
            InputError: a part that is missing, not known or cannot be used.
        """
        protocol = Protocol.from_dict(value.get("protocol") or {})
        return checked(cls, {**value, "protocol": protocol}, where="finetuning spec")

    @property
    def run_id(self) -> str:
        """Digest of the spec: same spec, same run."""
        return digest(self.as_dict())


def finetune(
    spec: FinetuneSpec,
    *,
    cases: CaseSet,
    encoder: PretrainedEncoder | None,
    folder: Path,
    device: Device = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    surface: bool = False,
    save_prediction: SavePrediction | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Finetune into ``folder``, or finish a run that was stopped; a finished one is left as it is.

    On a CPU the result depends on ``spec``, ``cases``, ``encoder`` and ``threads`` alone: a run that was killed
    and resumed ends with the same weights, bit for bit. ``progress`` counts draws. ``save_prediction`` gets
    every test case's prediction.

    Raises:
        InputError: spec, cases, encoder and folder do not belong together, or an image is smaller than the crop.
        VoxmixError: the loss is not finite or diverges, or the disk is full.
    """
    if (folder / RESULT_FILE).is_file():
        drop_states(folder)
        progress(spec.protocol.settings.draws, spec.protocol.settings.draws)
        return
    _check(spec, cases, encoder, folder)
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = launch_fabric(ComputeSettings(device=device), precision="32-true")
    with naming_full_disk(folder):
        write_json(folder / SPEC_FILE, {**spec.as_dict(), "run_id": spec.run_id})
        run = _Run.start(spec, fabric, cases=cases, encoder=encoder, folder=folder)
        _steps(run, checkpoint_seconds=checkpoint_seconds, progress=progress)
        rows = _test(run, surface=surface, save_prediction=save_prediction)
        write_json(folder / RESULT_FILE, _result(run, rows))
        drop_states(folder)


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


@dataclass(kw_only=True, slots=True)
class _Run:
    """A run in the middle of its training."""

    spec: FinetuneSpec
    cases: CaseSet
    folder: Path
    fabric: Fabric
    network: nn.Module
    optimizer: torch.optim.AdamW
    source: CropSource
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: MetricsLog
    curve: list[dict[str, Any]]
    steps_done: int
    elapsed: Callable[[], float]

    @classmethod
    def start(
        cls,
        spec: FinetuneSpec,
        fabric: Fabric,
        *,
        cases: CaseSet,
        encoder: PretrainedEncoder | None,
        folder: Path,
    ) -> "_Run":
        """Return the run at its beginning, or where its last state stands."""
        network = build_network(spec.protocol, classes=len(cases.classes), seed=spec.seed)
        weights = None if encoder is None else encoder.weights
        initialize(network, weights, control=spec.control, seed=spec.seed)
        fabric.to_device(network)
        optimizer = build_optimizer(network, spec.protocol.settings.optimization)
        state = load_state(folder)
        steps_done, before = 0, 0.0
        curve: list[dict[str, Any]] = []
        if state is not None:
            if state["run_id"] != spec.run_id:
                raise InputError(
                    f"{folder / STATE_FILE} belongs to another run; delete {folder} to start again"
                )
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            steps_done, before, curve = state["steps"], state["seconds"], state["curve"]
        metrics = MetricsLog(folder / METRICS_FILE)
        metrics.keep(steps_done)
        began = time.monotonic()
        return cls(
            spec=spec,
            cases=cases,
            folder=folder,
            fabric=fabric,
            network=network,
            optimizer=optimizer,
            source=CropSource(cases, spec.protocol, seed=spec.seed),
            loss=build_loss(spec.protocol),
            metrics=metrics,
            curve=curve,
            steps_done=steps_done,
            elapsed=lambda: before + time.monotonic() - began,
        )

    def save(self) -> None:
        """Write the state; the metrics first, so that they are never behind it."""
        self.metrics.flush()
        save_state(
            self.folder,
            {
                "run_id": self.spec.run_id,
                "steps": self.steps_done,
                "seconds": self.elapsed(),
                "curve": self.curve,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )


def _steps(run: _Run, *, checkpoint_seconds: float, progress: ProgressCallback) -> None:
    """Make every step that is left; the last batch is smaller where the draws ask for it."""
    settings = run.spec.protocol.settings
    draws, size = settings.draws, settings.batch_size
    steps = math.ceil(draws / size)
    looks = {math.ceil(steps * k / settings.validations) for k in range(1, settings.validations + 1)}
    network, optimizer = run.fabric.setup(run.network, run.optimizer)
    progress(min(run.steps_done * size, draws), draws)
    saved = time.monotonic()
    with interrupts_deferred() as interrupted:
        while run.steps_done < steps:
            network.train()
            start, stop = run.steps_done * size, min((run.steps_done + 1) * size, draws)
            rate = learning_rate(run.steps_done, steps=steps, settings=settings.optimization)
            for group in optimizer.param_groups:
                group["lr"] = rate

            images, labels = (run.fabric.to_device(part) for part in run.source.batch(start, stop))
            images, labels = change(images, labels, run.source.numbers(start, stop), run.spec.protocol)
            loss = run.loss(network(images), labels)
            run.fabric.backward(loss)
            norm = run.fabric.clip_gradients(
                network, optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False
            )
            optimizer.step()
            optimizer.zero_grad()

            run.steps_done += 1
            assert norm is not None
            run.metrics.add(
                step=run.steps_done,
                draws=stop,
                losses={"loss": loss.detach()},
                gradient_norm=norm,
                learning_rate=rate,
            )
            if run.steps_done % _FLUSH_STEPS == 0 or run.steps_done == steps:
                run.metrics.flush()
            progress(stop, draws)
            if run.steps_done in looks:
                run.curve.append({"step": run.steps_done, "draws": stop, "validation": _validate(run)})
            stopping = interrupted()
            if stopping or run.steps_done == steps or time.monotonic() - saved >= checkpoint_seconds:
                run.save()
                saved = time.monotonic()
            if stopping:
                break


def _validate(run: _Run) -> float | None:
    """Return the mean score over the validation cases, with the overlap for training time."""
    protocol = run.spec.protocol
    run.network.eval()
    rows = [
        score(
            predict(run.network, run.cases, case, protocol, overlap=protocol.settings.training_overlap),
            run.cases,
            protocol,
        )
        for case in run.cases.part("validation")
    ]
    return mean_score(rows)


def _test(run: _Run, *, surface: bool, save_prediction: SavePrediction | None) -> list[dict[str, Any]]:
    protocol = run.spec.protocol
    run.network.eval()
    rows = []
    for case in run.cases.part("test"):
        found = predict(run.network, run.cases, case, protocol, overlap=protocol.settings.final_overlap)
        rows.append(score(found, run.cases, protocol, surface=surface))
        if save_prediction is not None:
            save_prediction(found, run.cases)
    return rows


def _result(run: _Run, rows: list[dict[str, Any]]) -> dict[str, Any]:
    spec, protocol = run.spec, run.spec.protocol
    classes = len(run.cases.classes)
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
        "parameters": parameter_count(run.network),
        "seconds": round(run.elapsed(), 3),
        "classes": list(run.cases.classes),
        "sigmoid": protocol.task.regions,
        "cases": rows,
        "curve": run.curve,
        "split": {part: len(run.cases.part(part)) for part in ("train", "validation", "test")},
        "notes": list(run.cases.notes),
        "set_aside": run.cases.set_aside,
        "training_subjects_also_pretrained_on": run.cases.overlap,
        "threads": torch.get_num_threads(),
        "versions": environment["versions"],
        "machine": environment["machine"],
        "finished": environment["time"],
        "code": __version__,
    }
