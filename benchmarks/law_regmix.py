"""Rank unseen mixtures of the Pile: the diversity law against LightGBM as RegMix uses it.

    python benchmarks/law_regmix.py FOLDER

FOLDER holds the CSV files of sail-sg/regmix. Fitted on 512 runs of a 1M model; judged by Spearman's rank
correlation on 256 unseen mixtures at 1M and at 60M and 64 at 1B: the mean over 13 validation losses, and of
their mean loss. One budget, no pure run: the joint fit over mixtures alone, where the domain's own transfer is 1.
LightGBM is not a dependency: pip install lightgbm.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from voxmix.law import forms
from voxmix.law.bounded_least_squares import refine
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.holdout import spearman
from voxmix.law.search_problem import Freedom


def read(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    values = np.array(rows[1:], dtype=float)
    return rows[0][1:], values[:, 0], values[:, 1:]


def pair(folder: Path, split: str, size: str) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    sources, left, weights = read(folder / f"{split}_mixture_{size}.csv")
    targets, right, losses = read(folder / f"{split}_pile_loss_{size}.csv")
    place = {key: k for k, key in enumerate(right)}
    rows = [(i, place[key]) for i, key in enumerate(left) if key in place]  # joined by key, never by order
    weights = weights[[i for i, _ in rows]]
    sources = [name.removeprefix("train_the_pile_") for name in sources]
    targets = [name.removeprefix("metric/the_pile_").removesuffix("_val_loss") for name in targets]
    return sources, targets, weights / weights.sum(axis=1, keepdims=True), losses[[k for _, k in rows]]


def law_of(sources: list[str], targets: list[str], weights: np.ndarray, losses: np.ndarray) -> LawParameters:
    count, (runs, kinds) = len(sources), losses.shape
    own = np.array([sources.index(name) for name in targets])
    cells = Cells(
        domains=tuple(sources),
        targets=tuple(targets),
        own=own,
        weights=weights,
        budget=np.ones(runs),
        source=np.full(runs, -1),
        loss=losses,
        seeds=np.ones((runs, kinds), dtype=np.int64),
        noise=np.full((runs, kinds), np.nan),
        volumes=np.full(count, np.nan),
        unique=np.full(count, np.inf),
        repeats=np.full(count, np.inf),
    )
    transfer = np.full((1, count, kinds), 0.05)
    transfer[:, own, np.arange(kinds)] = 1.0
    start = LawParameters.make(
        irreducible_loss=0.6 * losses.min(axis=0)[None],
        amplitude=0.4 * losses.min(axis=0)[None],
        exponent=np.full((1, kinds), 0.3),
        transfer=transfer,
        rho=np.full((1, kinds), 0.8),
    )
    free = Freedom(
        curve=True,
        transfer=True,
        budget_term=False,
        rho="per-target",
        rows=np.ones((runs, kinds), dtype=bool),
    )
    done = refine(
        cells, losses[None], start, free, kind="relative-huber", max_exponent=2.0, max_transfer=20.0
    )
    return done.law.take(0)


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
    sources, targets, weights, losses = pair(folder, "train", "1m")
    tests = {size: pair(folder, "test", size)[2:] for size in ("1m", "60m", "1B")}
    start = time.perf_counter()
    law = law_of(sources, targets, weights, losses)
    spent = time.perf_counter() - start
    results = {
        "diversity law": (spent, [forms.predict(law, w, np.ones(len(w)))[0] for w, _ in tests.values()])
    }
    try:
        start = time.perf_counter()
        guesses = by_lightgbm(weights, losses, [w for w, _ in tests.values()])
        results["LightGBM"] = (time.perf_counter() - start, guesses)
    except ImportError:
        print("LightGBM is not installed; only the law is judged")
    print("| model | fit s | " + " | ".join(f"{size}: targets | {size}: mean loss" for size in tests) + " |")
    print("|---|---|" + "---|---|" * len(tests))
    for name, (seconds, guesses) in results.items():
        row = [name, f"{seconds:.1f}"]
        for guess, (_, observed) in zip(guesses, tests.values(), strict=True):
            each = [spearman(guess[:, j], observed[:, j]) for j in range(len(targets))]
            row += [f"{np.mean(each):.3f}", f"{spearman(guess.mean(axis=1), observed.mean(axis=1)):.3f}"]
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
