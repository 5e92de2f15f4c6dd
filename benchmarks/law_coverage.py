"""Coverage of the 90% intervals on simulated worlds with known truth.

    python benchmarks/law_coverage.py --worlds 200 [--hard 50]

Each world is a random law (docs/concepts/law.md), measured like a study: pure runs and the uniform mixture at
four budgets, seeds and noise as given; rho is 1 where the transfer law is fitted, which knows no other. A truth
counts as covered when it lies inside the interval.

A second table has worlds as measured studies are: losses that start at a plateau (the offset law), foreign pure runs
that get worse with their budget (negative transfer, which no law of the family has), and seeds that are better or worse
for all runs alike, for each design. There the mixtures and the budgets are those that allocation asks about, and what a
prediction is compared with is the loss of one more seed.
"""

import argparse

import numpy as np

from voxmix import MeasurementTable, Mixture, allocate, fit
from voxmix.allocation.interior import solve
from voxmix.law import profile
from voxmix.law.forms import Landscape, LawParameters, predict
from voxmix.law.reducible import OFFSET
from voxmix.law.simulate import random_law, simulate

BUDGETS = (500, 1000, 2000, 4000)
MIN_WEIGHT = 0.05
SEED_SPREAD = 0.02  # standard deviation of a seed's own effect on the log loss
WORSE = 0.1  # log loss that a foreign pure run gains per e-fold of its budget, beyond its law
DESIGNS = {"pure + anchor": (True, False), "vertex + anchor": (False, True), "all": (True, True)}
HARD = (
    ("a plateau", "offset", ("offset", "offset-diversity")),
    ("negative transfer", "diversity", ("diversity",)),
    ("seeds differ", "diversity", ("diversity",)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=200)
    parser.add_argument("--domains", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--together", type=float, default=0.3)
    parser.add_argument("--bootstrap", type=int, default=200)
    parser.add_argument("--first", type=int, default=20_000, help="seed of the first world")
    parser.add_argument("--hard", type=int, default=0, help="worlds of each kind of the second table")
    options = parser.parse_args()
    if options.worlds:
        laws_that_hold(options)
    if options.hard:
        as_measured(options)


def laws_that_hold(options: argparse.Namespace) -> None:
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


def as_measured(options: argparse.Namespace) -> None:
    print(f"\n{options.hard} worlds of each kind, {options.domains} domains, budgets 500-4000, {options.seeds} seeds, noise "
          f"{options.noise:g}, {options.bootstrap} draws; covered of asked")  # fmt: skip
    names = (
        "loss at 4,000 draws",
        "loss at 8,000",
        "loss at 16,000",
        "share at 8,000",
        "share above min_weight",
    )
    print("| world | runs | law | " + " | ".join(names) + " |\n|---|---|---|" + "---|" * len(names))
    for kind, of_law, laws in HARD:
        for design, (pure, vertices) in DESIGNS.items():
            for law in laws:
                found = [
                    hard_world(world, kind, of_law, law, pure, vertices, options)
                    for world in range(options.first, options.first + options.hard)
                ]
                cells = [
                    f"{sum(np.sum(item[k]) for item in found) / sum(np.size(item[k]) for item in found):.1%} of "
                    f"{sum(np.size(item[k]) for item in found):,}"
                    for k in range(len(names))
                ]
                print(f"| {kind} | {design} | {law} | " + " | ".join(cells) + " |", flush=True)


def hard_world(
    world: int, kind: str, of_law: str, law: str, pure: bool, vertices: bool, options: argparse.Namespace
) -> list[np.ndarray]:
    """Return which truths of a world lie in their intervals: losses per budget and target, then shares.

    Last the shares that do not rest on min_weight: an interval that ends there covers one that does, always.
    """
    rng = np.random.default_rng(world)
    count = options.domains
    rho = 1.0 if law == "offset" else rng.uniform(0.5, 1.0)
    truth = random_law(rng, count, rho=rho)
    if of_law == "offset":
        truth = with_plateau(truth, rng)
    effects = SEED_SPREAD * rng.standard_normal(options.seeds + 1) * (kind == "seeds differ")
    corners = [
        np.where(np.arange(count) == i, 1 - MIN_WEIGHT * (count - 1), MIN_WEIGHT) for i in range(count)
    ]
    table = simulate(
        truth,
        budgets=BUDGETS,
        seeds=options.seeds,
        noise=options.noise,
        together=options.together,
        mixtures=[np.full(count, 1 / count), *(corners if vertices else [])],
        pure=pure,
        seed_effects=effects[:-1].tolist(),
        rng=rng,
    )
    if kind == "negative transfer":
        table = getting_worse(table)
    found = fit(
        table, law=law, method="joint", loss="relative-huber", bootstrap=options.bootstrap, seed=world
    )
    mixture = MIN_WEIGHT + (1 - MIN_WEIGHT * count) * rng.dirichlet(np.ones(count))
    inside = []
    for budget in (4000.0, 8000.0, 16_000.0):
        value = predict(truth, mixture[None], np.array([budget]))[0, 0] * np.exp(effects[-1])
        interval = found.predicted_interval(Mixture(domains=found.domains, weights=mixture), budget)
        inside.append((interval[:, 0] <= value) & (value <= interval[:, 1]))
    best = solve(
        Landscape(truth, 8000),
        np.full((1, count), 1 / count),
        lower=np.full(count, MIN_WEIGHT),
        upper=np.ones(count),
    ).weights[0]
    ends = allocate(found, budget=8000, min_weight=MIN_WEIGHT).intervals
    shares = (ends[:, 0] - 1e-4 <= best) & (best <= ends[:, 1] + 1e-4)
    return [*inside, shares, shares[best > MIN_WEIGHT + 1e-4]]


def with_plateau(law: LawParameters, rng: np.random.Generator) -> LawParameters:
    """Return the offset law with the same numbers, and plateaus that end within the budgets or a little below."""
    return LawParameters.make(
        **{
            name: getattr(law, name)
            for name in ("irreducible_loss", "amplitude", "exponent", "transfer", "rho")
        },
        fall=OFFSET,
        formula_numbers={"kappa": np.exp(rng.uniform(np.log(50), np.log(1500), len(law.exponent)))},
    )


def getting_worse(table: MeasurementTable) -> MeasurementTable:
    """Return the table in which pure runs get worse at all other targets with their budget."""
    foreign = (table.source >= 0) & (table.source != table.target_index)
    gained = np.where(foreign, WORSE * np.log(table.budget / BUDGETS[0]), 0.0)
    names = ("domains", "run", "target", "weights", "budget", "seed", "loss_se", "volumes")
    return MeasurementTable(
        **{name: getattr(table, name) for name in names}, loss=table.loss * np.exp(gained)
    )


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
