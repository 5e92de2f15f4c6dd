"""Taking units of a step: those that no other process makes, in this process or in several of this machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import wait
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from voxmix._claims import Claims
from voxmix._io import naming_full_disk
from voxmix._parallel import WorkerKilledError, worker_pool
from voxmix.errors import VoxmixWarning
from voxmix.study.files import CLAIMS_FOLDER
from voxmix.study.listener import QUIET, Listener
from voxmix.study.step import Step, StepUnits, StepView, Unit, loaded

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

_LOOK_SECONDS = 0.2


def take_units(
    step: str, units: StepUnits, wanted: Iterable[Unit], claims: Claims, *, stopped: Callable[[], bool]
) -> int:
    """Make the units that are not done and that no other process has claimed; return how many were taken."""
    taken = 0
    for unit in wanted:
        if stopped():
            break
        with naming_full_disk(claims.folder):
            claim = claims.take(f"{step}-{unit.name}")
        if claim is None:
            continue
        taken += 1
        with claim:
            if units.is_done(unit):  # another may have made it before it gave it back
                continue
            # Not the first number: the process that had it before is gone, and the unit may be why.
            units.make(unit, careful=claim.number > 1, stop=lambda claim=claim: stopped() or claim.lost)  # type: ignore[misc]
    return taken


def take_side_by_side(
    row: Step,
    view: StepView,
    units: StepUnits,
    *,
    workers: int,
    stopped: Callable[[], bool],
    hear: Listener = QUIET,
) -> None:
    """Let processes of this machine take the units of a step, and return when they find none that nobody has.

    Where one of them is killed, as for lack of memory, all end; what is left is for the caller, who is alone then.
    """
    workers = min(workers, sum(not units.is_done(unit) for unit in units.units))
    if workers < 2:
        return
    hear.inform(f"{row.name}: {workers} processes share it here")
    over = get_context("spawn").Event()
    try:
        with worker_pool(workers, initializer=_begin, arguments=(over,)) as pool:
            left = {pool.submit(_take, view, row.name, together=workers) for _ in range(workers)}
            while left:
                done, left = wait(left, timeout=_LOOK_SECONDS)
                for future in done:
                    future.result()
                if stopped():
                    over.set()
    except WorkerKilledError:
        hear.tell(f"{row.name}: a process was killed, probably for lack of memory; one process goes on alone")


_worker: dict[str, Any] = {}


def _begin(over: Event) -> None:
    _worker["over"] = over


def _take(view: StepView, step: str, *, together: int) -> None:
    row = view.steps[step]
    assert row.units is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VoxmixWarning)  # said by the process that started this one
        units: StepUnits | None = loaded(row.units)(view, QUIET, together=together)
    if units is not None:
        claims = Claims(view.root / CLAIMS_FOLDER, lease_seconds=view.lease_seconds)
        take_units(step, units, units.units, claims, stopped=_worker["over"].is_set)
