"""How large the noise of a cell's mean loss is, judged by what the best fit leaves over.

Noise is relative: losses of small and large budgets scatter by the same share of themselves. It is judged by a
joint fit of the log losses, whatever the law's own method and loss. Least squares of the plain losses follows the
large losses and leaves too much at the small ones (11% too much variance in simulated worlds, where log losses
leave 4% too little), and in a two-stage fit the error of a target's own curve is in all its pairs again.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.joint import solve
from voxmix.law.twostage import FitOptions

_POOL = 0.75  # share of a residual's variance taken from its target's pool
_STUDENT = 3.7 / 4  # Student's t over the normal at 90%, times the degrees of freedom


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Noise:
    """Noise of mean losses.

    Attributes:
        relative: standard deviation of a mean loss over its expectation, per target.
        spread: standard deviation per cell and target, widened for the doubt about it; 0 where not measured.
        common: share of the variance that the targets of a cell have in common.
    """

    relative: Float[np.ndarray, " target"]
    spread: Float[np.ndarray, "cell target"]
    common: float


def judge_noise(cells: Cells, law: LawParameters, options: FitOptions) -> Noise:
    """Return the noise of the cells that a law was fitted to.

    A few budgets leave residuals that are smaller than the noise: they are scaled up by what the fit used, and
    shrunk to the target's pool, because with four budgets a curve has one degree of freedom.
    """
    with np.errstate(all="ignore"):
        judged, smooth = _smooth(cells, law, options)
        fitted = forms.predict(smooth, judged.weights, judged.budget)[0]
    ok = ~np.isnan(judged.loss) & np.isfinite(fitted) & (fitted > 0)
    fitted = np.where(ok, fitted, 1.0)
    relative = np.where(ok, judged.loss / fitted - 1, 0.0)
    used = np.zeros(len(judged.targets))
    for j in range(len(judged.targets)):
        pairs = len({int(s) for s in judged.source[ok[:, j]] if s >= 0})
        used[j] = min(3, len(judged.alone(j)) - 1) + max(pairs - 1, 0)
        if not len(judged.alone(j)):  # a curve, and transfers of all other sources
            used[j] = 3 + int((judged.weights[ok[:, j]] > 0).any(axis=0).sum()) - 1
        used[j] += len(smooth.formula_numbers)
    count = ok.sum(axis=0)
    left = np.maximum(count - used, 1)
    pooled = np.sum(relative**2, axis=0) / left
    size = np.sqrt((1 - _POOL) * relative**2 * count / left + _POOL * pooled)
    size = size * (1 + _STUDENT / left)
    return Noise(
        relative=np.sqrt(pooled),
        spread=np.where(ok, size * fitted, 0.0),
        common=_common(judged, relative, ok),
    )


def _smooth(cells: Cells, law: LawParameters, options: FitOptions) -> tuple[Cells, LawParameters]:
    """Return the cells the law has seen, and the joint fit of their log losses."""
    if not options.form.transfers:  # it is judged by its own misfit
        return cells, law
    judged = cells
    if options.method == "two-stage" and not options.form.variety:
        judged = cells.without_mixture_losses()  # two stages never see a mixture, so neither does their noise
    together = replace(options, method="joint", loss="log", foreign_weight=options.foreign)
    return judged, solve(judged, np.nan_to_num(judged.loss)[None], together)[0].take(0)


def _common(cells: Cells, relative: Float[np.ndarray, "cell target"], ok: np.ndarray) -> float:
    """Mean product of standardized residuals of two targets of one pure cell, between 0 and 0.9.

    Of any cell where no run is pure.
    """
    rows = ok & (~cells.mixed | cells.mixed.all())[:, None]
    spread = np.sqrt(np.sum(np.where(rows, relative, 0) ** 2, axis=0) / np.maximum(rows.sum(axis=0), 1))
    z = np.where(rows & (spread > 0), relative / np.where(spread > 0, spread, 1), 0.0)
    pairs = rows.sum(axis=1) * (rows.sum(axis=1) - 1)
    if not pairs.any():
        return 0.0
    return float(np.clip((z.sum(axis=1) ** 2 - (z**2).sum(axis=1)).sum() / pairs.sum(), 0.0, 0.9))
