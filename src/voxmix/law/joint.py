"""The joint fit: every number of the law at once, over pure and mixture runs together.

Each cell (mixture, budget) counts once. The two-stage fit is the start; the budget forms, whose pure runs
alone cannot tell the worth of a share from that of a budget, are started from several points.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from voxmix.errors import InputError
from voxmix.law.bounded_least_squares import Refined, refine
from voxmix.law.cells import Cells
from voxmix.law.family import LawForm
from voxmix.law.forms import LawParameters, concatenate, predict, worth
from voxmix.law.search_problem import Freedom
from voxmix.law.twostage import FitOptions, first_stages, two_stage

_STARTS = (
    (0.1, 0.5),
    (0.4, 0.5),
    (0.4, 1.5),
    (0.8, 0.3),
)  # share of the level above E, exponent of the share


_RHO_STARTS = (1.0, 0.6)  # of a formula's law in which variety counts, from the best law in which it does not

_FLOORS = (0.0, 0.5, 0.8, 0.95)  # E over the least loss, where the transfers of a whole row are searched
_EXPONENTS = (0.1, 0.2, 0.4, 0.8, 1.5)
_LEAST_START = 0.01  # a transfer that starts at 0 does not move

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
    end, as a flat curve, and counted as not converged. The search of a law with a formula begins ``near`` a law, where one
    is given: for losses drawn around it, as a bootstrap does.
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
    starts = _starts(cells, loss, options) if keep is None else _starts_of_folds(folds, options)
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


def _starts_of_folds(folds: Sequence[Cells], options: FitOptions) -> Iterator[LawParameters]:
    """Yield the first starts of all folds, then the second; a fold that has fewer repeats its last."""
    of_fold = [list(_starts(fold, np.nan_to_num(fold.loss)[None], options)) for fold in folds]
    for place in range(max(map(len, of_fold))):
        yield concatenate([starts[min(place, len(starts) - 1)] for starts in of_fold])


def _starts(cells: Cells, loss: np.ndarray, options: FitOptions) -> Iterator[LawParameters]:
    """Yield the laws from which the search begins: several where one may end in a valley that is not the deepest."""
    form = options.form
    if form.by_share:
        yield from _budget_starts(cells, loss, options)
    elif form.in_two_stages:
        yield _staged_start(cells, loss, options)
    else:
        yield from _formula_starts(cells, _staged_start(cells, loss, _by_squares(options)), form)
        if cells.mixed.any() and form.transfers and measured_alone(cells).any():
            yield from _formula_starts(cells, _mixture_start(cells, loss, options), form)


def _staged_start(cells: Cells, loss: np.ndarray, options: FitOptions) -> LawParameters:
    """Return the two-stage fit of the targets with pure runs of their own, and a start of the others."""
    alone = measured_alone(cells)
    if not alone.any():
        return _mixture_start(cells, loss, options)
    staged = _reachable(cells, two_stage(cells.only_targets(alone), loss[:, :, alone], options))
    return staged if alone.all() else _joined(alone, staged, _mixture_start(cells, loss, options))


def _joined(
    alone: Bool[np.ndarray, " target"], staged: LawParameters, others: LawParameters
) -> LawParameters:
    """Return a law with some targets of one law, and the rest of another that has them all."""
    values = {}
    for name, array in others.by_draw().items():
        values[name] = array.copy()
        if name != "repeats":
            values[name][..., alone] = staged.by_draw()[name]
    if not np.all(staged.rho == staged.rho[:, :1]):
        return others.changed(values)
    return others.changed(values | {"rho": np.broadcast_to(staged.rho[:, :1], others.rho.shape)})


def _by_squares(options: FitOptions) -> FitOptions:
    return replace(options, loss="mse")


def _formula_starts(cells: Cells, law: LawParameters, form: LawForm) -> Iterator[LawParameters]:
    """Yield the law under another formula, its losses at the middle budget kept, from each start of its numbers."""
    middle = float(np.mean(np.log(cells.budget)))
    level = np.exp(law.fall.log_at(middle, law.exponent, law.formula_numbers))
    ways = [[start * n.scale(cells.budget) for start in n.starts] for n in form.fall.numbers]
    for values in product(*ways):
        own = {
            number.name: np.full_like(law.exponent, value)
            for number, value in zip(form.fall.numbers, values, strict=True)
        }
        there = np.exp(form.fall.log_at(middle, law.exponent, own))
        yield replace(law, fall=form.fall, formula_numbers=own, amplitude=law.amplitude * level / there)


def measured_alone(cells: Cells) -> Bool[np.ndarray, " target"]:
    """Return which targets have a pure run of their own."""
    return np.array([len(cells.alone(j)) > 0 for j in range(len(cells.targets))], dtype=bool)


def _mixture_start(cells: Cells, loss: np.ndarray, options: FitOptions) -> LawParameters:
    """Return a law through the middle of each target's losses, where no pure run tells a curve."""
    shape = (len(loss), len(cells.targets))
    seen = counted(cells)
    least = np.where(seen, loss, np.inf).min(axis=1)
    level = np.exp(np.where(seen, np.log(np.maximum(loss, 1e-300)), 0.0).sum(axis=1) / seen.sum(axis=0))
    transfer = np.full((len(loss), len(cells.domains), shape[1]), 0.1 if options.form.transfers else 0.0)
    transfer = np.where(cells.unit > 0, 1.0, transfer)
    for j in np.flatnonzero(cells.own < 0):
        transfer[:, :, j] = _worth_of_sources(cells, loss.mean(axis=0)[:, j], int(j))
    law = LawParameters.make(
        irreducible_loss=0.5 * least,
        amplitude=np.ones(shape),
        exponent=np.full(shape, 0.4),
        transfer=transfer,
        rho=np.full(shape, 0.8 if options.form.variety else 1.0),
        unique=cells.unique,
        repeats=np.tile(cells.repeats, (len(loss), 1)),
    )
    guess = predict(law, cells.weights, cells.budget) - law.irreducible_loss[:, None, :]
    middle = np.exp(np.where(seen, np.log(guess), 0.0).sum(axis=1) / seen.sum(axis=0))
    return replace(law, amplitude=(level - law.irreducible_loss) / middle)


