"""What a draw of an encoder run costs: operations, memory, disk and time, for any objective and backbone."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from voxmix._memory import installed_bytes
from voxmix.compute import ComputeSettings
from voxmix.cost.kept import kept_bytes
from voxmix.cost.probe import LONG_STEP, MANY_STEPS, Probe, timed_steps
from voxmix.cost.random_images import on_random_images
from voxmix.encoder_runs import EncoderSpec
from voxmix.encoders.networks import parameter_count
from voxmix.errors import InputError
from voxmix.objectives.made import make_objective
from voxmix.training.devices import launch_fabric
from voxmix.training.objective import Objective
from voxmix.training.pieces import Piece, rows_at_once
from voxmix.training.run_checks import naming_lost_memory

_FLOAT = 4  # bytes
_LEARNING = 4 * _FLOAT  # weight, gradient and AdamW's two moments
_COUNTED = 16  # draws; a loss that compares draws needs at least two
_LEAST = 2
_HEADER = 128  # bytes of an array's file before its values
_VALUE = {2: 1, 3: 2}  # bytes of a prepared pixel or voxel: films are stored in 8 bits, volumes in float16
_TOO_LONG = 4 * 10**12  # operations of two draws: minutes of a CPU


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderCost:
    """What a draw of an encoder run costs, and what the run holds in memory.

    Attributes:
        parameters: numbers that training changes.
        frozen: numbers that follow (a teacher, an average of weights) or stay.
        flops_per_draw: forward and backward of all views and towers, a teacher's forward included: the number by which
            budgets in operations become draws. Matrix products and convolutions, two operations per multiply-add,
            backward twice forward. Not counted: norms, activations, balancing, views, the optimizer, and that a backward
            pass needs no gradient of pixels and computes attention once more (a tenth together, either way).
        state_bytes: weights, gradients and AdamW's two moments of what learns, weights of what does not; 32-bit floats.
            While gradients are handed to the optimizer, small networks hold them twice.
        draw_bytes: what autograd keeps of one draw between forward and backward, and the draw itself; 32-bit floats.
            Without libraries, workspaces and what a layer needs while it works.
        rows: draws computed at once.
        image_bytes: one prepared image on disk; its text comes on top, a few hundred bytes.
        weights_bytes: the weights as a finished run keeps them.
        measured: a few real steps on this machine; None where none were made.
        seconds_per_draw: as measured, or from the rate that was given; None where neither is known.
    """

    parameters: int
    frozen: int
    flops_per_draw: int
    state_bytes: int
    draw_bytes: int
    rows: int
    image_bytes: int
    weights_bytes: int
    measured: Probe | None
    seconds_per_draw: float | None

    @property
    def run_bytes(self) -> int:
        """Memory of one run, as a lower bound."""
        return self.state_bytes + self.rows * self.draw_bytes


def encoder_cost(
    spec: EncoderSpec,
    *,
    seconds: float | None = None,
    tflops: float | None = None,
    compute: ComputeSettings | None = None,
    threads: int = 1,
    shape: tuple[int, ...] | None = None,
) -> EncoderCost:
    """Return what a draw of a run costs. Nothing must be prepared: images and texts are random.

    Operations and memory are counted on a device that computes nothing, so networks of any size can be asked for. Time is
    measured by a few steps of the run's own loop for about ``seconds``, or follows from a rate.

    Args:
        spec: the run; its budget, subset and start do not matter.
        seconds: how long to measure, at least two steps after one to warm up; None for not at all. On a CPU steps that would
            take many seconds are made with 2 draws, and none where these would take minutes or more memory than there is.
        tflops: TFLOP/s that a device which is not here sustains; no step is made then. A third of its peak is a fair guess.
        compute: device, precision, draws at once.
        threads: of the CPU.
        shape: of the prepared images; squares (cubes) of the network's edge by default.

    Raises:
        InputError: a rate that is not above 0, or a shape of other axes than the backbone's.
        VoxmixError: memory runs out while steps are made.
    """
    compute = compute or ComputeSettings()
    backbone = spec.backbone
    shape = shape or (backbone.image,) * backbone.axes
    if len(shape) != backbone.axes:
        raise InputError(f"images of shape {list(shape)} do not fit a backbone of {backbone.axes} axes")
    if tflops is not None and not tflops > 0:
        raise InputError(f"the rate must be above 0 TFLOP/s, got {tflops}")
    batch = spec.training.batch_size
    short, source = on_random_images(spec, shape=shape, batch=batch, draws=batch)
    objective: Any = make_objective(short, source=source)
    model = model_without_memory(objective)
    learning = parameter_count(model)
    everything = sum(tensor.numel() for tensor in model.state_dict(keep_vars=True).values())
    flops = objective.flops_per_draw()
    cost = EncoderCost(
        parameters=learning,
        frozen=everything - learning,
        flops_per_draw=flops,
        state_bytes=_LEARNING * learning + _FLOAT * (everything - learning),
        draw_bytes=_draw_bytes(spec, shape),
        rows=rows_at_once(spec.training, compute),
        image_bytes=_HEADER + _VALUE[backbone.axes] * math.prod(shape),
        weights_bytes=_FLOAT * everything,
        measured=None,
        seconds_per_draw=None,
    )
    if tflops is not None:
        return replace(cost, seconds_per_draw=flops / (tflops * 1e12))
    if seconds is None:
        return cost
    found = _probe(spec, cost, shape=shape, compute=compute, threads=threads, seconds=seconds)
    return replace(cost, measured=found, seconds_per_draw=None if found is None else found.seconds_per_draw)


def _probe(
    spec: EncoderSpec,
    cost: EncoderCost,
    *,
    shape: tuple[int, ...],
    compute: ComputeSettings,
    threads: int,
    seconds: float,
) -> Probe | None:
    """Make steps of a run; None where one would take minutes of a CPU, or more memory than it has."""
    torch.set_num_threads(threads)
    quiet = replace(compute, devices=1, nodes=1, trackers=(), pictures=False)
    fabric = launch_fabric(quiet, precision=spec.training.precision)
    batch = spec.training.batch_size
    if fabric.device.type == "cpu":
        if batch * cost.flops_per_draw > LONG_STEP:
            batch = min(batch, _LEAST)
        memory = installed_bytes()
        needed = cost.state_bytes + min(batch, cost.rows) * cost.draw_bytes
        if batch * cost.flops_per_draw > _TOO_LONG or (memory is not None and needed > 0.8 * memory):
            return None
    short, source = on_random_images(spec, shape=shape, batch=batch, draws=batch * MANY_STEPS)
    with naming_lost_memory(spec.backbone, batch=batch, compute=quiet):
        return timed_steps(
            make_objective(short, source=source),
            fabric,
            compute=quiet,
            batch=batch,
            threads=threads,
            seconds=seconds,
        )


def _draw_bytes(spec: EncoderSpec, shape: tuple[int, ...]) -> int:
    """Return what autograd keeps of a draw, and the draw: the mean over the draws of a batch."""
    short, source = on_random_images(spec, shape=shape, batch=_COUNTED, draws=_COUNTED)
    objective = make_objective(short, source=source)
    compute = ComputeSettings(device="cpu", trackers=())
    fabric = launch_fabric(compute, precision="32-true")
    views = objective.views(_COUNTED, least=0, fabric=fabric, compute=compute)
    try:
        batch = views.read(Piece(first=0, last=_COUNTED, weight=1.0, start=0, stop=_COUNTED))
    finally:
        views.close()
    return kept_bytes(objective, model_without_memory(objective).train(), batch) // _COUNTED


def model_without_memory(objective: Objective) -> nn.Module:
    """Return the network of a run on a device that holds shapes alone."""
    with torch.device("meta"):
        return objective.build()
