"""suggest(): which next proxy runs would improve the decision most per draw.

The bootstrap draws are what the law may be. A run is worth what its losses are expected to lower the
objective of the mixture that is chosen after seeing them: the expected value of sample information, by
regression of each candidate mixture's objective on the losses the run would give (Strong, Oakley, Brennan
and Breeze 2015).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.allocation.limits import limits
from voxmix.allocation.optimize import aim_of, check_for_law
from voxmix.allocation.optimum import optimum
from voxmix.allocation.settings import AllocationSettings, asked
from voxmix.design import KINDS
from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.forms import Landscape, predict
from voxmix.mixture import Mixture

_CANDIDATES = 24  # mixtures the decision is between
LEAST_DRAWS = 50
"""Bootstrap draws from which suggest() works."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Suggestion:
    """A run, and what it is expected to be worth.

    ``gain`` is the expected fall of the objective at the decision's budget; ``gain_per_draw`` over the
    run's own draws; ``share`` over what knowing the law exactly would gain.
    """

    mixture: Mixture
    budget: float
    gain: float
    gain_per_draw: float
    share: float

    @property
    def name(self) -> str:
        """What the run trains on: a domain, "uniform", or the weights."""
        return self.mixture.label

    def to_dict(self) -> dict[str, Any]:
        """Return the suggestion as JSON-like data."""
        return {
            "run": self.name,
            "weights": self.mixture.as_dict(),
            "budget": self.budget,
            "gain": self.gain,
            "gain_per_draw": self.gain_per_draw,
            "share": self.share,
        }


def suggest(
    law: FittedLaw,
    settings: AllocationSettings | None = None,
    *,
    budgets: Sequence[float] | None = None,
    mixtures: Sequence[Mixture] | None = None,
    noise: float | None = None,
    seed: int = 0,
    **changed: Any,
) -> tuple[Suggestion, ...]:
    """Return candidate runs, the most useful per draw first.

    Candidates: the runs of every kind of :data:`voxmix.design.KINDS` and the present best mixture, at ``budgets`` (the
    smallest and largest fitted, and twice the largest); or ``mixtures`` instead. ``noise`` is the relative error of one run's loss; by default
    that of the fit's residuals.

    Args:
        law: a fitted law with bootstrap draws.
        settings, changed: the decision that the runs are to improve, as of :func:`voxmix.allocation.allocate`; its
            budget is four times the largest fitted one if it names none.

    Raises:
        InputError: the law has fewer than 50 bootstrap draws.
    """
    if law.bootstrap is None or law.bootstrap.draws < LEAST_DRAWS:
        raise InputError(f"suggest needs {LEAST_DRAWS} bootstrap draws or more; fit with bootstrap=200")
    low, high = law.budget_range
    wanted = asked(settings, changed).knowing(law.volumes)
    check_for_law(law, wanted)
    rng = np.random.default_rng(seed)
    value, best = _values(law, wanted if wanted.budget else asked(wanted, {"budget": 4 * high}))
    now = value.mean(axis=0).min()
    perfect = now - value.min(axis=1).mean()
    spread = _noise(law) if noise is None else noise
    of_kinds = (mixture for kind in KINDS for mixture in kind.mixtures(law.domains, (wanted.min_weight,)))
    own = (*of_kinds, Mixture(domains=law.domains, weights=best))
    tried = dict.fromkeys(own if mixtures is None else mixtures)
    found = []
    for mixture in tried:
        for draws in sorted(set(budgets or (low, high, 2 * high))):
            losses = predict(law.bootstrap, mixture.weights[None], np.array([float(draws)]))[:, 0]
            known = np.isfinite(losses).all(axis=0)
            seen = np.log(np.maximum(losses[:, known], 1e-300))
            seen = seen + spread * rng.standard_normal(seen.shape)
            chance = now - _after(value, rng.permutation(seen))  # what fitting noise alone seems to gain
            gain = max(now - _after(value, seen) - max(chance, 0.0), 0.0)
            found.append(
                Suggestion(
                    mixture=mixture,
                    budget=float(draws),
                    gain=float(gain),
                    gain_per_draw=float(gain / draws),
                    share=float(gain / perfect) if perfect > 0 else 0.0,
                )
            )
    return tuple(sorted(found, key=lambda item: -item.gain_per_draw))


def _values(
    law: FittedLaw, wanted: AllocationSettings
) -> tuple[Float[np.ndarray, "draw candidate"], Float[np.ndarray, " source"]]:
    """Return the objective of candidate mixtures under every draw, and the mixture best on average."""
    assert law.bootstrap is not None
    assert wanted.budget is not None
    count, draws = len(law.domains), law.bootstrap.draws
    bounds, aim = limits(law.domains, wanted), aim_of(law, wanted)
    many = Landscape(law.bootstrap, wanted.budget, bounds.price)
    ours = optimum(Landscape(law.parameters, wanted.budget, bounds.price), bounds, aim).money
    picked = optimum(many, bounds, aim, tolerance=1e-6).money
    step = max(draws // _CANDIDATES, 1)
    even = bounds.to_money(np.full(count, 1 / count))
    spent = np.vstack([ours, even[None], picked[::step][:_CANDIDATES]])
    cost = aim.cost(many, bounds)
    value = np.stack([aim.value(cost, many.loss(np.tile(m, (draws, 1)))) for m in spent], axis=1)
    return value, bounds.to_draws(spent[int(value.mean(axis=0).argmin())])


def _noise(law: FittedLaw) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = law.quality.residuals / law.quality.predicted
    relative = relative[np.isfinite(relative)]
    return float(np.sqrt(np.mean(relative**2))) if len(relative) else 0.02


def _after(value: Float[np.ndarray, "draw candidate"], seen: Float[np.ndarray, "draw target"]) -> float:
    """Return the mean objective of the mixture chosen after the run: ridge regression, then the least."""
    center = seen - seen.mean(axis=0)
    scale = center.std(axis=0)
    x = center / np.where(scale > 0, scale, 1.0)
    fitted = value.mean(axis=0) + x @ np.linalg.solve(
        x.T @ x + len(x) * 0.01 * np.eye(x.shape[1]), x.T @ (value - value.mean(axis=0))
    )
    chosen = fitted.argmin(axis=1)
    return float(np.mean(fitted[np.arange(len(fitted)), chosen]))
