"""Coverage of the 90% intervals on simulated worlds with known truth.

    python benchmarks/law_coverage.py --worlds 200

Each world is a random law (docs/concepts/law.md), measured like a study: pure runs and the uniform mixture at
four budgets, seeds and noise as given; rho is 1 where the transfer law is fitted, which knows no other. A truth
counts as covered when it lies inside the interval.
"""

import argparse

import numpy as np

from voxmix import Mixture, allocate, fit
from voxmix.allocation.interior import solve
from voxmix.law import profile
from voxmix.law.forms import Landscape, predict
from voxmix.law.simulate import random_law, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--domains", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--together", type=float, default=0.3)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--first", type=int, default=20_000, help="seed of the first world")
    options = parser.parse_args()
    print(f"{options.worlds} worlds, {options.domains} domains, budgets 500-4000, {options.seeds} seeds, noise "
          f"{options.noise:g}, {options.bootstrap} draws")  # fmt: skip
    columns = [("two-stage", "transfer"), ("two-stage", "diversity"), ("joint", "diversity")]
    hits: list[dict[str, list[float]]] = []
    for method, law in columns:
        hits.append({})
        for world in range(options.first, options.first + options.worlds):
            for name, inside in covered(world, method, law, options).items():
                hits[-1].setdefault(name, []).append(inside)
    print("| 90% interval of | " + " | ".join(f"{law}, {method}" for method, law in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in dict.fromkeys(name for found in hits for name in found):
        cells = [f"{np.mean(found[name]):.1%}" if name in found else "" for found in hits]
        print(f"| {name} | " + " | ".join(cells) + " |")


def covered(world: int, method: str, form: str, options: argparse.Namespace) -> dict[str, float]:
    rng = np.random.default_rng(world)
    count = options.domains
    rho = rng.uniform(0.5, 1.0)
    truth = random_law(rng, count, rho=rho if form == "diversity" else 1.0)
    table = simulate(
        truth,
        budgets=(500, 1000, 2000, 4000),
        seeds=options.seeds,
        noise=options.noise,
        together=options.together,
        mixtures=[np.full(count, 1 / count)],
        rng=rng,
    )
    law = fit(table, law=form, method=method, bootstrap=options.bootstrap, seed=world)
    intervals = law.intervals(0.9)
    assert intervals is not None

    def share(value: np.ndarray, interval: np.ndarray, keep: np.ndarray | None = None) -> float:
        inside = (interval[..., 0] <= value + 1e-12) & (value <= interval[..., 1] + 1e-12)
        return float(np.mean(inside if keep is None else inside[keep]))

    result = {
        "irreducible loss": share(truth.irreducible_loss, intervals["irreducible_loss"]),
        "amplitude": share(truth.amplitude, intervals["amplitude"]),
        "exponent": share(truth.exponent, intervals["exponent"]),
        "transfer": share(truth.transfer, intervals["transfer"], ~np.eye(count, dtype=bool)),
    }
    if form == "diversity":
        result["rho"] = share(truth.rho[:1], intervals["rho"][:1])
    profiled: dict[str, list[bool]] = {"profile of an exponent": [], "profile of a transfer": []}
    for j, target in enumerate(law.targets):
        for i, source in enumerate(law.domains):
            name, value = ("exponent", truth.exponent[j]) if i == j else ("transfer", truth.transfer[i, j])
            found = profile(law, name, target=target, source=source)
            profiled[f"profile of a{'n' * (i == j)} {name}"].append(found.low <= value <= found.high)
    result |= {name: float(np.mean(values)) for name, values in profiled.items()}
    mixture = Mixture(domains=law.domains, weights=rng.dirichlet(np.ones(count)))
    for name, budget in (("loss of a mixture at 4,000 draws", 4000.0), ("the same at 16,000", 16_000.0)):
        value = predict(truth, mixture.weights[None], np.array([budget]))[0, 0]
        result[name] = share(value, law.predicted_interval(mixture, budget))
    best = solve(
        Landscape(truth, 16_000),
        np.full((1, count), 1 / count),
        lower=np.full(count, 0.05),
        upper=np.ones(count),
    ).weights[0]
    found = allocate(law, budget=16_000)
    rounding = np.array(
        [-1e-4, 1e-4]
    )  # weights that rest on min_weight do so to within the solver's tolerance
    result["weight of the best mixture at 16,000"] = share(best, found.intervals + rounding)
    return result


if __name__ == "__main__":
    main()
