"""Time of fit, bootstrap and allocations against the paper's procedure, and the agreement of both.

    python benchmarks/law_speed.py

Six domains, four budgets, three seeds. The reference is SciPy's TRF for every curve and pair and 100 SLSQP
restarts per allocation (section 3.3 of the paper), timed on a few resamples and scaled to a thousand. A second table
has the joint fit of every law, 100 resamples of it and auto, in seconds of the processor, as multiples of diversity.
"""

import argparse
import time

import numpy as np
from scipy.optimize import minimize

from voxmix import allocate, fit
from voxmix.law import forms, law_forms
from voxmix.law.cells import gather
from voxmix.law.forms import Landscape, LawParameters
from voxmix.law.reference import two_stage_reference
from voxmix.law.simulate import random_law, simulate
from voxmix.law.twostage import FitOptions

BUDGET = 16_000


def restarts(law: LawParameters, count: int = 100) -> float:
    """Return the best objective of SLSQP from random starts, exact gradients as the paper's closed form allows."""
    landscape, rng = Landscape(law, BUDGET), np.random.default_rng(0)
    domains = law.transfer.shape[0]
    best = np.inf
    for _ in range(count):
        done = minimize(
            lambda w: landscape.loss(w[None])[0].mean() * 100,
            0.05 + (1 - 0.05 * domains) * rng.dirichlet(np.ones(domains)),
            jac=lambda w: landscape.curvature(w[None]).slope[0].mean(axis=1) * 100,
            method="SLSQP",
            bounds=[(0.05, 1)] * domains,
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            options={"ftol": 1e-10},
        )
        best = min(best, done.fun / 100)
    return float(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--reference", type=int, default=10)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    table = simulate(random_law(rng, 6), budgets=(500, 1000, 2000, 4000), seeds=3, noise=0.02, rng=rng)
    fit(table, bootstrap=2)
    start = time.perf_counter()
    law = fit(table, bootstrap=options.bootstrap)
    fitted = time.perf_counter() - start
    found = allocate(law, budget=BUDGET)
    fast = time.perf_counter() - start
    cells = gather(table)
    start = time.perf_counter()
    worst_loss, worst_objective = 0.0, 0.0
    for k in range(options.reference):
        loss = (
            cells.loss * np.exp(0.01 * np.random.default_rng(k).standard_normal(cells.loss.shape))
            if k
            else cells.loss
        )
        slow_law = two_stage_reference(cells, loss, FitOptions())
        objective = restarts(slow_law)
        if k == 0:
            a, b = (forms.predict(p, cells.weights, cells.budget)[0] for p in (law.parameters, slow_law))
            worst_loss = float(np.abs(a / b - 1).max())
            worst_objective = abs(found.objective / objective - 1)
    slow = (time.perf_counter() - start) / options.reference
    total = slow * (options.bootstrap + 1)
    print("| what | seconds |\n|---|---|")
    print(f"| fit and {options.bootstrap} resamples | {fitted:.2f} |")
    print(f"| the same, each with its allocation | {fast:.2f} |")
    print(f"| reference: one fit and 100 restarts | {slow:.2f} |")
    print(f"| reference scaled to {options.bootstrap + 1} | {total:.0f} |")
    print(f"\nratio {total / fast:.0f}; losses agree to {worst_loss:.1e}, objective to {worst_objective:.1e}")
    print_laws()


def print_laws() -> None:
    rng = np.random.default_rng(0)
    corners = [np.where(np.arange(6) == i, 0.75, 0.05) for i in range(6)]
    table = simulate(
        random_law(rng, 6, rho=0.8),
        budgets=(500, 1000, 2000, 4000),
        mixtures=[np.full(6, 1 / 6), *corners],
        noise=0.02,
        rng=rng,
    )
    spent = {}
    for name in ("diversity", *(law.name for law in law_forms() if law.name != "diversity"), "auto"):
        for draws in (0, 100) if name != "auto" else (0,):
            start = time.process_time()
            fit(table, law=name, method="joint", loss="relative-huber", bootstrap=draws)
            spent[name, draws] = time.process_time() - start
    print(
        "\n| law, joint | fit, s | times diversity | with 100 resamples, s | times diversity |\n|---|---|---|---|---|"
    )
    for name, draws in spent:
        if draws:
            continue
        cells = [f"{spent[name, 0]:.2f}", f"{spent[name, 0] / spent['diversity', 0]:.1f}"]
        if (name, 100) in spent:
            cells += [f"{spent[name, 100]:.2f}", f"{spent[name, 100] / spent['diversity', 100]:.1f}"]
        print(f"| {name} | " + " | ".join([*cells, "", ""][:4]) + " |")


if __name__ == "__main__":
    main()
