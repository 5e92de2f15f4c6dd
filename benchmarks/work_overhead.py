"""What sharing a study by claims costs: voxmix work, one worker and two, against the pool of voxmix run, on the demo's runs.

    python benchmarks/work_overhead.py OUT [--divide 10] [--repeats 3]

The proxy runs of the demo (phantoms, budgets divided by --divide) are trained in four ways, in turn, each in a copy of the same
prepared study: by ``voxmix run`` with one and with two processes, by one ``voxmix work``, and by two started together. Printed are the
process time of each command (user and system, of all its processes) and its wall time, the least of the repeats, and the
ratios work / run. Process time is what counts on a machine that does other things too; the wall time of two workers needs two idle
cores. The losses of all ways are compared: they must be equal.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml


def voxmix(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "voxmix", *map(str, arguments)]


def begun(root: Path, *, divide: int) -> Path:
    """Return the demo's study with smaller budgets, its volumes prepared."""
    if not (root / "study.yaml").exists():
        subprocess.run(voxmix("init", root, "--phantoms"), check=True, stdout=subprocess.DEVNULL)
        path = root / "study.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        budgets = values["design"]["budgets"]
        values["design"]["budgets"] = [max(budget // divide, 8) for budget in budgets]
        values["compute"] |= {"threads": 1, "device": "cpu"}
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
    subprocess.run(voxmix("prepare", root), check=True, stdout=subprocess.DEVNULL)
    return root


def measured(commands: list[list[str]]) -> tuple[float, float]:
    """Return process time and wall time, in seconds, of commands started together."""
    start, used = time.monotonic(), 0.0
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for command in commands
    ]
    for process in running:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        used += usage.ru_utime + usage.ru_stime
        if process.returncode:
            raise SystemExit(f"{' '.join(process.args)} ended with {process.returncode}")
    return used, time.monotonic() - start


def losses(root: Path) -> dict[str, object]:
    """Return what each run measured."""
    return {
        path.parent.name: json.loads(path.read_text(encoding="utf-8"))["losses"]
        for path in root.glob("runs/*/result.json")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder for the studies; the copies in it are removed")
    parser.add_argument("--divide", type=int, default=10, help="by which the demo's budgets are divided")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    study = begun(given.out / "prepared", divide=given.divide)
    ways = {
        "run, 1 process": lambda root: [voxmix("run", root, "--workers", 1)],
        "work, 1 worker": lambda root: [voxmix("work", root, "--step", "run")],
        "run, 2 processes": lambda root: [voxmix("run", root, "--workers", 2)],
        "work, 2 workers": lambda root: [voxmix("work", root, "--step", "run")] * 2,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    first: dict[str, object] = {}
    for _ in range(given.repeats):
        for name, commands in ways.items():
            root = given.out / "copy"
            shutil.rmtree(root, ignore_errors=True)
            shutil.copytree(study, root)
            found[name].append(measured(commands(root)))
            told = losses(root)
            first = first or told
            if told != first:
                raise SystemExit(f"{name}: its losses differ from those of the first way")
            print(f"{name}: {found[name][-1][0]:.1f} s of processes, {found[name][-1][1]:.1f} s", flush=True)
    shutil.rmtree(given.out / "copy")
    least = {name: [min(times) for times in zip(*values, strict=True)] for name, values in found.items()}
    print(f"{len(first)} runs, budgets of the demo / {given.divide}, least of {given.repeats}")
    for count, (run, work) in enumerate(
        (("run, 1 process", "work, 1 worker"), ("run, 2 processes", "work, 2 workers")), start=1
    ):
        process, wall = (least[work][place] / least[run][place] for place in (0, 1))
        print(f"work / run with {count}: process time {process:.3f}, wall {wall:.3f}")


if __name__ == "__main__":
    main()
