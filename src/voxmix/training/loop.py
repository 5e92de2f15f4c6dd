"""The training loop: every pretraining, every finetuning is a call of :func:`run` with another objective."""

import time
from collections.abc import Callable, Sequence
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
from voxmix.runs.files import RESULT_FILE, SPEC_FILE
from voxmix.training import whole_batch
from voxmix.training.agreement import Agreement
from voxmix.training.checkpoint import drop_states
from voxmix.training.devices import launch_fabric
from voxmix.training.interrupt import LEAVE, interrupts_deferred, stop, wished
from voxmix.training.objective import Objective, Paced, Watcher
from voxmix.training.optimizer import FlatAdamW, learning_rate, set_pace
from voxmix.training.pieces import Piece, pieces_of
from voxmix.training.run_checks import check_sharing, naming_failed_compiler
from voxmix.training.session import Session
from voxmix.training.step_log import FLUSH_STEPS
from voxmix.training.whole_batch import WholeBatch

_TELL_SECONDS = 1.0


def run(
    objective: Objective,
    *,
    folder: Path,
    trunk: Path | None = None,
    compute: ComputeSettings,
    threads: int | None = None,
    device_index: int | None = None,
    watch: Watcher | None = None,
    progress: ProgressCallback = silent,
) -> None:
    """Train one run into ``folder``, or finish one that was stopped; a finished run is left as it is.

    On a CPU the result depends on the objective and ``threads`` alone: a run that was killed and resumed ends with the
    same weights, bit for bit. ``progress`` counts draws, or seconds where the budget is a time.

    A run whose schedule is ``trunk`` takes up what other runs have left in the folder ``trunk`` and leaves its own
    state there before its cooldown: less to compute, the same result.

    ``watch`` looks at the run along the way; what it sees is written beside the losses, and its time is not counted.

    With several devices every process calls this, and draws its own rows of the one plan, so the draws are
    those of one process (see :class:`~voxmix.compute.ComputeSettings`).

    Raises:
        InputError: what the objective refuses; a setting that cannot be used here.
        VoxmixError: the loss is not finite or diverges, the disk is full.
        Stopped: :func:`~voxmix.training.interrupt.stop_when` said so. A signal ends it by KeyboardInterrupt or
            SystemExit, in every process that shares the run.
    """
    course = objective.course
    if (folder / RESULT_FILE).is_file():
        drop_states(folder)
        budget = course.seconds if course.draws is None else course.draws
        assert budget is not None
        progress(budget, budget)
        return
    objective.check(folder)
    check_sharing(objective, compute)
    threads = threads or compute.threads
    if threads is not None:
        torch.set_num_threads(threads)
    fabric = launch_fabric(
        compute, precision=course.training.precision, device_index=device_index, blocks=objective.blocks
    )
    if not fabric.is_global_zero:
        progress = silent
    with naming_full_disk(folder), naming_failed_compiler(compute):
        if fabric.is_global_zero:
            described = course.spec.as_dict() if course.described is None else course.described
            write_json(folder / SPEC_FILE, dict(described))
        fabric.barrier()
        session = Session.start(objective, fabric, compute=compute, folder=folder, trunk=trunk)
        try:
            _steps(session, watch=watch, progress=progress)
            model = session.whole_model()
            if fabric.broadcast(wished() == LEAVE):
                stop(LEAVE)
            if fabric.is_global_zero:
                model.eval()
                session.trackers.finish(objective.publish(session, model))
                drop_states(folder)
        finally:
            session.close()
        fabric.barrier()


