"""The verb of a worker: work, any number of which share one study."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import as_argument
from voxmix._stopping import signals_raise
from voxmix.cli.app import TERMINAL, emit, emit_json, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument
from voxmix.cli.kinds import kind_row
from voxmix.cli.training import ComputeFlags, takes_compute_flags
from voxmix.study.step import loaded

if TYPE_CHECKING:
    from voxmix.study.step import StepView
    from voxmix.study.working import Worked


@verb
@takes_compute_flags
def work(
    study: StudyArgument,
    flags: ComputeFlags,
    step: Annotated[
        str | None,
        typer.Option("--step", help="Only this step, such as run; every step that is left, if left out."),
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            "--until", metavar="MINUTES", min=0.0, help="Stop after so long; what is begun is kept."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Stay as long as other workers are busy; if left out, it ends when it finds nothing to take for a lease and a half.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Be one of any number of workers on a study, on this machine or others that see its folder.

    Takes runs as they come free, one after another, and goes on with those of workers that were lost. Steps that write one
    thing, such as fit and report, are done by one worker while the others wait. Ends when nothing is left, or when others
    have all that is left and live: who finishes last goes on. Exit code 0, 1 if something failed, 75 if it was stopped
    before (by a signal or --until; states are kept).

    Makes one run at a time, or --workers at a time, in as many processes; so it does with volumes, images and probes. Give every worker the same --threads, or set compute.threads: how
    many there are is part of how numbers are rounded.

    Examples:

      voxmix work mystudy

      voxmix work mystudy --step run --until 230
    """
    code = work_on(study, flags=flags, step=step, minutes=until, wait=wait, as_json=as_json)
    if code:
        raise typer.Exit(code)


def work_on(
    study: Path,
    *,
    flags: ComputeFlags | None = None,
    step: str | None = None,
    minutes: float | None = None,
    wait: bool = False,
    as_json: bool = False,
) -> int:
    """Be a worker on a study, say what was done, and return the exit code; see :func:`work`."""
    from voxmix.study.working import STOPPED, Worked, work_on

    kind = kind_row(study)

    def reopened() -> "StepView":
        view: StepView = loaded(kind.open)(study, check=False)
        return view if flags is None else flags.applied_to(view)  # type: ignore[arg-type]

    loaded(kind.open)(study, check=True)  # says what cannot work, and what has no effect
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    worked = Worked(left=step)
    workers = 1 if flags is None else flags.workers or 1
    try:
        with signals_raise(), _told_after(minutes):
            work_on(
                reopened,
                TERMINAL,
                step=step,
                workers=workers,
                wait=wait,
                worked=worked,
                stopped=lambda: deadline is not None and time.monotonic() >= deadline,
            )
    except (KeyboardInterrupt, SystemExit):
        note("stopped; what was begun is kept, and any worker goes on with it")
        return _said(worked, study, STOPPED, as_json=as_json)
    return _said(worked, study, worked.exit_code, as_json=as_json)


def _said(worked: "Worked", study: Path, code: int, *, as_json: bool) -> int:
    if as_json:
        emit_json(
            {
                "made": worked.made,
                "steps": worked.steps,
                "failed": worked.failed,
                "left": worked.left,
                "others": worked.others or None,
                "exit_code": code,
            }
        )
        return code
    if worked.failed:
        emit(
            f"{len(worked.failed)} runs or probes failed ({', '.join(list(worked.failed)[:3])}); why: voxmix status "
            f"{as_argument(study)}. voxmix run and voxmix probe try them again"
        )
    did = [f"{len(worked.made)} runs made here", *(f"{name} done here" for name in worked.steps)]
    if worked.others:
        left = f"the rest of {worked.left} is left to {worked.others}"
    else:
        left = "nothing is left" if code == 0 else "work is left"
    emit(f"{left}; {', '.join(did)}")
    return code


@contextmanager
def _told_after(minutes: float | None) -> Iterator[None]:
    """Tell this process to stop after so long, as a scheduler would."""
    timer = None
    if minutes is not None:
        timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
