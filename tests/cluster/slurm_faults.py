"""Faults while a small Slurm makes the runs of a study: ``python tests/cluster/slurm_faults.py --faults 50``.

Every fault is drawn at random and falls on a worker that has begun a run. A study that is finished is compared, bit for bit,
with the same study made by one process, and the next one is begun, until there were enough faults.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_slurm import SmallSlurm, free_ports, missing
from tiny_study import finished_runs, make_study, marks, outcome, processes, voxmix

from voxmix.study import Study, StudyView

CREW = "voxmix.engines.crew"


@dataclass
class Faults:
    """What can happen to a study's jobs.

    Attributes:
        slurm: the Slurm of the jobs.
        study: the study that they work on.
        draw: decides what happens, and to whom.
        lease: seconds after which a silent worker is taken for dead.
    """

    slurm: SmallSlurm
    study: Study
    draw: random.Random
    lease: float
    counts: Counter[str] = field(default_factory=Counter)
    frozen: dict[int, float] = field(default_factory=dict)
    queued_again: dict[str, float] = field(default_factory=dict)

    def inject(self) -> str | None:
        """Let something happen to a worker that has begun a run; return what, or None where there is none."""
        workers = [one for one in processes(self.study) if one not in self.frozen]
        jobs = self.jobs("R")
        if not workers or not self.is_training():
            return None
        name, act = self.draw.choice(self.kinds())
        job = self.draw.choice(jobs) if jobs else ""  # a worker may outlive its crew, and so its job
        if act(self.draw.choice(workers), job):
            self.counts[name] += 1
            return name
        return None

    def kinds(self) -> list[tuple[str, Callable[[int, str], bool]]]:
        return [
            ("kill -9 of a worker", lambda worker, job: self.send(worker, signal.SIGKILL)),
            ("kill -9 of a worker", lambda worker, job: self.send(worker, signal.SIGKILL)),
            ("kill of a worker (TERM)", lambda worker, job: self.send(worker, signal.SIGTERM)),
            ("kill -9 of a crew", lambda worker, job: self.send(self.draw.choice(processes(self.study, CREW) or [0]), signal.SIGKILL)),
            ("scancel", lambda worker, job: self.say("scancel", of=job)),
            ("time limit", lambda worker, job: self.say("scancel", "--batch", "--signal=USR2", of=job)),
            ("requeue by an administrator", lambda worker, job: self.say("scontrol", "requeue", of=job)),
            ("frozen for longer than the lease", self.freeze),
            ("kill -9 of slurmd, stepd and workers", self.lose_node),
            ("kill -9 of slurmctld", self.lose_controller),
        ]  # fmt: skip

    def send(self, process: int, number: int) -> bool:
        if not process:
            return False
        with suppress(ProcessLookupError):
            os.kill(process, number)
            return True
        return False

    def say(self, *command: str, of: str) -> bool:
        if of:
            self.slurm.call(*command, of, check=False)
        return bool(of)

    def freeze(self, worker: int, job: str) -> bool:
        self.frozen[worker] = time.monotonic() + self.lease * self.draw.uniform(1.4, 2.0)
        return self.send(worker, signal.SIGSTOP)

    def thaw(self, *, all_: bool = False) -> None:
        for worker, until in list(self.frozen.items()):
            if all_ or time.monotonic() > until:
                del self.frozen[worker]
                self.send(worker, signal.SIGCONT)

    def lose_node(self, worker: int, job: str) -> bool:
        """Kill what runs on the node of a job, at once, and start its daemon again a little later."""
        node = self.kill_node(job)
        if node is None:
            return False
        time.sleep(1)
        self.slurm.start_node(node)
        time.sleep(1)
        for state in ("down", "resume"):  # which Slurm finds by itself after a minute or two
            self.slurm.call(
                "scontrol", "update", f"nodename={node}", f"state={state}", "reason=lost", check=False
            )
        return True

    def kill_node(self, job: str) -> str | None:
        """Kill the daemon of a job's node, and all jobs there with all their processes; return the node's name."""
        node = self.slurm.call("squeue", "-h", "-j", job, "-o", "%N", check=False).strip() if job else ""
        if node not in ("n1", "n2"):
            return None
        there = self.slurm.call("squeue", "-h", "-t", "R", "-w", node, "-o", "%A", check=False).split()
        daemon = int((self.slurm.root / f"{node}.pid").read_text(encoding="ascii"))
        steps = [pid for number in there for pid in _stepds(number, of=self.slurm)]
        below = [pid for step in steps for pid in _tree(step)]
        for pid in [daemon, *steps, *below]:
            self.send(pid, signal.SIGKILL)
        return node

    def lose_controller(self, worker: int, job: str) -> bool:
        """Kill the controller, and start it again a little later; the jobs go on meanwhile."""
        controller = self.slurm.controller
        if controller is None:
            return False
        self.send(controller, signal.SIGKILL)
        time.sleep(self.draw.uniform(0.5, 3.0))
        self.slurm.start_controller()
        return True

    def check_controller(self) -> None:
        """Fail, with its last words, where the controller has ended and nobody here has killed it."""
        if self.slurm.controller is None:
            raise AssertionError(
                f"slurmctld has ended by itself; the end of its log:\n{self.slurm.last_words()}"
            )

    def jobs(self, states: str) -> list[str]:
        return self.slurm.call("squeue", "-h", "-r", "-t", states, "-o", "%i", check=False).split()

    def is_training(self) -> bool:
        return any(self.study.runs_dir.glob(".work/*/attempts/*/metrics.jsonl"))

    def hasten(self) -> None:
        """Spare jobs that are queued again the two minutes that Slurm makes them wait, and take nodes back that it mistrusts."""
        for line in self.slurm.call(
            "sinfo", "-h", "-N", "-p", "main", "-o", "%N|%T", check=False
        ).splitlines():
            node, _, state = line.partition("|")
            if state.startswith(("drain", "down")):
                self.slurm.call("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        for line in self.slurm.call(
            "squeue", "-h", "-r", "-t", "PD", "-o", "%i|%r", check=False
        ).splitlines():
            job, _, reason = line.partition("|")
            if reason == "BeginTime":
                # sooner, its new start would be taken for the old one: "job credential revoked"
                if time.monotonic() - self.queued_again.setdefault(job, time.monotonic()) < 6:
                    continue
                del self.queued_again[job]
                self.slurm.call("scontrol", "update", f"jobid={job}", "starttime=now", check=False)
            elif reason.startswith(("launch", "JobHeld")):
                self.slurm.call("scontrol", "release", job, check=False)


def _stepds(job: str, *, of: SmallSlurm) -> list[int]:
    """Return the processes that watch a job's steps, of this Slurm: another one on this machine may have a job of that number."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdecimal()
                and (entry / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}.".encode())
                and (entry / "cwd").readlink().is_relative_to(of.root)
            ):
                found.append(int(entry.name))
    return found