def _steps(session: Session, *, watch: Watcher | None, progress: ProgressCallback) -> None:
    """Make every step that is left; the last batch is smaller where the budget asks for it."""
    fabric = session.fabric
    session.network.train()
    progress(*session.progress())
    told = time.monotonic()
    agree = Agreement(fabric)
    if session.steps_done == 0:
        session.watch(watch)
    with interrupts_deferred() as asked:
        reason = 0
        while not (session.is_trained or reason):
            session.decide_length()
            session.share_trunk()
            make_step(session)
            session.watch(watch)
            over = session.is_trained
            if flushed := session.steps_done % FLUSH_STEPS == 0 or over:
                session.metrics.flush(durable=over)
            seen = session.look()
            reason, due = agree(asked(), session.writer.due(last=over), last=over)
            if reason == LEAVE:
                session.writer.leave()
                break
            if keep := reason > 0 or due or seen:
                session.save()
            if flushed or keep or time.monotonic() - told >= _TELL_SECONDS:
                progress(*session.progress())
                told = time.monotonic()
        session.writer.wait()  # a signal is obeyed when the state is on the disk
    if reason:
        stop(reason)


def make_step(session: Session) -> None:
    """Make one step: read this process's share of the batch, go forward and back, update, note the losses."""
    objective, fabric, network = session.objective, session.fabric, session.network
    optimizer, training = session.optimizer, session.course.training
    start = session.steps_done * training.batch_size
    stop = min(start + training.batch_size, session.planned)
    rate = learning_rate(session.steps_done, steps=session.steps, settings=training)
    own = None
    if isinstance(objective, Paced):
        own = partial(objective.pace, step=session.steps_done, steps=session.steps)
    set_pace(optimizer, rate=rate, pace=own)

    share_of = partial(pieces_of, rank=fabric.global_rank, world=fabric.world_size, rows=session.rows)
    pieces = share_of(start, stop)
    if session.compute.graphs:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    end = min(stop + training.batch_size, session.planned)
    coming = share_of(stop, end) if stop < end else []
    passes = 2 if isinstance(objective, WholeBatch) and len(pieces) > 1 else 1
    later = [*pieces * passes, *coming]

    def read(piece: Piece) -> Any:
        batch = session.views.read(piece)
        later.pop(0)
        session.views.expect(later)
        return batch

    around = partial(_eager_where_smaller, session)
    if isinstance(objective, WholeBatch):
        losses = whole_batch.backward(objective, network, pieces, read=read, fabric=fabric, around=around)
    else:
        losses = _piece_by_piece(objective, network, pieces, read=read, fabric=fabric, around=around)
    if isinstance(optimizer.optimizer, FlatAdamW):
        optimizer.optimizer.gather()
    norm = _clip(fabric, network, optimizer, limit=training.clip_norm)
    optimizer.step()
    optimizer.zero_grad()

    session.steps_done += 1
    session.metrics.add(
        step=session.steps_done, draws=stop, losses=losses, gradient_norm=norm, learning_rate=rate
    )


def _piece_by_piece(
    objective: Objective,
    network: Any,
    pieces: Sequence[Piece],
    *,
    read: Callable[[Piece], Any],
    fabric: Fabric,
    around: Callable[[Piece], AbstractContextManager[object]],
) -> dict[str, Tensor]:
    """Add the gradients of this process's pieces to the parameters, and return the weighted means of their losses."""
    losses: dict[str, Tensor] = {}
    for number, piece in enumerate(pieces, start=1):
        batch = read(piece)
        with around(piece), fabric.no_backward_sync(network, enabled=number < len(pieces)):
            found = objective.losses(network, batch)
            fabric.backward(found["loss"] * piece.weight)
        for name, value in found.items():
            before = losses.get(name, torch.zeros((), device=fabric.device))
            losses[name] = before + value.detach() * piece.weight
    return losses


def _eager_where_smaller(session: Session, piece: Piece) -> AbstractContextManager[object]:
    """Leave the compiler out of a piece of fewer draws, for which it would work half a minute again."""
    smaller = piece.last - piece.first < session.rows
    eager: AbstractContextManager[object] = nullcontext()
    if session.compute.compile and smaller:
        eager = torch.compiler.set_stance("force_eager")
    return eager


def _clip(fabric: Fabric, network: Any, optimizer: Any, *, limit: float) -> Tensor:
    norm = fabric.clip_gradients(network, optimizer, max_norm=limit, error_if_nonfinite=False)
    whole = getattr(norm, "full_tensor", None)  # FSDP2 gives every process a share of the sum
    norm = norm if whole is None else whole()
    assert isinstance(norm, Tensor)
    return norm
