"""One trunk for several budgets against a run of its own for each: what it saves, and whether the losses agree.

    python benchmarks/trunk.py [--seeds 3] [--workers 2] [--keep FOLDER]

The demo's phantoms, network and budgets; the uniform mixture and two pure ones. Every budget is trained by a cosine of
its own, and as a branch of a trunk at the same and at half the rate. Losses are means over the six targets; a
difference is that of the same mixture and seed, with its standard error over them. Nothing is downloaded.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from voxmix.compute import ComputeSettings
from voxmix.design import RunSpec
from voxmix.engines.base import run_jobs
from voxmix.engines.job_file import Job
from voxmix.engines.work import PretrainingWork
from voxmix.mixture import Mixture
from voxmix.run_settings import TrainingSettings
from voxmix.runs import RunResult, read_run
from voxmix.study import Study
from voxmix.study.preparing import make_phantoms, prepare_study
from voxmix.study.starting import start_study
from voxmix.study.training import keep_evaluation_set
from voxmix.volumes import PreparedCache

PURE = ("ABD-CT", "BRAIN-T2")


def study_of(folder: Path) -> tuple[Study, PreparedCache]:
    if (folder / "study.yaml").exists():
        study = Study.open(folder)
    else:
        study = start_study(folder, data=None, phantoms=True).study
    make_phantoms(study)
    cache = prepare_study(study).cache
    keep_evaluation_set(study, cache)
    return study, cache


def schedules(training: TrainingSettings) -> dict[str, TrainingSettings]:
    trunk = replace(training, schedule="trunk")
    return {
        "cosine, each alone": training,
        "trunk": trunk,
        "trunk at half the rate": replace(trunk, learning_rate=training.learning_rate / 2),
    }


def specs_of(study: Study, cache: PreparedCache, training: TrainingSettings, seeds: int) -> list[RunSpec]:
    config, names = study.config, cache.domains
    mixtures = [Mixture.uniform(names), *(Mixture.pure(names, name) for name in PURE)]
    return [
        RunSpec(
            mixture=mixture,
            budget=budget,
            seed=seed,
            model=config.model,
            training=training,
            evaluation=config.evaluation,
            cache=cache.digest,
        )
        for mixture in mixtures
        for seed in range(seeds)
        for budget in config.design.budgets
    ]


def run_all(study: Study, specs: list[RunSpec], workers: int) -> list[RunResult]:
    jobs = [
        Job(
            folder=study.run_dir(spec),
            work=PretrainingWork(
                spec=spec,
                cache=study.cache_dir,
                evaluation=study.evaluation_path,
                trunk=study.trunk_dir(spec),
                compute=ComputeSettings(trackers=(), pictures=False),
                threads=1,
            ),
        )
        for spec in study.pending(tuple(specs))
    ]
    failed = run_jobs(jobs, workers=workers) if jobs else ()
    assert not failed, failed
    return [read_run(study.run_dir(spec)) for spec in specs]


def losses(results: list[RunResult]) -> np.ndarray:
    """Return the loss of every run on every target."""
    return np.array([[loss["loss"] for loss in result.losses.values()] for result in results])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="keep the runs here, and go on with them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        study, cache = study_of(options.keep or Path(temporary) / "study")
        found = {
            name: run_all(study, specs_of(study, cache, training, options.seeds), options.workers)
            for name, training in schedules(study.config.training).items()
        }
    alone = found["cosine, each alone"]
    made = sum(run.budget for run in alone)
    spent = sum(run.seconds for run in alone)
    print("| schedule | draws trained | of separate runs | seconds of training | of separate runs |")
    print("|---|---:|---:|---:|---:|")
    for name, runs in found.items():
        shared = [run.details["shared"] for run in runs]
        draws = sum(run.budget for run in runs) - sum(s["draws"] for s in shared)
        seconds = sum(run.seconds for run in runs) - sum(s["seconds"] for s in shared)
        print(f"| {name} | {draws:,} | {draws / made:.0%} | {seconds:.0f} | {seconds / spent:.0%} |")
    budgets = np.array([run.budget for run in alone])
    mixture = np.array([run.spec.mixture.source or "uniform" for run in alone])
    reference = losses(alone)
    print("\n| budget | cosine: mean loss | its spread over seeds | " + " | ".join(list(found)[1:]) + " |")
    print("|---:|---:|---:|" + "---:|" * (len(found) - 1))
    for budget in np.unique(budgets):
        here = budgets == budget
        mean = reference[here].mean(axis=1)
        spread = np.sqrt(np.mean([mean[mixture[here] == m].var(ddof=1) for m in np.unique(mixture)]))
        cells = []
        for name in list(found)[1:]:
            relative = losses(found[name])[here].mean(axis=1) / mean - 1
            cells.append(f"{relative.mean():+.1%} ± {relative.std(ddof=1) / np.sqrt(len(relative)):.1%}")
        print(f"| {budget:,} | {mean.mean():.4f} | {spread / mean.mean():.1%} | " + " | ".join(cells) + " |")
    print(
        "\n| schedule | error per run and target | correlation of log losses | same order of two mixtures |"
    )
    print("|---|---:|---:|---:|")
    for name in list(found)[1:]:
        other = losses(found[name])
        error = np.abs(other / reference - 1).mean()
        r = np.corrcoef(np.log(other).ravel(), np.log(reference).ravel())[0, 1]
        print(f"| {name} | {error:.1%} | {r:.4f} | {same_order(other, reference, budgets, mixture):.0%} |")


def same_order(a: np.ndarray, b: np.ndarray, budgets: np.ndarray, mixture: np.ndarray) -> float:
    """Return how often two mixtures come in the same order by their mean over seeds, per budget and target."""
    agree = []
    names = np.unique(mixture)
    for budget in np.unique(budgets):
        means = [[x[(budgets == budget) & (mixture == name)].mean(axis=0) for name in names] for x in (a, b)]
        for i in range(len(names)):
            for j in range(i):
                agree += list((means[0][i] < means[0][j]) == (means[1][i] < means[1][j]))
    return float(np.mean(agree))


if __name__ == "__main__":
    main()
