"""Several workers of one job, as one process: ``python -m voxmix.engines.crew --workers N -- COMMAND ...``.

Each worker is the command, with one of the job's GPUs in turn, or all where it is alone. A worker that is killed from outside, as by a machine
that runs out of memory, is started again, at most five times. A signal to stop goes to every worker, which saves its state.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType

WORK_LEFT = 75
"""Exit code of a worker that was stopped while work is left: EX_TEMPFAIL, try again later."""
STARTS = 6
"""How often a worker is started: killed more often, it is left, and its job says so."""
_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 0.2


@dataclass(kw_only=True, slots=True)
class _Place:
    """The place of one worker: how often it was started, when it may be again, and with which code it has ended."""

    number: int
    starts: int = 0
    due: float = 0.0
    code: int | None = None


@dataclass(kw_only=True, slots=True)
class Crew:
    """Workers of one command.

    Attributes:
        command: what each of them runs.
        workers: how many.
        pause: seconds before one that was killed is started again.
    """

    command: Sequence[str]
    workers: int
    pause: float = _PAUSE_SECONDS
    _stopped: bool = False
    _running: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def work(self, say: Callable[[str], None]) -> int:
        """Start the workers, wait until all have ended, and return the exit code of the job.

        0: nothing is left to do; 1: something failed, which the worker has named; 75: stopped while work is left.
        """
        before = {number: signal.signal(number, self._stop) for number in _STOPPING}
        places = [_Place(number=number) for number in range(self.workers)]
        try:
            while any(place.code is None for place in places):
                for place in places:
                    self._look(place, say)
                time.sleep(_LOOK_SECONDS)
        finally:
            for process in self._running.values():
                process.terminate()
            for number, handler in before.items():
                signal.signal(number, handler)
        return _whole(place.code for place in places if place.code is not None)

    def _look(self, place: "_Place", say: Callable[[str], None]) -> None:
        """Start the worker of a place where that is due, and see whether it has ended."""
        process = self._running.get(place.number)
        if place.code is not None:
            return
        if process is None and self._stopped:
            place.code = WORK_LEFT
        elif process is None and time.monotonic() >= place.due:
            place.starts += 1
            self._start(place.number)
        elif process is not None and (code := process.poll()) is not None:
            del self._running[place.number]
            if _was_killed(code) and not self._stopped and place.starts < STARTS:
                say(f"worker {place.number} was ended by signal {_signal_of(code)}; it is started again")
                place.due = time.monotonic() + self.pause
            else:
                place.code = self._meaning(code)

    def _start(self, number: int) -> None:
        environment = {**os.environ, **(_share(number) if self.workers > 1 else {})}
        self._running[number] = subprocess.Popen(self.command, env=environment)
        if self._stopped:  # the signal came while it was started
            self._running[number].terminate()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Tell every worker to save and stop, once: a scheduler may have told them already, and tells this one again."""
        if self._stopped:
            return
        self._stopped = True
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.terminate()

    def _meaning(self, code: int) -> int:
        """Return what a worker's exit code says: one that was told to stop has work left."""
        if _was_killed(code):
            return WORK_LEFT if self._stopped else 1
        return code


_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


def _was_killed(code: int) -> bool:
    """Return whether a signal ended a process: as Popen says it, or as shells and voxmix do."""
    return code < 0 or code > 128


def _signal_of(code: int) -> int:
    return -code if code < 0 else code - 128


def _whole(codes: Iterable[int]) -> int:
    """Return the exit code of all: work that is left says more than a failure, which its worker has named."""
    found = set(codes)
    return WORK_LEFT if WORK_LEFT in found else max(found, default=0)


def _share(number: int) -> dict[str, str]:
    """Return the variables of a worker: its GPU, in turn."""
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return {"CUDA_VISIBLE_DEVICES": visible[number % len(visible)]} if visible else {}


def main(arguments: Sequence[str]) -> int:
    """Be the crew of a job; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m voxmix.engines.crew", description=__doc__)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    given = parser.parse_args(arguments)
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command or given.workers < 1:
        parser.error("give at least one worker, and behind -- the command that each of them runs")

    def say(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    return Crew(command=command, workers=given.workers).work(say)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
