"""The status of a study of any kind: which steps are done, which command comes next, and what goes on now."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._io import as_argument
from voxmix._progress import time_text
from voxmix.cli.app import emit, emit_table

if TYPE_CHECKING:
    from voxmix.study import StepState
    from voxmix.study.going_on import BegunRun, GoingOn

_WATCH_SECONDS = 2.0
_CLEAR = "\x1b[2J\x1b[H"  # the terminal, and to its first line


def show_steps(title: str, steps: "Sequence[StepState]") -> None:
    """Print the table of steps."""
    rows = [[step.name, "done" if step.done else "to do", step.detail] for step in steps]
    emit_table(title, ["step", "state", "detail"], rows)


def say_next(following: "StepState | None", root: Path) -> None:
    """Print the command that comes next for the study in ``root``, or that all is done."""
    emit(
        f"\nnext: {following.command}  (or every remaining step: voxmix study run {as_argument(root)})"
        if following
        else "\nall done"
    )


def show_going_on(found: "GoingOn") -> None:
    """Print which runs are worked on, by whom and how fast, and which failed or wait; nothing where nothing was begun."""
    running, failed, stopped = found.of("running"), found.of("failed"), found.of("stopped")
    if running:
        emit("")
        emit_table(
            "Running now",
            ["run", "machine", "job", "for", "done", "rate", "left"],
            [_row(r) for r in running],
        )
    if failed:
        emit("")
        rows = [[run.run, str(run.attempts), run.job or "-", run.reason] for run in failed]
        emit_table("Failed", ["run", "attempts", "job", "reason"], rows)
        emit("voxmix run tries them again")
    words = [
        f"{len(some)} {what}"
        for some, what in ((running, "running"), (failed, "failed"), (stopped, "stopped"))
        if some
    ]
    if words and found.waiting is not None:
        words.append(f"{found.waiting} waiting")
    if words:
        emit(f"\nruns: {', '.join(words)}")
    if found.holder is not None:
        emit(f"study: held by {found.holder.words}")


def _row(run: "BegunRun") -> list[str]:
    holder, progress = run.holder, run.progress
    assert holder is not None
    assert progress is not None
    rate, left = progress.rate, progress.seconds_left
    return [
        run.run,
        holder.label,
        holder.job or f"pid {holder.process}",
        time_text(max(time.time() - holder.since, 0.0)),
        f"{100 * progress.done / max(progress.total, 1):.0f}%",
        "-" if rate is None else f"{rate:,.3g}/s",
        "-" if left is None else time_text(left),
    ]


def watched(show: Callable[[], Any]) -> None:
    """Show a status again and again, until it says that nothing is left, or Ctrl-C."""
    while True:
        began = time.monotonic()
        if sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        if show():
            return
        time.sleep(max(_WATCH_SECONDS, 3 * (time.monotonic() - began)))
        if not sys.stdout.isatty():
            emit("")
