"""Workers that are killed and frozen: ``python faults.py KIND FOLDER NUMBER`` prints what it did as JSON.

The process loads voxmix once and forks its workers, so that hundreds of them cost seconds.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from counting_work import Counting, check, job_of, prints_of

from voxmix.engines import attempts
from voxmix.engines.job_file import Job, chains_of
from voxmix.engines.pull import pull_jobs
from voxmix.runs import is_finished

EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "shutil.rmtree", "os.listdir"}


def forked(work: Callable[[], Any]) -> int:
    """Do something in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def ended(child: int, *, wait: bool = True) -> int | None:
    """Return how a process ended; None while it goes on."""
    found, status = os.waitpid(child, 0 if wait else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def at_random(root: Path, *, faults: int, seed: int) -> dict[str, Any]:
    """Kill and freeze four workers at random until so many faults are made and every run is finished."""
    attempts.MOST_FRUITLESS = 10**6  # every death is ours
    rng = random.Random(seed)
    specs = [
        Counting(to=30 + rng.randrange(60), name=f"r{n}", group=f"g{n // 3}" if n < 18 else "")
        for n in range(48)
    ]
    jobs = [job_of(root, spec, lease=0.6, pause=0.004) for spec in specs]
    chains = chains_of(jobs)
    workers: dict[int, float | None] = {}  # to when it thaws
    counts, finished = {"kills": 0, "freezes": 0}, dict[Path, dict[str, str]]()
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        while len(workers) < 4:
            workers[forked(lambda: pull_jobs(chains))] = None
        time.sleep(rng.uniform(0.01, 0.06))
        for child, thaws in list(workers.items()):
            if thaws is not None and time.monotonic() > thaws:
                os.kill(child, signal.SIGCONT)
                workers[child] = None
            if (code := ended(child, wait=False)) is not None:
                del workers[child]
                assert code == 0, code
        for job in jobs:
            if job.folder not in finished and is_finished(job.folder):
                finished[job.folder] = prints_of(job.folder)
        if len(finished) == len(jobs):
            break
        if not workers or sum(counts.values()) >= faults:
            continue
        child = rng.choice(list(workers))
        if rng.random() < 0.6:
            os.kill(child, signal.SIGKILL)
            ended(child)
            del workers[child]
            counts["kills"] += 1
        elif workers[child] is None:
            os.kill(child, signal.SIGSTOP)
            workers[child] = time.monotonic() + rng.uniform(0.1, 1.6)
            counts["freezes"] += 1
    for child in workers:
        os.kill(child, signal.SIGCONT)
    codes = [ended(child) for child in workers]
    pull_jobs(chains)  # tidies up after who was killed last
    return {**judged(root, specs, finished), **counts, "codes": codes}


def calm(root: Path) -> dict[str, Any]:
    """Let four workers make runs, of which one kills its worker, one breaks it and one fails, and nothing else happens."""
    odd = {"kills": "its process ended 3 times", "breaks": "by accident", "fails": "the loss is nan"}
    specs = [Counting(to=10 + n, name=f"r{n}", group=f"g{n // 2}" if n < 6 else "") for n in range(16)]
    poison = [Counting(to=8, name=name, happens=name) for name in odd]
    jobs = [job_of(root, spec, pause=0.01) for spec in (*poison, *specs)]
    chains, codes = chains_of(jobs), []
    workers = [forked(lambda: pull_jobs(chains)) for _ in range(4)]
    while workers:
        code = ended(workers.pop(0))
        codes.append(code)
        if code != 0:  # as a scheduler starts a job again
            workers.append(forked(lambda: pull_jobs(chains)))
    found = pull_jobs(chains)
    reasons = {path.name: reason for path, reason in found.failed.items()}
    assert all(odd[spec.name] in reasons[spec.run_id] for spec in poison), reasons
    begun = [line.split(maxsplit=1)[1] for line in (root / "log").read_text("utf-8").splitlines()]
    for spec in specs:
        check(root, spec)
    return {
        "codes": codes,
        "exit_code": found.exit_code,
        "twice": sorted({line for line in begun if begun.count(line) > 1 and "-r" in line}),
        "begun": {spec.name: sum(line.startswith(f"{spec.run_id} ") for line in begun) for spec in poison},
        "left": sorted(p.name for p in root.glob("runs/.work/*")),
    }


def judged(root: Path, specs: Sequence[Counting], finished: dict[Path, dict[str, str]]) -> dict[str, Any]:
    """Return how many runs are right, and which changed after they were finished."""
    for spec in specs:
        check(root, spec)
    changed = [run.name for run, prints in finished.items() if prints_of(run) != prints]
    return {
        "right": len(specs),
        "changed": changed,
        "left": sorted(p.name for p in root.glob("runs/.work/*")),
    }


def at_event(number: int, root: Path, happen: Callable[[], None]) -> None:
    """Let something happen right before this process touches the disk below a folder for the n-th time."""
    count, place = 0, str(root / "runs")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in EVENTS and str(arguments[0]).startswith(place):
            count += 1
            if count == number:
                happen()

    sys.addaudithook(hook)


def at_every_event(root: Path, *, kind: str, stride: int) -> dict[str, Any]:
    """Kill, or freeze, a worker at its n-th touch of the disk, for every n-th; let another finish; judge the run."""
    done = changed = 0
    for number in range(1, 10_000, stride):
        here = root / str(number)
        spec = Counting(to=4, name="one")
        job = job_of(here, spec, lease=0.2)
        here.mkdir()

        def first(number: int = number, here: Path = here, job: Job = job) -> None:
            signal_number = signal.SIGKILL if kind == "killed" else signal.SIGSTOP
            at_event(number, here, lambda: os.kill(os.getpid(), signal_number))
            pull_jobs([[job]])

        child = forked(first)
        if kind == "killed":
            if ended(child) == 0:
                check(here, spec)
                break
        else:
            status = os.waitpid(child, os.WUNTRACED)[1]
            if os.WIFEXITED(status):
                check(here, spec)
                break
        assert ended(forked(lambda job=job: pull_jobs([[job]]))) == 0  # type: ignore[misc]
        check(here, spec)
        before = prints_of(job.folder)
        if kind == "frozen":
            os.kill(child, signal.SIGCONT)
            assert ended(child) == 0
        changed += prints_of(job.folder) != before
        check(here, spec)
        done += 1
    return {"done": done, "changed": changed}


if __name__ == "__main__":
    kind, place, value = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if kind == "random":
        found = at_random(place, faults=value, seed=1)
    else:
        found = calm(place) if kind == "calm" else at_every_event(place, kind=kind, stride=value)
    sys.stdout.write(json.dumps(found))
