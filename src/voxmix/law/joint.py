"""The joint fit: every number of the law at once, over pure and mixture runs together.

Each cell (mixture, budget) counts once. The search begins at the laws of :mod:`voxmix.law.joint_starts`, and the best
that it reaches from any of them is the fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.bounded_least_squares import Refined, refine
from voxmix.law.cells import Cells
from voxmix.law.forms import LawParameters, concatenate
from voxmix.law.joint_starts import by_squares, counted, starts_of, starts_of_folds
from voxmix.law.search_problem import Freedom
from voxmix.law.twostage import FitOptions, two_stage

_RHO_STARTS = (1.0, 0.6)  # of a formula's law in which variety counts, from the best law in which it does not

_FLAT = {
    "amplitude": 0.0,
    "exponent": 0.3,
    "budget_amplitude": 0.0,
}  # of a curve that was lost; the others are 1


Keep = Bool[np.ndarray, "draw cell"]


def solve_folds(cells: Cells, folds: Sequence[Cells], keep: Keep, options: FitOptions) -> LawParameters:
    """Return the law of each fold, fitted to the cells that it keeps and started from them alone.

    Joint fits of all folds are one search, as the draws of a bootstrap are.
    """
    if options.form.in_two_stages and options.method == "two-stage":
        return concatenate([solve(fold, np.nan_to_num(fold.loss)[None], options)[0] for fold in folds])
    loss = np.zeros((len(folds), *cells.loss.shape))
    for k, fold in enumerate(folds):
        loss[k, keep[k]] = np.nan_to_num(fold.loss)
    with np.errstate(all="ignore"):
        return _settled(cells, loss, *_solve(cells, loss, options, folds, keep))[0]


def solve(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    options: FitOptions,
    near: LawParameters | None = None,
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    """Return the parameters of a batch of loss tables, and which draws converged.

    Losses of any size may come in (steps, zeros, 1e6): numbers that overflow on the way are settled at the
    end, as a flat curve, and counted as not converged. ``near`` is given for losses drawn around that law, as a bootstrap
    does: the search of a law with a formula begins there, and that of the others at two stages of least squares, whatever
    the loss (that start takes a fraction of the time, and the search ends at the same place or a better one).
    """
    with np.errstate(all="ignore"):
        law, converged = _solve(cells, loss, options, near=near)
        law, converged = _settled(cells, loss, law, converged)
        return _largest_is_one(cells, law), converged


def _largest_is_one(cells: Cells, law: LawParameters) -> LawParameters:
    """Return the same law with the transfers to a target that is no source scaled so that the largest is 1."""
    largest = law.transfer.max(axis=1)
    unit = np.where((cells.own < 0) & (largest > 0), largest, 1.0)
    if np.all(unit == 1):
        return law
    times, numbers = law.fall.in_units(unit, law.exponent, law.formula_numbers)
    moved = {"amplitude": law.amplitude * times, "transfer": law.transfer / unit[:, None, :], **numbers}
    return law.changed(moved)


def _settled(
    cells: Cells, loss: np.ndarray, law: LawParameters, converged: Bool[np.ndarray, " draw"]
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    broken = ~np.all([np.isfinite(array) for array in law.by_target().values()], axis=0)
    broken |= ~np.isfinite(law.transfer).all(axis=1)
    if not broken.any():
        return law, converged
    seen = ~np.isnan(cells.loss)
    typical = np.where(seen, loss, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=0), 1)
    flat = {"irreducible_loss": typical, **_FLAT}
    values = {name: np.where(broken, flat.get(name, 1.0), array) for name, array in law.by_target().items()}
    values["transfer"] = np.where(broken[:, None, :], cells.unit, law.transfer)
    return law.changed(values), converged & ~broken.any(axis=1)


def _solve(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    options: FitOptions,
    folds: Sequence[Cells] = (),
    keep: Keep | None = None,
    near: LawParameters | None = None,
) -> tuple[LawParameters, Bool[np.ndarray, " draw"]]:
    form = options.form
    if form.in_two_stages and options.method == "two-stage":
        return two_stage(cells, loss, options), np.ones(len(loss), dtype=bool)
    rows = counted(cells)
    if not form.transfers:
        rows = rows & (cells.mixed[:, None] | (cells.own_share > 0))
    if keep is None:
        weight = what_counts(cells, options)
    else:
        weight = np.ones(loss.shape)
        for k, fold in enumerate(folds):
            weight[k, keep[k]] = what_counts(fold, options)
        rows = rows & keep[..., None]
    rows = rows & (weight > 0)
    freedom = Freedom(
        curve=True,
        transfer=form.transfers,
        budget_term=form.by_share,
        rho=options.rho if form.variety and cells.mixed.any() else "held",
        rows=rows,
        one_exponent=form.one_exponent,
        weight=weight,
    )
    if near is not None and form.fall.numbers:
        here = near.batched().each(lambda array: np.repeat(array, len(loss), axis=0))
        best = _best(cells, loss, iter([here]), freedom, options)
        return best.law, best.converged
    begin = options if near is None else by_squares(options)
    starts = starts_of(cells, loss, begin) if keep is None else starts_of_folds(folds, options)
    if not form.in_two_stages and not form.by_share and freedom.rho != "held":
        plain = _best(cells, loss, starts, replace(freedom, rho="held"), options).law
        starts = iter([replace(plain, rho=np.full_like(plain.rho, rho)) for rho in _RHO_STARTS])
    best = _best(cells, loss, starts, freedom, options)
    return best.law, best.converged


def _best(
    cells: Cells, loss: np.ndarray, starts: Iterator[LawParameters], freedom: Freedom, options: FitOptions
) -> Refined:
    best: Refined | None = None
    for start in starts:
        held = replace(start, rho=np.ones_like(start.rho)) if freedom.rho == "held" else start
        best = _better(best, _refined(cells, loss, held, freedom, options))
    assert best is not None
    return best


def what_counts(cells: Cells, options: FitOptions) -> Float[np.ndarray, "cell target"]:
    """Return what each loss counts in a joint fit: foreign pure runs less, where mixtures that hold the target were run.

    A model that has never seen a target gets worse at it with every draw of something else, which no mixture does. A
    target that is no source is never seen, by mixtures neither, so all its runs count.
    """
    foreign = ~cells.mixed[:, None] & (cells.own_share == 0)
    held = (cells.mixed[:, None] & (cells.own_share > 0) & counted(cells)).any(axis=0)
    return np.where(foreign & held, options.foreign, 1.0)


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


def _better(first: Refined | None, second: Refined) -> Refined:
    if first is None:
        return second
    shared = np.all(second.law.rho == second.law.rho[:, :1]) and not np.all(second.law.rho == 1)
    a, b = first.cost, second.cost
    if shared:
        a, b = (np.broadcast_to(c.sum(axis=1, keepdims=True), c.shape) for c in (a, b))
    pick = b < a
    ours, theirs = first.law.by_target(), second.law.by_target()
    values = {name: np.where(pick, theirs[name], ours[name]) for name in ours}
    values["transfer"] = np.where(pick[:, None, :], second.law.transfer, first.law.transfer)
    return Refined(
        law=first.law.changed(values),
        cost=np.where(pick, second.cost, first.cost),
        converged=np.where(pick.any(axis=1), second.converged, first.converged),
    )