def _worth_of_sources(
    cells: Cells, loss: Float[np.ndarray, " cell"], target: int
) -> Float[np.ndarray, " source"]:
    """Return where the transfers to a target that is no source are searched from; the largest is 1.

    For a given E and beta the effective budget of every run is known up to A, and the plain sum is linear in the
    transfers: non-negative least squares for each of a few pairs, and the pair that leaves least.
    """
    from scipy.optimize import nnls

    rows = np.flatnonzero(~np.isnan(cells.loss[:, target]))
    drawn = worth(cells.weights[rows] * cells.budget[rows, None], cells.unique, cells.repeats)
    drawn, seen = drawn / np.exp(np.mean(np.log(cells.budget))), loss[rows]
    best, least = np.ones(len(cells.domains)), np.inf
    for part in _FLOORS:
        for beta in _EXPONENTS:
            above = np.maximum(seen - part * seen.min(), 1e-9 * seen.max())
            reached = (above / np.median(above)) ** (-1 / beta)
            tau = nnls(drawn / reached[:, None], np.ones(len(rows)))[0]
            given = drawn @ tau
            if not np.all(np.isfinite(tau)) or given.min() <= 0:
                continue
            fallen = given**-beta
            missed = fallen * (np.sum(fallen * above / seen**2) / np.sum((fallen / seen) ** 2)) - above
            if (error := float(np.sum((missed / seen) ** 2))) < least:
                best, least = tau, error
    return np.maximum(best / best.max(), _LEAST_START)


def counted(cells: Cells) -> Bool[np.ndarray, "cell target"]:
    """Return which losses were measured."""
    return ~np.isnan(cells.loss)


def what_counts(cells: Cells, options: FitOptions) -> Float[np.ndarray, "cell target"]:
    """Return what each loss counts in a joint fit: foreign pure runs less, where mixtures that hold the target were run.

    A model that has never seen a target gets worse at it with every draw of something else, which no mixture does. A
    target that is no source is never seen, by mixtures neither, so all its runs count.
    """
    foreign = ~cells.mixed[:, None] & (cells.own_share == 0)
    held = (cells.mixed[:, None] & (cells.own_share > 0) & counted(cells)).any(axis=0)
    return np.where(foreign & held, options.foreign, 1.0)


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


def _budget_starts(cells: Cells, loss: np.ndarray, options: FitOptions) -> Iterator[LawParameters]:
    if not cells.mixed.any():
        raise InputError(
            f"the {options.law} law needs runs of mixtures: pure runs alone do not show what a share of the budget "
            "is worth; add a run of the uniform mixture at two budgets, or fit another law"
        )
    alone, squares = measured_alone(cells), _by_squares(options)
    pure, own = cells.only_targets(alone), loss[:, :, alone]
    plain = first_stages(pure, own, squares) if alone.any() else None
    mixed = None if alone.all() else _mixture_start(cells, loss, squares)
    for part, steep in _STARTS:
        start = None if mixed is None else _share_start(cells, loss, mixed, part, steep)
        if plain is not None:
            staged = _budget_start(pure, own, plain, part, steep, options)
            start = staged if start is None else _joined(alone, staged, start)
        assert start is not None
        yield replace(start, rho=np.full_like(start.rho, 0.8)) if options.form.variety else start


def _share_start(
    cells: Cells, loss: np.ndarray, law: LawParameters, part: float, steep: float
) -> LawParameters:
    """Split each target's typical level above E between the budget and the share, where no pure run tells more."""
    seen = counted(cells)
    above = np.where(seen, np.log(np.maximum(loss - law.irreducible_loss[:, None, :], 1e-300)), 0.0)
    level = np.exp(above.sum(axis=1) / seen.sum(axis=0))
    middle = float(np.mean(np.log(cells.budget)))
    share = np.einsum("ci,dij->dcj", cells.weights, law.transfer)
    typical = np.where(seen, np.log(np.maximum(share, 1e-12)), 0.0).sum(axis=1) / seen.sum(axis=0)
    return replace(
        law,
        amplitude=part * level * np.exp(steep * typical),
        exponent=np.full(level.shape, steep),
        budget_amplitude=(1 - part) * level * np.exp(law.exponent * middle),
        budget_exponent=law.exponent,
        by_share=True,
    )


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
    ours, theirs = first.law.by_target(), second.law.by_target()
    values = {name: np.where(pick, theirs[name], ours[name]) for name in ours}
    values["transfer"] = np.where(pick[:, None, :], second.law.transfer, first.law.transfer)
    return Refined(
        law=first.law.changed(values),
        cost=np.where(pick, second.cost, first.cost),
        converged=np.where(pick.any(axis=1), second.converged, first.converged),
    )
