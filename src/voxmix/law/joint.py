"""The joint fit: every number of the law at once, over pure and mixture runs together.

Each cell (mixture, budget) counts once. The two-stage fit is the start; the budget forms, whose pure runs
alone cannot tell the worth of a share from that of a budget, are started from several points.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from voxmix.errors import InputError
from voxmix.law import forms
from voxmix.law.bounded_least_squares import Freedom, Refined, refine
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters
from voxmix.law.twostage import FitOptions, two_stage

_STARTS = (
    (0.1, 0.5),
    (0.4, 0.5),
    (0.4, 1.5),
    (0.8, 0.3),
)  # share of the level above E, exponent of the share


def solve(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    """Return the parameters of a batch of loss tables, and which draws converged.

    Losses of any size may come in (steps, zeros, 1e6): numbers that overflow on the way are settled at the
    end, as a flat curve, and counted as not converged.
    """
    with np.errstate(all="ignore"):
        law, converged = _solve(cells, loss, options)
        return _settled(cells, loss, law, converged)


def _settled(
    cells: Cells, loss: np.ndarray, law: LawParameters, converged: Bool[np.ndarray, " draw"]
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    names = ("irreducible_loss", "amplitude", "exponent", "rho", "budget_amplitude", "budget_exponent")
    broken = ~np.all([np.isfinite(getattr(law, name)) for name in names], axis=0)
    broken |= ~np.isfinite(law.transfer).all(axis=1)
    if not broken.any():
        return law, converged
    seen = ~np.isnan(cells.loss)
    typical = np.where(seen, loss, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=0), 1)
    flat = dict(zip(names, (typical, 0.0, 0.3, 1.0, 0.0, 1.0), strict=True))
    values = {name: np.where(broken, flat[name], getattr(law, name)) for name in names}
    own = np.eye(len(cells.domains))[:, cells.own]
    values["transfer"] = np.where(broken[:, None, :], own, law.transfer)
    return replace(law, **values), converged & ~broken.any(axis=1)


def _solve(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    if options.law in (forms.BUDGET, forms.BUDGET_DIVERSITY):
        return _budget_forms(cells, loss, options)
    law = two_stage(cells, loss, options)
    if options.method == "two-stage":
        return law, np.ones(len(loss), dtype=bool)
    rows = counted(cells)
    if options.law == forms.NAIVE:
        rows = rows & (cells.mixed[:, None] | (cells.source[:, None] == cells.own))
    freedom = Freedom(
        curve=True,
        transfer=options.law != forms.NAIVE,
        budget_term=False,
        rho=options.rho if options.law == forms.DIVERSITY and cells.mixed.any() else "held",
        rows=rows,
        one_exponent=options.law == forms.SHARED,
    )
    done = _refined(cells, loss, _reachable(cells, law), freedom, options)
    return done.law, done.converged


def counted(cells: Cells) -> Bool[np.ndarray, "cell target"]:
    """Return which losses were measured."""
    return ~np.isnan(cells.loss)


def _reachable(cells: Cells, law: LawParameters) -> LawParameters:
    """Start transfers that no pure run tells at a small value, where mixtures hold their source."""
    mixed = (cells.weights[cells.mixed] > 0).any(axis=0)
    tau = np.where((law.transfer <= 0) & mixed[:, None], 0.05, law.transfer)
    tau = np.where(law.transfer > 0, law.transfer, tau)
    flat = law.amplitude <= 0
    typical = np.maximum(law.irreducible_loss, 1e-12)
    return replace(
        law,
        transfer=tau,
        amplitude=np.where(
            flat, 0.01 * typical * np.exp(np.mean(np.log(cells.budget))) ** law.exponent, law.amplitude
        ),
    )


def _refined(
    cells: Cells, loss: np.ndarray, law: LawParameters, freedom: Freedom, options: FitOptions
) -> Refined:
    return refine(
        cells,
        loss,
        law,
        freedom,
        kind=options.loss,
        max_exponent=options.max_exponent,
        max_transfer=options.max_transfer,
    )


def _budget_forms(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    if not cells.mixed.any():
        raise InputError(
            f"the {options.law} law needs runs of mixtures: pure runs alone do not show what a share of the budget "
            "is worth; add a run of the uniform mixture at two budgets, or fit another law"
        )
    variety = options.rho if options.law == forms.BUDGET_DIVERSITY else "held"
    freedom = Freedom(curve=True, transfer=True, budget_term=True, rho=variety, rows=counted(cells))
    plain = two_stage(cells, loss, replace(options, law=forms.TRANSFER, loss="mse"))
    best: Refined | None = None
    for part, steep in _STARTS:
        start = _budget_start(cells, loss, plain, part, steep, options)
        if variety != "held":
            start = replace(start, rho=np.full_like(start.rho, 0.8))
        best = _better(best, _refined(cells, loss, start, freedom, options))
    assert best is not None
    return best.law, best.converged


def _budget_start(
    cells: Cells, loss: np.ndarray, plain: LawParameters, part: float, steep: float, options: FitOptions
) -> LawParameters:
    """Split the level above E of each own curve, and read transfers off how far pairs lie above it."""
    shape = plain.irreducible_loss.shape
    amplitude, floor = np.empty(shape), np.empty(shape)
    tau = np.ones(plain.transfer.shape)
    for j, own in enumerate(cells.own):
        rows = cells.pure(int(own), j)
        level = loss[:, rows, j].min(axis=1)
        amplitude[:, j] = part * level
        floor[:, j] = np.maximum(plain.irreducible_loss[:, j] - amplitude[:, j], 0.0)
        curve = dict(zip(cells.budget[rows], loss[:, rows, j].T, strict=True))
        for i in range(len(cells.domains)):
            pair = [c for c in cells.pure(i, j) if cells.budget[c] in curve]
            if i == own:
                continue
            if not pair:
                tau[:, i, j] = 0.1
                continue
            above = np.mean([loss[:, c, j] - curve[cells.budget[c]] for c in pair], axis=0)
            ratio = 1 + np.maximum(above, 1e-6) / amplitude[:, j]
            tau[:, i, j] = np.clip(ratio ** (-1 / steep), 1e-6, options.max_transfer)
    return replace(
        plain,
        irreducible_loss=floor,
        amplitude=amplitude,
        exponent=np.full(shape, steep),
        budget_amplitude=np.maximum(plain.amplitude, 1e-12),
        budget_exponent=np.clip(plain.exponent, 0.05, options.max_exponent),
        transfer=tau,
        by_share=True,
    )


def _better(first: Refined | None, second: Refined) -> Refined:
    if first is None:
        return second
    shared = np.all(second.law.rho == second.law.rho[:, :1]) and not np.all(second.law.rho == 1)
    a, b = first.cost, second.cost
    if shared:
        a, b = (np.broadcast_to(c.sum(axis=1, keepdims=True), c.shape) for c in (a, b))
    pick = b < a
    names = ("irreducible_loss", "amplitude", "exponent", "rho", "budget_amplitude", "budget_exponent")
    values = {n: np.where(pick, getattr(second.law, n), getattr(first.law, n)) for n in names}
    values["transfer"] = np.where(pick[:, None, :], second.law.transfer, first.law.transfer)
    return Refined(
        law=replace(first.law, **values),
        cost=np.where(pick, second.cost, first.cost),
        converged=np.where(pick.any(axis=1), second.converged, first.converged),
    )
