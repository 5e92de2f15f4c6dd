"""Two processes that share every batch (DDP by gloo, one thread each) against one: losses and speed.

    python benchmarks/devices.py [--draws 1600] [--repeats 2] [--strategy ddp]

Phantoms of two domains; the demo's network and one of about seven times its arithmetic. One and two processes take turns.
Seconds are those of training, without the start of the processes. Nothing is downloaded.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.encoders.networks import flops_per_draw
from voxmix.engines.base import run_jobs
from voxmix.engines.job_file import Job
from voxmix.engines.work import PretrainingWork
from voxmix.mixture import Mixture
from voxmix.run_settings import ModelSettings
from voxmix.runs import RunResult, read_run
from voxmix.study import Study
from voxmix.study.preparing import make_phantoms, prepare_study
from voxmix.study.starting import start_study
from voxmix.study.training import keep_evaluation_set

DOMAINS = ["ABD-CT", "BRAIN-T1"]


def trained(study: Study, spec: RunSpec, folder: Path, *, devices: int, strategy: str) -> RunResult:
    compute = ComputeSettings(device="cpu", devices=devices, sharing=strategy, trackers=(), pictures=False)
    work = PretrainingWork(
        spec=spec, cache=study.cache_dir, evaluation=study.evaluation_path, compute=compute, threads=1
    )
    failed = run_jobs([Job(folder=folder / spec.run_id, work=work)])
    assert not failed, failed
    return read_run(folder / spec.run_id)


def compare(
    study: Study, spec: RunSpec, root: Path, *, repeats: int, strategy: str
) -> tuple[float, float, float]:
    """Return seconds of one process and of two, each the least of its repeats, and the largest difference in loss."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    losses: dict[int, list[float]] = {}
    for repeat in range(repeats):
        for devices in (1, 2):
            folder = root / f"{repeat}-{devices}"
            result = trained(study, spec, folder, devices=devices, strategy=strategy)
            seconds[devices].append(result.seconds)
            losses[devices] = [float(loss["loss"]) for loss in result.losses.values()]
    apart = np.abs(np.array(losses[2]) / np.array(losses[1]) - 1).max()
    return min(seconds[1]), min(seconds[2]), float(apart)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1600)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--strategy", choices=["ddp", "fsdp"], default="ddp")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        study = start_study(
            Path(temporary) / "study", data=None, phantoms=True, preset="demo", domains=DOMAINS
        ).study
        make_phantoms(study)
        cache = prepare_study(study).cache
        keep_evaluation_set(study, cache)
        small = study.config.model
        large = replace(small, width=192, depth=6, heads=6)
        print(
            "| width, depth | batch | GFLOP a draw | one process, draws/s | two | speed-up | losses apart |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        cases: list[tuple[ModelSettings, int, int]] = [
            (small, 8, 1),
            (small, 32, 1),
            (large, 8, 4),
            (large, 32, 4),
        ]
        for number, (model, batch, cheaper) in enumerate(cases):
            draws = options.draws // cheaper
            spec = RunSpec(
                mixture=Mixture.uniform(cache.domains),
                budget=draws,
                seed=0,
                model=model,
                training=replace(study.config.training, batch_size=batch),
                evaluation=study.config.evaluation,
                cache=cache.digest,
            )
            one, two, apart = compare(
                study, spec, Path(temporary) / str(number), repeats=options.repeats, strategy=options.strategy
            )
            gflop = flops_per_draw(model) / 1e9
            print(
                f"| {model.width}, {model.depth} | {batch} | {gflop:.2f} | {draws / one:.0f} | {draws / two:.0f} | "
                f"{one / two:.2f} | {apart:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
