"""plan(): the smallest budget, and its mixture, that reaches given losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.allocation.limits import limits
from voxmix.allocation.optimize import check_for_law
from voxmix.allocation.optimum import Aim, program_of
from voxmix.allocation.program import solve_program
from voxmix.allocation.settings import AllocationSettings, asked
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.forms import Landscape
from voxmix.mixture import Mixture
from voxmix.response import LOSS, Response

_LARGEST = 1e15
_ABSURD = 1000.0  # times the largest fitted budget

WITHOUT_EFFECT = ("budget", "objective", "target_weights", "no_worse_than", "tolerance", "level")
"""Settings of an allocation that a plan does not read: it looks for a budget, and for given losses."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """The least budget that is predicted to reach every wanted loss, and the mixture that does."""

    targets: tuple[str, ...]
    mixture: Mixture
    budget: float
    wanted: dict[str, float]
    predicted_loss: Float[np.ndarray, " target"]
    uniform_budget: float | None
    notes: tuple[str, ...] = ()
    response: Response = LOSS

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-like data."""
        return {
            "budget": self.budget,
            "weights": self.mixture.as_dict(),
            "wanted": dict(self.wanted),
            "predicted_loss": dict(zip(self.targets, self.predicted_loss.tolist(), strict=True)),
            **self.response.predicted(self.targets, self.predicted_loss),
            "uniform_budget": self.uniform_budget,
            "notes": list(self.notes),
        }


def plan(
    law: FittedLaw,
    settings: AllocationSettings | None = None,
    *,
    loss: Mapping[str, float],
    **changed: Any,
) -> Plan:
    """Return the smallest budget at which some mixture is predicted to reach every loss of ``loss``.

    At each budget the best worst ratio of predicted to wanted loss is a convex program; it falls as the
    budget grows, so the budget is found by bisection, to 1e-6 of itself. ``uniform_budget`` is what the
    uniform mixture would need (None where it never gets there, and with costs or ``max_epochs``).

    Args:
        law: a fitted law.
        settings, changed: the limits of the mixture, as of :func:`voxmix.allocation.allocate`; of settings, what is in
            ``WITHOUT_EFFECT`` is not read.
        loss: target to wanted loss; of a law of scores, to the wanted score.

    Raises:
        InputError: one of ``WITHOUT_EFFECT`` by name, an unknown target, a loss at or below the irreducible one or a thousand times outside the fitted
            budgets, or limits in conflict.
    """
    unknown = [name for name in loss if name not in law.targets]
    if not loss or unknown:
        raise InputError(
            f"name the wanted loss of one target or more of {list(law.targets)}, got {dict(loss)}"
        )
    if useless := [name for name in WITHOUT_EFFECT if name in changed]:
        raise InputError(
            f"{useless[0]} has no effect on a plan, which looks for the least budget that reaches the losses; leave it out"
        )
    limited = asked(settings, changed).knowing(law.volumes)
    check_for_law(law, limited)
    asked_for = {name: law.response.to_loss(float(value)) for name, value in loss.items()}
    wanted = np.array([asked_for.get(name, np.inf) for name in law.targets])
    for name, value, least in zip(law.targets, wanted, law.irreducible_loss, strict=True):
        if not value > least and law.response.rises:
            raise InputError(
                f"{law.response.label} {loss[name]:g} of {name} is not below {law.response.from_loss(least):.4g}, which "
                "no budget exceeds by this law"
            )
        if not value > least:
            raise InputError(
                f"loss {value:g} of {name} is not above its irreducible loss {least:.4g}, which no budget goes below"
            )

    def best(budget: float) -> tuple[float, np.ndarray]:
        bounds = limits(law.domains, asked(limited, {"budget": budget}))
        landscape = Landscape(law.parameters, budget, bounds.price)
        weight = np.where(np.isfinite(wanted), 1 / wanted, 0.0)
        aim = Aim(kind="minimax", targets=law.targets, importance=weight / weight.sum(), guard=None)
        program = program_of(landscape, bounds, aim, weight[None])
        money = solve_program(landscape, program).weights[0]
        return float(np.max(landscape.loss(money[None])[0] * weight)), bounds.to_draws(money)

    def even(budget: float) -> float:
        losses = law.evaluate(np.full(len(law.domains), 1 / len(law.domains)), budget)
        return float(np.max(losses / wanted))

    most = _most(law.domains, limited)
    budget = _least(lambda n: best(n)[0], most)
    if budget is None:
        raise InputError(
            f"no budget up to {most:g} draws reaches {_in_words(loss)} under these limits; ask for less, or "
            "loosen them"
        )
    weights = best(budget)[1]
    if budget > _ABSURD * law.budget_range[1]:
        raise InputError(
            f"{_in_words(loss)} would take about {budget:.0e} draws by this law, {budget / law.budget_range[1]:.0e} times the "
            f"largest fitted budget ({law.budget_range[1]:,.0f}): no run shows how losses fall so far out, so this is no "
            "plan; ask for higher losses, or add runs at larger budgets and fit again"
        )
    beyond = law.beyond(budget)
    notes = [f"the {beyond}; check it with a run on the way"] if beyond else []
    mixture = Mixture(domains=law.domains, weights=weights / weights.sum())
    draws = budget
    if limited.cost:
        price = np.array([limited.cost.get(name, 1.0) for name in law.domains])
        draws = budget / float(mixture.weights @ price)
    return Plan(
        targets=law.targets,
        mixture=mixture,
        budget=budget,
        wanted=dict(loss),
        predicted_loss=law.evaluate(mixture.weights, draws),
        uniform_budget=None if limited.cost or limited.max_epochs else _least(even, _LARGEST),
        notes=tuple(notes),
        response=law.response,
    )


def _most(domains: tuple[str, ...], limited: AllocationSettings) -> float:
    """Return the largest budget up to 1e15 that the limits allow: with ``max_epochs`` the volumes are used up there.

    Raises:
        InputError: they allow none.
    """

    def allowed(budget: float) -> bool:
        try:
            limits(domains, asked(limited, {"budget": budget}))
        except InputError:
            return False
        return True

    if limited.max_epochs is None or allowed(_LARGEST):
        return _LARGEST
    limits(domains, asked(limited, {"budget": 1.0}))
    low, high = 0.0, np.log(_LARGEST)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(float(np.exp(middle))) else (low, middle)
    return float(np.exp(low))


def _least(ratio: Callable[[float], float], most: float) -> float | None:
    """Return the least budget with ``ratio(budget) <= 1``; None when none up to ``most`` has."""
    low, high = 0.0, np.log(most)
    if ratio(most) > 1:
        return None
    if ratio(1.0) <= 1:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if ratio(float(np.exp(middle))) <= 1 else (middle, high)
    return float(np.exp(high))


def _in_words(loss: Mapping[str, float]) -> str:
    return ", ".join(f"{name} at {value:g}" for name, value in loss.items())
