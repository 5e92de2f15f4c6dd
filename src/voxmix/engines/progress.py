"""How a job fares, as files on the desk of its run: progress with a heartbeat, warnings, and why it failed.

Files are all that a watcher on another machine can see. The progress of an attempt is renewed every second while a process
works on it; a process that was killed leaves it behind, and it grows stale.
"""

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voxmix._io import json_text, naming_damage, naming_full_disk, read_mapping, write_json
from voxmix._machine import is_running, this_machine
from voxmix._progress import ProgressCallback
from voxmix.engines.attempts import progress_of, remove_empty
from voxmix.errors import InputError
from voxmix.runs.files import FAILURE_FILE, JOB_FILE, NOTES_FILE
from voxmix.runs.results import is_finished
from voxmix.runs.unfinished import attempts_at, desk_of

BEAT_SECONDS = 1.0
STALE_SECONDS = 120.0
"""Longer than a network file system shows an old file (60 s on NFS), and than clocks of a cluster disagree."""

State = Literal["waiting", "running", "lost", "failed", "finished"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a job was at its last heartbeat.

    Attributes:
        done, total: in the unit of the job's budget.
        time: of the heartbeat, seconds since 1970.
        since, first: when the process began, and how far the job was when it first said so.
        process: number of the process, on the machine (as it was started) of this digest.
    """

    done: int
    total: int
    time: float
    process: int
    machine: str
    since: float = 0.0
    first: int = 0

    @property
    def rate(self) -> float | None:
        """Done per second, in the unit of the budget; None while it is not known."""
        passed = self.time - self.since
        return (self.done - self.first) / passed if self.done > self.first and passed > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds that it will take at this rate; None while that is not known."""
        return None if self.rate is None else (self.total - self.done) / self.rate

    def is_alive(self, *, now: float) -> bool:
        """Return whether the process goes on, as far as can be known: of this machine surely, of others by its beat."""
        if now - self.time > STALE_SECONDS:
            return False
        return self.machine != this_machine() or is_running(self.process)


def read_progress(folder: Path) -> Progress | None:
    """Return the last heartbeat of a job; None where no process works on it, or none that can be understood."""
    last = attempts_at(folder)[-1:]
    if not last or not (path := progress_of(last[0])).is_file():
        return None
    with suppress(InputError), naming_damage(path, remedy="delete it"):
        value = read_mapping(path)
        return Progress(
            done=int(value["done"]),
            total=int(value["total"]),
            time=float(value["time"]),
            process=int(value["process"]),
            machine=str(value["machine"]),
            since=float(value["since"]),
            first=int(value["first"]),
        )
    return None


def state_of(folder: Path, *, now: float | None = None) -> State:
    """Return how a job fares: waiting for a process, running, lost (its process is gone), failed or finished."""
    found = read_progress(folder)
    if found is not None and found.is_alive(now=time.time() if now is None else now):
        return "running"
    if is_finished(folder):
        return "finished"
    if (desk_of(folder) / FAILURE_FILE).is_file():
        return "failed"
    return "waiting" if found is None else "lost"


@contextmanager
def heartbeat(path: Path, *, total: int) -> Iterator[ProgressCallback]:
    """Yield a callback that is told (done, total) of any unit; the file shows it, with the time, every second.

    At the end, whatever the end is, the file goes: nobody works on the job any more. A disk that cannot take the file does
    not stop the work.
    """
    done, first, over = 0, -1, threading.Event()
    machine, since = this_machine(), time.time()

    def told(count: int, of: int) -> None:
        nonlocal done, first, since
        done = total * count // of
        if first < 0:
            first, since = done, time.time()

    def beat() -> None:
        value = {
            "done": done,
            "total": total,
            "time": time.time(),
            "process": os.getpid(),
            "machine": machine,
            "since": since,
            "first": max(first, 0),
        }
        with suppress(OSError):
            _replace(path, json_text(value))

    def beat_on() -> None:
        while not over.wait(BEAT_SECONDS):
            beat()

    beat()
    thread = threading.Thread(target=beat_on, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


def _replace(path: Path, text: str) -> None:
    """Write a file at once as readers see it, without waiting for the disk: a lost heartbeat costs nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_failure(folder: Path, reason: str, *, attempts: int = 0, job: str = "") -> None:
    """Leave on the desk of a run why it failed, after how many attempts, and in which job of a scheduler.

    Raises:
        VoxmixError: the folder cannot be written to.
    """
    with naming_full_disk(folder):
        write_json(desk_of(folder) / FAILURE_FILE, {"reason": reason, "attempts": attempts, "job": job})


def read_failure(folder: Path) -> str | None:
    """Return why a run failed; None where it did not say so."""
    path = desk_of(folder) / FAILURE_FILE
    if not path.is_file():
        return None
    try:
        return str(read_mapping(path)["reason"])
    except (InputError, KeyError):
        return f"it failed and {path} cannot be read; give the same command again"


def write_notes(folder: Path, notes: Sequence[str]) -> None:
    """Leave on the desk of a run what it warned of."""
    if notes:
        with naming_full_disk(folder):
            write_json(desk_of(folder) / NOTES_FILE, {"notes": list(notes)})


def read_notes(folder: Path) -> tuple[str, ...]:
    """Return what a run warned of."""
    with suppress(InputError, KeyError, TypeError):
        return tuple(str(note) for note in read_mapping(desk_of(folder) / NOTES_FILE)["notes"])
    return ()


def forgive(folder: Path) -> None:
    """Let a run that failed be tried again."""
    for name in (FAILURE_FILE, NOTES_FILE):
        with suppress(OSError):
            (desk_of(folder) / name).unlink()


def clear(folder: Path) -> None:
    """Remove from the desk of a run what engines left for each other, but for why it failed, and a desk that is empty."""
    for name in (JOB_FILE, NOTES_FILE):
        with suppress(OSError):
            (desk_of(folder) / name).unlink()
    remove_empty(folder)
