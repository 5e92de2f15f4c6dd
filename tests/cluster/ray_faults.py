"""Killed and frozen workers while Ray makes the runs of a study: ``python tests/cluster/ray_faults.py --faults 10``.

Needs ray, which voxmix does not: ``pip install ray``. In the end weights, metrics, losses and the table are compared, bit for
bit, with those of one process.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import ray
from slurm_faults import reference
from tiny_study import finished_runs, make_study, marks, outcome, voxmix

from voxmix.study import Study, StudyView

LEASE = 6.0


@ray.remote(num_cpus=1, max_retries=-1, retry_exceptions=True)
def worker(study: str) -> None:
    """Be a worker on a study, until nothing is left."""
    subprocess.run([sys.executable, "-m", "voxmix", "work", study, "--step", "run"], check=True)


def workers_on(study: Study) -> list[int]:
    """Return the numbers of the processes that work on a study."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            if entry.name.isdecimal() and str(study.root) in command and "work" in command:
                found.append(int(entry.name))
    return sorted(found)


def torment(study: Study, *, draw: random.Random, wanted: int) -> Counter[str]:
    """Kill and freeze workers until the runs are finished; return how many of each."""
    counts, frozen, pause, seen = Counter[str](), dict[int, float](), 0.0, {}
    tasks = [worker.remote(str(study.root)) for _ in range(2)]
    while len(finished_runs(study)) < len(StudyView(study).proxies):
        now = time.monotonic()
        for process in [one for one, until in frozen.items() if now > until]:
            del frozen[process]
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        awake = [one for one in workers_on(study) if one not in frozen]
        begun = any(study.runs_dir.glob(".work/*/attempts/*/metrics.jsonl"))
        if awake and begun and now > pause and counts.total() < wanted:
            one, what = (
                draw.choice(awake),
                draw.choice(["kill -9 of a worker", "kill -9 of a task", "frozen for longer than the lease"]),
            )
            with suppress(ProcessLookupError, OSError):
                if what == "kill -9 of a task":
                    one = int(
                        Path(f"/proc/{one}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
                    )
                frozen |= {one: now + LEASE * 1.6} if what.startswith("frozen") else {}
                os.kill(one, signal.SIGSTOP if what.startswith("frozen") else signal.SIGKILL)
                counts[what] += 1
                print(what, len(finished_runs(study)), flush=True)
            pause = now + draw.uniform(1, 6)
        for name, mark in marks(study).items():
            assert seen.setdefault(name, mark) == mark, f"{name} of a finished run was written again"
        time.sleep(0.3)
    for process in frozen:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)
    ray.get(tasks)
    for name, mark in marks(study).items():
        assert seen.setdefault(name, mark) == mark, f"{name} of a finished run was written again"
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budgets", type=int, nargs="+", default=[600, 1200, 2400])
    given = parser.parse_args()
    root, began = Path(tempfile.mkdtemp(prefix="voxmix-ray-", dir="/tmp")), time.monotonic()
    settings = {"budgets": tuple(given.budgets), "lease": LEASE}
    try:
        alone = reference(root / "one", **settings)
        ray.init(num_cpus=2, include_dashboard=False, _temp_dir=str(root / "ray"), log_to_driver=False)
        study = make_study(root / "study", **settings)
        counts = torment(study, draw=random.Random(given.seed), wanted=given.faults)
        done = voxmix("run", study.root)
        assert done.returncode == 0, done.stderr
        assert outcome(study) == alone, "weights, metrics, losses or the table differ"
        print(json.dumps({"ray": ray.__version__, "seconds": round(time.monotonic() - began), **counts}))
    finally:
        ray.shutdown()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
