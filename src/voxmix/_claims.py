"""Claims: of any number of processes, on any number of machines, one holds a name, and files are all they share.

A claim of NAME is a file ``NAME.<n>``. Whoever creates the next number holds it: creating a file that must not exist is the
one operation that is atomic on local disks, NFS, Lustre and GPFS alike. The holder renews its file a few times per lease. A
contender takes over when the file has not changed for a whole lease of its own clock: clocks of machines, times of files,
locks and names of hosts are never asked. So a claim saves work from being done twice; it cannot forbid it, since a process
may be frozen between looking and writing. What must not be done twice is published so that the first one wins, see
:mod:`voxmix.engines.attempts`.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from voxmix._machine import is_running, machine_label, process_start, scheduler_job, this_kernel

LEASE_SECONDS = 120.0
"""Longer than a network file system shows an old file (60 s on NFS)."""
PATIENCE_LEASES = 1.5
"""Leases for which a worker that finds nothing to take waits, before it leaves the rest to those who hold it: one to know that they
are alive, and half of one for disks that show late what others did."""
_BEATS = 4  # per lease
_TRIES = 20  # to make a folder that others remove when they have nothing left in it


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a claim, as its file says.

    Attributes:
        token: of the claim, known to nobody else.
        beat: how often it was renewed.
        lease: seconds without a beat after which others take over.
        kernel, process, start: number of the process, among those that this start of the machine knows.
        label, job, since, renewed: for people: the machine, the scheduler's job, seconds since 1970.
    """

    token: str
    beat: int = 0
    lease: float
    kernel: str
    process: int
    start: int
    label: str
    job: str
    since: float
    renewed: float

    @classmethod
    def this(cls, *, lease: float, now: float) -> "Holder":
        """Return this process as a new holder."""
        return cls(
            token=secrets.token_hex(8),
            lease=lease,
            kernel=this_kernel(),
            process=os.getpid(),
            start=process_start(os.getpid()),
            label=machine_label(),
            job=scheduler_job(),
            since=now,
            renewed=now,
        )

    @property
    def has_ended(self) -> bool:
        """Whether its process was one of this machine, and is no more. Of others nothing is known: False."""
        return (
            bool(self.kernel)
            and self.kernel == this_kernel()
            and not is_running(self.process, start=self.start)
        )

    @property
    def words(self) -> str:
        """Who it is, for people."""
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        job = f", job {self.job}" if self.job else ""
        return f"pid {self.process} on {self.label}{job}, since {since}"


class Claims:
    """The claims in one folder, as this process sees them."""

    def __init__(
        self,
        folder: Path,
        *,
        lease_seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        beating: bool = True,
    ) -> None:
        """Look at a folder; nothing is made there before a claim is taken.

        Args:
            lease_seconds: of the claims that are taken here.
            clock: seconds that never go back.
            wall: seconds since 1970.
            beating: renew claims in a thread; without, by :meth:`Claim.beat`.
        """
        self.folder = folder
        self.lease_seconds = lease_seconds
        self.clock = clock
        self.wall = wall
        self._beating = beating
        self._seen: dict[str, _Sight] = {}

    def take(self, name: str) -> "Claim | None":
        """Return the claim of a name; None while another process holds it.

        Asked again and again it takes over, at last, the claim of a process that is gone.

        Raises:
            OSError: the folder cannot be written to.
        """
        numbers = self.numbers(name)
        last = max(numbers, default=0)
        if last and not self._is_over(name, last):
            return None
        holder = Holder.this(lease=self.lease_seconds, now=self.wall())
        if not self._create(self.path(name, last + 1), _text(holder)):
            return None
        numbers = self.numbers(name)
        if max(numbers, default=0) > last + 1:  # what was seen of the folder was old
            self.path(name, last + 1).unlink(missing_ok=True)
            return None
        self._seen.pop(name, None)
        self._tidy(name, below=last + 1)
        claim = Claim(self, name, last + 1, holder)
        if self._beating:
            claim.start()
        return claim

    def holder(self, name: str) -> Holder | None:
        """Return who holds a name; None where nobody does, or it does not say so."""
        last = max(self.numbers(name), default=0)
        return self.read(name, last) if last else None

    def holders(self) -> dict[str, Holder]:
        """Return who holds what in this folder."""
        last: dict[str, int] = {}
        for name, number in self._files():
            last[name] = max(number, last.get(name, 0))
        found = {name: self.read(name, number) for name, number in last.items()}
        return {name: holder for name, holder in sorted(found.items()) if holder is not None}

    def numbers(self, name: str) -> list[int]:
        """Return the numbers of a name's files."""
        return [number for found, number in self._files() if found == name]

    def path(self, name: str, number: int) -> Path:
        """Return the file of a claim."""
        return self.folder / f"{name}.{number}"

    def read(self, name: str, number: int) -> Holder | None:
        """Return what a claim's file says; None where it is gone, or says nothing that can be understood."""
        try:
            value = json.loads(self.path(name, number).read_text(encoding="utf-8"))
            kinds = {item.name: item.type for item in fields(Holder)}
            return Holder(**{key: kinds[key](value[key]) for key in kinds})  # type: ignore[operator]
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _create(self, path: Path, text: str) -> bool:
        """Write a file that must not exist; return whether it did not."""
        for tries_left in reversed(range(_TRIES)):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = path.open("x", encoding="utf-8")
            except FileExistsError:
                return False
            except (
                FileNotFoundError
            ):  # whoever gave back the last claim took the folder, or those around it, along
                if not tries_left:
                    raise
                continue
            with file:
                try:
                    file.write(text)
                    file.flush()
                except OSError:
                    path.unlink(missing_ok=True)
                    raise
            return True
        return False

    def _files(self) -> list[tuple[str, int]]:
        try:
            names = os.listdir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        parts = [name.rpartition(".") for name in names if not name.startswith(".")]
        return [(name, int(number)) for name, _, number in parts if name and number.isdecimal()]

    def _is_over(self, name: str, number: int) -> bool:
        """Return whether nobody renews a claim: for a lease of this process's own clock, in which it looked all the time."""
        holder = self.read(name, number)
        if holder is None and not self.path(name, number).exists():
            return False  # released this moment: to be had the next time
        if holder is not None and holder.has_ended:
            return True
        mark = (number, "", 0) if holder is None else (number, holder.token, holder.beat)
        lease = self.lease_seconds if holder is None else holder.lease
        now, before = self.clock(), self._seen.get(name)
        if before is None or before.mark != mark or now - before.looked > lease / 2:
            self._seen[name] = _Sight(mark=mark, since=now, looked=now)
            return False
        self._seen[name] = replace(before, looked=now)
        return now - before.since > lease

    def _tidy(self, name: str, *, below: int) -> None:
        """Remove what former holders left."""
        for number in self.numbers(name):
            if number < below:
                self.path(name, number).unlink(missing_ok=True)
        for left in self.folder.glob(f".{name}.*.tmp"):
            left.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sight:
    """What was last seen of another's claim: since when it has not changed, and when it was looked at."""

    mark: tuple[int, str, int]
    since: float
    looked: float


