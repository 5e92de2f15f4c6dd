"""What the rest of an encoder study will cost: its unfinished runs, by a few steps on this machine or a given rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix._optional import require
from voxmix.encoder_study.judging import processes_of
from voxmix.encoder_study.view import EncoderView
from voxmix.errors import InputError
from voxmix.study.listener import QUIET, Listener
from voxmix.study.making import at_once, threads_of_each

if TYPE_CHECKING:
    from voxmix.cost.encoder import EncoderCost
    from voxmix.encoder_runs import EncoderSpec
    from voxmix.probe_tasks import ProbeTask
    from voxmix.probes.encoder import LoadedEncoder


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectiveCost:
    """Runs of one objective from one start that are left, and what a draw of them costs.

    ``draws`` is None of budgets in seconds that nothing was measured for, ``seconds`` where no time is known.
    """

    objective: str
    start: str
    runs: int
    draws: int | None
    flops: int | None
    seconds: float | None
    each: EncoderCost


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderStudyCost:
    """What is left to compute, with ``at_once`` runs at a time.

    Attributes:
        work: one entry per objective and start.
        seconds: all of it; None where it is not known.
        disk_bytes: weights of all runs, and states of those under way.
    """

    work: tuple[ObjectiveCost, ...]
    at_once: int
    seconds: float | None
    disk_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbesCost:
    """Probes that are left, of runs that are not trained yet too.

    Attributes:
        probes: how many.
        decoders: how many of them train a decoder of reports, which takes longest.
        encoders: whose features are needed for them.
        images: sent through each.
        seconds: of that, roughly; heads add seconds each, decoders up to minutes. None where nothing says how fast encoders are.
        disk_bytes: features that are kept.
    """

    probes: int
    decoders: int
    encoders: int
    images: int
    seconds: float | None
    disk_bytes: int


_FORWARD = 1 / 3
"""Share of a training step that goes forward: what features cost of a draw."""
_POOLED_BYTES, _TOKEN_BYTES = 4, 2
"""Of a number of a pooled feature (float32) and of a token's (float16), as they are kept."""
_STATES, _STATE_WEIGHTS = 2, 3
"""States kept of a run under way, and what each holds: the weights and AdamW's two moments of them."""


def estimate_probes(view: EncoderView, runs: EncoderStudyCost | None) -> ProbesCost | None:
    """Return what the probes that are left will cost; None of a study without tasks, or where all are done.

    Args:
        runs: what the runs that are left will cost, which says how fast encoders are; else finished runs say it.

    Raises:
        StepPendingError: the images are not prepared.
    """
    if not view.config.tasks:
        return None
    require("torch", extra="train")
    from voxmix.probes.encoder import untrained_encoder

    tasks, done = view.tasks.data, view.probes
    coming = len(view.pending)
    left = [probe.data.task.kind for probe in done if not probe.done] + coming * [
        data.task.kind for data in tasks
    ]
    if not left:
        return None
    network = untrained_encoder(view.config.backbone)
    encoders = len({probe.candidate.key for probe in done if not probe.done}) + coming
    cases = {case.case for data in tasks for case in data.cases}
    rates = [one.each.seconds_per_draw for one in runs.work] if runs is not None else []
    known = [rate for rate in rates if rate is not None] or [
        result.seconds / result.draws
        for run in view.planned
        if (result := view.result(run)) is not None and result.draws
    ]
    each = _FORWARD * sum(known) / len(known) if known else None
    return ProbesCost(
        probes=len(left),
        decoders=left.count("reports"),
        encoders=encoders,
        images=len(cases),
        seconds=None if each is None else encoders * len(cases) * each / min(processes_of(view), encoders),
        disk_bytes=encoders
        * sum(
            feature_bytes(network, data.task, cases=len(data.cases), layers=view.config.probes.layers)
            for data in tasks
        ),
    )


def feature_bytes(encoder: LoadedEncoder, task: ProbeTask, *, cases: int, layers: int) -> int:
    """Return the bytes of the features that a task keeps of one encoder: of tokens too, where its head reads them.

    Args:
        layers: last layers that an attention head reads.
    """
    from voxmix.probes.features import most_layers

    pooled = cases * 2 * encoder.width * _POOLED_BYTES
    if task.kind != "masks" and task.head != "attention":
        return pooled
    settings = encoder.backbone.settings
    tokens = math.prod(encoder.backbone.cells((settings.image,) * settings.axes))
    read = 1 if task.kind == "masks" else most_layers(encoder, layers)
    return pooled + cases * read * tokens * encoder.width * _TOKEN_BYTES


def estimate_cost(
    view: EncoderView, hear: Listener = QUIET, *, seconds: float = 5.0, tflops: float | None = None
) -> EncoderStudyCost | None:
    """Return what the unfinished runs of a study will cost; None where every run is finished.

    A few steps of the real loop are made on this machine for about ``seconds`` of each objective; with ``tflops``, the rate
    that another device sustains, none.

    Raises:
        InputError: a rate that is not above 0.
        StepPendingError: the images are not prepared.
    """
    require("torch", extra="train")
    from voxmix.cost.encoder import encoder_cost

    if tflops is not None and not tflops > 0:
        raise InputError(f"--tflops must be above 0, got {tflops}; e.g. --tflops 40")
    pending = view.pending
    if not pending:
        return None
    compute = view.config.compute
    together = at_once(compute, workers=view.config.workers, most=len(view.planned)) if tflops is None else 1
    threads = threads_of_each(compute, together=together)
    shape = max((item.shape for item in view.source.items), key=math.prod)
    groups: dict[tuple[str, str], list[EncoderSpec]] = {}
    for run in pending:
        groups.setdefault((run.spec.objective, run.start), []).append(run.spec)
    work = []
    for (objective, start), specs in groups.items():
        with hear.waiting(f"counting {objective}" if tflops else f"making a few steps of {objective}"):
            each = encoder_cost(
                specs[0],
                seconds=None if tflops else seconds,
                tflops=tflops,
                compute=compute,
                threads=threads,
                shape=tuple(shape),
            )
        draws, time = _work(specs, each)
        work.append(
            ObjectiveCost(
                objective=objective,
                start=start,
                runs=len(specs),
                draws=draws,
                flops=None if draws is None else draws * each.flops_per_draw,
                seconds=time,
                each=each,
            )
        )
    known = [one.seconds for one in work if one.seconds is not None]
    return EncoderStudyCost(
        work=tuple(work),
        at_once=together,
        seconds=sum(known) / together if len(known) == len(work) else None,
        disk_bytes=sum(one.runs * one.each.weights_bytes for one in work)
        + _STATES * together * _STATE_WEIGHTS * max(one.each.weights_bytes for one in work),
    )


def _work(specs: list[EncoderSpec], each: EncoderCost) -> tuple[int | None, float | None]:
    """Return draws and seconds of runs; None where they are not known."""
    rate = each.seconds_per_draw
    draws, time = 0, 0.0
    for spec in specs:
        if spec.budget_unit == "seconds":
            if rate is None:
                return None, None
            made = round(spec.budget / rate)
        else:
            made = spec.budget if spec.budget_unit == "draws" else spec.budget // each.flops_per_draw
        draws += made
        time += made * (rate or 0.0)
    return draws, None if rate is None else time
