"""The paper's two stages (and the third, rho) for a batch of loss tables, in closed form but for one number.

Stage 1: E, A, beta per target from its own pure runs. Stage 2: tau per ordered pair, everything else held;
for a given beta the loss is linear in ``tau**-beta``, so the best tau is a clipped quotient. Stage 3: rho
from runs of mixtures, everything else held; a search in one dimension.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from voxmix.law import forms
from voxmix.law.bounded_least_squares import refine
from voxmix.law.cells import Cells
from voxmix.law.curves import exponent_grid, fit_curves, golden, project
from voxmix.law.family import PAPER, LawForm, law_form
from voxmix.law.forms import LawParameters
from voxmix.law.search_problem import MIN_RHO, Freedom

_RHO_GRID = 24
_RARE_EXPONENT = 0.3  # used where one budget alone shows nothing; the status reports it
FOREIGN_WEIGHT = 0.5
"""What a pure run of another source counts in joint fits, where mixtures that hold the target were run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOptions:
    """What is fitted and how; see :func:`voxmix.law.fit`."""

    law: str = PAPER
    method: str = "two-stage"
    loss: str = "mse"
    max_exponent: float = 2.0
    max_transfer: float = 1.0
    rho: str = "shared"
    foreign_weight: float = FOREIGN_WEIGHT

    @property
    def foreign(self) -> float:
        """What foreign pure runs count: the paper's two stages have no others."""
        return self.foreign_weight if self.method == "joint" else 1.0

    @property
    def form(self) -> LawForm:
        """The row of the law in the family's table."""
        return law_form(self.law)


def two_stage(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> LawParameters:
    """Return the parameters of each loss table of the batch; pairs without runs get transfer 0.

    Where the law has rho, a third stage finds it.
    """
    law = first_stages(cells, loss, options)
    return third_stage(cells, loss, law, options) if options.form.variety else law


def first_stages(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> LawParameters:
    """Return the parameters of the two stages, rho still 1."""
    draws, targets = loss.shape[0], len(cells.targets)
    held = _shared_exponent(cells, loss, options) if options.form.one_exponent else None
    curves = np.zeros((3, draws, targets))
    for j in range(targets):
        curves[:, :, j] = _own_curve(cells, loss, j, held, options)
    curves[2] = _fill_exponents(cells, curves[2])
    _through_single_budgets(cells, loss, curves)
    transfer = np.zeros((draws, len(cells.domains), targets))
    for j in range(targets):
        for i in range(len(cells.domains)):
            if i == cells.own[j]:
                transfer[:, i, j] = 1.0
            elif options.form.transfers:
                transfer[:, i, j] = _pair_transfer(cells, loss, i, j, curves[:, :, j], options)
    law = LawParameters.make(
        irreducible_loss=curves[0],
        amplitude=curves[1],
        exponent=curves[2],
        transfer=transfer,
        unique=cells.unique,
        repeats=np.tile(cells.repeats, (draws, 1)),
    )
    if options.loss != "mse":
        law = _under_other_loss(cells, loss, law, options)
    return law


def _under_other_loss(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], law: LawParameters, options: FitOptions
) -> LawParameters:
    """Return both stages under another loss, searched from their least-squares answer."""
    own = (cells.source[:, None] == cells.own) & ~cells.mixed[:, None] & ~np.isnan(cells.loss)
    pairs = ~cells.mixed[:, None] & ~own & ~np.isnan(cells.loss)
    one = options.form.one_exponent
    stages = [Freedom(curve=True, transfer=False, budget_term=False, rho="held", rows=own, one_exponent=one)]
    if options.form.transfers:
        stages.append(Freedom(curve=False, transfer=True, budget_term=False, rho="held", rows=pairs))
    for stage in stages:
        law = refine(
            cells,
            loss,
            law,
            stage,
            kind=options.loss,
            max_exponent=options.max_exponent,
            max_transfer=options.max_transfer,
        ).law
    return law


def _own_curve(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    target: int,
    held: Float[np.ndarray, " draw"] | None,
    options: FitOptions,
) -> Float[np.ndarray, "parameter draw"]:
    reach = cells.reach
    rows = cells.alone(target)
    own = loss[:, rows, target]
    exponent = held
    if len(np.unique(reach[rows])) < 2:
        exponent = np.full(len(own), _RARE_EXPONENT)
    return np.array(fit_curves(reach[rows], own, max_exponent=options.max_exponent, exponent=exponent))


def _shared_exponent(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], options: FitOptions
) -> Float[np.ndarray, " draw"]:
    """One beta for all targets: least sum over targets of squared error relative to the target's mean loss."""
    reach = cells.reach
    series = []
    for j in range(len(cells.targets)):
        rows = cells.alone(j)
        budget = reach[rows]
        if len(np.unique(budget)) >= 2:
            own = loss[:, rows, j]
            x = np.broadcast_to(budget / np.exp(np.mean(np.log(budget))), own.shape)
            weight = np.broadcast_to(own.mean(axis=1, keepdims=True) ** -2.0, own.shape)
            series.append((x, own, weight, len(np.unique(budget)) >= 3))
    if not series:
        return np.full(len(loss), _RARE_EXPONENT)

    def total(beta: Float[np.ndarray, " draw"]) -> Float[np.ndarray, " draw"]:
        return np.sum([project(x, y, w, beta, asymptote=a)[2] for x, y, w, a in series], axis=0)

    grid = exponent_grid(options.max_exponent)
    values = np.stack([total(np.full(len(loss), b)) for b in grid], axis=1)
    place = values.argmin(axis=1)
    low, high = grid[np.maximum(place - 1, 0)], grid[np.minimum(place + 1, len(grid) - 1)]
    found = golden(total, low, high)
    ends = [found, low, high]
    return np.choose(np.stack([total(b) for b in ends], axis=1).argmin(axis=1), ends)