class Claim:
    """A name that this process holds, renewed by a thread until it is released."""

    def __init__(self, claims: Claims, name: str, number: int, holder: Holder) -> None:
        self.name = name
        self.number = number
        self._claims = claims
        self._holder = holder
        self._gone = False
        self._renewed = claims.clock(), claims.wall()
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def token(self) -> str:
        """What no other claim has."""
        return self._holder.token

    @property
    def lost(self) -> bool:
        """Whether another process has taken over: asked of the disk where this one was frozen for a lease."""
        if not self._gone and self._is_overdue():
            self.beat()
        return self._gone

    def start(self) -> None:
        """Renew the claim from now on."""
        self._thread = threading.Thread(target=self._beat_on, name=f"claim {self.name}", daemon=True)
        self._thread.start()

    def beat(self) -> None:
        """Renew the claim, unless another process has taken over. A disk that does not take it is asked again later."""
        with self._guard, suppress(OSError):
            if self._gone or self._over.is_set():
                return
            self._look()
            if not self._gone:
                self._write()

    def release(self) -> None:
        """Give the name back."""
        self._over.set()
        with self._guard, suppress(OSError):
            self._look()
            if not self._gone:
                self._gone = True
                path = self._claims.path(self.name, self.number)
                path.unlink(missing_ok=True)
                path.parent.rmdir()  # where nothing else is claimed
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _beat_on(self) -> None:
        while not self._over.wait(self._holder.lease / _BEATS):
            self.beat()

    def _is_overdue(self) -> bool:
        clock, wall = self._renewed
        passed = max(self._claims.clock() - clock, self._claims.wall() - wall)
        return passed > self._holder.lease

    def _look(self) -> None:
        """See whether the claim is still this process's."""
        if max(self._claims.numbers(self.name), default=0) > self.number:
            self._gone = True
            return
        found = self._claims.read(self.name, self.number)
        if found is None:
            self._gone = not self._claims.path(self.name, self.number).exists()
        else:
            self._gone = found.token != self.token

    def _write(self) -> None:
        now = self._claims.wall()
        renewed = replace(self._holder, beat=self._holder.beat + 1, renewed=now)
        path = self._claims.path(self.name, self.number)
        temporary = path.with_name(f".{path.name}.{self.token}.tmp")
        temporary.write_text(_text(renewed), encoding="utf-8")
        temporary.replace(path)
        self._holder, self._renewed = renewed, (self._claims.clock(), now)


def _text(holder: Holder) -> str:
    return json.dumps(asdict(holder))
