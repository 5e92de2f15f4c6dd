"""The training loop: every proxy, mixture check and final pretraining is a call of :func:`train`."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.functional import mse_loss

from voxmix._io import naming_full_disk, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.design import RunSpec
from voxmix.errors import InputError
from voxmix.pretraining.augment import augment, noise_bank
from voxmix.pretraining.build import Autoencoder, build_model
from voxmix.pretraining.checkpoint import STATE_FILE, load_state, save_state
from voxmix.pretraining.crops import CropReader
from voxmix.pretraining.evaluate import EvaluationSet
from voxmix.pretraining.interrupt import interrupts_deferred
from voxmix.pretraining.metrics import MetricsLog
from voxmix.pretraining.optimizer import build_optimizer, learning_rate
from voxmix.pretraining.preconditions import SPEC_FILE, check_belongs, naming_lost_memory
from voxmix.pretraining.publish import RESULT_FILE, publish
from voxmix.pretraining.sampling import DrawPlan, draw_parameters, plan_draws
from voxmix.volumes.cache import PreparedCache

METRICS_FILE = "metrics.jsonl"
Precision = Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true"]
_FLUSH_STEPS = 20  # losses stay on the device in between: one synchronization per so many steps


def train(
    spec: RunSpec,
    *,
    cache: PreparedCache,
    evaluation: EvaluationSet,
    folder: Path,
    device: str = "cpu",
    devices: int = 1,
    threads: int | None = None,
    precision: Precision = "32-true",
    micro_batch: int | None = None,
    checkpoint_seconds: float = 60.0,
    progress: ProgressCallback = silent,
) -> None:
    """Train one run into ``folder``, or finish one that was stopped; a finished run is left as it is.

    On a CPU the result depends on ``spec``, ``cache`` and ``threads`` alone: a run that was killed and resumed
    ends with the same weights, bit for bit. ``progress`` counts draws.

    ``devices`` above 1 shares every batch out among so many processes (DDP); start them with ``torchrun
    --nproc-per-node``. Every process draws its own rows of the one plan, so the draws are those of one process.
    ``precision`` is lightning-fabric's. ``micro_batch`` computes a batch in pieces of so many draws and adds
    their gradients up: less memory for the same batch, the same result but for rounding.

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
    if micro_batch is not None and micro_batch < 1:
        raise InputError(
            f"micro_batch must be at least 1 draw, got {micro_batch}; leave it out for whole batches"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    volumes = [len(cache.select(name, "train")) for name in spec.mixture.domains]
    plan = plan_draws(spec.mixture, budget=spec.budget, seed=spec.seed, volumes=volumes)
    fabric = Fabric(
        accelerator=device, devices=devices, strategy="ddp" if devices > 1 else "auto", precision=precision
    )
    fabric.launch()
    if not fabric.is_global_zero:
        progress = silent
    with naming_full_disk(folder), naming_lost_memory(spec):
        if fabric.is_global_zero:
            write_json(folder / SPEC_FILE, spec.as_dict())
        fabric.barrier()
        run = _Run.start(spec, fabric, plan=plan, cache=cache, evaluation=evaluation.digest, folder=folder)
        _steps(run, micro_batch=micro_batch, checkpoint_seconds=checkpoint_seconds, progress=progress)
        if fabric.is_global_zero:
            computed = {
                "device": device,
                "devices": devices,
                "precision": precision,
                "micro_batch": micro_batch,
            }
            publish(
                spec,
                run.model,
                plan=plan,
                cache=cache,
                evaluation=evaluation,
                folder=folder,
                elapsed=run.elapsed,
                computed={**computed, "threads": torch.get_num_threads()},
            )
            (folder / STATE_FILE).unlink(missing_ok=True)
        fabric.barrier()


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
        fabric: Fabric,
        *,
        plan: DrawPlan,
        cache: PreparedCache,
        evaluation: str,
        folder: Path,
    ) -> "_Run":
        """Return the run at its beginning, or where its last state stands."""
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
        metrics = MetricsLog(folder / METRICS_FILE, writes=fabric.is_global_zero)
        if not fabric.is_global_zero:
            metrics.keep(steps_done)
        fabric.barrier()  # the others have read what the first one now cuts
        if fabric.is_global_zero:
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
        if not self.fabric.is_global_zero:
            return
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


