"""Wild cluster bootstrap: refit losses whose noise was drawn again, cell by cell.

All losses of one run come from one trained network, so part of the noise of a cell (mixture, budget) is common
to all its targets: the weights of a cell are drawn together for the share of variance that the residuals have
in common, and by target for the rest (Cameron, Gelbach and Miller 2008; the six points are Webb's, 2023).

Seeds are blocks (:mod:`voxmix.law.seeds`): what is drawn per cell is the noise that is left without the seeds' effects,
and beside it, once per resample, the error with which the effects were taken out, which all cells of a seed share.
Blocks are not resampled: two seeds give three different resamples. How far the average of all seeds, and one new seed,
may be from the average of those that were run moves every loss alike and no decision, so it is no part of the draws:
:meth:`FittedLaw.intervals <voxmix.law.FittedLaw.intervals>` and ``predicted_interval`` add it.

How large the noise is says :mod:`voxmix.law.noise`. Signs are drawn, not kept: a shared rho makes the residuals
of a mixture's cell cancel over targets, and with their signs kept its interval came out too narrow (78% covered
for 90%).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from voxmix._progress import ProgressCallback
from voxmix.law import forms
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters, concatenate
from voxmix.law.noise import Noise
from voxmix.law.twostage import FitOptions

_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
_BATCH, _BYTES = 500, 300_000_000
"""Most draws that are fitted together, and about the memory that they may take."""
_EXTREME = 0.005  # shares of draws below the estimate are kept this far from 0 and 1

Solver = Callable[
    [Cells, Float[np.ndarray, "draw cell target"], FitOptions],
    tuple[LawParameters, Bool[np.ndarray, " draw"]],
]


def resample(
    cells: Cells,
    law: LawParameters,
    noise: Noise,
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
        fitted = forms.predict(law, cells.weights, cells.budget)[0]
        fitted = np.where(np.isfinite(fitted), fitted, np.nan_to_num(cells.loss))
        shape = (draws, len(cells.budget), len(cells.targets))
        flips = np.sqrt(noise.common) * rng.choice(_WEBB, size=(*shape[:2], 1))
        flips = flips + np.sqrt(1 - noise.common) * rng.choice(_WEBB, size=shape)
        level = np.ones((1, 1, 1))
        if cells.effects.seeds:
            errors = cells.effects.draw_errors(rng, draws)
            level = np.exp(cells.measured.error_of_means(shape[1:], cells.effects, errors))
        parts, batch = [], max(1, min(_BATCH, _BYTES // bytes_of_a_draw(cells)))
        for start in range(0, draws, batch):
            loss = np.maximum(fitted + flips[start : start + batch] * noise.spread, 0.01 * fitted)
            loss = loss * (level[start : start + batch] if len(level) > 1 else level)
            parts.append(solver(cells, loss, options)[0])
            progress(min(start + batch, draws), draws)
    return concatenate(parts)


def bytes_of_a_draw(cells: Cells) -> int:
    """Return about what one draw takes in memory while it is fitted.

    Counted are the numbers that a step of a joint fit holds at a time: 60 per cell and target, 10 per source of a mixture
    and target, and two squares of a target's numbers.
    """
    sources = len(cells.domains)
    each = 60 * len(cells.budget) + 10 * sources * int(cells.mixed.sum()) + 2 * sources**2
    return 8 * len(cells.targets) * each


def percentiles(draws: Float[np.ndarray, "draw *shape"], level: float) -> Float[np.ndarray, "*shape 2"]:
    """Return the equal-tailed percentile interval, low and high on the last axis."""
    tail = (1 - level) / 2
    return np.moveaxis(np.quantile(draws, [tail, 1 - tail], axis=0), 0, -1)


def bias_corrected(
    draws: Float[np.ndarray, "draw value"],
    estimate: Float[np.ndarray, " value"],
    level: float,
    *,
    alike: float = 1e-6,
) -> Float[np.ndarray, "value 2"]:
    """Return the bias-corrected percentile interval (Efron 1987, with acceleration 0), low and high last.

    For what an optimizer chose after a two-stage fit, like weights: plain percentiles cover 97% for 90% there. Draws within ``alike`` of the estimate (weights that rest on one bound) count half.
    """
    from scipy.special import ndtr, ndtri

    below = (np.mean(draws < estimate - alike, axis=0) + np.mean(draws <= estimate + alike, axis=0)) / 2
    shift = ndtri(np.clip(below, _EXTREME, 1 - _EXTREME))
    ends = ndtr(2 * shift[:, None] + ndtri([(1 - level) / 2, (1 + level) / 2]))
    found = [np.quantile(draws[:, k], ends[k]) for k in range(len(estimate))]
    return np.array(found).reshape(-1, 2)
