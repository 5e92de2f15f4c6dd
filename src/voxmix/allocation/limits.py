"""What a mixture may be: least, largest and fixed weights, repeats of the volumes there are, costs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from voxmix.allocation.settings import AllocationSettings
from voxmix.errors import InputError

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Limits:
    """Bounds on weights (shares of draws), on shares of money, and the price of a draw.

    ``lower`` and ``upper`` bound ``lambda``. ``spend`` bounds the share of the budget spent on a source from
    above (repeats of its volumes); with equal prices it is folded into ``upper``. ``price`` is None when
    every draw costs 1.
    """

    domains: tuple[str, ...]
    lower: Float[np.ndarray, " source"]
    upper: Float[np.ndarray, " source"]
    spend: Float[np.ndarray, " source"]
    price: Float[np.ndarray, " source"] | None

    def to_money(self, weights: Float[np.ndarray, " source"]) -> Float[np.ndarray, " source"]:
        """Return shares of money from shares of draws."""
        if self.price is None:
            return weights
        return weights * self.price / np.sum(weights * self.price)

    def to_draws(self, money: Float[np.ndarray, "*draw source"]) -> Float[np.ndarray, "*draw source"]:
        """Return shares of draws from shares of money."""
        if self.price is None:
            return money
        bought = money / self.price
        return bought / bought.sum(axis=-1, keepdims=True)

    def draws(self, budget: float, money: Float[np.ndarray, " source"]) -> float:
        """Return how many draws the budget buys."""
        return budget if self.price is None else float(np.sum(money / self.price) * budget)


def limits(domains: tuple[str, ...], asked: AllocationSettings) -> Limits:
    """Return the limits that settings set, checked together; they name their budget and the volumes that exist.

    Raises:
        InputError: an unknown domain, or limits that no mixture meets; names the limits in conflict.
    """
    budget, min_weight, max_epochs = asked.budget, asked.min_weight, asked.max_epochs
    assert budget is not None
    for name in ("max_weight", "fixed", "cost"):
        _check_names(name, getattr(asked, name), domains)
    price = _price(domains, asked.cost)
    held, most = asked.fixed, asked.max_weight
    lower = np.array([held.get(d, min_weight) for d in domains])
    upper = np.array([held.get(d, most.get(d, 1.0)) for d in domains])
    spend = np.ones(len(domains))
    stock = _stock(domains, asked.volumes, max_epochs)
    for i, name in enumerate(domains):
        if stock[i] < np.inf:
            assert max_epochs is not None
            spend[i] = min(1.0, stock[i] * (1.0 if price is None else price[i]) / budget)
            if price is None and spend[i] < upper[i]:
                if name in held and held[name] > spend[i] + _ROUNDING:
                    raise InputError(
                        f"fixed weight {held[name]:g} of {name} and max_epochs {max_epochs:g} conflict: "
                        f"{stock[i] / max_epochs:g} volumes allow at most {spend[i]:.4f} of {budget:g} draws"
                    )
                upper[i] = spend[i]
        if lower[i] > upper[i] + _ROUNDING:
            cap = (
                f"max_weight {most[name]:g}" if most.get(name, 2) <= upper[i] else f"max_epochs {max_epochs}"
            )
            raise InputError(
                f"min_weight {min_weight:g} and {cap} of {name} conflict (at most {upper[i]:.4f} is allowed); "
                "lower the one or raise the other"
            )
    upper = np.maximum(upper, lower)
    _check_sums(domains, lower, upper, min_weight, held, most, max_epochs)
    if price is not None:
        _check_spend(domains, lower, spend, price, max_epochs)
    return Limits(domains=domains, lower=lower, upper=upper, spend=spend, price=price)


def _check_names(what: str, given: Mapping[str, float], domains: tuple[str, ...]) -> None:
    unknown = [name for name in given if name not in domains]
    if unknown:
        raise InputError(f"{what} names unknown domains {unknown}; the law has {list(domains)}")


def _price(domains: tuple[str, ...], cost: Mapping[str, float]) -> Float[np.ndarray, " source"] | None:
    price = np.array([cost.get(d, 1.0) for d in domains], dtype=np.float64)
    return None if np.all(price == 1) else price


def _stock(
    domains: tuple[str, ...], volumes: Mapping[str, float], max_epochs: float | None
) -> Float[np.ndarray, " source"]:
    stock = np.full(len(domains), np.inf)
    if max_epochs is None:
        return stock
    if not volumes:
        raise InputError("max_epochs needs to know how many volumes exist; give volumes, domain by domain")
    _check_names("volumes", volumes, domains)
    for i, name in enumerate(domains):
        if name in volumes:
            stock[i] = volumes[name] * max_epochs
    return stock


def _check_sums(
    domains: tuple[str, ...],
    lower: Float[np.ndarray, " source"],
    upper: Float[np.ndarray, " source"],
    min_weight: float,
    held: Mapping[str, float],
    most: Mapping[str, float],
    max_epochs: float | None,
) -> None:
    fixed = ", ".join(f"fixed {name}={share:g}" for name, share in held.items())
    if lower.sum() > 1 + _ROUNDING:
        free = len(domains) - len(held)
        parts = ", ".join(part for part in (fixed, f"min_weight {min_weight:g} for {free} domains") if part)
        left = (1 - sum(held.values())) / free if free else 0.0
        raise InputError(
            f"{parts} conflict: together they need {lower.sum():.2f} of the budget; "
            + (f"give min_weight at most {max(left, 0):.4f}" if left > 0 else "fix less")
        )
    if upper.sum() < 1 - _ROUNDING:
        caps = [f"max_weight {name}={share:g}" for name, share in most.items()]
        caps += [f"max_epochs {max_epochs:g}"] if max_epochs is not None else []
        caps += [fixed] if fixed else []
        raise InputError(
            f"{', '.join(caps)} conflict: together they allow only {upper.sum():.3f} of the budget to be drawn; "
            "raise one of them, or take a smaller budget"
        )


def _check_spend(
    domains: tuple[str, ...],
    lower: Float[np.ndarray, " source"],
    spend: Float[np.ndarray, " source"],
    price: Float[np.ndarray, " source"],
    max_epochs: float | None,
) -> None:
    if spend.sum() < 1 - _ROUNDING:
        raise InputError(
            f"max_epochs {max_epochs:g} allows only {spend.sum():.3f} of the budget to be spent; raise it, or take a "
            "smaller budget"
        )
    bought = lower * price
    with np.errstate(divide="ignore", invalid="ignore"):
        short = np.where(lower > 0, bought / (bought + (1 - lower) * price.max()), 0.0) > spend + _ROUNDING
    if short.any():
        name = domains[int(np.argmax(short))]
        raise InputError(
            f"min_weight or fixed and max_epochs {max_epochs:g} of {name} conflict; lower the one"
        )
