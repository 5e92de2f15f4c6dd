"""A run in the middle of its training: what it holds, how far it is, and its state on disk."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from voxmix.compute import ComputeSettings
from voxmix.runs.files import METRICS_FILE
from voxmix.training.checkpoint import restore_state, whole_state
from voxmix.training.devices import loaders_of
from voxmix.training.objective import Course, Objective, Paced, Views, Watcher
from voxmix.training.optimizer import FlatAdamW, build_optimizer, one_group
from voxmix.training.pieces import rows_at_once
from voxmix.training.resume import taken_up, ways_of
from voxmix.training.state_writer import StateWriter
from voxmix.training.step_log import MetricsLog
from voxmix.training.trackers import Trackers
from voxmix.training.trunk import how_computed, leave_trunk


@dataclass(kw_only=True, slots=True)
class Session:
    """A run in the middle of its training.

    Attributes:
        draws: budget in draws; None until a time budget is converted to draws.
        views: reads the draws, or those of the trunk's first part while ``draws`` is None.
        model: the network; ``network`` is the same as Fabric calls it.
        steps_done: whole batches behind it.
        shared_draws: draws, and ``shared_seconds`` their time, that another run of the trunk has made for this one.
        seconds: gives the seconds of training so far, those shared included.
        aside: seconds since the start that are not counted.
        ways: how steps before the start were computed.
    """

    objective: Objective
    course: Course
    compute: ComputeSettings
    folder: Path
    trunk: Path | None
    fabric: Fabric
    model: nn.Module
    network: Any
    optimizer: Any
    metrics: MetricsLog
    trackers: Trackers
    writer: StateWriter
    draws: int | None
    views: Views
    steps_done: int = 0
    shared_draws: int = 0
    shared_seconds: float = 0.0
    seconds: Callable[[], float]
    aside: list[float]
    ways: tuple[dict[str, Any], ...] = ()

    @classmethod
    def start(
        cls,
        objective: Objective,
        fabric: Fabric,
        *,
        compute: ComputeSettings,
        folder: Path,
        trunk: Path | None = None,
    ) -> "Session":
        """Return the run at its beginning, where its last state stands, or where its trunk has come.

        Raises:
            InputError: the state on disk is of another run or of other inputs; the budget cannot be met.
        """
        course = objective.course
        training = course.training
        model = objective.build()
        fabric.to_device(model)
        # Before the optimizer, which bf16-true would otherwise leave with the float32 parameters.
        model = fabric.strategy.precision.convert_module(model)
        # FSDP2 shares parameters out one by one.
        flat = objective.flat and (compute.sharing != "fsdp" or compute.processes == 1)
        decays = objective.decays
        group_of = objective.group if isinstance(objective, Paced) else one_group
        own = FlatAdamW(model, training, decays=decays, group_of=group_of) if flat else None
        # Sizes as constants: for free ones, fused gathers are slower than the network as it is.
        mode = "reduce-overhead" if compute.graphs else None
        compiled: Any = torch.compile(model, dynamic=False, mode=mode) if compute.compile else model
        network = fabric.setup_module(compiled)
        plain = own or build_optimizer(model, training, decays=decays, group_of=group_of)
        optimizer: Any = fabric.setup_optimizers(plain)
        how = how_computed(compute, fabric)
        found = taken_up(folder, course, trunk=trunk, how=how, writes=fabric.is_global_zero)
        if found.state is not None:
            restore_state(model, optimizer.optimizer, found.state)
            fabric.strategy.precision.load_state_dict(found.state["precision"])
            objective.restore(found.state.get("objective", {}))
        fabric.barrier()
        metrics = MetricsLog(
            folder / METRICS_FILE,
            writes=fabric.is_global_zero,
            scaled=training.precision == "16-mixed",
            mean=partial(_mean_of_processes, fabric) if fabric.world_size > 1 else None,
        )
        if not fabric.is_global_zero:
            metrics.keep(found.steps)
        fabric.barrier()  # the others have read what the first one now cuts
        if fabric.is_global_zero:
            metrics.keep(found.steps)
        names = compute.trackers if fabric.is_global_zero else ()
        trackers = Trackers.open(names, spec=course.spec, folder=folder, steps_done=found.steps)
        metrics.follow = trackers.log
        least = found.steps * training.batch_size
        views = objective.views(found.draws, least=least, fabric=fabric, compute=compute)
        began = time.monotonic()
        aside: list[float] = []
        return cls(
            objective=objective,
            course=course,
            compute=compute,
            folder=folder,
            trunk=trunk,
            fabric=fabric,
            model=model,
            network=network,
            optimizer=optimizer,
            metrics=metrics,
            trackers=trackers,
            writer=StateWriter(
                folder, every=compute.checkpoint_seconds, competes=fabric.device.type == "cpu"
            ),
            draws=found.draws,
            views=views,
            steps_done=found.steps,
            shared_draws=found.shared_draws,
            shared_seconds=found.shared_seconds,
            seconds=lambda: found.seconds + time.monotonic() - began - sum(aside),
            aside=aside,
            ways=found.ways,
        )

    @property
    def planned(self) -> int:
        """Draws that are planned: the budget, or as far as an open trunk is planned."""
        return self.views.planned

    @property
    def rows(self) -> int:
        """Draws computed at once."""
        return rows_at_once(self.course.training, self.compute)

    @property
    def steps(self) -> int | None:
        """Steps of the run; None while its budget is a time and its trunk goes on."""
        return None if self.draws is None else self.course.training.steps(self.draws)

    @property
    def is_trained(self) -> bool:
        """Whether no step is left."""
        return self.steps is not None and self.steps_done >= self.steps

    @property
    def computed(self) -> dict[str, Any]:
        """How the run is computed, for its result; ``before`` is how its first steps were, where that was another way."""
        *before, last = self._ways()
        del last["steps"]
        return {
            **last,
            "precision": self.course.training.precision,
            "loaders": loaders_of(self.compute, self.fabric.device),
            **({"before": before} if before else {}),
        }

    def _ways(self) -> list[dict[str, Any]]:
        return ways_of(self.ways, how_computed(self.compute, self.fabric), steps=self.steps_done)

    def progress(self) -> tuple[int, int]:
        """Return (done, budget) in draws, or in seconds where the budget is a time."""
        limit = self.course.seconds
        if limit is not None:
            return (limit if self.is_trained else min(int(self.seconds()), limit)), limit
        assert self.draws is not None
        return min(self.steps_done * self.course.training.batch_size, self.draws), self.draws

    def close(self) -> None:
        """Let go of what reads ahead, writes states and follows the losses."""
        self.views.close()
        self.writer.close()
        self.trackers.close()

    def decide_length(self) -> None:
        """On a trunk whose budget is a time: begin the cooldown when its share of the time is left.

        The budget is then the draws of a run that branches here, and the rest of the plan is that run's.
        """
        if self.draws is not None:
            return
        training, limit = self.course.training, self.course.seconds
        assert limit is not None
        spent = self.seconds() >= (1 - training.cooldown) * limit
        done = self.steps_done * training.batch_size
        if self.fabric.broadcast(spent and self.steps_done >= training.warmup_steps):
            self.draws = training.draws_from_branch(self.steps_done)
        elif done < self.planned:
            return
        self.views.close()
        self.views = self.objective.views(self.draws, least=done, fabric=self.fabric, compute=self.compute)

    def look(self) -> bool:
        """Let the objective do what follows a step; return whether the state should be kept after it."""
        seen = self.objective.after_step(self)
        if seen:
            self.trackers.log(self.steps_done, seen)
        return seen is not None

    def watch(self, watcher: Watcher | None) -> None:
        """Let a watcher look where it is due, and note what it saw beside the losses; its time is not counted."""
        if watcher is None or not watcher.due(self.steps_done, self.steps):
            return
        began = time.monotonic()
        seen = watcher.look(self)
        if seen is not None:
            self.metrics.note(seen)
        self.aside.append(time.monotonic() - began)

    def save(self) -> None:
        """Begin to write the state; the metrics first, so that they are never behind it."""
        began = time.monotonic()
        self.writer.wait()
        self.metrics.flush(durable=True)
        state = self._state()
        if self.fabric.is_global_zero:
            own = {
                "run_id": self.course.spec.run_id,
                "draws": self.draws,
                "shared_draws": self.shared_draws,
                "shared_seconds": self.shared_seconds,
                "ways": self._ways(),
            }
            self.writer.give(own | state)
        self.writer.stalled(time.monotonic() - began)

    def share_trunk(self) -> None:
        """At the end of the trunk: leave its state to longer runs."""
        if self.trunk is None or self.draws is None:
            return
        if self.steps_done != self.course.training.branch_step(self.draws):
            return
        self.metrics.flush(durable=True)
        state = self._state()
        if self.fabric.is_global_zero:
            how, metrics = how_computed(self.compute, self.fabric), self.folder / METRICS_FILE
            leave_trunk(self.trunk, state, trunk_id=self.course.trunk_id, how=how, metrics=metrics)

    def _state(self) -> dict[str, Any]:
        return {
            **self.course.inputs,
            "steps": self.steps_done,
            "seconds": self.seconds(),
            **whole_state(self.model, self.optimizer.optimizer),
            "precision": self.fabric.strategy.precision.state_dict(),
            "objective": copy.deepcopy(self.objective.state()),  # which goes on while this is written
        }

    def whole_model(self) -> nn.Module:
        """Return the network with all of its weights in float32; every process must ask, the first one gets them."""
        model = self.model
        if self.compute.sharing == "fsdp" and self.compute.processes > 1:
            weights = whole_state(model, self.optimizer.optimizer)["model"]
            model = self.objective.build()
            if self.fabric.is_global_zero:
                model.load_state_dict(weights)
        elif self.course.training.precision == "bf16-true":
            model = copy.deepcopy(model).float()
        return model


def _mean_of_processes(fabric: Fabric, values: Tensor) -> Tensor:
    mean = fabric.all_reduce(values, reduce_op="mean")
    assert isinstance(mean, Tensor)
    return mean
