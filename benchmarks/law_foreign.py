"""How much foreign pure runs should count in joint fits: held-out errors of candidates, never a test row.

    python benchmarks/law_foreign.py FOLDER

FOLDER holds the tables of law_bank.py. Their test rows are left out before anything is fitted, so this may choose: the
default of ``fit(foreign_weight=...)`` is what it prints (docs/concepts/law.md). Each candidate is fitted without
(a) the largest budget, on pure runs and anchors; (b) the largest budget, on all; (c) each mixture in turn, on all. It
predicts the losses of vertices and anchors that it has not seen; errors are divided by those of weight 1.
"""

import argparse
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
from law_bank import TEST, header, predicted, read

from voxmix import MeasurementTable, fit

WEIGHTS = (0.0, 0.05, 0.2, 0.5, 1.0)
LAWS = ("transfer", "diversity", "offset", "offset-diversity")
ASKED = ("vertex", "anchor")  # mixtures such as allocation chooses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    score: dict[str, list[np.ndarray]] = defaultdict(list)
    print("| table | held out | law | " + " | ".join(f"weight {w:g}" for w in WEIGHTS) + " |")
    print("|---|---|---|" + "---:|" * len(WEIGHTS))
    for path in sorted(path for path in folder.glob("*.csv") if "kind" in header(path)):
        table, kinds = read(path, "0")
        table, kinds = table.select(kinds != TEST), kinds[kinds != TEST]
        for way, folds in ways(table, kinds).items():
            for law in LAWS:
                errors = np.array([error(table, folds, law, weight) for weight in WEIGHTS])
                print(
                    f"| {path.stem} | {way} | {law} | " + " | ".join(f"{e:.2%}" for e in errors) + " |",
                    flush=True,
                )
                score["few mixtures" if way == "a" else "vertices"].append(errors / errors[-1])
    for situation, found in score.items():
        mean = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
        print(f"| **all, {situation}** | | | {mean} |")


def ways(table: MeasurementTable, kinds: np.ndarray) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return, for each way of holding out, which rows each fold fits and which it predicts."""
    late, asked = table.budget == table.budget.max(), np.isin(kinds, ASKED)
    few = np.isin(kinds, ("pure", "anchor"))
    found = {"a": [(few & ~late, asked & late)]}
    if "vertex" in kinds:
        found["b"] = [(~late, asked & late)]
        names = np.array([str(np.round(row, 6)) for row in table.weights])
        found["c"] = [(names != name, names == name) for name in np.unique(names[asked])]
    return found


def error(
    table: MeasurementTable, folds: list[tuple[np.ndarray, np.ndarray]], law: str, weight: float
) -> float:
    found = []
    for fitted, left in folds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = fit(
                table.select(fitted), law=law, method="joint", loss="relative-huber", foreign_weight=weight
            )
        rest = table.select(left)
        found.append(np.abs(predicted(made, rest) / rest.loss - 1))
    return float(np.concatenate(found).mean())


if __name__ == "__main__":
    main()
