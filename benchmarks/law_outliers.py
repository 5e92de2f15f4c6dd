"""How often a right loss is called odd, and how often a wrong one is found.

    python benchmarks/law_outliers.py --worlds 500 [TABLE ...]

False alarms on simulated worlds in which nothing is wrong, of the kinds that real losses show, and on tables of real
runs; then one loss, one run on all targets, or all seeds of one cell multiplied by a factor in clean worlds.
"""

import argparse

import numpy as np

from voxmix import MeasurementTable
from voxmix.law.outliers import find_outliers
from voxmix.law.simulate import random_law, simulate

NOISES = (0.004, 0.02, 0.05, 0.1, 0.3)
FACTORS = (3.0, 10.0, 50.0, 0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=500)
    parser.add_argument("tables", nargs="*")
    options = parser.parse_args()
    print("| worlds in which nothing is wrong | losses | called odd | worlds with one |")
    print("|---|---|---|---|")
    for kind in ("a law and noise", "seeds of 10% to 15%", "plateaus", "foreign losses that rise", "steep curves",
                 "steps that each seed takes elsewhere"):  # fmt: skip
        rng = np.random.default_rng(1)
        tables = [world(rng, kind) for _ in range(options.worlds)]
        found = [len(find_outliers(table)) for table in tables]
        print(
            f"| {kind} | {sum(map(len, tables)):,} | {sum(found)} | {sum(map(bool, found))} of {len(found)} |"
        )
    for path in options.tables:
        table = MeasurementTable.read(path)
        print(f"| {path.rsplit('/', 1)[-1]} | {len(table):,} | {len(find_outliers(table))} | |")
    print(
        "\n| found, and right losses called odd beside them | "
        + " | ".join(f"x {f:g}" for f in FACTORS)
        + " |"
    )
    print("|---" * (1 + len(FACTORS)) + "|")
    for what in ("one loss", "one run, all targets", "all seeds of a cell"):
        for seeds in (1, 2, 3):
            rng = np.random.default_rng(2)
            cells = [power(rng, what, factor, seeds, max(1, options.worlds // 5)) for factor in FACTORS]
            print(
                f"| {what}, {seeds} seeds | "
                + " | ".join(f"{hit:.0%}, {extra}" for hit, extra in cells)
                + " |"
            )


def changed(table: MeasurementTable, loss: np.ndarray) -> MeasurementTable:
    """The table with other losses."""
    names = ("domains", "run", "target", "weights", "budget", "seed", "loss_se", "volumes")
    return MeasurementTable(**{name: getattr(table, name) for name in names}, loss=loss)


def world(rng: np.random.Generator, kind: str) -> MeasurementTable:
    """Losses of a random study: 3 to 6 domains, 2 to 6 budgets, 1 to 3 seeds, pure runs and 1 to 6 mixtures."""
    domains, ratio = int(rng.integers(3, 7)), rng.choice([1.5, 2, 4])
    noise = float(rng.choice(NOISES))
    table = simulate(
        random_law(rng, domains, rho=float(rng.choice([0.5, 0.7, 1.0]))),
        budgets=[round(800 * ratio**k) for k in range(int(rng.choice([2, 3, 4, 6])))],
        seeds=int(rng.integers(1, 4)),
        noise=noise,
        together=0.3,
        mixtures=[np.full(domains, 1 / domains), *rng.dirichlet(np.ones(domains), int(rng.integers(0, 6)))],
        rng=rng,
    )
    loss, far = np.array(table.loss), table.budget / 800
    if kind.startswith("seeds"):
        loss *= np.exp(np.array([0, 0.1, -0.15])[table.seed])
    if kind == "plateaus":
        loss = np.maximum(loss, np.quantile(loss, 0.6) * np.exp(rng.normal(0, noise, len(table))))
    if kind.startswith("foreign"):
        foreign = (table.source >= 0) & (table.source != table.target_index)
        high = loss.max() / 2 * far ** rng.uniform(0, 0.5) * np.exp(rng.normal(0, noise, len(table)))
        loss = np.where(foreign, high, loss)
    if kind == "steep curves":
        loss = 0.01 + loss * far ** -rng.uniform(0.5, 2)
    if kind.startswith("steps"):
        steps: dict[tuple[bytes, str], tuple[float, float]] = {}
        for k in range(len(table)):
            key = (np.round(table.weights[k], 6).tobytes(), table.target[k])
            at, height = steps.setdefault(key, (rng.uniform(np.log(500), np.log(20_000)), rng.uniform(1, 6)))
            loss[k] *= height if np.log(table.budget[k]) < at + rng.normal(0, 0.2) else 1
    return changed(table, loss)


def power(rng: np.random.Generator, what: str, factor: float, seeds: int, worlds: int) -> tuple[float, int]:
    """Return the share of wrong losses that are found, and how many right ones are called odd beside them."""
    hits = wrong = extra = 0
    for _ in range(worlds):
        table = simulate(
            random_law(rng, 4, rho=0.7), budgets=(800, 1500, 2800, 5000), seeds=seeds, noise=0.02, together=0.3,
            mixtures=[np.full(4, 0.25)], rng=rng,
        )  # fmt: skip
        first = int(rng.integers(len(table)))
        alike = np.all(table.weights == table.weights[first], axis=1) & (table.budget == table.budget[first])
        rows = np.arange(len(table)) == first
        if what.startswith("one run"):
            rows = np.array(table.run) == table.run[first]
        if what.startswith("all seeds"):
            rows = alike & (np.array(table.target) == table.target[first])
        found = find_outliers(changed(table, np.where(rows, table.loss * factor, table.loss)))
        names = {(item.run, item.target) for item in found}
        truth = {(table.run[k], table.target[k]) for k in np.flatnonzero(rows)}
        hits, wrong, extra = hits + len(names & truth), wrong + len(truth), extra + len(names - truth)
    return hits / wrong, extra


if __name__ == "__main__":
    main()
