"""How time and memory of preparing, opening and drawing grow with the number of volumes.

    python benchmarks/volumes_growth.py [--counts 100 1000 5000 20000] [--figure docs/images/volumes_growth.svg]

Volumes of 20^3 voxels, so that what is counted is what each file costs beside its voxels. Every number comes from a
process of its own; memory is the most that process had resident.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nibabel
import numpy as np

from voxmix.datasets.sets.folder import read_folder

EDGE, CROP, DRAWS = 20, 16, 4000


def make_files(root: Path, *, first: int, last: int) -> None:
    """Write volumes ``first`` to ``last`` of two domains, a subject each."""
    for number in range(first, last):
        folder = root / ("A-CT", "B-CT")[number % 2] / f"s{number:05}"
        folder.mkdir(parents=True)
        data = np.random.default_rng(number).integers(-150, 240, (EDGE,) * 3, dtype=np.int16)
        nibabel.Nifti1Image(data, np.diag([1.5, 1.5, 1.5, 1.0])).to_filename(folder / "a.nii")


def prepare_all(data: Path, cache: Path) -> dict[str, float]:
    from voxmix.volumes import Recipe
    from voxmix.volumes.preparing.prepare import prepare

    manifest = read_folder(data).split(seed=0)
    began = time.perf_counter()
    done = prepare(manifest, recipe=Recipe(min_shape=(CROP,) * 3), root=cache)
    return {"prepare_s": time.perf_counter() - began, "made": done.made}


def draw(data: Path, cache: Path) -> dict[str, float]:
    import torch

    from voxmix.mixture import Mixture
    from voxmix.objectives.mae.parameters import draw_parameters
    from voxmix.run_settings import ModelSettings, TrainingSettings
    from voxmix.training.crops import CropReader
    from voxmix.training.draws import plan_draws
    from voxmix.volumes import PreparedCache

    torch.set_num_threads(1)
    model = ModelSettings(crop=CROP, patch=4, width=24, heads=2, decoder_width=24, decoder_heads=2)
    began = time.perf_counter()
    opened = PreparedCache.open(cache)
    counts = tuple(opened.counts("train").values())
    plan = plan_draws(Mixture.uniform(opened.domains), budget=DRAWS, seed=0, volumes=counts)
    reader = CropReader(opened, plan, crop=(CROP,) * 3)
    open_s = time.perf_counter() - began
    batch = torch.empty(8, CROP, CROP, CROP)
    began = time.perf_counter()
    for start in range(0, DRAWS, 8):
        drawn = draw_parameters(start, start + 8, seed=0, model=model, training=TrainingSettings())
        reader.read(start, drawn.corner, batch)
    return {"open_s": open_s, "draws_per_s": DRAWS / (time.perf_counter() - began)}


STEPS = {"prepare": prepare_all, "draw": draw}


def in_child(step: str, data: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", step, str(data), str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Draw time (left) and memory (right) over the number of volumes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "volumes"
    from matplotlib import pyplot as plt

    counts = [row["volumes"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    left.loglog(counts, [row["prepare_s"] for row in rows], "o-", label="prepare, one process")
    left.loglog(counts, [row["open_s"] for row in rows], "s-", label="open cache, plan, reader")
    left.set_ylabel("seconds")
    right.semilogx(counts, [row["prepare_mb"] for row in rows], "o-", label="prepare")
    right.semilogx(counts, [row["draw_mb"] for row in rows], "s-", label="open and draw (with torch)")
    right.set_ylabel("most resident memory, MB")
    left.set_ylim(top=left.get_ylim()[1] * 10)  # room for the legends
    right.set_ylim(0, right.get_ylim()[1] * 1.4)
    for axes in (left, right):
        axes.set_xlabel("volumes")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 5000, 20000])
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.child:
        step, data, cache = options.child
        result = STEPS[step](Path(data), Path(cache))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**result, f"{step}_mb": peak}))
        return
    print(
        "| volumes | prepare, s | ms a volume | memory, MB | open, s | draws a second | memory, MB |",
        flush=True,
    )
    print("|---:|---:|---:|---:|---:|---:|---:|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data, there = Path(folder) / "data", 0
        for count in options.counts:
            make_files(data, first=there, last=count)
            there = count
            cache = Path(folder) / f"cache{count}"
            row = {"volumes": count, **in_child("prepare", data, cache), **in_child("draw", data, cache)}
            assert row["made"] == count
            rows.append(row)
            print(
                f"| {count:,} | {row['prepare_s']:.1f} | {1e3 * row['prepare_s'] / count:.1f} | {row['prepare_mb']:.0f} | "
                f"{row['open_s']:.2f} | {row['draws_per_s']:.0f} | {row['draw_mb']:.0f} |",
                flush=True,
            )
    if options.figure is not None:
        plot(rows, options.figure)


if __name__ == "__main__":
    main()