def _fill_exponents(
    cells: Cells, exponent: Float[np.ndarray, "draw target"]
) -> Float[np.ndarray, "draw target"]:
    """Give targets with one budget the median exponent of those with more."""
    reach = cells.reach
    known = np.array([len(np.unique(reach[cells.alone(j)])) > 1 for j in range(len(cells.targets))])
    if known.all() or not known.any():
        return exponent
    return np.where(known, exponent, np.median(exponent[:, known], axis=1, keepdims=True))


def _through_single_budgets(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    curves: Float[np.ndarray, "parameter draw target"],
) -> None:
    reach = cells.reach
    for j in range(len(cells.targets)):
        rows = cells.alone(j)
        if len(np.unique(reach[rows])) == 1:
            curves[1, :, j] = loss[:, rows[0], j] * reach[rows[0]] ** curves[2, :, j]


def _pair_transfer(
    cells: Cells,
    loss: Float[np.ndarray, "draw cell target"],
    source: int,
    target: int,
    curve: Float[np.ndarray, "parameter draw"],
    options: FitOptions,
) -> Float[np.ndarray, " draw"]:
    """Return the tau of least squares: ``L - E`` is linear in ``u = tau**-beta >= max_transfer**-beta``."""
    reach = cells.reach
    rows = cells.pure(source, target)
    asymptote, amplitude, exponent = curve
    if not len(rows):
        return np.zeros(len(loss))
    z = amplitude[:, None] * reach[rows] ** -exponent[:, None]
    above = loss[:, rows, target] - asymptote[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.sum(z * above, axis=1) / np.sum(z * z, axis=1)
        tau = np.where(u > 0, np.maximum(u, 1e-300) ** (-1 / exponent), np.inf)
    return np.where(amplitude > 0, np.minimum(tau, options.max_transfer), 0.0)


def third_stage(
    cells: Cells, loss: Float[np.ndarray, "draw cell target"], law: LawParameters, options: FitOptions
) -> LawParameters:
    """Return the law with the rho that fits the mixture runs best, squared error relative to each loss.

    Without mixture runs rho stays 1.
    """
    mixed = np.flatnonzero(cells.mixed)
    observed = loss[:, mixed]
    counted = ~np.isnan(cells.loss[mixed])
    if not counted.any():
        return law
    weight = np.where(counted, 1 / np.maximum(np.where(counted, observed, 1.0), 1e-300) ** 2, 0.0)
    observed = np.where(counted, observed, 0.0)

    def errors(rho: Float[np.ndarray, "draw target"]) -> Float[np.ndarray, "draw target"]:
        guess = forms.predict(replace(law, rho=rho), cells.weights[mixed], cells.budget[mixed])
        with np.errstate(over="ignore", invalid="ignore"):
            squared = weight * (np.minimum(guess, 1e150) - observed) ** 2
        return np.sum(squared, axis=1)

    return replace(law, rho=_best_rho(errors, law.rho.shape, options.rho == "shared"))


def _best_rho(
    errors: Callable[[Float[np.ndarray, "draw target"]], Float[np.ndarray, "draw target"]],
    shape: tuple[int, ...],
    shared: bool,
) -> Float[np.ndarray, "draw target"]:
    def value(rho: Float[np.ndarray, " series"]) -> Float[np.ndarray, " series"]:
        if shared:
            return np.asarray(errors(np.repeat(rho[:, None], shape[1], axis=1)).sum(axis=1))
        return np.asarray(errors(rho.reshape(shape)).reshape(-1))

    series = shape[0] if shared else shape[0] * shape[1]
    grid = np.linspace(MIN_RHO, 1.0, _RHO_GRID)
    values = np.stack([value(np.full(series, r)) for r in grid], axis=1)
    place = values.argmin(axis=1)
    low, high = grid[np.maximum(place - 1, 0)], grid[np.minimum(place + 1, len(grid) - 1)]
    found = golden(value, low, high, 24)
    ends = [found, low, high]
    best = np.choose(np.stack([value(r) for r in ends], axis=1).argmin(axis=1), ends)
    return np.repeat(best[:, None], shape[1], axis=1) if shared else best.reshape(shape)
