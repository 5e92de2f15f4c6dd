"""Time and certified gap of one allocation, from 6 to 4,000 domains, against SLSQP and CVXPY with Clarabel.

    python benchmarks/allocation_scale.py [--sizes 6 30 100 300 1000] [--peers] [--plot scale.svg]

CVXPY and Clarabel are not dependencies: pip install cvxpy clarabel where --peers is given.
"""

import argparse
import time

import numpy as np
from scipy.optimize import minimize

from voxmix.allocation.interior import solve
from voxmix.law.forms import Landscape, LawParameters

BUDGET = 100_000.0


def law_of(domains: int) -> LawParameters:
    rng = np.random.default_rng(domains)
    transfer = rng.random((domains, domains)) ** 4
    np.fill_diagonal(transfer, 1.0)
    return LawParameters.make(
        irreducible_loss=rng.uniform(0, 0.01, domains),
        amplitude=rng.uniform(2, 7, domains),
        exponent=rng.uniform(0.2, 0.6, domains),
        transfer=transfer,
    )


def by_slsqp(law: LawParameters, least: float) -> tuple[float, float]:
    landscape, count = Landscape(law, BUDGET), law.transfer.shape[0]
    start = time.perf_counter()
    done = minimize(
        lambda w: landscape.loss(w[None])[0].mean() * 100,
        np.full(count, 1 / count),
        jac=lambda w: landscape.curvature(w[None]).slope[0].mean(axis=1) * 100,
        method="SLSQP",
        bounds=[(least, 1)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-9, "maxiter": 500},
    )
    return time.perf_counter() - start, float(done.fun / 100)


def by_clarabel(law: LawParameters, least: float) -> tuple[float, float]:
    import cvxpy

    count = law.transfer.shape[0]
    start = time.perf_counter()
    w = cvxpy.Variable(count)
    reached = law.transfer.T @ w
    terms = [
        float(a * BUDGET**-b) * cvxpy.power(reached[j], float(-b), approx=False)
        for j, (a, b) in enumerate(zip(law.amplitude, law.exponent, strict=True))
    ]
    problem = cvxpy.Problem(cvxpy.Minimize(sum(terms) / count), [cvxpy.sum(w) == 1, w >= least])
    problem.solve(solver="CLARABEL")
    spent = time.perf_counter() - start
    weights = np.maximum(np.asarray(w.value), least)
    return spent, float(Landscape(law, BUDGET).loss((weights / weights.sum())[None])[0].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[6, 30, 100, 300, 1000])
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--largest-peer", type=int, default=1000)
    parser.add_argument("--plot", default="")
    options = parser.parse_args()
    print("| domains | voxmix s | steps | relative gap | SLSQP s | its excess | Clarabel s | its excess |")
    print("|---|---|---|---|---|---|---|---|")
    times: dict[str, list[tuple[int, float]]] = {}
    for count in options.sizes:
        law, least = law_of(count), 0.3 / count
        cost = np.full((1, count), 1 / count)
        start = time.perf_counter()
        found = solve(Landscape(law, BUDGET), cost, lower=np.full(count, least), upper=np.ones(count))
        spent = time.perf_counter() - start
        times.setdefault("voxmix, certified", []).append((count, spent))
        best = found.objective[0]
        row = [str(count), f"{spent:.3f}", str(found.steps), f"{found.gap[0] / best:.1e}"]
        for name, peer in (("SLSQP, one start", by_slsqp), ("CVXPY with Clarabel", by_clarabel)):
            if options.peers and count <= options.largest_peer:
                seconds, value = peer(law, least)
                times.setdefault(name, []).append((count, seconds))
                row += [f"{seconds:.2f}", f"{value / best - 1:.1e}"]
            else:
                row += ["", ""]
        print("| " + " | ".join(row) + " |", flush=True)
    if options.plot:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.add_subplot()
        for (name, points), marker in zip(times.items(), "os^", strict=False):
            axes.loglog(*zip(*points, strict=True), f"{marker}-", label=name, markersize=5)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.set_xlabel("domains")
        axes.set_ylabel("seconds per allocation")
        figure.savefig(options.plot)


if __name__ == "__main__":
    main()
