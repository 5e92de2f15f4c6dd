"""Two mixtures side by side: that of a law of scores, and that of the proxy's losses for the same domains."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from voxmix.allocation.result import Allocation
from voxmix.errors import InputError
from voxmix.law.fitted import FittedLaw
from voxmix.mixture import Mixture


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Beside:
    """How another law's mixture differs from an allocation.

    Attributes:
        other: what the other law would train on, in the allocation's order of domains.
        difference: share here minus share there, per domain.
        apart: per domain, whether the two intervals have no share in common; None where one law has none.
        here, there: what the allocation's law predicts for its own mixture and for the other: the mean over targets that are
            heard, of its response (a score, or a loss).
    """

    allocation: Allocation
    other: Allocation
    difference: Float[np.ndarray, " source"]
    apart: Bool[np.ndarray, " source"] | None
    here: float
    there: float

    def sentences(self) -> tuple[str, ...]:
        """Return the difference in words: whether it is beyond both laws' doubt, and what the other mixture would cost."""
        names, response = self.allocation.domains, self.allocation.response
        at = int(np.argmax(np.abs(self.difference)))
        shares = (float(self.allocation.mixture.weights[at]), float(self.other.mixture.weights[at]))
        most = f"{names[at]} gets {shares[0]:.1%} here and {shares[1]:.1%} there"
        if self.apart is None:
            sure = "a law without bootstrap draws has no intervals, so noise is not told from a difference"
        elif self.apart.any():
            apart = [name for name, yes in zip(names, self.apart, strict=True) if yes]
            sure = f"the intervals of {', '.join(apart)} do not overlap"
        else:
            sure = "all intervals overlap: the two laws may want the same mixture"
        return (
            f"the two mixtures differ most in {names[at]}: {most}; {sure}",
            f"trained on the other mixture, this law predicts a mean {response.label} of {self.there:.4g} instead of {self.here:.4g}",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        names = self.allocation.domains
        return {
            "allocation": self.other.to_dict(),
            "difference": dict(zip(names, self.difference.tolist(), strict=True)),
            "apart": None if self.apart is None else dict(zip(names, self.apart.tolist(), strict=True)),
            "predicted_mean": {"own": self.here, "other": self.there},
        }


def beside(law: FittedLaw, allocation: Allocation, other: Allocation) -> Beside:
    """Return how another law's mixture differs from ``allocation``, which ``law`` gave.

    Intervals that overlap do not show that two shares are equal, only that these runs do not tell them apart.

    Raises:
        InputError: the two have other domains.
    """
    if sorted(allocation.domains) != sorted(other.domains):
        raise InputError(
            f"the two laws have other domains: {list(allocation.domains)} and {list(other.domains)}; fit both to the same ones"
        )
    order = [other.domains.index(name) for name in allocation.domains]
    weights = other.mixture.weights[order]
    apart = None
    if allocation.intervals is not None and other.intervals is not None:
        mine, theirs = allocation.intervals, other.intervals[order]
        apart = (mine[:, 0] > theirs[:, 1]) | (theirs[:, 0] > mine[:, 1])
    mixture = Mixture(domains=allocation.domains, weights=weights)
    heard = np.ones(len(law.targets)) if allocation.parts is None else (allocation.parts > 0).astype(float)
    there = law.response.from_loss(law.evaluate(mixture.weights, allocation.draws))
    return Beside(
        allocation=allocation,
        other=_ordered(other, order),
        difference=allocation.mixture.weights - weights,
        apart=apart,
        here=float(np.average(allocation.predicted, weights=heard)),
        there=float(np.average(there, weights=heard)),
    )


def _ordered(other: Allocation, order: list[int]) -> Allocation:
    """Return an allocation with its sources in another order."""
    if order == list(range(len(order))):
        return other
    return replace(
        other,
        domains=tuple(other.domains[i] for i in order),
        mixture=Mixture(domains=tuple(other.domains[i] for i in order), weights=other.mixture.weights[order]),
        contributions=other.contributions[order],
        near_optimal=other.near_optimal[order],
        intervals=None if other.intervals is None else other.intervals[order],
        shadow_price=other.shadow_price[order],
        baselines={
            name: replace(item, weights=item.weights[order]) for name, item in other.baselines.items()
        },
        by_objective={
            name: replace(item, weights=item.weights[order]) for name, item in other.by_objective.items()
        },
    )
