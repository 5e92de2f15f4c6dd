"""A run in the middle of its training: what it holds, how far it is, and its state on disk."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import Autoencoder, budget_in_draws, build_model
from voxmix.errors import InputError
from voxmix.runs.files import METRICS_FILE, STATE_FILE
from voxmix.training.batches import Batches, plan_run, rows_at_once
from voxmix.training.checkpoint import (
    load_state,
    restore_state,
    save_state,
    whole_state,
)
from voxmix.training.draws import DrawPlan
from voxmix.training.optimizer import FlatAdamW, build_optimizer
from voxmix.training.step_log import MetricsLog
from voxmix.training.trackers import Trackers
from voxmix.training.trunk import how_computed, leave_trunk, take_trunk
from voxmix.volumes.preparing.cache import PreparedCache


@dataclass(kw_only=True, slots=True)
class Session:
    """A run in the middle of its training.

    Attributes:
        draws: budget in draws; None until a time budget is converted to draws.
        plan: domain and volume of every draw, or of the trunk's first ones while ``draws`` is None.
        model: the network; ``network`` is the same as Fabric calls it.
        steps_done: whole batches behind it.
        shared_draws: draws, and ``shared_seconds`` their time, that another run of the trunk has made for this one.
        elapsed: seconds of training so far, those shared included.
    """

    spec: RunSpec
    compute: ComputeSettings
    cache: PreparedCache
    evaluation: str
    folder: Path
    trunk: Path | None
    fabric: Fabric
    model: Autoencoder
    network: Any
    optimizer: Any
    metrics: MetricsLog
    trackers: Trackers
    draws: int | None
    plan: DrawPlan
    batches: Batches
    steps_done: int = 0
    shared_draws: int = 0
    shared_seconds: float = 0.0
    elapsed: Callable[[], float]

    @classmethod
    def start(
        cls,
        spec: RunSpec,
        fabric: Fabric,
        *,
        compute: ComputeSettings,
        cache: PreparedCache,
        evaluation: str,
        folder: Path,
        trunk: Path | None,
    ) -> "Session":
        """Return the run at its beginning, where its last state stands, or where its trunk has come.

        Raises:
            InputError: the state on disk is of another run, evaluation set or cache; the budget cannot be met.
        """
        model = build_model(spec.model, domains=len(spec.mixture.domains), seed=spec.seed)
        fabric.to_device(model)
        # FSDP2 shares parameters out one by one.
        flat = compute.sharing != "fsdp" or compute.processes == 1
        own = FlatAdamW(model, spec.training) if flat else None
        # Sizes as constants: for free ones, fused gathers are slower than the network as it is.
        compiled: Any = torch.compile(model, dynamic=False) if compute.compile else model
        network = fabric.setup_module(compiled)
        optimizer: Any = fabric.setup_optimizers(own or build_optimizer(model, spec.training))
        draws = budget_in_draws(spec)
        state = _own_state(folder, spec=spec, evaluation=evaluation, cache=cache)
        shared_draws, shared_seconds = 0, 0.0
        if state is not None:
            draws, shared_draws, shared_seconds = (
                state[name] for name in ("draws", "shared_draws", "shared_seconds")
            )
        elif trunk is not None and draws is not None:
            most, how = spec.training.branch_step(draws), how_computed(compute, fabric)
            state = take_trunk(trunk, spec=spec, most=most, how=how)
            if state is not None:
                shared_draws, shared_seconds = state["steps"] * spec.training.batch_size, state["seconds"]
                if fabric.is_global_zero:
                    shutil.copyfile(trunk / METRICS_FILE, folder / METRICS_FILE)
        steps_done, before = 0, 0.0
        if state is not None:
            steps_done, before = state["steps"], state["seconds"]
            restore_state(model, optimizer.optimizer, state)
            fabric.strategy.precision.load_state_dict(state["precision"])
        fabric.barrier()
        scaled = spec.training.precision == "16-mixed"
        metrics = MetricsLog(
            folder / METRICS_FILE,
            writes=fabric.is_global_zero,
            scaled=scaled,
            mean=partial(_mean_of_processes, fabric) if fabric.world_size > 1 else None,
        )
        if not fabric.is_global_zero:
            metrics.keep(steps_done)
        fabric.barrier()  # the others have read what the first one now cuts
        if fabric.is_global_zero:
            metrics.keep(steps_done)
        names = compute.trackers if fabric.is_global_zero else ()
        trackers = Trackers.open(names, spec=spec, folder=folder, steps_done=steps_done)
        metrics.follow = trackers.log
        plan = plan_run(spec, draws, cache=cache, least=steps_done * spec.training.batch_size)
        began = time.monotonic()
        return cls(
            spec=spec,
            compute=compute,
            cache=cache,
            evaluation=evaluation,
            folder=folder,
            trunk=trunk,
            fabric=fabric,
            model=model,
            network=network,
            optimizer=optimizer,
            metrics=metrics,
            trackers=trackers,
            draws=draws,
            plan=plan,
            batches=_batches(spec, plan, compute=compute, cache=cache, fabric=fabric),
            steps_done=steps_done,
            shared_draws=shared_draws,
            shared_seconds=shared_seconds,
            elapsed=lambda: before + time.monotonic() - began,
        )

    @property
    def planned(self) -> int:
        """Draws that are planned: the budget, or as far as an open trunk is planned."""
        return len(self.plan.domain)

    @property
    def rows(self) -> int:
        """Draws computed at once."""
        return rows_at_once(self.spec, self.compute)

    @property
    def steps(self) -> int | None:
        """Steps of the run; None while its budget is a time and its trunk goes on."""
        return None if self.draws is None else self.spec.training.steps(self.draws)

    @property
    def is_trained(self) -> bool:
        """Whether no step is left."""
        return self.steps is not None and self.steps_done >= self.steps

    def progress(self) -> tuple[int, int]:
        """Return (done, budget) in draws, or in seconds where the budget is a time."""
        if self.spec.budget_unit == "seconds":
            done = self.spec.budget if self.is_trained else min(int(self.elapsed()), self.spec.budget)
            return done, self.spec.budget
        assert self.draws is not None
        return min(self.steps_done * self.spec.training.batch_size, self.draws), self.draws

    def close(self) -> None:
        """Let go of what reads ahead and what follows the losses."""
        self.batches.close()
        self.trackers.close()

    def decide_length(self) -> None:
        """On a trunk whose budget is a time: begin the cooldown when its share of the time is left.

        The budget is then the draws of a run that branches here, and the rest of the plan is that run's.
        """
        if self.draws is not None:
            return
        training = self.spec.training
        spent = self.elapsed() >= (1 - training.cooldown) * self.spec.budget
        if self.fabric.broadcast(spent and self.steps_done >= training.warmup_steps):
            self.draws = training.draws_from_branch(self.steps_done)
        elif self.steps_done * training.batch_size < self.planned:
            return
        self.batches.close()
        done = self.steps_done * training.batch_size
        self.plan = plan_run(self.spec, self.draws, cache=self.cache, least=done)
        self.batches = _batches(
            self.spec, self.plan, compute=self.compute, cache=self.cache, fabric=self.fabric
        )

    def save(self) -> None:
        """Write the state; the metrics first, so that they are never behind it."""
        self.metrics.flush()
        state = self._state()
        if self.fabric.is_global_zero:
            own = {
                "run_id": self.spec.run_id,
                "draws": self.draws,
                "shared_draws": self.shared_draws,
                "shared_seconds": self.shared_seconds,
            }
            save_state(self.folder, own | state)

    def share_trunk(self) -> None:
        """At the end of the trunk: leave its state to longer runs."""
        if self.trunk is None or self.draws is None:
            return
        if self.steps_done != self.spec.training.branch_step(self.draws):
            return
        self.metrics.flush()
        state = self._state()
        if self.fabric.is_global_zero:
            how = how_computed(self.compute, self.fabric)
            leave_trunk(self.trunk, state, spec=self.spec, how=how, metrics=self.folder / METRICS_FILE)

    def _state(self) -> dict[str, Any]:
        return {
            "evaluation": self.evaluation,
            "cache": self.cache.digest,
            "steps": self.steps_done,
            "seconds": self.elapsed(),
            **whole_state(self.model, self.optimizer.optimizer),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def whole_model(self) -> Autoencoder:
        """Return the network with all of its weights; every process must ask, the first one gets them."""
        if self.compute.sharing == "ddp" or self.compute.processes == 1:
            return self.model
        weights = whole_state(self.model, self.optimizer.optimizer)["model"]
        model = build_model(self.spec.model, domains=len(self.spec.mixture.domains), seed=self.spec.seed)
        if self.fabric.is_global_zero:
            model.load_state_dict(weights)
        return model


def _mean_of_processes(fabric: Fabric, values: Tensor) -> Tensor:
    mean = fabric.all_reduce(values, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean


def _own_state(
    folder: Path, *, spec: RunSpec, evaluation: str, cache: PreparedCache
) -> dict[str, Any] | None:
    state = load_state(folder)
    wanted = {"run_id": spec.run_id, "evaluation": evaluation, "cache": cache.digest}
    if state is not None and any(state.get(name) != value for name, value in wanted.items()):
        raise InputError(
            f"{folder / STATE_FILE} belongs to another run, evaluation set or cache; delete {folder} and the "
            "run starts again"
        )
    return state


def _batches(
    spec: RunSpec, plan: DrawPlan, *, compute: ComputeSettings, cache: PreparedCache, fabric: Fabric
) -> Batches:
    return Batches(
        spec, plan, cache=cache, fabric=fabric, rows=rows_at_once(spec, compute), loaders=compute.loaders
    )
