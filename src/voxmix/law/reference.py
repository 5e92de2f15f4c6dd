"""The paper's procedure, curve by curve: SciPy's bounded trust-region reflective least squares.

Slow and started from several points; it is the yardstick for the fast path, which must agree with it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares

from voxmix.law.cells import Cells
from voxmix.law.curves import MIN_EXPONENT
from voxmix.law.forms import LawParameters
from voxmix.law.twostage import FitOptions

_STARTS = (0.1, 0.3, 0.6, 1.2)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReferenceCurve:
    """One curve: E, A, beta and the sum of squared residuals."""

    irreducible_loss: float
    amplitude: float
    exponent: float
    cost: float


def fit_curve(
    budget: Float[np.ndarray, " point"], loss: Float[np.ndarray, " point"], *, max_exponent: float = 2.0
) -> ReferenceCurve:
    """Return ``E + A N**-beta`` by TRF from four exponents; E is held at 0 with fewer than three budgets."""
    center = np.exp(np.mean(np.log(budget)))
    x, size = budget / center, float(np.mean(loss))
    asymptote = len(np.unique(budget)) >= 3
    best: ReferenceCurve | None = None

    def residual(p: np.ndarray) -> np.ndarray:
        return np.asarray(p[0] * asymptote + p[1] * x ** -p[2] - loss / size)

    def jacobian(p: np.ndarray) -> np.ndarray:
        z = x ** -p[2]
        return np.column_stack([np.full_like(x, float(asymptote)), z, -p[1] * np.log(x) * z])

    for start in _STARTS:
        guess = np.array([0.5 * loss.min() / size if asymptote else 0.0, 0.5, min(start, 0.9 * max_exponent)])
        done = least_squares(
            residual,
            guess,
            jac=jacobian,
            bounds=([0.0, 0.0, MIN_EXPONENT], [np.inf, np.inf, max_exponent]),
            method="trf",
            x_scale="jac",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
            max_nfev=2000,
        )
        e, a, b = done.x
        if best is None or 2 * done.cost * size**2 < best.cost:
            best = ReferenceCurve(
                irreducible_loss=float(e * size * asymptote),
                amplitude=float(a * size * center**b),
                exponent=float(b),
                cost=float(2 * done.cost * size**2),
            )
    assert best is not None
    return best


def fit_transfer(
    budget: Float[np.ndarray, " point"],
    loss: Float[np.ndarray, " point"],
    curve: ReferenceCurve,
    *,
    max_transfer: float = 1.0,
) -> float:
    """Return tau of one pair by TRF, the target's curve held."""
    size = float(np.mean(loss))
    best, best_cost = 0.0, np.inf

    def residual(p: np.ndarray) -> np.ndarray:
        reached = np.maximum(p[0], 1e-300) * budget
        guess = curve.irreducible_loss + curve.amplitude * reached**-curve.exponent
        return np.asarray((guess - loss) / size)

    for start in (0.02, 0.3, 0.9):
        done = least_squares(
            residual,
            [start * max_transfer],
            bounds=([1e-12], [max_transfer]),
            method="trf",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
            max_nfev=2000,
        )
        if done.cost < best_cost:
            best, best_cost = float(done.x[0]), done.cost
    return best


def two_stage_reference(
    cells: Cells, loss: Float[np.ndarray, "cell target"], options: FitOptions
) -> LawParameters:
    """Return the transfer law (or the naive one) by one TRF problem per curve and per pair."""
    sources, targets = len(cells.domains), len(cells.targets)
    curves = []
    transfer = np.zeros((sources, targets))
    for j in range(targets):
        own = cells.alone(j)
        curve = fit_curve(cells.budget[own], loss[own, j], max_exponent=options.max_exponent)
        curves.append(curve)
        for i in range(sources):
            rows = cells.pure(i, j)
            if i == cells.own[j]:
                transfer[i, j] = 1.0
            elif options.form.transfers and len(rows) and curve.amplitude > 0:
                transfer[i, j] = fit_transfer(
                    cells.budget[rows], loss[rows, j], curve, max_transfer=options.max_transfer
                )
    return LawParameters.make(
        irreducible_loss=np.array([c.irreducible_loss for c in curves]),
        amplitude=np.array([c.amplitude for c in curves]),
        exponent=np.array([c.exponent for c in curves]),
        transfer=transfer,
    )
