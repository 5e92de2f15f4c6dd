"""What a law says about its domains: hubs, islands, easy domains, amplification."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.errors import InputError
from voxmix.law import FittedLaw
from voxmix.law.forms import Landscape
from voxmix.mixture import Mixture

_LOW = 0.5
_LEAST = 3  # domains: of two, one would always be the hub

RULES = (
    "hub: the highest mean outgoing transfer, with three domains or more. "
    "island: mean outgoing and mean incoming transfer both below half the median over domains. "
    "easy: doubling its own draws at the largest fitted budget lowers its loss by less than half as much, "
    "relatively, as for the median domain."
)
"""The roles in words; :func:`roles` decides them, for every verb and for the report."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Structure:
    """Transfer by domain, roles, and the effective-budget decomposition of one mixture.

    Attributes:
        outgoing: mean transfer of each source to the other targets.
        incoming: mean transfer to each target from the other sources; from all to a target that is no source.
        roles: per domain "hub", "island", "easy" or "", by ``RULES``: of the law, whatever the mixture.
        rate: share by which each target's loss falls when every draw is multiplied, ``-dlnL/dlnN``.
        direct: draws of each target's own domain; 0 for a target that is no source.
        contributions: draws of the target that each source gives it.
        effective: effective budget per target.
        amplification: effective over direct draws; infinite where a domain has none of its own.
    """

    domains: tuple[str, ...]
    targets: tuple[str, ...]
    mixture: Mixture
    budget: float
    outgoing: Float[np.ndarray, " source"]
    incoming: Float[np.ndarray, " target"]
    roles: dict[str, str]
    rate: Float[np.ndarray, " target"]
    direct: Float[np.ndarray, " target"]
    contributions: Float[np.ndarray, "source target"]
    effective: Float[np.ndarray, " target"]
    amplification: Float[np.ndarray, " target"]

    def to_dict(self) -> dict[str, Any]:
        """Return the structure as JSON-like data."""

        def by(names: tuple[str, ...], values: np.ndarray) -> dict[str, float | None]:
            return {n: float(v) if np.isfinite(v) else None for n, v in zip(names, values, strict=True)}

        return {
            "budget": self.budget,
            "weights": self.mixture.as_dict(),
            "mean_outgoing_transfer": by(self.domains, self.outgoing),
            "mean_incoming_transfer": by(self.targets, self.incoming),
            "roles": dict(self.roles),
            "rate": by(self.targets, self.rate),
            "direct": by(self.targets, self.direct),
            "effective_budget": {
                target: by(self.domains, self.contributions[:, j]) for j, target in enumerate(self.targets)
            },
            "effective": by(self.targets, self.effective),
            "amplification": by(self.targets, self.amplification),
        }


def mean_transfers(
    transfer: Float[np.ndarray, "source target"], own: np.ndarray
) -> tuple[Float[np.ndarray, " source"], Float[np.ndarray, " target"]]:
    """Return mean outgoing transfer per source and incoming per target, a domain's own left out (-1 where it has none)."""
    others = np.arange(len(transfer))[:, None] != own
    kept = np.where(others, transfer, 0.0)
    outgoing = kept.sum(axis=1) / np.maximum(others.sum(axis=1), 1)
    return outgoing, kept.sum(axis=0) / np.maximum(others.sum(axis=0), 1)


def structure(law: FittedLaw, *, mixture: Mixture | None = None, budget: float | None = None) -> Structure:
    """Return the structure of a law at a mixture (uniform) and budget (the largest fitted).

    Raises:
        InputError: the law has one domain only, or the budget is not above 0.
    """
    if len(law.domains) < 2:
        raise InputError("structure needs two domains or more; this law has one")
    draws = law.budget_range[1] if budget is None else float(budget)
    if not draws > 0:
        raise InputError(f"budget must be above 0 draws, got {budget}")
    shares = Mixture.uniform(law.domains) if mixture is None else mixture
    weights = law.weights_of(shares)
    own = law.own
    outgoing, incoming = mean_transfers(law.transfer, own)
    rate = fall_rate(law, weights, draws)
    effective = law.effective_budget(shares, draws)
    direct = np.where(own >= 0, weights[own], 0.0) * draws
    with np.errstate(divide="ignore"):
        amplification = np.where(direct > 0, effective / np.where(direct > 0, direct, 1), np.inf)
    return Structure(
        domains=law.domains,
        targets=law.targets,
        mixture=shares,
        budget=draws,
        outgoing=outgoing,
        incoming=incoming,
        roles=roles(law),
        rate=rate,
        direct=direct,
        contributions=law.contributions(shares, draws),
        effective=effective,
        amplification=amplification,
    )


def fall_rate(
    law: FittedLaw, weights: Float[np.ndarray, " source"], budget: float
) -> Float[np.ndarray, " target"]:
    """Return ``-dlnL/dlnN`` per target at a mixture."""
    step = 1e-4
    low, high = (
        Landscape(law.parameters, budget * factor).loss(weights[None])[0] for factor in (1 - step, 1 + step)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = -(np.log(high) - np.log(low)) / (np.log1p(step) - np.log1p(-step))
    return np.where(np.isfinite(rate), rate, 0.0)


def roles(law: FittedLaw) -> dict[str, str]:
    """Return the role of every domain by ``RULES``: hub, before island, before easy; "" for none."""
    found = dict.fromkeys(law.domains, "")
    if len(law.domains) < _LEAST:
        return found
    both = np.flatnonzero(law.own >= 0)  # a target that is no source has no role
    outgoing, incoming = mean_transfers(law.transfer, law.own)
    gain = _doubling_gain(law, both)
    for k, (j, at) in enumerate(zip(both, law.own[both], strict=True)):
        if gain[k] < _LOW * np.median(gain):
            found[law.targets[j]] = "easy"
        if outgoing[at] < _LOW * np.median(outgoing) and incoming[j] < _LOW * np.median(incoming[both]):
            found[law.targets[j]] = "island"
    found[law.domains[int(np.argmax(outgoing))]] = "hub"
    return found


def _doubling_gain(law: FittedLaw, both: np.ndarray) -> Float[np.ndarray, " target"]:
    """Return the relative fall of the loss of each target in ``both`` when its own draws double at the largest budget."""
    alone, place = np.eye(len(law.domains))[law.own[both]], np.arange(len(both))
    once, twice = (law.evaluate(alone, factor * law.budget_range[1])[place, both] for factor in (1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = 1 - twice / once
    return np.where(np.isfinite(gain), gain, 0.0)
