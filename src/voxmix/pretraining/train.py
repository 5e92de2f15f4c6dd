"""The training loop: every proxy, mixture check and final pretraining is a call of :func:`train`."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.functional import mse_loss

from voxmix._io import naming_full_disk, read_json, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import InputError, VoxmixError
from voxmix.pretraining.augment import augment, noise_bank
from voxmix.pretraining.build import Autoencoder, build_model
from voxmix.pretraining.checkpoint import STATE_FILE, load_state, save_state
from voxmix.pretraining.crops import CropReader
from voxmix.pretraining.evaluate import EvaluationSet
from voxmix.pretraining.interrupt import interrupts_deferred
from voxmix.pretraining.metrics import MetricsLog
from voxmix.pretraining.optimizer import build_optimizer, learning_rate
from voxmix.pretraining.publish import RESULT_FILE, publish
from voxmix.pretraining.sampling import DrawPlan, draw_parameters, plan_draws
from voxmix.volumes.cache import PreparedCache

SPEC_FILE, METRICS_FILE = "spec.json", "metrics.jsonl"
_FLUSH_STEPS = 20  # losses stay on the device in between: one synchronization per so many steps


def train(
    spec: RunSpec,
    *,
    cache: PreparedCache,
    evaluation: EvaluationSet,
    folder: Path,
    device: str = "cpu",
    threads: int | None = None,
    checkpoint_seconds: float = 60.0,
    progress: ProgressCallback = silent,
) -> None:
    """Train one run into ``folder``, or finish one that was stopped; a finished run is left as it is.

    On a CPU the result depends on ``spec``, ``cache`` and ``threads`` alone: a run that was killed and resumed
    ends with the same weights, bit for bit. ``progress`` counts draws.

    Raises:
        InputError: spec, cache, evaluation set and folder do not belong together; a domain with weight has
            no training volume; the crop is larger than a volume.
        VoxmixError: the loss is not finite or diverges, the disk is full, memory runs out.
    """
    if (folder / RESULT_FILE).is_file():
        (folder / STATE_FILE).unlink(missing_ok=True)
        progress(spec.budget, spec.budget)
        return
    check_belongs(spec, cache=cache, evaluation=evaluation, folder=folder)
    if threads is not None:
        torch.set_num_threads(threads)
    volumes = [len(cache.select(name, "train")) for name in spec.mixture.domains]
    plan = plan_draws(spec.mixture, budget=spec.budget, seed=spec.seed, volumes=volumes)
    with naming_full_disk(folder), naming_lost_memory(spec):
        write_json(folder / SPEC_FILE, spec.as_dict())
        run = _Run.start(
            spec, plan=plan, cache=cache, evaluation=evaluation.digest, folder=folder, device=device
        )
        _steps(run, checkpoint_seconds=checkpoint_seconds, progress=progress)
        publish(
            spec, run.model, plan=plan, cache=cache, evaluation=evaluation, folder=folder, elapsed=run.elapsed
        )
        (folder / STATE_FILE).unlink(missing_ok=True)


def check_belongs(spec: RunSpec, *, cache: PreparedCache, evaluation: EvaluationSet, folder: Path) -> None:
    """Check that a run, its volumes, its evaluation set and its folder belong together.

    Raises:
        InputError: names the two that do not.
    """
    unknown = [name for name in spec.mixture.domains if name not in cache.domains]
    if unknown:
        raise InputError(
            f"the mixture names {unknown}, the prepared volumes have {list(cache.domains)}; "
            "correct the name, or prepare volumes of it"
        )
    if spec.cache and spec.cache != cache.digest:
        raise InputError(
            f"the run was planned for prepared volumes {spec.cache}, those given are {cache.digest}; "
            "plan it again for these volumes, or give the folder it was planned for"
        )
    if evaluation.crops.shape[-1] != spec.model.crop:
        raise InputError(
            f"the evaluation set has crops of {evaluation.crops.shape[-1]} voxels, the run of "
            f"{spec.model.crop}; build the evaluation set with the run's model settings"
        )
    path = folder / SPEC_FILE
    if path.exists() and RunSpec.from_dict(read_json(path)).run_id != spec.run_id:
        raise InputError(
            f"{folder} holds another run than the one asked for: its settings were changed after it began; "
            "delete the folder to start again, or restore the settings to go on"
        )


@dataclass(kw_only=True, slots=True)
class _Run:
    """A run in the middle of its training."""

    spec: RunSpec
    evaluation: str
    folder: Path
    fabric: Fabric
    model: Autoencoder
    optimizer: torch.optim.AdamW
    reader: CropReader
    metrics: MetricsLog
    steps_done: int
    elapsed: Callable[[], float]

    @classmethod
    def start(
        cls,
        spec: RunSpec,
        *,
        plan: DrawPlan,
        cache: PreparedCache,
        evaluation: str,
        folder: Path,
        device: str,
    ) -> "_Run":
        """Return the run at its beginning, or where its last state stands."""
        fabric = Fabric(accelerator=device, devices=1)
        model = build_model(spec.model, domains=len(spec.mixture.domains), seed=spec.seed)
        fabric.to_device(model)
        optimizer = build_optimizer(model, spec.training)
        state = load_state(folder)
        steps_done, before = 0, 0.0
        if state is not None:
            if (state["run_id"], state["evaluation"]) != (spec.run_id, evaluation):
                raise InputError(
                    f"{folder / STATE_FILE} belongs to another run or evaluation set; delete {folder} and the "
                    "run starts again"
                )
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            steps_done, before = state["steps"], state["seconds"]
        metrics = MetricsLog(folder / METRICS_FILE)
        metrics.keep(steps_done)
        began = time.monotonic()
        return cls(
            spec=spec,
            evaluation=evaluation,
            folder=folder,
            fabric=fabric,
            model=model,
            optimizer=optimizer,
            reader=CropReader(cache, plan, crop=spec.model.crop),
            metrics=metrics,
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
                "evaluation": self.evaluation,
                "steps": self.steps_done,
                "seconds": self.elapsed(),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )


def _steps(run: _Run, *, checkpoint_seconds: float, progress: ProgressCallback) -> None:
    """Make every step that is left; the last batch is smaller where the budget asks for it."""
    spec, fabric = run.spec, run.fabric
    budget, batch_size = spec.budget, spec.training.batch_size
    steps = math.ceil(budget / batch_size)
    edge = spec.model.crop
    host = torch.empty(
        (batch_size, edge, edge, edge), dtype=torch.float16, pin_memory=fabric.device.type == "cuda"
    )
    bank = noise_bank(voxels=edge**3, device=fabric.device)
    network, optimizer = fabric.setup(run.model, run.optimizer)
    network.train()
    progress(min(run.steps_done * batch_size, budget), budget)
    saved = time.monotonic()
    with interrupts_deferred() as interrupted:
        stopping = False
        while run.steps_done < steps and not stopping:
            start, stop = run.steps_done * batch_size, min((run.steps_done + 1) * batch_size, budget)
            drawn = draw_parameters(start, stop, seed=spec.seed, model=spec.model, training=spec.training)
            crops = run.reader.read(start, drawn, host).to(fabric.device, torch.float32)
            augment(crops, drawn, bank)
            visible, masked, domain = fabric.to_device(
                (
                    torch.from_numpy(drawn.visible),
                    torch.from_numpy(drawn.masked),
                    run.reader.domains(start, stop),
                )
            )
            rate = learning_rate(run.steps_done, steps=steps, settings=spec.training)
            for group in optimizer.param_groups:
                group["lr"] = rate

            predicted, truth = network(crops, visible, masked, domain)
            loss = mse_loss(predicted, truth)
            fabric.backward(loss)
            norm = _clip(run, network, optimizer)
            optimizer.step()
            optimizer.zero_grad()

            run.steps_done += 1
            run.metrics.add(
                step=run.steps_done, draws=stop, loss=loss.detach(), gradient_norm=norm, learning_rate=rate
            )
            if run.steps_done % _FLUSH_STEPS == 0 or run.steps_done == steps:
                run.metrics.flush()
                progress(stop, budget)
            stopping = interrupted()
            if stopping or time.monotonic() - saved >= checkpoint_seconds:
                run.save()
                saved = time.monotonic()


def _clip(run: _Run, network: Any, optimizer: Any) -> Tensor:
    norm = run.fabric.clip_gradients(
        network, optimizer, max_norm=run.spec.training.clip_norm, error_if_nonfinite=False
    )
    assert norm is not None
    return norm


@contextmanager
def naming_lost_memory(spec: RunSpec) -> Iterator[None]:
    """Turn "out of memory" of the device or the machine into a sentence with the settings to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        words = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in words:
            raise
        raise VoxmixError(
            f"out of memory with batch_size {spec.training.batch_size}, crop {spec.model.crop} and width "
            f"{spec.model.width}; lower batch_size first, then crop or width. The last state is kept"
        ) from error
