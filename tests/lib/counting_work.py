"""A work that trains nothing: counts to a number in small steps, keeps its state in a file, and leaves a known result."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from voxmix.compute import ComputeSettings
from voxmix.engines.job_file import Job
from voxmix.errors import VoxmixError


@dataclass(frozen=True)
class Counting:
    """What is counted to, and what happens on the way: nothing, kills (its process), breaks (unexpectedly) or fails."""

    to: int
    name: str = ""
    happens: str = ""
    group: str = ""

    @property
    def run_id(self) -> str:
        return f"count-{self.name or self.to}"

    def as_dict(self) -> dict[str, Any]:
        return {"to": self.to, "name": self.name, "happens": self.happens, "group": self.group}


@dataclass(frozen=True, kw_only=True)
class CountingWork:
    """Counts, slowly."""

    kind: ClassVar[str] = "counting"
    read_spec: ClassVar[Callable[[dict[str, Any]], Counting]] = lambda value: Counting(**value)
    spec: Counting
    log: Path
    pause: str = "0"
    compute: ComputeSettings = ComputeSettings()  # noqa: RUF009

    @property
    def size(self) -> int:
        return self.spec.to

    @property
    def chain(self) -> str:
        return self.spec.group or self.spec.run_id

    def run(
        self, folder: Path, *, opened: Any, device_index: int | None, progress: Callable[[int, int], None]
    ) -> None:
        state, metrics = folder / "state.pt", folder / "metrics.jsonl"
        done = int(state.read_text("utf-8").split()[1]) if state.exists() else 0
        lines = metrics.read_text("utf-8").splitlines(keepends=True)[:done] if metrics.exists() else []
        metrics.write_text("".join(lines), "utf-8")
        (folder / "spec.json").write_text(json.dumps(self.spec.as_dict()), "utf-8")
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{os.getpid()} {self.spec.run_id} from {done}\n")
        for number in range(done, self.spec.to):
            time.sleep(float(self.pause))
            if self.spec.happens and number == self.spec.to // 2:
                self.let_happen()
            with metrics.open("a", encoding="utf-8") as file:
                file.write(f'{{"step": {number + 1}}}\n')
            temporary = folder / ".state.tmp"
            temporary.write_text(f"{hashlib.sha256(str(number).encode()).hexdigest()}\n{number + 1}", "utf-8")
            if self.spec.happens or number % 3 == 2:
                temporary.replace(state)
            progress(number + 1, self.spec.to)
        (folder / "result.json").write_text(json.dumps(result_of(self.spec)), "utf-8")
        state.unlink(missing_ok=True)
        (folder / ".state.tmp").unlink(missing_ok=True)

    def let_happen(self) -> None:
        if self.spec.happens == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.spec.happens == "breaks":
            raise ZeroDivisionError("by accident")
        raise VoxmixError("the loss is nan")


def result_of(spec: Counting) -> dict[str, Any]:
    return {"counted": sum(range(spec.to)), "run": spec.run_id}


def job_of(root: Path, spec: Counting, *, lease: float = 120.0, pause: float = 0.0) -> Job:
    compute = ComputeSettings(lease_seconds=lease)
    work = CountingWork(spec=spec, log=root / "log", pause=str(pause), compute=compute)
    return Job(folder=root / "runs" / spec.run_id, work=work)


def check(root: Path, spec: Counting) -> None:
    """Check that a run is the one that an undisturbed process makes, and that nothing else is left of it."""
    run = root / "runs" / spec.run_id
    assert json.loads((run / "result.json").read_text("utf-8")) == result_of(spec), run
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert steps == list(range(1, spec.to + 1)), run
    assert {path.name for path in run.iterdir()} == {"result.json", "metrics.jsonl", "spec.json"}, run


def prints_of(run: Path) -> dict[str, str]:
    """Return the digest of every file of a run."""
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file()
    }
