"""path(): how the best mixture and its loss move with the budget and with min_weight."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from voxmix.allocation.limits import limits
from voxmix.allocation.optimize import aim_of, check_for_law
from voxmix.allocation.optimum import optimum
from voxmix.allocation.settings import AllocationSettings, asked
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.forms import Landscape
from voxmix.response import LOSS, Response

_AT_BOUND = 1e-6
_SHARP = 1e-13  # near a kink a weight leaves its bound as the square root of the gap


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AllocationPath:
    """Allocations along one axis.

    ``axis`` is "budget" or "min_weight"; ``kinks`` are its values at which a domain reaches
    min_weight or rises above it: between them the curves are smooth.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    axis: str
    values: Float[np.ndarray, " point"]
    weights: Float[np.ndarray, "point source"]
    predicted_loss: Float[np.ndarray, "point target"]
    objective: Float[np.ndarray, " point"]
    gap: Float[np.ndarray, " point"]
    kinks: tuple[tuple[float, str], ...]
    response: Response = LOSS

    def to_dict(self) -> dict[str, Any]:
        """Return the path as JSON-like data."""
        return {
            "axis": self.axis,
            "values": self.values.tolist(),
            "weights": {d: self.weights[:, i].tolist() for i, d in enumerate(self.domains)},
            **self.response.named_error(),
            "predicted_loss": {t: self.predicted_loss[:, j].tolist() for j, t in enumerate(self.targets)},
            **self._predicted(),
            "objective": self.objective.tolist(),
            "gap": self.gap.tolist(),
            "kinks": [{"at": at, "domain": name} for at, name in self.kinks],
        }

    def _predicted(self) -> dict[str, Any]:
        if self.response == LOSS:
            return {}
        values = self.response.from_loss(self.predicted_loss)
        by_target = {t: values[:, j].tolist() for j, t in enumerate(self.targets)}
        return {"response": self.response.to_dict(), "predicted": by_target}


def path(
    law: FittedLaw,
    settings: AllocationSettings | None = None,
    *,
    budgets: Sequence[float] | None = None,
    min_weights: Sequence[float] | None = None,
    **changed: Any,
) -> AllocationPath:
    """Return the allocations over ``budgets`` (at one min_weight), or over ``min_weights`` (at one budget).

    Without either, 41 budgets from the smallest fitted one to a hundred times the largest. The curve over
    min_weight is the paper's figure 5; its kinks are found by bisection to 1e-6 of the axis.

    Args:
        law: a fitted law.
        settings, changed: limits and objective, as of :func:`voxmix.allocation.allocate`; what is on the axis is taken
            from there.

    Raises:
        InputError: both axes given, a value out of range, min_weights without budget, or limits in conflict somewhere on
            the axis.
    """
    if budgets is not None and min_weights is not None:
        raise InputError("give budgets or min_weights, not both: a path has one axis")
    wanted = asked(settings, changed).knowing(law.volumes)
    check_for_law(law, wanted)
    count, along = len(law.domains), "budget" if min_weights is None else "min_weight"
    if min_weights is not None:
        if wanted.budget is None:
            raise InputError("min_weights need a budget above 0: give budget=N too")
        values = np.array(sorted(min_weights), dtype=np.float64)
        if not len(values) or values[0] < 0 or values[-1] > 1 / count + 1e-12:
            raise InputError(f"min_weights must lie between 0 and {1 / count:.4f}, got {list(min_weights)}")
        values = np.minimum(values, 1 / count)
    else:
        low, high = law.budget_range
        values = (
            np.geomspace(low, 100 * high, 41) if budgets is None else np.array(sorted(budgets), dtype=float)
        )
        if not len(values) or not values[0] > 0:
            raise InputError(f"budgets must be above 0, got {list(budgets or ())}")
    aim = aim_of(law, wanted)

    def at(value: float) -> tuple[np.ndarray, np.ndarray, float, float]:
        here = asked(wanted, {along: value})
        bounds = limits(law.domains, here)
        landscape = Landscape(law.parameters, float(here.budget or 0), bounds.price)
        found = optimum(landscape, bounds, aim, tolerance=_SHARP)
        shares = bounds.to_draws(found.money[0])
        return shares, landscape.loss(found.money)[0], float(found.objective[0]), float(found.gap[0])

    def resting(value: float) -> Bool[np.ndarray, " source"]:
        least = value if along == "min_weight" else wanted.min_weight
        return np.asarray(at(value)[0] <= least + _AT_BOUND)

    points = [at(float(v)) for v in values]
    return AllocationPath(
        domains=law.domains,
        targets=law.targets,
        axis=along,
        values=values,
        weights=np.array([p[0] for p in points]),
        predicted_loss=np.array([p[1] for p in points]),
        objective=np.array([p[2] for p in points]),
        gap=np.array([p[3] for p in points]),
        kinks=_kinks(values, resting, law.domains),
        response=law.response,
    )


def _kinks(
    values: Float[np.ndarray, " point"],
    resting: Callable[[float], Bool[np.ndarray, " source"]],
    domains: tuple[str, ...],
) -> tuple[tuple[float, str], ...]:
    found = []
    states = [resting(float(v)) for v in values]
    inner = len(values) - 1
    if states and states[-1].all():  # only one mixture is left at the end of the axis: no kink
        inner -= 1
    for k in range(inner):
        for i in np.flatnonzero(states[k] != states[k + 1]):
            low, high = float(values[k]), float(values[k + 1])
            while high - low > 1e-6 * max(abs(high), 1e-3):
                middle = (low + high) / 2
                low, high = (middle, high) if resting(middle)[i] == states[k][i] else (low, middle)
            found.append(((low + high) / 2, domains[int(i)]))
    return tuple(sorted(found))
