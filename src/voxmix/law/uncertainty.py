"""Wild cluster bootstrap: refit losses whose noise was drawn anew, cell by cell.

All losses of one run come from one trained network, so part of the noise of a cell (mixture, budget) is common
to all its targets: the weights of a cell are drawn together for the share of variance that the residuals have
in common, and by target for the rest (Cameron, Gelbach and Miller 2008; the six points are Webb's, 2023).

Curves through few budgets leave residuals that are smaller than the noise; they are scaled up by what the fit
used, and shrunk to the target's typical relative size, because with four budgets a curve has one degree of
freedom to judge its noise by. The residuals are those of the joint fit: in a two-stage fit the error of a
target's own curve stands in all its pairs again, and counting it as noise of every cell made intervals twice
as wide as they should be. Signs are drawn, not kept: a shared rho makes the residuals of a mixture's cell
cancel over targets, and with their signs kept its interval came out too narrow (78% covered for 90%).
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


def spread_of_cells(cells: Cells, law: LawParameters) -> tuple[Float[np.ndarray, "cell target"], float]:
    """Return the size of the noise of each mean loss (0 where not measured), and the share of its variance that
    the targets of a cell have in common.
    """
    fitted = forms.predict(law, cells.weights, cells.budget)[0]
    ok = ~np.isnan(cells.loss) & np.isfinite(fitted) & (fitted > 0)
    relative = np.where(ok, (cells.loss - np.where(ok, fitted, 0)) / np.where(ok, fitted, 1), 0.0)
    used = np.zeros(len(cells.targets))
    for j in range(len(cells.targets)):
        pairs = len({int(s) for s in cells.source[ok[:, j]] if s >= 0})
        used[j] = min(3, len(cells.pure(int(cells.own[j]), j)) - 1) + max(pairs - 1, 0)
    count = ok.sum(axis=0)
    left = np.maximum(count - used, 1)
    pooled = np.sum(relative**2, axis=0) / left
    size = np.sqrt((1 - _POOL) * relative**2 * count / left + _POOL * pooled)
    size = size * (1 + 3.7 / (4 * left))  # Student's t over the normal, at 90%
    return np.where(ok, size * np.where(ok, fitted, 0), 0.0), _common(cells, relative, ok)


def _common(cells: Cells, relative: Float[np.ndarray, "cell target"], ok: np.ndarray) -> float:
    """Mean product of standardized residuals of two targets of one pure cell, between 0 and 0.9."""
    rows = ok & ~cells.mixed[:, None]
    spread = np.sqrt(np.sum(np.where(rows, relative, 0) ** 2, axis=0) / np.maximum(rows.sum(axis=0), 1))
    z = np.where(rows & (spread > 0), relative / np.where(spread > 0, spread, 1), 0.0)
    pairs = rows.sum(axis=1) * (rows.sum(axis=1) - 1)
    if not pairs.any():
        return 0.0
    return float(np.clip((z.sum(axis=1) ** 2 - (z**2).sum(axis=1)).sum() / pairs.sum(), 0.0, 0.9))


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
    with np.errstate(all="ignore"):
        return _resample(cells, law, options, solver, draws=draws, rng=rng, progress=progress)


def _resample(
    cells: Cells,
    law: LawParameters,
    options: FitOptions,
    solver: Solver,
    *,
    draws: int,
    rng: np.random.Generator,
    progress: ProgressCallback,
) -> LawParameters:
    fitted = forms.predict(law, cells.weights, cells.budget)[0]
    fitted = np.where(np.isfinite(fitted), fitted, np.nan_to_num(cells.loss))
    smooth, judged = law, cells
    if options.method == "two-stage" and options.law in (forms.TRANSFER, forms.DIVERSITY):
        if options.law == forms.TRANSFER:  # its two stages never see a mixture, so neither does their noise
            judged = cells.without_mixture_losses()
        together = replace(options, method="joint")
        smooth = solver(judged, np.nan_to_num(judged.loss)[None], together)[0].take(0)
    spread, common = spread_of_cells(judged, smooth)
    shape = (draws, len(cells.budget), len(cells.targets))
    flips = np.sqrt(common) * rng.choice(_WEBB, size=(*shape[:2], 1))
    flips = flips + np.sqrt(1 - common) * rng.choice(_WEBB, size=shape)
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