def _tree(process: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
        return [pid for child in children for pid in (int(child), *_tree(int(child)))]
    return []


def injected(counts: Counter[str]) -> int:
    """Return how many faults were counted; what stands in brackets is none."""
    return sum(count for name, count in counts.items() if not name.startswith("("))


def reference(root: Path, **settings: object) -> dict[str, object]:
    """Return what comes of the study where one process makes it."""
    study = make_study(root, **settings)
    done = voxmix("run", study.root, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return outcome(study)


def torment(
    slurm: SmallSlurm,
    study: Study,
    *,
    draw: random.Random,
    lease: float,
    wanted: int,
    say: Callable[[str], None],
) -> Counter[str]:
    """Let faults fall on a study until its runs are finished; return how many of which, at most ``wanted``."""
    faults = Faults(slurm=slurm, study=study, draw=draw, lease=lease)
    left, seen, pause = len(StudyView(study).proxies), {}, 0.0
    deadline = time.monotonic() + 1800
    try:
        while len(finished_runs(study)) < left:
            assert time.monotonic() < deadline, f"not finished after {faults.counts}"
            faults.thaw()
            faults.check_controller()
            faults.hasten()
            if not faults.jobs("R,PD,CG"):
                done = voxmix(
                    "run",
                    study.root,
                    "--engine",
                    "slurm",
                    "--jobs",
                    2,
                    "--submit-only",
                    environment=slurm.environment(),
                )
                assert done.returncode == 0, done.stderr
                faults.counts["(submitted)"] += 1
            due = time.monotonic() > pause and injected(faults.counts) < wanted
            if due and (what := faults.inject()) is not None:
                say(f"{what}; {len(finished_runs(study))} of {left} runs finished")
                pause = time.monotonic() + draw.uniform(0.5, 3.0)
            for name, mark in marks(study).items():
                assert seen.setdefault(name, mark) == mark, f"{name} of a finished run was written again"
            time.sleep(0.3)
    finally:
        faults.thaw(all_=True)
    slurm.call("scancel", "--user", str(os.getuid()), check=False)
    time.sleep(lease)
    for name, mark in marks(study).items():
        assert seen.setdefault(name, mark) == mark, f"{name} of a finished run was written again"
    return faults.counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2000, 6000])
    given = parser.parse_args()
    if lacking := missing():
        sys.exit(f"this machine has no {', '.join(lacking)}; on Debian: apt-get install slurm-wlm munge")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that nothing is left running
    root = Path(tempfile.mkdtemp(prefix="voxmix-faults-", dir="/tmp"))
    slurm = SmallSlurm(root / "slurm", port=free_ports())
    lease, draw, counts = 6.0, random.Random(given.seed), Counter()
    settings = {"budgets": tuple(given.budgets), "lease": lease}
    began = time.monotonic()
    try:
        wanted = reference(root / "one", **settings)
        print(f"one process: {time.monotonic() - began:.0f} s, {len(wanted) - 1} runs", flush=True)
        slurm.start()
        number = 0
        while injected(counts) < given.faults:
            number += 1
            study = make_study(root / f"study-{number}", **settings)
            counts += torment(
                slurm,
                study,
                draw=draw,
                lease=lease,
                wanted=given.faults - injected(counts),
                say=lambda text: print(f"{time.monotonic() - began:6.0f} s {text}", flush=True),
            )
            done = voxmix("run", study.root)
            assert done.returncode == 0, done.stderr
            assert outcome(study) == wanted, "weights, metrics, losses or the table differ"
            left = [path.name for path in study.runs_dir.iterdir() if path.name.startswith(".")]
            print(f"study {number}: equal, bit for bit; beside the runs lie {left}", flush=True)
            counts["(studies)"] += 1
        print(
            json.dumps({"seconds": round(time.monotonic() - began), **dict(sorted(counts.items()))}, indent=1)
        )
    finally:
        slurm.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