def _steps(
    run: _Run, *, micro_batch: int | None, checkpoint_seconds: float, progress: ProgressCallback
) -> None:
    """Make every step that is left; the last batch is smaller where the budget asks for it."""
    spec, fabric = run.spec, run.fabric
    budget, batch_size = spec.budget, spec.training.batch_size
    steps = math.ceil(budget / batch_size)
    network, optimizer = fabric.setup(run.model, run.optimizer)
    batches = _Batches.make(run, rows=min(micro_batch or batch_size, batch_size))
    network.train()
    progress(min(run.steps_done * batch_size, budget), budget)
    saved = time.monotonic()
    with interrupts_deferred() as interrupted:
        stopping = False
        while run.steps_done < steps and not stopping:
            start, stop = run.steps_done * batch_size, min((run.steps_done + 1) * batch_size, budget)
            rate = learning_rate(run.steps_done, steps=steps, settings=spec.training)
            for group in optimizer.param_groups:
                group["lr"] = rate

            loss = torch.zeros((), device=fabric.device)
            pieces = list(batches.pieces(start, stop))
            for number, (first, last, weight) in enumerate(pieces, start=1):
                with fabric.no_backward_sync(network, enabled=number < len(pieces)):
                    predicted, truth = network(*batches.read(first, last))
                    share = mse_loss(predicted, truth) * weight
                    fabric.backward(share)
                loss += share.detach()
            if fabric.world_size > 1:
                loss = _mean_of_processes(fabric, loss)
            norm = _clip(run, network, optimizer)
            optimizer.step()
            optimizer.zero_grad()

            run.steps_done += 1
            run.metrics.add(
                step=run.steps_done, draws=stop, loss=loss, gradient_norm=norm, learning_rate=rate
            )
            if run.steps_done % _FLUSH_STEPS == 0 or run.steps_done == steps:
                run.metrics.flush()
                progress(stop, budget)
            due = time.monotonic() - saved >= checkpoint_seconds
            stopping, due = _agree(fabric, interrupted(), due)
            if stopping or due:
                run.save()
                saved = time.monotonic()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batches:
    """Draws as tensors on the device; the host's memory is used again for every batch."""

    run: _Run
    rows: int
    host: Tensor
    bank: Tensor

    @classmethod
    def make(cls, run: _Run, *, rows: int) -> "_Batches":
        edge, device = run.spec.model.crop, run.fabric.device
        shape = (rows, edge, edge, edge)
        host = torch.empty(shape, dtype=torch.float16, pin_memory=device.type == "cuda")
        return cls(run=run, rows=rows, host=host, bank=noise_bank(voxels=edge**3, device=device))

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, float]]:
        """Yield (first, last, weight) of what this process computes of the draws ``start`` to ``stop``.

        Gradients are averaged over processes, hence the weight's factor. A process without a row in a small
        last batch computes one with weight 0, because the others wait for it.
        """
        rank, world = self.run.fabric.global_rank, self.run.fabric.world_size
        total = stop - start
        mine, end = start + rank * total // world, start + (rank + 1) * total // world
        if mine == end:
            yield mine, mine + 1, 0.0
        for first in range(mine, end, self.rows):
            last = min(first + self.rows, end)
            yield first, last, (last - first) * world / total

    def read(self, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return augmented crops, seen patches, masked patches and domains of the draws ``start`` to ``stop``."""
        spec, fabric, reader = self.run.spec, self.run.fabric, self.run.reader
        drawn = draw_parameters(start, stop, seed=spec.seed, model=spec.model, training=spec.training)
        crops = reader.read(start, drawn, self.host).to(fabric.device, torch.float32)
        augment(crops, drawn, self.bank)
        visible, masked = torch.from_numpy(drawn.visible), torch.from_numpy(drawn.masked)
        return (crops, *fabric.to_device((visible, masked, reader.domains(start, stop))))


def _mean_of_processes(fabric: Fabric, value: Tensor) -> Tensor:
    mean = fabric.all_reduce(value, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean


def _agree(fabric: Fabric, stopping: bool, due: bool) -> tuple[bool, bool]:
    """Return whether any process was told to stop, and whether the first one wants to save."""
    if fabric.world_size == 1:
        return stopping, due
    flags = torch.tensor([stopping, due and fabric.is_global_zero], dtype=torch.float32, device=fabric.device)
    any_stopping, first_due = (_mean_of_processes(fabric, flags) > 0).tolist()
    return any_stopping, first_due


def _clip(run: _Run, network: Any, optimizer: Any) -> Tensor:
    norm = run.fabric.clip_gradients(
        network, optimizer, max_norm=run.spec.training.clip_norm, error_if_nonfinite=False
    )
    assert norm is not None
    return norm
