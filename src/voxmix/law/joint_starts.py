"""Where the joint fit begins: laws near enough to the best for the search to find it.

The two-stage fit is the start; the budget forms, whose pure runs alone cannot tell the worth of a share from that of a
budget, are started from several points, and so are formulas.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from voxmix.errors import InputError
from voxmix.law.cells import Cells
from voxmix.law.family import LawForm
from voxmix.law.forms import LawParameters, concatenate, predict, worth
from voxmix.law.twostage import FitOptions, first_stages, two_stage

_STARTS = (
    (0.1, 0.5),
    (0.4, 0.5),
    (0.4, 1.5),
    (0.8, 0.3),
)  # share of the level above E, exponent of the share

_FLOORS = (0.0, 0.5, 0.8, 0.95)  # E over the least loss, where the transfers of a whole row are searched
_EXPONENTS = (0.1, 0.2, 0.4, 0.8, 1.5)
_LEAST_START = 0.01  # a transfer that starts at 0 does not move


def starts_of_folds(folds: Sequence[Cells], options: FitOptions) -> Iterator[LawParameters]:
    """Yield the first starts of all folds, then the second; a fold that has fewer repeats its last."""
    of_fold = [list(starts_of(fold, np.nan_to_num(fold.loss)[None], options)) for fold in folds]
    for place in range(max(map(len, of_fold))):
        yield concatenate([starts[min(place, len(starts) - 1)] for starts in of_fold])


def starts_of(cells: Cells, loss: np.ndarray, options: FitOptions) -> Iterator[LawParameters]:
    """Yield the laws from which the search begins: several where one may end in a valley that is not the deepest."""
    form = options.form
    if form.by_share:
        yield from _budget_starts(cells, loss, options)
    elif form.in_two_stages:
        yield _staged_start(cells, loss, options)
    else:
        yield from _formula_starts(cells, _staged_start(cells, loss, by_squares(options)), form)
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


def by_squares(options: FitOptions) -> FitOptions:
    """Return the options of the same fit by least squares."""
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


def _budget_starts(cells: Cells, loss: np.ndarray, options: FitOptions) -> Iterator[LawParameters]:
    if not cells.mixed.any():
        raise InputError(
            f"the {options.law} law needs runs of mixtures: pure runs alone do not show what a share of the budget "
            "is worth; add a run of the uniform mixture at two budgets, or fit another law"
        )
    alone, squares = measured_alone(cells), by_squares(options)
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
