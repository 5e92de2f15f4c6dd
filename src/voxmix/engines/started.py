"""Runs shared by processes that ``srun`` or ``torchrun`` has started, on one machine or several, all with the same command.

The first process does what the command does; at every run it hands the folder out to the others, who wait for it. They
speak through the store by which torch's processes find each other: no file of an earlier start can mislead them.
"""

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch.distributed.rendezvous import rendezvous

from voxmix._io import file_digest
from voxmix._stopping import EndedBySignal
from voxmix.compute import ComputeSettings
from voxmix.engines.job_file import Chain, Job, read_job
from voxmix.engines.one_run import ClaimLost, Ended, Lost, work_in
from voxmix.engines.pull import pull_jobs
from voxmix.engines.work import Opened
from voxmix.errors import InputError, VoxmixError
from voxmix.training.launchers import Started, meet_apart, started_together

_MEET_SECONDS = 600.0
"""Between the start of the first process and that of the last one: nodes load torch from slow disks."""
_LAST_SECONDS = 30.0
_LOOK_SECONDS = 0.1

_joined: "list[Launch]" = []


def joined_launch() -> "Launch | None":
    """Return the launch that this process is the first of; None where it is alone."""
    return _joined[-1] if _joined else None


@contextmanager
def joined(compute: ComputeSettings, *, root: Path, settings: Path) -> Iterator["Launch | None"]:
    """Yield the processes that were started together to share runs of a study; None where this one is alone.

    All must call it. The first one goes on with its work, which :func:`started` then shares; every other one calls
    :meth:`Launch.follow` and nothing else.

    Args:
        root: the study's folder; it may have another name on every machine.
        settings: file in it that must be the same everywhere.

    Raises:
        InputError: another number of processes was started than is asked for; they do not all have the same settings.
        VoxmixError: not all of them have come.
    """
    found = started_together(compute)
    if found is None:
        yield None
        return
    launch = Launch(found, root=root)
    code: Any = 1
    try:
        launch.meet(_words_of(compute, settings))
        if launch.is_first:
            _joined.append(launch)
        yield launch
        code = 0
    except (InputError, SystemExit) as error:
        code = error.exit_code if isinstance(error, InputError) else error.code
        raise
    finally:
        if launch.is_first:
            _joined.clear()
            launch.end(code if isinstance(code, int) else 1)


def started(chains: Sequence[Chain], *, launch: "Launch") -> Generator[None, None, None]:
    """Be the first of the processes that share the runs: make them one after another, in this process."""
    for chain in chains:
        yield
        pull_jobs([chain], shared=launch.share)
    yield


