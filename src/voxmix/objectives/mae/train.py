"""The training loop: every proxy, mixture check and final pretraining is a call of :func:`train`."""

import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from voxmix._io import naming_full_disk, write_json
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import budget_in_draws
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.publish import publish
from voxmix.objectives.mae.run_checks import check_belongs
from voxmix.runs.files import RESULT_FILE, SPEC_FILE
from voxmix.training.batches import Piece, pieces_of, plan_run
from voxmix.training.checkpoint import drop_states
from voxmix.training.devices import launch_fabric
from voxmix.training.interrupt import interrupts_deferred
from voxmix.training.optimizer import FlatAdamW, learning_rate
from voxmix.training.run_checks import (
    naming_failed_compiler,
    naming_lost_memory,
)
from voxmix.training.session import Session
from voxmix.volumes.preparing.cache import PreparedCache

_FLUSH_STEPS = 20  # losses stay on the device in between: one synchronization per so many steps
_AGREE_SECONDS = 1.0
_DEFAULT = ComputeSettings()


def train(
    spec: RunSpec,
    *,
    cache: PreparedCache,
    evaluation: EvaluationSet,
    folder: Path,
    trunk: Path | None = None,
    compute: ComputeSettings = _DEFAULT,
    threads: int | None = None,
    device_index: int | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Train one run into ``folder``, or finish one that was stopped; a finished run is left as it is.

    On a CPU the result depends on ``spec``, ``cache`` and ``threads`` alone: a run that was killed and resumed
    ends with the same weights, bit for bit. ``progress`` counts draws, or seconds where the budget is a time.

    A run whose schedule is ``trunk`` takes up what other runs have left in the folder ``trunk`` and leaves its own
    state there before its cooldown: less to compute, the same result.

    With several devices every process calls this, and draws its own rows of the one plan, so the draws are
    those of one process (see :class:`~voxmix.compute.ComputeSettings`).

    Raises:
        InputError: spec, cache, evaluation set and folder do not belong together; a domain with weight has
            no training volume; the crop is larger than a volume; a setting that cannot be used here.
        VoxmixError: the loss is not finite or diverges, the disk is full, memory runs out.
    """
    if (folder / RESULT_FILE).is_file():
        drop_states(folder)
        progress(spec.budget, spec.budget)
        return
    check_belongs(spec, cache=cache, evaluation=evaluation, folder=folder)
    plan_run(spec, budget_in_draws(spec), cache=cache)  # refuses before anything is written
    threads = threads or compute.threads
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = launch_fabric(compute, precision=spec.training.precision, device_index=device_index)
    if not fabric.is_global_zero:
        progress = silent
    with naming_full_disk(folder), naming_lost_memory(spec, compute), naming_failed_compiler(compute):
        if fabric.is_global_zero:
            write_json(folder / SPEC_FILE, spec.as_dict())
        fabric.barrier()
        session = Session.start(
            spec,
            fabric,
            compute=compute,
            cache=cache,
            evaluation=evaluation.digest,
            folder=folder,
            trunk=trunk,
        )
        try:
            _steps(session, progress=progress)
            model = session.whole_model()
            if fabric.is_global_zero:
                losses = publish(session, model, evaluation=evaluation)
                session.trackers.finish(losses)
                drop_states(folder)
        finally:
            session.close()
        fabric.barrier()


def _steps(session: Session, *, progress: ProgressCallback) -> None:
    """Make every step that is left; the last batch is smaller where the budget asks for it."""
    fabric = session.fabric
    session.network.train()
    progress(*session.progress())
    saved = time.monotonic()
    agree = _Agreement(fabric)
    with interrupts_deferred() as interrupted:
        stopping = False
        while not (session.is_trained or stopping):
            session.decide_length()
            session.share_trunk()
            make_step(session)
            if session.steps_done % _FLUSH_STEPS == 0 or session.is_trained:
                session.metrics.flush()
                progress(*session.progress())
            due = time.monotonic() - saved >= session.compute.checkpoint_seconds
            stopping, due = agree(interrupted(), due)
            if stopping or due:
                session.save()
                saved = time.monotonic()


def make_step(session: Session) -> None:
    """Make one step: read this process's share of the batch, go forward and back, update, note the loss."""
    spec, fabric, network, optimizer = session.spec, session.fabric, session.network, session.optimizer
    start = session.steps_done * spec.training.batch_size
    stop = min(start + spec.training.batch_size, session.planned)
    rate = learning_rate(session.steps_done, steps=session.steps, settings=spec.training)
    for group in optimizer.param_groups:
        group["lr"] = rate

    loss = torch.zeros((), device=fabric.device)
    share_of = partial(pieces_of, rank=fabric.global_rank, world=fabric.world_size, rows=session.rows)
    pieces = share_of(start, stop)
    end = min(stop + spec.training.batch_size, session.planned)
    coming = share_of(stop, end) if stop < end else []
    for number, piece in enumerate(pieces, start=1):
        batch = session.batches.read(piece)
        session.batches.expect([*pieces[number:], *coming])
        with (
            _eager_where_smaller(session, piece),
            fabric.no_backward_sync(network, enabled=number < len(pieces)),
        ):
            predicted, truth = network(batch.crops, batch.visible, batch.masked, batch.domain)
            share = batch.loss(predicted, truth) * piece.weight
            fabric.backward(share)
        loss += share.detach()
    if isinstance(optimizer.optimizer, FlatAdamW):
        optimizer.optimizer.gather()
    norm = _clip(fabric, network, optimizer, limit=spec.training.clip_norm)
    optimizer.step()
    optimizer.zero_grad()

    session.steps_done += 1
    session.metrics.add(
        step=session.steps_done, draws=stop, loss=loss, gradient_norm=norm, learning_rate=rate
    )


def _eager_where_smaller(session: Session, piece: Piece) -> AbstractContextManager[object]:
    """Leave the compiler out of a piece of fewer draws, for which it would work half a minute again."""
    smaller = piece.last - piece.first < session.rows
    eager: AbstractContextManager[object] = nullcontext()
    if session.compute.compile and smaller:
        eager = torch.compiler.set_stance("force_eager")
    return eager


class _Agreement:
    """Whether any process was told to stop, and whether the first one wants to save.

    Several processes ask each other about once a second: a question at every step would make fast ones wait for it.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._asked, self._steps, self._every = time.monotonic(), 0, 1

    def __call__(self, stopping: bool, due: bool) -> tuple[bool, bool]:
        fabric = self._fabric
        if fabric.world_size == 1:
            return stopping, due
        self._steps += 1
        if self._steps < self._every:
            return False, False
        now = time.monotonic()
        own = [stopping, due and fabric.is_global_zero, (now - self._asked) / self._steps]
        shared = fabric.all_reduce(
            torch.tensor(own, dtype=torch.float32, device=fabric.device), reduce_op="mean"
        )
        assert isinstance(shared, Tensor)
        any_stopping, first_due, seconds = shared.tolist()  # the same numbers in every process
        self._asked, self._steps = now, 0
        self._every = max(1, min(_FLUSH_STEPS, int(_AGREE_SECONDS / max(seconds, 1e-6))))
        return any_stopping > 0, first_due > 0


def _clip(fabric: Fabric, network: Any, optimizer: Any, *, limit: float) -> Tensor:
    norm = fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)
    whole = getattr(norm, "full_tensor", None)  # FSDP2 gives every process a share of the sum
    norm = norm if whole is None else whole()
    assert isinstance(norm, Tensor)
    return norm
