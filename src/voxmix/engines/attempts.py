"""Attempts at a run: each in a folder of its own, of which the first that is whole becomes the run, by one rename.

A process may be frozen at any moment and go on after others have taken over, even finished; nothing can keep it from
writing then. So what it writes lies apart, in ``runs/.work/<id>/attempts/<attempt>``, and whoever goes on with the run
copies what is there and never writes into it. A finished attempt is published by renaming its folder to ``runs/<id>``:
atomic, and impossible where a run lies already. A publisher that is killed has published, or has left a whole attempt
that the next one takes over.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from voxmix._io import json_text, naming_full_disk, read_mapping, write_json
from voxmix._machine import scheduler_job
from voxmix.errors import InputError, VoxmixError
from voxmix.runs import is_finished
from voxmix.runs.files import (
    FAILURE_FILE,
    JOB_FILE,
    NOTES_FILE,
    PREVIOUS_STATE_FILE,
    PROGRESS_FILE,
    STATE_FILE,
)
from voxmix.runs.unfinished import ATTEMPTS_FOLDER, attempts_at, claims_beside, desk_of

MOST_FRUITLESS = 3
"""Attempts in a row that end without a word and without a new state, after which a run is not tried again."""
_HEAD_BYTES = 65  # of a state: the digest of what follows
_OLDER = "0000-older"
_STATES = (STATE_FILE, PREVIOUS_STATE_FILE)
_OF_ENGINES = (
    JOB_FILE,
    PROGRESS_FILE,
    FAILURE_FILE,
    NOTES_FILE,
)  # an older voxmix left them among the run's own


class GivenUpError(VoxmixError):
    """A run whose attempts end without a word, again and again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What is known of an attempt, beside its folder.

    Attributes:
        number: of the attempt, from 1.
        fruitless: attempts in a row before it that came no further.
        began: head of the state that it goes on from; "" from the beginning.
        is_ready: whether all that it goes on from is copied.
        ended: "" while it goes on, and where its process was killed.
        reason: why it ended, where that is known.
            job: of the scheduler.
        claim: under which it is made.
        launch: what the processes of this attempt know in common, where several were started from outside.
    """

    number: int
    fruitless: int = 0
    began: str = ""
    is_ready: bool = False
    ended: str = ""
    reason: str = ""
    job: str = ""
    claim: str = ""
    launch: str = ""


@dataclass(kw_only=True, slots=True)
class Attempt:
    """An attempt at a run; one process at a time makes one, under a claim.

    Attributes:
        run: folder of the run, where it will be.
        folder: where the attempt is made.
    """

    run: Path
    folder: Path
    facts: _Facts

    @classmethod
    def begin(cls, run: Path, *, claim: str = "", launch: str = "") -> "Attempt":
        """Return a new attempt, with all that the last one left.

        Args:
            claim: under which it is made.
            launch: known to all processes that share the run, where they were started from outside.

        Raises:
            GivenUpError: too many ended without a word and without progress.
            VoxmixError: the disk is full or cannot be written to.
        """
        with naming_full_disk(run):
            check_place(run)
            (desk_of(run) / ATTEMPTS_FOLDER).mkdir(parents=True, exist_ok=True)
            _set_aside(run)
            before = attempts_at(run)
            fruitless = _fruitless(before[-1]) if before else 0
            if fruitless >= MOST_FRUITLESS:
                raise _given_up(before[-1])
            number = 1 + max((_number(path) for path in before), default=0)
            folder = desk_of(run) / ATTEMPTS_FOLDER / f"{number:04d}-{secrets.token_hex(4)}"
            source = next((path for path in reversed(before) if _is_whole(path)), None)
            facts = _Facts(
                number=number, fruitless=fruitless, job=scheduler_job(), claim=claim, launch=launch
            )
            _facts_path(folder).write_text(
                json_text(asdict(facts)), encoding="utf-8"
            )  # no matter if it is lost
            folder.mkdir()
            if source is not None:
                _take_over(source, folder)
            made = cls(run=run, folder=folder, facts=replace(facts, began=_head(folder), is_ready=True))
            _write_facts(folder, made.facts)
            for path in before:
                _remove(path)
            return made

    @property
    def progress_path(self) -> Path:
        """Where it says how far it is."""
        return progress_of(self.folder)

    def publish(self) -> bool:
        """Let the attempt be the run, unless there is one; return whether it is. What lies on the desk goes.

        Raises:
            VoxmixError: the disk is full or cannot be written to.
        """
        with naming_full_disk(self.run):
            for name in _STATES:  # of a process that was killed right before it removed them
                (self.folder / name).unlink(missing_ok=True)
            won = _renamed(self.folder, self.run)
        clear_desk(self.run)
        return won

    def end(self, how: str, *, reason: str = "") -> None:
        """Note that the attempt has ended: stopped (from outside), failed (it said why) or broken (it did not)."""
        with suppress(OSError):
            if how == "failed" and not any(self.folder.iterdir()):  # nothing was begun
                self.discard()
            else:
                _write_facts(self.folder, replace(self.facts, ended=how, reason=reason))

    def discard(self) -> None:
        """Remove the attempt: another process has taken over."""
        _remove(self.folder)
        remove_empty(self.run)


def joined(run: Path, *, launch: str) -> Path | None:
    """Return the folder of the attempt at a run that the first process of a launch has begun; None before it has."""
    for path in reversed(attempts_at(run)):
        with suppress(InputError):
            facts = _facts(path)
            if facts.is_ready and facts.launch == launch:
                return path
    return None


def last_attempt(run: Path) -> tuple[int, str]:
    """Return how many attempts at a run were begun, and under which claim the last one is made; (0, "") without one."""
    for path in reversed(attempts_at(run)):
        with suppress(InputError):
            facts = _facts(path)
            return facts.number, facts.claim
    return 0, ""


def check_place(run: Path) -> None:
    """Check that a run can lie there.

    Raises:
        NotADirectoryError: it cannot.
    """
    if run.exists() and not run.is_dir():
        raise NotADirectoryError(20, "Not a directory", str(run))


def clear_desk(run: Path) -> None:
    """Remove what was left at a finished run, but for what it warned of."""
    desk = desk_of(run)
    shutil.rmtree(desk / ATTEMPTS_FOLDER, ignore_errors=True)
    for name in (JOB_FILE, FAILURE_FILE):
        with suppress(OSError):
            (desk / name).unlink()
    remove_empty(run)


def progress_of(attempt: Path) -> Path:
    """Return where an attempt says how far it is."""
    return attempt.with_name(f"{attempt.name}.{PROGRESS_FILE}")


def _renamed(folder: Path, run: Path) -> bool:
    for _ in range(2):
        try:
            folder.rename(run)
        except OSError:
            if is_finished(run):
                return False
            if not folder.is_dir() or not run.is_dir():
                raise
            _set_aside(run)
        else:
            return True
    folder.rename(run)
    return True


def _set_aside(run: Path) -> None:
    """Make an attempt of what an older voxmix left in the place of the run; nobody can publish there meanwhile."""
    if not run.is_dir() or is_finished(run):
        return
    try:
        run.rmdir()
    except OSError:  # not empty
        older = desk_of(run) / ATTEMPTS_FOLDER / _OLDER
        if older.exists():
            older = older.with_name(f"{_OLDER}-{secrets.token_hex(4)}")
        run.rename(older)


def _take_over(source: Path, folder: Path) -> None:
    """Copy what an attempt left; the states first, so that the metrics are not behind them. They are never changed in place."""
    for name in _STATES:
        try:
            os.link(source / name, folder / name)
        except FileNotFoundError:
            continue
        except OSError:  # a disk without links
            shutil.copyfile(source / name, folder / name)
    for path in _own_files(source):
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)


def _own_files(source: Path) -> Iterator[Path]:
    for path in sorted(source.iterdir()):
        if path.name not in (*_STATES, *_OF_ENGINES) and not (
            path.name.startswith(".") and path.suffix == ".tmp"
        ):
            yield path


def _fruitless(last: Path) -> int:
    """Return how many attempts in a row, up to the last one, ended without a word and came no further."""
    try:
        facts = _facts(last)
    except InputError:
        return 0
    if facts.ended == "stopped":
        return facts.fruitless
    if not facts.is_ready:
        return facts.fruitless + 1
    came_on = is_finished(last) or _head(last) not in ("", facts.began)
    return 0 if facts.ended == "failed" or came_on else facts.fruitless + 1


def _given_up(last: Path) -> GivenUpError:
    facts = _facts(last)
    of = f" as job {facts.job}, whose log may say why" if facts.job else ""
    why = facts.reason or "nothing says why: perhaps it was killed for lack of memory"
    _write_facts(last, replace(facts, ended="failed"))  # who tries it again has all attempts before him
    return GivenUpError(
        f"its process ended {MOST_FRUITLESS} times without coming further, the last time{of} ({why}); fix the cause, then "
        "voxmix run tries it again"
    )


def _is_whole(path: Path) -> bool:
    """Return whether an attempt can be gone on with: one that was killed while it copied cannot."""
    try:
        return _facts(path).is_ready
    except InputError:
        return path.name.startswith(_OLDER)


def _number(path: Path) -> int:
    head = path.name.partition("-")[0]
    return int(head) if head.isdecimal() else 0


def _head(folder: Path) -> str:
    """Return what tells a state from others; "" where there is none."""
    try:
        with (folder / STATE_FILE).open("rb") as file:
            return file.read(_HEAD_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""


def _facts(attempt: Path) -> _Facts:
    """Return the facts of an attempt.

    Raises:
        InputError: there are none, or none that can be understood.
    """
    value = read_mapping(_facts_path(attempt))
    try:
        return _Facts(**value)
    except TypeError:
        raise InputError(f"{attempt}.json is of another version") from None


def _write_facts(attempt: Path, facts: _Facts) -> None:
    write_json(_facts_path(attempt), asdict(facts))


def _facts_path(attempt: Path) -> Path:
    return attempt.with_name(f"{attempt.name}.json")


def _remove(attempt: Path) -> None:
    shutil.rmtree(attempt, ignore_errors=True)
    for path in (_facts_path(attempt), progress_of(attempt)):
        with suppress(OSError):
            path.unlink()


def remove_empty(run: Path) -> None:
    """Remove folders that hold nothing."""
    desk = desk_of(run)
    for folder in (desk / ATTEMPTS_FOLDER, desk, claims_beside(run), desk.parent):
        with suppress(OSError):
            folder.rmdir()
