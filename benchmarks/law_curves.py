"""Single curves E + A N**-beta: accuracy and time against chinchilla and SciPy's trust-region solver.

    make bench-law    (or: python benchmarks/law_curves.py, in the environment of make peers)

Each curve has losses at six budgets from 250 to 8,000 draws, three seeds, noise as given. Judged by the exponent,
by the loss at 32,000 draws, and by how far the squared error lies above the least that any solver found.
chinchilla fits E + A / N**alpha + B / D**beta; with N = 1 its second term adds to E. It is started from a grid of 48
points and asked for squared error, as the others; its plots are switched off and not timed.
"""

import argparse
import tempfile
import time
import warnings

import numpy as np

from voxmix.law.curves import fit_curves
from voxmix.law.reference import fit_curve

BUDGETS = np.array([250.0, 500, 1000, 2000, 4000, 8000])
FAR = 32_000.0
Curve = tuple[float, float, float]


def worlds(count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return true (E, A, beta) per curve, and mean losses over three seeds."""
    rng = np.random.default_rng(0)
    truth = np.column_stack(
        [rng.uniform(0.003, 0.02, count), rng.uniform(0.5, 2.0, count), rng.uniform(0.3, 0.7, count)]
    )
    clean = value(truth, BUDGETS)
    return truth, clean * np.exp(noise / np.sqrt(3) * rng.standard_normal(clean.shape))


def value(curves: np.ndarray, budget: np.ndarray | float) -> np.ndarray:
    e, a, b = (curves[:, [k]] for k in range(3))
    return e + a * np.asarray(budget, dtype=float)[None] ** -b


def by_voxmix(losses: np.ndarray) -> np.ndarray:
    return np.column_stack(fit_curves(BUDGETS, losses, max_exponent=2.0))


def by_scipy(losses: np.ndarray) -> np.ndarray:
    found = [fit_curve(BUDGETS, loss) for loss in losses]
    return np.array([(f.irreducible_loss, f.amplitude, f.exponent) for f in found])


def by_chinchilla(losses: np.ndarray) -> np.ndarray:
    from chinchilla import Chinchilla
    from chinchilla._metrics import mse

    grid = {
        "e": np.log([0.003, 0.01, 0.03]),
        "a": [-20.0],
        "b": np.log([0.3, 1.0, 3.0, 10.0]),
        "alpha": [0.5],
        "beta": [0.2, 0.4, 0.6, 0.9],
    }
    found = []
    for loss in losses:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Chinchilla(folder, param_grid=grid, loss_fn=lambda y, p: mse(y, p) * 1e4, log_level=50)
            for budget, one in zip(BUDGETS, loss, strict=True):
                model.append(N=1, D=int(budget), loss=float(one))
            model.visualizer.optim = lambda *a, **k: None
            model.fit(parallel=False)
            found.append((float(model.E) + float(model.A), float(model.B), float(model.beta)))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, default=40)
    parser.add_argument("--noise", type=float, default=0.02)
    options = parser.parse_args()
    truth, losses = worlds(options.curves, options.noise)
    results: dict[str, tuple[float, np.ndarray]] = {}
    for name, solver in (
        ("voxmix, all at once", by_voxmix),
        ("SciPy TRF, 4 starts", by_scipy),
        ("chinchilla 0.2.0, 48 starts", by_chinchilla),
    ):
        try:
            start = time.perf_counter()
            curves = solver(losses)
            results[name] = ((time.perf_counter() - start) / len(losses), curves)
        except ImportError:
            print(f"{name}: not installed; make peers installs it")
    squares = {name: np.sum((value(c, BUDGETS) - losses) ** 2, axis=1) for name, (_, c) in results.items()}
    best = np.min(list(squares.values()), axis=0)
    first = next(iter(results.values()))[0]
    print(f"{options.curves} curves, noise {options.noise:g}\n")
    print("| solver | ms a curve | ratio | median error of beta | median error at 32,000 | squares above the least, "
          "median | worst |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for name, (seconds, curves) in results.items():
        beta = np.median(np.abs(curves[:, 2] / truth[:, 2] - 1))
        far = np.median(np.abs(value(curves, [FAR]) / value(truth, [FAR]) - 1))
        excess = squares[name] / best - 1
        print(f"| {name} | {1000 * seconds:.3g} | {seconds / first:.3g} | {beta:.1%} | {far:.1%} | "
              f"{np.median(excess):.1e} | {excess.max():.1e} |")  # fmt: skip


if __name__ == "__main__":
    main()
