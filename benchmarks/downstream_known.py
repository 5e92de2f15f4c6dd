"""A task where a good encoder must help, and one where none can: the whole chain on a known answer.

    python benchmarks/downstream_known.py STUDY [--seeds 5] [--fast]

Volumes are stripes: the direction (x, y or z) is the class, phase, wavelength and contrast are random, noise is
strong. Intensities tell nothing about it, and filling in masked patches cannot be done without it, so a masked
autoencoder's tokens must hold it. From a few labeled volumes that is hard to find from scratch.

- ``direction``: the class is the direction. Pretraining must help.
- ``coin``: the class is a coin that was thrown for every volume. Nothing can help; what scores above chance leaks.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import yaml

EDGE = 20
DIRECTIONS = ("x", "y", "z")
MODEL = {
    "crop": 16, "patch": 4, "width": 48, "depth": 2, "heads": 3, "decoder_width": 24, "decoder_depth": 1,
    "decoder_heads": 2,
}  # fmt: skip
ROWS = (("scratch", None), ("single", None), ("single", "frozen"), ("single", "permuted"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="fewer draws and seeds: what the tests run")
    asked = parser.parse_args()
    seeds = 2 if asked.fast else asked.seeds
    study = asked.study.resolve()
    if not (study / "study.yaml").exists():
        volumes = study.parent / f"{study.name}-volumes"
        make_volumes(volumes)
        voxmix("init", str(study), "--data", str(volumes))
        settle(study, volumes, budget=6000 if asked.fast else 12000, seeds=seeds)
    voxmix("prepare", str(study))
    for task in ("direction", "coin"):
        for init, control in ROWS:
            more = [] if control is None else ["--control", control]
            voxmix("finetune", str(study), "--task", task, "--init", init, *more, "--seeds", str(seeds))
    print(table(study))


def voxmix(*arguments: str) -> None:
    """Run a verb; its own output goes to stderr, so that the table stands alone on stdout."""
    subprocess.run([sys.executable, "-m", "voxmix", *arguments], check=True, stdout=sys.stderr)


def stripes(rng: np.random.Generator, direction: int) -> np.ndarray:
    """Return waves along one axis, under noise."""
    place = np.arange(EDGE).reshape([-1 if axis == direction else 1 for axis in range(3)])
    wave = np.sin(2 * np.pi * (place / rng.uniform(5, 9) + rng.random())) * rng.uniform(0.15, 0.25)
    noise = rng.normal(0, 0.12, (EDGE,) * 3)
    return (100 * (0.5 + wave + noise)).astype(np.float32)


def make_volumes(root: Path) -> None:
    """Write 180 volumes of stripes, a few of noise (a mixture needs two domains), and the table of classes."""
    rng = np.random.default_rng(0)
    rows = [["path", "direction", "coin"]]
    for number in range(180):
        direction = number % 3
        name = f"s{number:03d}.nii.gz"
        save(root / "STRIPES-CT" / name, stripes(rng, direction))
        rows.append([name, DIRECTIONS[direction], ("heads", "tails")[int(rng.integers(2))]])
    for number in range(4):
        save(root / f"NOISE-CT/n{number}.nii.gz", (100 * rng.random((EDGE,) * 3)).astype(np.float32))
    with (root / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def save(path: Path, data: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(data, np.diag([2.0, 2, 2, 1])).to_filename(path)


def settle(study: Path, volumes: Path, *, budget: int, seeds: int) -> None:
    """Write settings for the two tasks: 24 labeled volumes for training, over 60 for test."""
    path = study / "study.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["recipe"].update(spacing_mm=2.0, min_shape=[16, 16, 16], crop_foreground=False)
    values["recipe"]["intensity"] = {
        name: {"kind": "window", "low": 0.0, "high": 100.0} for name in ("STRIPES-CT", "NOISE-CT")
    }
    values["data"]["validation_fraction"] = 0.5
    values["model"].update(MODEL)
    values["allocation"].update(budget=budget, seeds=seeds)
    values["workers"] = 1
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    row = {
        "kind": "classification",
        "domain": "STRIPES-CT",
        "data": str(volumes),
        "split": [24, 8, 64],
        "samples": 1,
        "settings": {
            "draws": 480, "batch_size": 16, "learning_rate": 1e-3, "warmup_steps": 5, "validations": 2,
            "rotation": 0, "shift": 0.02,
        },
    }  # fmt: skip
    tasks = {
        "direction": {
            **row,
            "classes": {name: name for name in DIRECTIONS},
            "table": {"file": "table.csv", "value": "direction"},
        },
        "coin": {
            **row,
            "classes": {"heads": "heads", "tails": "tails"},
            "table": {"file": "table.csv", "value": "coin"},
        },
    }
    (study / "tasks.yaml").write_text(yaml.safe_dump(tasks, sort_keys=False), encoding="utf-8")


def accuracies(study: Path, task: str, init: str, control: str | None) -> list[float]:
    """Return the test accuracy of every seed."""
    name = init if control is None else f"{init}-{control}"
    found = []
    for path in sorted((study / "downstream" / task / name).glob("seed-*/result.json")):
        rows = json.loads(path.read_text(encoding="utf-8"))["cases"]
        found.append(float(np.mean([row["truth"] == int(np.argmax(row["probability"])) for row in rows])))
    return found


def table(study: Path) -> str:
    """Return the accuracies as Markdown: mean and range over seeds."""
    lines = ["| initialization | direction (chance 0.33) | coin (chance 0.50) |", "|---|---:|---:|"]
    for init, control in ROWS:
        cells = []
        for task in ("direction", "coin"):
            values = accuracies(study, task, init, control)
            cells.append(f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(f"| {init if control is None else f'{init}, {control}'} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
