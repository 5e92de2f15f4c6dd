"""What of a table a law can be fitted to: targets with runs enough, and a status for those that are left out."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from voxmix.errors import InputError
from voxmix.law.cells import Cells
from voxmix.law.family import AUTO
from voxmix.law.joint_starts import measured_alone
from voxmix.law.status import ParameterStatus
from voxmix.law.twostage import FitOptions

_NAMED = 3  # targets that a sentence names


def fittable(
    cells: Cells, options: FitOptions
) -> tuple[Bool[np.ndarray, " target"], tuple[ParameterStatus, ...]]:
    """Return which targets have runs to fit, and a status for each target or domain that has none."""
    able = options.law == AUTO or options.method == "joint"
    _check_budgets(cells, options, able=able)
    alone = measured_alone(cells)
    foreign = [name for name, own in zip(cells.targets, cells.own, strict=True) if own < 0]
    if foreign and options.law != AUTO and not options.form.transfers:
        raise InputError(
            f"{named(foreign)} {'is' if len(foreign) == 1 else 'are'} no source, and the law {options.law} knows no transfer; fit another law, or leave "
            "the rows of such targets out"
        )
    if foreign and not able:
        raise InputError(
            f"{named(foreign)} {'is' if len(foreign) == 1 else 'are'} no source, and two stages start from pure runs of every target: fit with method "
            "joint (--method joint), or leave the rows of such targets out"
        )
    kept = alone | _told_together(cells) if able and (cells.mixed.any() or foreign) else alone
    if not kept.any():
        raise InputError(
            "no target was measured after three runs or more that hold its domain, at two budgets or more: evaluate more "
            "runs on the targets"
            if able
            else "no domain was trained alone and measured on itself, and two stages start from such runs: add pure runs "
            "of every domain at two budgets or more, or fit runs of mixtures with method joint (--method joint)"
        )
    return kept, _dropped(cells, kept, able=able)


def _told_together(cells: Cells) -> Bool[np.ndarray, " target"]:
    """Return which targets a joint fit can tell: measured after three runs that hold their domain, if it is one.

    At two budgets, where the table has so many.
    """
    seen = ~np.isnan(cells.loss) & ((cells.own < 0) | (cells.own_share > 0))
    budgets = min(len(np.unique(cells.budget)), 2)
    return np.array([len(np.unique(cells.budget[rows])) >= budgets and rows.sum() >= 3 for rows in seen.T])


def _check_budgets(cells: Cells, options: FitOptions, *, able: bool) -> None:
    """Refuse runs of one budget, unless mixtures can be fitted together.

    Raises:
        InputError: says what to add, or what to fit.
    """
    budgets = np.unique(cells.budget)
    if len(budgets) > 1:
        return
    one = f"all runs have one budget ({budgets[0]:,g} draws)"
    if not cells.mixed.any():
        raise InputError(
            f"{one}, which shows nothing about how losses fall; add pure runs at two more budgets at least"
        )
    if not able:
        raise InputError(
            f"{one}, from which two stages have no curve to start: fit the runs of mixtures with method joint (--method "
            "joint), or add pure runs at two more budgets"
        )
    if options.law != AUTO and options.form.by_share:
        raise InputError(
            f"{one}, so the law {options.law} cannot tell the worth of the budget from the irreducible loss; fit "
            "transfer or diversity, or add runs at another budget"
        )


def _dropped(cells: Cells, kept: Bool[np.ndarray, " target"], *, able: bool) -> tuple[ParameterStatus, ...]:
    """Return a status for each target that is left out of the fit, and each domain that is no target."""
    why = "{name} has no pure run measured on itself, so it is no target; add pure runs of {name}"
    more = (
        "{name} was not measured at two budgets and after three runs that hold it, so it is no target; evaluate more "
        "runs on {name}"
    )
    unmeasured = "no run was evaluated on {name}: it is a source and no target"
    said = {
        name: more if own < 0 or (able and not measured_alone(cells).any()) else why
        for name, own, keep in zip(cells.targets, cells.own, kept, strict=True)
        if not keep
    }
    said |= {name: unmeasured for name in cells.domains if name not in cells.targets}
    return tuple(
        ParameterStatus(
            parameter="irreducible_loss",
            target=name,
            state="not identified",
            message=message.format(name=name),
        )
        for name, message in said.items()
    )


def named(names: Sequence[str]) -> str:
    """Return names in words, few of many."""
    shown = list(names) if len(names) <= _NAMED + 1 else [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
