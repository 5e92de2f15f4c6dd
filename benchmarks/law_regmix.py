"""Rank unseen mixtures of the Pile: the diversity law against LightGBM as RegMix uses it.

    python benchmarks/law_regmix.py FOLDER

FOLDER holds the CSV files of sail-sg/regmix. Fitted on 512 runs of a 1M model; judged by Spearman's rank
correlation on 256 unseen mixtures at 1M and at 60M and 64 at 1B: the mean over 13 validation losses, and of
their mean loss; and at 1M, where the level is that of the fit, by the mean of |predicted / measured - 1|. One
budget, no pure run: the joint fit over mixtures alone, where the domain's own transfer is 1.
LightGBM is not a dependency: pip install lightgbm.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np

from voxmix import FittedLaw, MeasurementTable, fit
from voxmix.errors import VoxmixWarning
from voxmix.law.holdout import spearman

BUDGET = 1e9  # tokens, of the runs that are fitted; models of another size are judged by their order alone


def read(folder: Path, split: str, size: str) -> MeasurementTable:
    return MeasurementTable.read_wide(
        folder / f"{split}_pile_loss_{size}.csv", folder / f"{split}_mixture_{size}.csv", form="regmix"
    )


def arrays(table: MeasurementTable) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (run, source) and losses (run, target) of a table in which every run has every loss."""
    runs = len(set(table.run))
    losses = np.empty((runs, len(table.targets)))
    losses[np.arange(len(table)) // losses.shape[1], table.target_index] = table.loss
    return table.weights[:: losses.shape[1]], losses


def law_of(table: MeasurementTable) -> FittedLaw:
    return fit(
        table, law="diversity", method="joint", loss="relative-huber", rho="per-target", max_transfer=20.0
    )


def by_lightgbm(weights: np.ndarray, losses: np.ndarray, tests: list[np.ndarray]) -> list[np.ndarray]:
    import lightgbm

    guesses = [np.empty((len(test), losses.shape[1])) for test in tests]
    for j in range(losses.shape[1]):
        settings = {"learning_rate": 1e-2, "seed": 42, "verbose": -1, "num_threads": 1, "metric": "l2"}
        model = lightgbm.train(settings, lightgbm.Dataset(weights, losses[:, j]), num_boost_round=1000)
        for guess, test in zip(guesses, tests, strict=True):
            guess[:, j] = model.predict(test)
    return guesses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not folder.is_dir():
        print(f"left out: no folder {folder}; make bench-law DATA=FOLDER names where the public runs lie")
        return
    warnings.simplefilter("ignore", VoxmixWarning)
    table = read(folder, "train", "1m")
    weights, losses = arrays(table)
    tests = {size: arrays(read(folder, "test", size)) for size in ("1m", "60m", "1B")}
    start = time.perf_counter()
    law = law_of(table)
    spent = time.perf_counter() - start
    assert law.targets == table.targets
    results = {"diversity law": (spent, [law.evaluate(w, BUDGET) for w, _ in tests.values()])}
    try:
        start = time.perf_counter()
        guesses = by_lightgbm(weights, losses, [w for w, _ in tests.values()])
        results["LightGBM"] = (time.perf_counter() - start, guesses)
    except ImportError:
        print("LightGBM is not installed; only the law is judged")
    print(
        "| model | fit s | "
        + " | ".join(f"{size}: targets | {size}: mean loss" for size in tests)
        + " | 1m: error |"
    )
    print("|---|---|" + "---|---|" * len(tests) + "---|")
    for name, (seconds, guesses) in results.items():
        row = [name, f"{seconds:.1f}"]
        for guess, (_, observed) in zip(guesses, tests.values(), strict=True):
            each = [spearman(guess[:, j], observed[:, j]) for j in range(len(law.targets))]
            row += [f"{np.mean(each):.3f}", f"{spearman(guess.mean(axis=1), observed.mean(axis=1)):.3f}"]
        near, observed = guesses[0], tests["1m"][1]
        row.append(f"{np.mean(np.abs(near / observed - 1)):.2%}")
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
