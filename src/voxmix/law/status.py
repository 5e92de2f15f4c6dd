"""Status of every parameter: what the runs can tell about it, and which run would tell more."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from voxmix.law.cells import Cells
from voxmix.law.family import CURVE
from voxmix.law.forms import LawParameters, effective_budget
from voxmix.law.reducible import PowerFall
from voxmix.law.search_problem import MIN_RHO
from voxmix.law.twostage import FitOptions

_FAR = 10.0  # times below what the runs reach, from which a number of draws is not told
_EDGE = 1e-6  # relative nearness that counts as at a bound
State = Literal["ok", "at bound", "not identified", "not converged"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterStatus:
    """Health of one fitted number: a state, and a sentence with what would help.

    ``target`` is None for a number that all targets share; ``source`` is given for transfers only.
    """

    parameter: str
    target: str | None
    source: str | None = None
    state: State = "ok"
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON-like data."""
        return {
            "parameter": self.parameter,
            "source": self.source,
            "target": self.target,
            "state": self.state,
            "message": self.message,
        }


def statuses(
    cells: Cells, law: LawParameters, options: FitOptions, *, converged: bool = True
) -> tuple[ParameterStatus, ...]:
    """Return one status per fitted number, targets first, then pairs, then rho."""
    found = _statuses(cells, law, options)
    if converged:
        return found
    alone = all(len(cells.alone(j)) for j in range(len(cells.targets)))
    staged = "with method two-stage" if options.form.in_two_stages and alone else "another law"
    late = f"the search stopped before it converged; fit {staged}, or with more runs of mixtures"
    return tuple(replace(s, state="not converged", message=late) if s.state == "ok" else s for s in found)


def _statuses(cells: Cells, law: LawParameters, options: FitOptions) -> tuple[ParameterStatus, ...]:
    found: list[ParameterStatus] = []
    for j, name in enumerate(cells.targets):
        found += _curve(cells, law, options, j, name)
    for j, target in enumerate(cells.targets):
        for i, source in enumerate(cells.domains):
            if i != cells.own[j] and options.form.transfers:
                found.append(_pair(cells, law, options, i, j, source, target))
    if options.form.variety:
        found += _variety(cells, law, options)
    found += _of_formula(cells, law)
    return tuple(found)


def _more(budget: float, name: str) -> str:
    return f"add a budget above {budget:,.0f} draws of {name}"


def _curve(cells: Cells, law: LawParameters, options: FitOptions, j: int, name: str) -> list[ParameterStatus]:
    rows = cells.alone(j)
    budgets = np.unique(cells.budget[rows])
    count, most = len(budgets), float(budgets[-1] if len(budgets) else cells.budget.max())
    asymptote, amplitude, exponent = law.irreducible_loss[j], law.amplitude[j], law.exponent[j]

    def state(parameter: str, value: State, message: str) -> ParameterStatus:
        return ParameterStatus(parameter=parameter, target=name, state=value, message=message)

    if amplitude == 0:
        own = cells.loss[rows, j]
        how = "rise" if len(own) > 1 and own[-1] > own[0] else "do not fall"
        flat = f"losses of {name} {how} with its budget, so its curve is flat; " + _more(most, name)
        return [
            state("irreducible_loss", "ok", ""),
            state("amplitude", "at bound", flat),
            state("exponent", "not identified", flat),
        ]
    if len(np.unique(cells.budget)) == 1:
        what = (
            f"all runs have one budget ({cells.budget[0]:,.0f} draws): the exponents say how losses change with the "
            "mixture, and that more draws do the same is assumed; add runs at another budget"
        )
        return [
            state("irreducible_loss", "not identified", what),
            state("amplitude", "ok", ""),
            state("exponent", "not identified", what),
        ]
    if options.method == "two-stage" and count < 2:
        what = (
            f"{name} was measured at {count} budget of its own, so its curve is a guess; add two more budgets"
        )
        return [state(p, "not identified", what) for p in CURVE]
    if options.method == "two-stage" and count < 3:
        what = f"two budgets of {name} do not determine its irreducible loss, which is held at 0; " + _more(
            most, name
        )
        return [
            state("irreducible_loss", "not identified", what),
            state("amplitude", "ok", ""),
            state("exponent", "not identified", what),
        ]
    result = []
    numbers = {key: array[[j]] for key, array in law.formula_numbers.items()}
    least = amplitude * law.fall.at(np.array([max(most, 1.0)]), law.exponent[[j]], numbers)[0]
    if asymptote <= _EDGE * least:
        result.append(
            state(
                "irreducible_loss",
                "at bound",
                f"losses of {name} still fall without leveling off, so its irreducible loss is at its bound 0; "
                + _more(most, name),
            )
        )
    else:
        result.append(state("irreducible_loss", "ok", ""))
    result.append(state("amplitude", "ok", ""))
    if exponent >= options.max_exponent * (1 - _EDGE) and not isinstance(law.fall, PowerFall):
        result.append(
            state(
                "exponent",
                "at bound",
                f"losses of {name} bend no less than with the largest exponent, {options.max_exponent:g}, so these runs do "
                "not tell how fast they fall later; " + _more(most, name),
            )
        )
    elif exponent >= options.max_exponent * (1 - _EDGE):
        result.append(
            state(
                "exponent",
                "at bound",
                f"losses of {name} fall faster than any exponent up to {options.max_exponent:g} allows, as in a step; "
                f"add budgets between those of {name}, or raise max_exponent",
            )
        )
    elif exponent <= 2e-3:
        result.append(
            state(
                "exponent",
                "not identified",
                f"losses of {name} fall so little that no exponent fits better than another; "
                + _more(most, name),
            )
        )
    else:
        result.append(state("exponent", "ok", ""))
    return result


