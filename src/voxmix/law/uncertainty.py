"""Wild cluster bootstrap: refit losses whose residuals were flipped together, cell by cell.

All losses of one run come from one trained network, so the residuals of a cell (mixture, budget) on all
targets flip together (Cameron, Gelbach and Miller 2008). Curves through few budgets leave residuals that
are smaller than the noise; they are scaled up by what the fit used, and shrunk to the target's typical
relative size, because with four budgets a curve has one degree of freedom to judge its noise by. The residuals
are those of the joint fit: in a two-stage fit the error of a target's own curve stands in all its pairs again,
and counting it as noise of every cell made intervals twice as wide as they should be.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from voxmix._progress import ProgressCallback
from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.twostage import FitOptions

_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
_BATCH = 500
_POOL = 0.75  # share of a residual's variance taken from its target's pool

Solver = Callable[
    [Cells, Float[np.ndarray, "draw cell target"], FitOptions],
    tuple[LawParameters, Bool[np.ndarray, " draw"]],
]


def spread_of_cells(
    cells: Cells, law: LawParameters, options: FitOptions
) -> Float[np.ndarray, "cell target"]:
    """Return residuals scaled to the size of the noise of each mean loss; 0 where nothing was measured."""
    fitted = forms.predict(law, cells.weights, cells.budget)[0]
    ok = ~np.isnan(cells.loss) & np.isfinite(fitted) & (fitted > 0)
    relative = np.where(ok, (cells.loss - np.where(ok, fitted, 0)) / np.where(ok, fitted, 1), 0.0)
    used = np.zeros(len(cells.targets))
    for j in range(len(cells.targets)):
        pairs = len({int(s) for s in cells.source[ok[:, j]] if s >= 0})
        used[j] = min(3, len(cells.pure(int(cells.own[j]), j)) - 1) + max(pairs - 1, 0)
    count = ok.sum(axis=0)
    scale = np.sqrt(count / np.maximum(count - used, 1))
    pooled = np.sum(relative**2, axis=0) / np.maximum(count - used, 1)
    size = np.sqrt((1 - _POOL) * (relative * scale) ** 2 + _POOL * pooled)
    size = size * (1 + 3.7 / (4 * np.maximum(count - used, 1)))  # Student's t over the normal, at 90%
    sign = np.where(relative < 0, -1.0, 1.0)
    return np.where(ok, sign * size * np.where(ok, fitted, 0), 0.0)


def resample(
    cells: Cells,
    law: LawParameters,
    options: FitOptions,
    solver: Solver,
    *,
    draws: int,
    seed: int,
    progress: ProgressCallback,
) -> LawParameters:
    """Return the parameters of ``draws`` refits, Webb's six-point weights (Webb 2023) per cell."""
    rng = np.random.default_rng(seed)
    fitted = forms.predict(law, cells.weights, cells.budget)[0]
    fitted = np.where(np.isfinite(fitted), fitted, np.nan_to_num(cells.loss))
    smooth = law
    if options.method == "two-stage" and options.law in (forms.TRANSFER, forms.DIVERSITY):
        smooth = solver(cells, np.nan_to_num(cells.loss)[None], replace(options, method="joint"))[0].take(0)
    spread = spread_of_cells(cells, smooth, options)
    flips = rng.choice(_WEBB, size=(draws, len(cells.budget), 1))
    parts = []
    for start in range(0, draws, _BATCH):
        loss = np.maximum(fitted + flips[start : start + _BATCH] * spread, 0.01 * fitted)
        parts.append(solver(cells, loss, options)[0])
        progress(min(start + _BATCH, draws), draws)
    return concatenate(parts)


def concatenate(parts: list[LawParameters]) -> LawParameters:
    """Return one batch of the draws of several."""
    names = (
        "irreducible_loss",
        "amplitude",
        "exponent",
        "transfer",
        "rho",
        "budget_amplitude",
        "budget_exponent",
        "repeats",
    )
    return LawParameters(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        by_share=parts[0].by_share,
        unique=parts[0].unique,
    )