class Launch:
    """Processes that were started together, as one of them sees them.

    Args:
        found: which of them this one is.
        root: the study's folder.
    """

    def __init__(self, found: Started, *, root: Path) -> None:
        self.rank, self.world, self._root, self._runs = found.rank, found.world, root, 0
        os.environ.setdefault("MASTER_ADDR", found.address)
        os.environ.setdefault("MASTER_PORT", str(found.port))
        try:
            meet_apart(found.rank, seconds=_MEET_SECONDS)
            self._store, _, _ = next(
                rendezvous("env://", found.rank, found.world, timeout=timedelta(seconds=_MEET_SECONDS))
            )
        except RuntimeError as error:
            raise VoxmixError(
                f"process {self.rank} of {self.world} did not meet the others at {os.environ['MASTER_ADDR']} port "
                f"{os.environ['MASTER_PORT']} ({str(error).splitlines()[0]}); see that all were started and none has "
                "ended, and that MASTER_ADDR, where it is set, is the machine of the first one"
            ) from error

    @property
    def is_first(self) -> bool:
        """Whether this is the process that plans, prints and publishes."""
        return self.rank == 0

    def meet(self, words: Mapping[str, str]) -> None:
        """Let the first process compare what all of them are about to do.

        Raises:
            InputError: they differ, or one has not come.
        """
        self._tell(f"of-{self.rank}", dict(words))
        for rank in range(1, self.world if self.is_first else 0):
            theirs = self._hear(f"of-{rank}", seconds=_MEET_SECONDS, whom=f"process {rank}")
            for name, mine in words.items():
                if theirs.get(name) != mine:
                    raise InputError(
                        f"process {rank} has {name} {theirs.get(name)}, the first one {mine}; start all of them with the same "
                        "command, voxmix and study"
                    )

    def share(self, job: Job, folder: Path, progress_path: Path, lost: Lost) -> Ended:
        """Make a run together with the others, from the first process.

        Raises:
            ClaimLost: another process has taken the run over.
            VoxmixError: one of the processes cannot, or has ended.
        """
        number, self._runs = self._runs, self._runs + 1
        places = [os.path.relpath(path.absolute(), self._root.absolute()) for path in (job.folder, folder)]
        self._tell(f"run-{number}", {"run": places[0], "attempt": places[1]})
        for rank in range(1, self.world):
            found = self._hear(f"ready-{number}-{rank}", seconds=_MEET_SECONDS, whom=f"process {rank}")
            if found["reason"]:
                raise VoxmixError(f"process {rank} of {self.world}: {found['reason']}")
        with self._naming_lost(lambda: self._failures(number)):
            return work_in(job, folder, progress_path=progress_path, lost=lost)

    def follow(self) -> int:
        """Be one of the others: take part in every run that the first process hands out; return its exit code.

        Raises:
            VoxmixError: this process cannot take part, or the first one has gone.
        """
        try:
            return self._follow()
        finally:
            with suppress(RuntimeError):  # the store was in the first process
                self._tell(f"gone-{self.rank}", {})

    def _follow(self) -> int:
        opened = Opened()
        for number in range(2**31):
            said = self._hear(f"run-{number}", or_else="over")
            if "code" in said:
                return int(said["code"])
            run, attempt = (self._root / said[name] for name in ("run", "attempt"))
            job = self._ready(number, run, attempt)
            try:
                with self._naming_lost(lambda: ""):
                    reason, _ = work_in(job, attempt, progress_path=None, opened=opened)
            except ClaimLost:
                continue
            if reason is not None:
                self._tell(f"failed-{number}-{self.rank}", {"reason": reason})
                if not self._comes(f"run-{number + 1}", "over", seconds=_LAST_SECONDS):
                    raise VoxmixError(f"process {self.rank} of {self.world}: {reason}")
        return 1

    def end(self, code: int) -> None:
        """Tell the others that nothing is left to do, and stay until they have heard it: the store goes with this process."""
        try:
            self._tell("over", {"code": code})
            deadline = time.monotonic() + _LAST_SECONDS
            for rank in range(1, self.world):
                self._comes(f"gone-{rank}", seconds=deadline - time.monotonic())
        except (RuntimeError, KeyboardInterrupt, EndedBySignal):
            return

    def _ready(self, number: int, run: Path, attempt: Path) -> Job:
        """Say whether this process sees all that the run needs."""
        try:
            job = read_job(run)
            given = (getattr(job.work, item.name) for item in fields(job.work))  # type: ignore[arg-type]
            unseen = [path for path in (attempt, *given) if isinstance(path, Path) and not _is_seen(path)]
            if unseen:
                raise InputError(
                    f"does not see {', '.join(str(path) for path in unseen)}; put the study on a disk that all machines share"
                )
        except VoxmixError as error:
            self._tell(f"ready-{number}-{self.rank}", {"reason": str(error)})
            raise VoxmixError(f"process {self.rank} of {self.world}: {error}") from error
        self._tell(f"ready-{number}-{self.rank}", {"reason": ""})
        return job

    def _failures(self, number: int) -> str:
        for rank in range(1, self.world):
            if self._store.check([f"voxmix-failed-{number}-{rank}"]):
                reason = self._hear(f"failed-{number}-{rank}")["reason"]
                return f"; process {rank} said: {reason}"
        return ""

    @contextmanager
    def _naming_lost(self, more: Callable[[], str]) -> Iterator[None]:
        """Turn what torch says when another process of the run ends into a sentence."""
        try:
            yield
        except RuntimeError as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            known = (
                "connection closed",
                "connection reset",
                "gloo",
                "nccl",
                "broken pipe",
                "store",
                "timed out",
            )
            if not any(word in str(error).lower() for word in known):
                raise
            raise VoxmixError(
                f"another process of the {self.world} that share the run has ended ({first}){more()}; its log says why. The "
                "last state is kept: give the same command again"
            ) from error

    def _tell(self, key: str, value: Mapping[str, Any]) -> None:
        self._store.set(f"voxmix-{key}", json.dumps(value))

    def _comes(self, *keys: str, seconds: float = float("inf")) -> bool:
        """Wait for any of some words, so that a signal is heard meanwhile; return whether one came."""
        deadline = time.monotonic() + seconds
        while not any(self._store.check([f"voxmix-{key}"]) for key in keys):
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        return True

    def _hear(
        self, key: str, *, or_else: str = "", seconds: float = float("inf"), whom: str = "the first process"
    ) -> dict[str, Any]:
        keys = (key, or_else) if or_else else (key,)
        try:
            if not self._comes(*keys, seconds=seconds):
                raise VoxmixError(f"{whom} has said nothing for {seconds:.0f} s; look at its log")
            said = next(name for name in keys if self._store.check([f"voxmix-{name}"]))
            value: dict[str, Any] = json.loads(self._store.get(f"voxmix-{said}"))
        except RuntimeError as error:  # the store was in the first process
            raise VoxmixError(
                f"process {self.rank} of {self.world}: the first process has ended; its log says why"
            ) from error
        return value


def _is_seen(path: Path) -> bool:
    """Return whether a path is there; a network disk may show it a little late."""
    deadline = time.monotonic() + _LAST_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _words_of(compute: ComputeSettings, settings: Path) -> dict[str, str]:
    """Return what all processes must have in common."""
    versions = {name: version(name) for name in ("voxmix", "torch", "lightning-fabric")}
    chosen = {f"compute.{name}": json.dumps(value, default=str) for name, value in asdict(compute).items()}
    return {**versions, settings.name: file_digest(settings), **chosen}