def _pair(
    cells: Cells, law: LawParameters, options: FitOptions, i: int, j: int, source: str, target: str
) -> ParameterStatus:
    rows = cells.pure(i, j)
    tau = law.transfer[i, j]
    state: State = "ok"
    message = ""
    if not len(rows) and not (options.method == "joint" and np.any(cells.weights[cells.mixed, i] > 0)):
        state = "not identified"
        message = (
            f"no pure run of {source} was measured on {target}, so its transfer counts as 0; "
            f"evaluate the runs of {source} on {target}"
            if np.any(cells.weights[:, i] > 0)
            else f"no run was trained on any {source}, so its transfer to {target} counts as 0; train on it, or leave "
            "the domain out"
        )
    elif law.amplitude[j] == 0:
        state = "not identified"
        message = f"the curve of {target} is flat, so no transfer to it can be known; add budgets of {target}"
    elif tau >= options.max_transfer * (1 - _EDGE) and cells.own[j] >= 0:
        state = "at bound"
        message = (
            f"{source} helps {target} at least as much as the bound {options.max_transfer:g} allows; "
            "raise max_transfer, or check whether the curve of the target fits"
        )
    elif tau < _EDGE:
        state = "at bound"
        message = (
            f"{source} gives {target} almost nothing: its losses lie far above the curve of {target}; "
            f"no action needed, unless larger budgets of {source} are cheap"
        )
    elif len(rows) and isinstance(law.fall, PowerFall) and _levels_off(cells, law, i, j):
        state = "not identified"
        message = (
            f"trained on {source}, the loss on {target} levels off above the irreducible loss of {target}, so no "
            "single transfer fits all budgets; rely on mixture runs"
        )
    return ParameterStatus(
        parameter="transfer",
        target=target,
        source=source,
        state=state,
        message=message,
    )


def _levels_off(cells: Cells, law: LawParameters, i: int, j: int) -> bool:
    """Whether the transfer that fits the largest budget is under a tenth of that of the smallest."""
    rows = cells.pure(i, j)
    above = cells.loss[rows, j] - law.irreducible_loss[j]
    if len(rows) < 3 or np.any(above <= 0):
        return False
    worth = -np.log(above / law.amplitude[j]) / law.exponent[j] - np.log(cells.budget[rows])
    return bool(worth[-1] - worth[0] < np.log(0.1))


def _of_formula(cells: Cells, law: LawParameters) -> list[ParameterStatus]:
    """Return the status of the numbers that the law's formula has besides A and beta."""
    result = []
    reached = effective_budget(law, cells.weights, cells.budget)[0]
    for number in law.fall.numbers:
        low, high = (bound * number.scale(cells.budget) for bound in (number.low, number.high))
        for j, target in enumerate(cells.targets):
            state: State = "ok"
            value, message = law.formula_numbers[number.name][j], ""
            if law.amplitude[j] == 0:
                state = "not identified"
                message = f"the curve of {target} is flat, so its {number.name} cannot be known; add budgets of {target}"
            elif number.low == 0 and value <= _EDGE * high:
                state, message = "at bound", f"{number.name} of {target} is at its bound 0: {number.at_zero}"
            elif number.in_draws and (away := _away(reached[~np.isnan(cells.loss[:, j]), j], value)):
                state = "not identified"
                message = f"{number.name} of {target} is {value:,.3g} draws, {away}"
            elif not low * (1 + _EDGE) < value < high * (1 - _EDGE):
                state = "at bound"
                message = (
                    f"{number.name} of {target} is at its bound {value:.3g}: the runs need no other value"
                )
            result.append(ParameterStatus(parameter=number.name, target=target, state=state, message=message))
    return result


def _away(reached: Float[np.ndarray, " cell"], draws: float) -> str:
    """Return in words that a number of draws lies far from the effective budgets of the runs; "" where it does not."""
    least, most = float(reached.min()), float(reached.max())
    if draws * _FAR < least:
        return f"far below the least that the runs reach ({least:,.3g}), so they do not tell it; add a smaller budget"
    if draws > most:
        return (
            f"above the most that the runs reach ({most:,.3g}): they show the plateau and not the fall after it; "
            "add a larger budget"
        )
    return ""


def _variety(cells: Cells, law: LawParameters, options: FitOptions) -> list[ParameterStatus]:
    state: State
    names: list[tuple[str | None, float]] = (
        [(None, float(law.rho[0]))]
        if options.rho == "shared"
        else [(n, float(r)) for n, r in zip(cells.targets, law.rho, strict=True)]
    )
    result = []
    for name, rho in names:
        state, message = "ok", ""
        if not cells.mixed.any():
            state = "not identified"
            message = (
                "without a run of a mixture the worth of variety (rho) cannot be known and stays 1; add a run of "
                f"the uniform mixture at {cells.budget.max():,.0f} draws"
            )
        elif rho <= MIN_RHO * (1 + _EDGE) or rho >= 1 - _EDGE:
            state = "at bound"
            message = (
                f"rho is at its bound {rho:.2g}: "
                + (
                    "mixtures do no better than the sum of their parts"
                    if rho > 0.5
                    else "variety counts for most"
                )
                + "; add another mixture run to be sure"
            )
        result.append(ParameterStatus(parameter="rho", target=name, state=state, message=message))
    return result
