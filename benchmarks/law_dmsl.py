"""Swarms at several budgets, like those of "Scaling laws for optimal data mixtures" (Shukor et al. 2025).

    python benchmarks/law_dmsl.py [--worlds 2] [--laws auto transfer ...] [--noise 0.002] [--max-transfer 1]

Simulated: 7 domains, 61 mixtures, each at four budgets up to B, no pure run. Judged on 20 other mixtures at 2.7 B without
noise: the mean of |predicted / true - 1|. The worlds obey the two laws of that paper at one model size, and two that are
neither theirs nor ours, so that no law is right everywhere:

- additive: L = E + 1 / sum_i C_i h_i**g_i + B / D**b
- joint: L = E + 1 / sum_i C_i h_i**g_i + (sum_i B_i h_i)**g / D**b
- exponential: L = c + (k + B / D**b) exp(sum_i t_i h_i), the mixing law of Ye et al. (2024) with a budget
- crossing: L = E + A / (n0 + D sum_i t_i h_i)**b + A2 exp(-h_j / s), an own-domain need that no amount of others meets
"""

import argparse
import time
import warnings

import numpy as np

from voxmix import MeasurementTable, fit
from voxmix.errors import VoxmixWarning

DOMAINS, MIXTURES, HELD = 7, 61, 20
LARGEST = 20e9
BUDGETS = (LARGEST / 8, LARGEST / 4, LARGEST / 2, LARGEST)
NAMES = tuple(f"domain{i}" for i in range(DOMAINS))


def world(kind: str, rng: np.random.Generator):
    """Return a function from mixtures (run, domain) and budgets (run,) to losses (run, target), near those of text."""
    near = rng.uniform(0.02, 0.5, (DOMAINS, DOMAINS))  # what a source is worth to a target
    np.fill_diagonal(near, 1.0)
    floor, power = rng.uniform(1.2, 2.0, DOMAINS), rng.uniform(0.25, 0.4, DOMAINS)
    gain = rng.uniform(0.2, 0.6, (DOMAINS, DOMAINS))
    term = rng.uniform(0.2, 0.6, DOMAINS)  # at the largest budget
    spread = rng.uniform(-1.0, 0.6, (DOMAINS, DOMAINS)) - np.eye(DOMAINS)

    def shares(h):
        return 1 / np.einsum("ij,rij->rj", near * 2.5, h[:, :, None] ** gain)

    def additive(h, d):
        return floor + shares(h) + term * (d[:, None] / LARGEST) ** -power

    def joint(h, d):
        return floor + shares(h) + term * (0.3 + h @ (2 * near)) ** -0.4 * (d[:, None] / LARGEST) ** -power

    def exponential(h, d):
        return floor + (0.3 + term * (d[:, None] / LARGEST) ** -power) * np.exp(h @ spread)

    def crossing(h, d):
        effective = 0.05 + (d[:, None] / LARGEST) * (h @ near)
        return floor + term * effective**-power + 0.25 * np.exp(-h / 0.08)

    return {"additive": additive, "joint": joint, "exponential": exponential, "crossing": crossing}[kind]


def tables(kind: str, noise: float, seed: int) -> tuple[MeasurementTable, np.ndarray, np.ndarray]:
    """Return the table of the swarm, the held-out mixtures, and their true losses at 2.7 times the largest budget."""
    rng = np.random.default_rng(seed)
    loss = world(kind, rng)
    swarm = rng.dirichlet(np.ones(DOMAINS), MIXTURES)
    held = rng.dirichlet(np.ones(DOMAINS), HELD)
    rows = np.repeat(swarm, len(BUDGETS), axis=0)
    budget = np.tile(BUDGETS, MIXTURES)
    losses = loss(rows, budget) * np.exp(noise * rng.standard_normal((len(rows), DOMAINS)))
    records = [
        {"run": f"run{r}", "seed": 0, "budget": budget[r], "target": NAMES[j], "loss": losses[r, j]}
        | {f"weight:{name}": w for name, w in zip(NAMES, rows[r], strict=True)}
        for r in range(len(rows))
        for j in range(DOMAINS)
    ]
    return MeasurementTable.from_rows(records), held, loss(held, np.full(HELD, 2.7 * LARGEST))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=2)
    parser.add_argument("--laws", nargs="+", default=["auto"])
    parser.add_argument("--kinds", nargs="+", default=["additive", "joint", "exponential", "crossing"])
    parser.add_argument("--noise", type=float, nargs="+", default=[0.002])
    parser.add_argument("--max-transfer", type=float, default=1.0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", VoxmixWarning)
    print("| world | noise | law | chosen | level | error | worst world | seconds |")
    print("|---|---:|---|---|---:|---:|---:|---:|")
    for kind in options.kinds:
        for noise in options.noise:
            for law in options.laws:
                errors, levels, chosen, start = [], [], {}, time.perf_counter()
                for seed in range(options.worlds):
                    table, held, truth = tables(kind, noise, seed)
                    ways = {} if law == "auto" else {"method": "joint", "loss": "relative-huber"}
                    found = fit(table, law=law, max_transfer=options.max_transfer, **ways)
                    guess = found.evaluate(held, 2.7 * LARGEST)
                    errors.append(float(np.mean(np.abs(guess / truth - 1))))
                    levels.append(float(guess.mean() / truth.mean() - 1))
                    chosen[f"{found.law} {found.loss}"] = chosen.get(f"{found.law} {found.loss}", 0) + 1
                seconds = (time.perf_counter() - start) / options.worlds
                told = ", ".join(f"{name} x{count}" for name, count in chosen.items())
                print(
                    f"| {kind} | {noise:.2%} | {law} | {told} | {np.mean(levels):+.2%} | {np.mean(errors):.2%} "
                    f"| {max(errors):.2%} | {seconds:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
