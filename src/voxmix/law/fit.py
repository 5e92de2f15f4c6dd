"""fit(): from a table of losses to a law with its health."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Bool

from voxmix._frames import Frame
from voxmix._progress import ProgressCallback, silent
from voxmix.errors import InputError, VoxmixWarning
from voxmix.law.cells import Cells, gather
from voxmix.law.compare import compare_laws
from voxmix.law.doubt import with_profiles, with_widths
from voxmix.law.family import AUTO, PAPER, known_laws, law_form
from voxmix.law.fittable import fittable, named
from voxmix.law.fitted import FittedLaw
from voxmix.law.forgetting import forgetting_sentence, rise_against_law
from voxmix.law.holdout import compare_cells
from voxmix.law.joint import solve
from voxmix.law.noise import judge_noise
from voxmix.law.oddities import oddities
from voxmix.law.outliers import find_outliers, outlier_sentence
from voxmix.law.quality import quality_of
from voxmix.law.repetition import saturated
from voxmix.law.status import statuses
from voxmix.law.suspects import far_from_law, find_suspects, suspect_sentence
from voxmix.law.twostage import FOREIGN_WEIGHT, FitOptions
from voxmix.law.uncertainty import resample
from voxmix.measurement import MeasurementTable
from voxmix.response import Response


def fit(
    table: MeasurementTable | Frame,
    *,
    law: str = PAPER,
    method: str = "two-stage",
    loss: str = "mse",
    max_exponent: float = 2.0,
    max_transfer: float = 1.0,
    rho: str = "shared",
    foreign_weight: float = FOREIGN_WEIGHT,
    bootstrap: int = 0,
    seed: int = 0,
    holdout_budget: float | str | None = None,
    repetition: float | str | None = None,
    volumes: Mapping[str, float] | None = None,
    keep_outliers: bool = False,
    direction: str | None = None,
    best: float = 1.0,
    progress: ProgressCallback = silent,
) -> FittedLaw:
    """Return the law that fits a table of losses, with R2, residuals and a status per parameter.

    Args:
        table: pure runs at three budgets or more per domain; runs of mixtures where variety should count. A DataFrame
            with the columns of :meth:`voxmix.MeasurementTable.from_rows` will do.
        law: a name of the family (:func:`voxmix.law.law_forms`), the paper's "transfer" by default; "auto" takes the law, method and loss that predict held-out budgets and mixtures best, and says why
            in ``notes``.
        method: "two-stage" as the paper does (a third stage for rho), or "joint" over all runs at once. Laws whose
            losses fall by another formula than a power, and the budget laws, are always fitted jointly. Joint fits
            need no pure runs.
        loss: squared error, Huber loss of the relative error, or squared error of the log.
        max_exponent: upper bound of beta (default 2, spec section 3).
        max_transfer: upper bound of tau; the paper's is 1, a source can be worth more.
        rho: one CES exponent for all targets, or one per target.
        foreign_weight: what a pure run of another source counts in a joint fit, from 0 (left out) to 1 (as every
            other), for targets that runs of mixtures hold too. Two-stage fits, and tables of pure runs, count it whole.
        bootstrap: wild cluster bootstrap draws through all stages; 0 for none.
        seed: of the bootstrap.
        repetition: None counts every draw in full; a number is the rate R at which repeats of the volumes that
            exist lose their worth; "fitted" finds one R where the runs tell it, "per-domain" one for each domain.
            The bootstrap holds R.
        volumes: volumes that exist per domain, for repetition; else those of the table.
        holdout_budget: a budget, or "largest", that is kept from the fit and compared with its prediction.
        keep_outliers: fit losses that no noise explains too (:mod:`voxmix.law.outliers`). They are named either way;
            by default they are set aside, because one diverged run moves a transfer a hundredfold.
        direction: "max" where more of what the table holds is better, as of an AUC or Dice: fitted is the loss
            ``best - value``, and the law predicts in the table's own unit. By default as the table was read.
        best: the largest value that is possible, for direction "max".

    Warns:
        VoxmixWarning: the table holds losses that no noise explains; names the worst.

    Raises:
        InputError: an unknown option, or a table from which no curve can be fitted.
    """
    if not isinstance(table, MeasurementTable):
        table = MeasurementTable.from_frame(table)
    options = _checked(law, method, loss, max_exponent, max_transfer, rho, bootstrap, foreign_weight)
    if direction is not None:
        table = table.scored(direction, best=best)
    elif best != 1:
        raise InputError("best is for responses of which more is better; give direction max with it")
    together: tuple[str, ...] = ()
    if method != options.method and options.form.fall.numbers:
        together = (f"the law {law} is fitted jointly to all runs: the paper's two stages fit a power alone",)
    if len(table) and not np.any(np.asarray(table.loss) > 0):
        raise InputError("all losses are 0, so there is nothing to fit; check the column loss")
    odd = find_outliers(table)
    used = table
    if odd:
        told = outlier_sentence(odd, kept=keep_outliers, response=table.response)
        warnings.warn(told, VoxmixWarning, stacklevel=2)
        if not keep_outliers:
            places = {(item.run, item.target) for item in odd}
            used = table.select(
                np.array([key not in places for key in zip(table.run, table.target, strict=True)])
            )
    whole = gather(used)
    kept = _kept(whole, holdout_budget)
    own, dropped = fittable(whole.only_cells(kept), options)
    whole = whole.only_targets(own)
    cells, saturation = saturated(whole.only_cells(kept), options, repetition, volumes)
    comparison = compare_laws(cells, options) if law == AUTO else None
    if comparison is not None:
        law = comparison.chosen.law
        options = replace(options, law=law, method=comparison.chosen.method, loss=comparison.chosen.loss)
    batch, converged = solve(cells, np.nan_to_num(cells.loss)[None], options)
    parameters = batch.take(0)
    noise = judge_noise(cells, parameters, options)
    quality = quality_of(cells, parameters)
    suspects = find_suspects(used, odd)
    if options.method == "joint":
        known = {(item.run, item.target) for item in (*odd, *suspects)}
        far = far_from_law(used, cells, quality.predicted)
        suspects += tuple(item for item in far if (item.run, item.target) not in known)
    draws = None
    if bootstrap:
        near = partial(solve, near=parameters)
        draws = resample(
            cells, parameters, noise, options, near, draws=bootstrap, seed=seed, progress=progress
        )
    forgotten = ""
    if options.form.transfers:
        forgotten = forgetting_sentence(rise_against_law(quality, cells.own, noise.relative))
    fitted = FittedLaw(
        domains=cells.domains,
        targets=cells.targets,
        law=law,
        method=options.method,
        loss=options.loss,
        parameters=parameters,
        budget_range=(float(cells.budget.min()), float(cells.budget.max())),
        quality=quality,
        status=(*dropped, *saturation, *statuses(cells, parameters, options, converged=bool(converged[0]))),
        noise=noise.relative,
        noise_common=noise.common,
        seed_effects=cells.effects,
        max_exponent=options.max_exponent,
        bootstrap=draws,
        table_digest=table.digest,
        response=table.response,
        outliers=odd,
        outliers_kept=bool(odd) and keep_outliers,
        suspects=suspects,
        notes=(
            *_of_response(table.response),
            *together,
            *_only_evaluated(cells),
            *(() if comparison is None else (comparison.reason,)),
            *((suspect_sentence(suspects, table.response),) if suspects else ()),
            *oddities(used, cells),
            *((forgotten,) if forgotten else ()),
        ),
        holdout=None
        if kept.all()
        else compare_cells(whole, parameters, np.flatnonzero(~kept), cells.effects),
        comparison=None if comparison is None else comparison.to_dict(),
        volumes={d: float(v) for d, v in zip(cells.domains, cells.volumes, strict=True) if not np.isnan(v)}
        | dict(volumes or {}),
    )
    return with_widths(with_profiles(fitted))


def _kept(cells: Cells, holdout: float | str | None) -> Bool[np.ndarray, " cell"]:
    if holdout is None:
        return np.ones(len(cells.budget), dtype=bool)
    sizes = np.unique(cells.budget)
    wanted = float(sizes[-1]) if holdout == "largest" else holdout
    if isinstance(wanted, str) or wanted not in sizes:
        raise InputError(f"holdout_budget must be largest or one of {sizes.tolist()}, got {holdout!r}")
    if len(sizes) < 3:
        raise InputError(f"holding out a budget needs three or more, got {sizes.tolist()}")
    return np.asarray(cells.budget != wanted)


def _checked(
    law: str,
    method: str,
    loss: str,
    max_exponent: float,
    max_transfer: float,
    rho: str,
    bootstrap: int,
    foreign_weight: float,
) -> FitOptions:
    choices = {
        "law": (law, (*known_laws(), AUTO)),
        "method": (method, ("two-stage", "joint")),
        "loss": (loss, ("mse", "relative-huber", "log")),
        "rho": (rho, ("shared", "per-target")),
    }
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise InputError(f"unknown {name} {value!r}; choose one of {list(allowed)}")
    if not max_exponent > 0.01 or not max_transfer > 0:
        raise InputError(
            f"max_exponent must be above 0.01 and max_transfer above 0, got {max_exponent} and {max_transfer}"
        )
    if not 0 <= foreign_weight <= 1:
        raise InputError(
            f"foreign_weight must be from 0 (foreign pure runs are left out) to 1, got {foreign_weight}"
        )
    if law != AUTO and not law_form(law).in_two_stages:
        method = "joint"
    if bootstrap < 0:
        raise InputError(f"bootstrap must be a count of draws, at least 0, got {bootstrap}")
    return FitOptions(
        law=law,
        method=method,
        loss=loss,
        max_exponent=max_exponent,
        max_transfer=max_transfer,
        rho=rho,
        foreign_weight=foreign_weight,
    )


def _of_response(response: Response) -> tuple[str, ...]:
    """Say what loss stands for a response of which more is better."""
    if not response.rises:
        return ()
    return (
        f"{response.label} is better the higher it is: the law is of the loss {response.as_loss}, and predicts "
        f"{response.label}",
    )


def _only_evaluated(cells: Cells) -> tuple[str, ...]:
    """Name the targets that are no source, and say what their transfers count."""
    names = [name for name, own in zip(cells.targets, cells.own, strict=True) if own < 0]
    if not names:
        return ()
    who, whose = ("are", "their") if len(names) > 1 else ("is", "its")
    return (
        f"{named(names)} {who} evaluated and no source: {whose} transfers are relative to that of the best source, which "
        "is 1",
    )
