"""Does the saturation of repeats hold on public repetition runs (active-sl, data-constrained scaling)?

    python benchmarks/law_repetition.py FOLDER

FOLDER holds data_constrained_scaling_law_{train,test}.csv (unique_tokens, params, tokens, loss). Fitted on the
training split, judged on the test split, with and without saturation:
``L = E + A params**-a + B g(tokens)**-b``.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from voxmix.law.forms import worth


def read(path: Path) -> dict[str, np.ndarray]:
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {
        name: np.array([float(r[name]) for r in rows])
        for name in ("unique_tokens", "params", "tokens", "loss")
    }


def predict(theta: np.ndarray, data: dict[str, np.ndarray], rate: float) -> np.ndarray:
    reach = data["tokens"] / 1e9
    if np.isfinite(rate):
        reach = worth(data["tokens"], data["unique_tokens"], np.full(len(reach), rate)) / 1e9
    size = data["params"] / 1e9
    return np.exp(theta[0]) + np.exp(theta[1]) * size ** -theta[2] + np.exp(theta[3]) * reach ** -theta[4]


def fitted(data: dict[str, np.ndarray], rate: float) -> tuple[np.ndarray, float]:
    best, cost = None, np.inf
    for steep in (0.2, 0.4):
        done = least_squares(
            lambda t: np.log(predict(t, data, rate)) - np.log(data["loss"]),
            [0.5, -0.5, steep, 0.0, steep],
            bounds=([-10, -10, 0.01, -10, 0.01], [3, 5, 2, 5, 2]),
            loss="huber",
            f_scale=0.01,
        )
        if done.cost < cost:
            best, cost = done.x, done.cost
    assert best is not None
    return best, float(cost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    if not folder.is_dir():
        print(f"left out: no folder {folder}; make bench-law DATA=FOLDER names where the public runs lie")
        return
    train, test = (read(folder / f"data_constrained_scaling_law_{name}.csv") for name in ("train", "test"))
    print(f"{len(train['loss'])} training runs, {len(test['loss'])} test runs, up to "
          f"{(train['tokens'] / train['unique_tokens']).max():.0f} epochs")  # fmt: skip
    rates = [*np.geomspace(1, 200, 17), np.inf]
    results = [(rate, *fitted(train, rate)) for rate in rates]
    best = min(results, key=lambda item: item[2])
    for name, (rate, theta, cost) in (("without saturation", results[-1]), ("with saturation", best)):
        errors = [np.abs(predict(theta, data, rate) / data["loss"] - 1) for data in (train, test)]
        print(f"{name}: R {rate:.3g}, misfit {cost:.4g}, relative error {errors[0].mean():.2%} on training runs, "
              f"{errors[1].mean():.2%} on test runs (worst {errors[1].max():.2%})")  # fmt: skip


if __name__ == "__main__":
    main()
