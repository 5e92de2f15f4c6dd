"""The law family: loss, effective budget and derivatives, for one law or a batch of bootstrap draws.

Every form is one expression (spec, section 2; docs/concepts/law.md)::

    L_j = E_j + B_j N**-a_j + A_j n_j**-beta_j
    n_j = (sum_i (tau_ij g_i(lambda_i N) / s)**rho_j)**(1/rho_j)

with ``B = 0`` and ``s = 1`` but in the budget forms, where ``s = N``: there ``n_j`` counts shares, not draws.
``rho = 1`` is the plain sum, ``g_i(n) = n`` draws without repetition. Each ``g_i`` is concave and each CES sum
is concave and rising, so every loss is convex in the weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.law.reducible import POWER, Fall

BY_TARGET = ("irreducible_loss", "amplitude", "exponent", "rho", "budget_amplitude", "budget_exponent")
"""The numbers per target that every law has; a formula may have more."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LawParameters:
    """Numbers of one law, or of many (a leading draw axis); read-only.

    Attributes:
        irreducible_loss, amplitude, exponent: E, A, beta per target.
        transfer: tau[source, target]; worth of one draw of source for target, in draws of target.
        rho: CES exponent per target, 0 < rho <= 1; 1 adds contributions up.
        budget_amplitude, budget_exponent: B, a per target; B is 0 but in the budget forms.
        by_share: whether ``n`` counts shares of the budget (the budget forms) and not draws.
        unique: volumes that exist per source; infinite where draws do not repeat.
        repeats: R per source: how fast repeats lose their worth (Muennighoff et al. 2023, eq. 5).
        fall: how the reducible loss falls with the effective budget; ``formula_numbers`` are the numbers per target that
            its formula has besides A and beta, by name.
    """

    irreducible_loss: Float[np.ndarray, "*draw target"]
    amplitude: Float[np.ndarray, "*draw target"]
    exponent: Float[np.ndarray, "*draw target"]
    transfer: Float[np.ndarray, "*draw source target"]
    rho: Float[np.ndarray, "*draw target"]
    budget_amplitude: Float[np.ndarray, "*draw target"]
    budget_exponent: Float[np.ndarray, "*draw target"]
    by_share: bool
    unique: Float[np.ndarray, " source"]
    repeats: Float[np.ndarray, "*draw source"]
    fall: Fall = POWER
    formula_numbers: Mapping[str, Float[np.ndarray, "*draw target"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.name not in ("by_share", "fall", "formula_numbers"):
                object.__setattr__(self, item.name, _read_only(getattr(self, item.name)))
        own = {number.name: _read_only(self.formula_numbers[number.name]) for number in self.fall.numbers}
        object.__setattr__(self, "formula_numbers", own)

    @property
    def draws(self) -> int:
        """Number of laws in the batch; 1 without a draw axis."""
        return self.transfer.shape[0] if self.transfer.ndim == 3 else 1

    def batched(self) -> "LawParameters":
        """Return the same numbers with a draw axis."""
        if self.transfer.ndim == 3:
            return self
        return self.each(lambda array: array[None])

    def take(self, index: Any) -> "LawParameters":
        """Return draw ``index`` (a number: no draw axis is left), or the draws of an index array."""
        return self.each(lambda array: array[index])

    def by_target(self) -> dict[str, Float[np.ndarray, "*draw target"]]:
        """Return the numbers per target by name, those of the formula last."""
        return {name: getattr(self, name) for name in BY_TARGET} | dict(self.formula_numbers)

    def by_draw(self) -> dict[str, np.ndarray]:
        """Return all that differs between the laws of a batch, by name."""
        return self.by_target() | {"transfer": self.transfer, "repeats": self.repeats}

    def changed(self, values: Mapping[str, np.ndarray]) -> "LawParameters":
        """Return the law with other values of some of the numbers of :meth:`by_draw`."""
        own = {name: values.get(name, kept) for name, kept in self.formula_numbers.items()}
        others: dict[str, Any] = {name: array for name, array in values.items() if name not in own}
        return replace(self, **others, formula_numbers=own)

    def each(self, function: Callable[[np.ndarray], np.ndarray]) -> "LawParameters":
        """Return the law with a function applied to each array of :meth:`by_draw`."""
        return self.changed({name: function(array) for name, array in self.by_draw().items()})

    @classmethod
    def make(cls, **values: Any) -> "LawParameters":
        """Return parameters from E, A, beta and tau, the rest at its neutral value unless given."""
        shape = np.shape(values["irreducible_loss"])
        sources = np.shape(values["transfer"])[-2]
        neutral: dict[str, Any] = {
            "rho": np.ones(shape),
            "budget_amplitude": np.zeros(shape),
            "budget_exponent": np.ones(shape),
            "by_share": False,
            "unique": np.full(sources, np.inf),
            "repeats": np.full((*shape[:-1], sources), np.inf),
        }
        return cls(**(neutral | values))


def concatenate(parts: Sequence[LawParameters]) -> LawParameters:
    """Return one batch of the laws of several."""
    first = parts[0]
    return first.changed(
        {name: np.concatenate([part.by_draw()[name] for part in parts]) for name in first.by_draw()}
    )


def _read_only(values: Any) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


def worth(
    draws: Float[np.ndarray, "*shape source"],
    unique: Float[np.ndarray, " source"],
    repeats: Float[np.ndarray, "*batch source"],
    *,
    order: int = 0,
) -> Float[np.ndarray, "*out source"]:
    """Return g(n), or its first or second derivative: what n draws of U volumes are worth in fresh draws.

    ``g(n) = n`` up to U and ``U + U R (1 - exp(-(n/U - 1)/R))`` above; concave with slope 1 at U.
    """
    finite = np.isfinite(unique) & np.isfinite(repeats)
    if not finite.any():
        return np.array(draws) if order == 0 else np.full(np.shape(draws), float(order == 1))
    stock = np.where(finite, unique, 1.0)
    rate = np.where(finite, repeats, 1.0)
    excess = np.where(finite, np.maximum(draws / stock - 1, 0), 0.0)
    slope = np.exp(-excess / rate)
    if order == 0:
        above = finite & (draws > stock)
        return np.where(above, stock + stock * rate * (1 - slope), draws)
    if order == 1:
        return slope
    return np.where(excess > 0, -slope / (stock * rate), 0.0)


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """``base ** exponent`` with 0 staying 0, whatever the exponent above 0."""
    with np.errstate(divide="ignore"):
        return np.exp(exponent * np.log(base))


def _scale(law: LawParameters, budget: Any) -> Any:
    return budget if law.by_share else np.ones_like(budget)


def contributions(
    law: LawParameters, weights: Float[np.ndarray, "*rows source"], budget: float
) -> Float[np.ndarray, "*out source target"]:
    """Return ``tau_ij g_i(lambda_i N)``: what each source gives each target, in draws of the target."""
    return law.transfer * worth(weights * budget, law.unique, law.repeats)[..., None]


def effective_budget(
    law: LawParameters, weights: Float[np.ndarray, "row source"], budget: Float[np.ndarray, " row"]
) -> Float[np.ndarray, "*out target"]:
    """Return ``n_j`` (draw, row, target), in draws of the target (also in the budget forms).

    ``weights`` (row, source), ``budget`` (row,).
    """
    batch = law.batched()
    drawn = worth(weights * budget[:, None], batch.unique, batch.repeats[:, None, :])
    drawn = np.broadcast_to(drawn, (batch.draws, *drawn.shape[-2:]))
    if np.all(batch.rho == 1):
        return drawn @ batch.transfer
    rho = batch.rho
    if np.all(rho == rho[:, :1]):
        total = _power(drawn, rho[:, :1, None]) @ _power(batch.transfer, rho[:, None, :])
    else:
        powered = _power(drawn[:, :, :, None], rho[:, None, None, :])
        total = np.einsum("dkij,dij->dkj", powered, _power(batch.transfer, rho[:, None, :]))
    return _power(total, 1 / rho[:, None, :])


def predict(
    law: LawParameters, weights: Float[np.ndarray, "row source"], budget: Float[np.ndarray, " row"]
) -> Float[np.ndarray, "*out target"]:
    """Return losses (draw, row, target) of mixtures ``weights`` (row, source) at ``budget`` (row,).

    A target that nothing reaches has infinite loss, unless its amplitude is 0.
    """
    batch = law.batched()
    reached = effective_budget(batch, weights, budget) / _scale(batch, budget)[:, None]
    amplitude = batch.amplitude[:, None, :]
    numbers = {name: array[:, None, :] for name, array in batch.formula_numbers.items()}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reducible = np.where(
            amplitude > 0, amplitude * batch.fall.at(reached, batch.exponent[:, None, :], numbers), 0.0
        )
        own = batch.budget_amplitude[:, None, :] * budget[:, None] ** -batch.budget_exponent[:, None, :]
    return batch.irreducible_loss[:, None, :] + own + reducible


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Curvature:
    """Losses at one point per draw, and what their derivatives by the weights are made of.

    ``slope[d, i, j] = dL_j/dlambda_i``. The Hessian of ``sum_j c_j L_j`` is
    ``slope diag(c * spread) slope' + diag(bend @ c)``.
    """

    loss: Float[np.ndarray, "draw target"]
    slope: Float[np.ndarray, "draw source target"]
    spread: Float[np.ndarray, "draw target"]
    bend: Float[np.ndarray, "draw source target"] | None

    def hessian(self, cost: Float[np.ndarray, "draw target"]) -> Float[np.ndarray, "draw source source"]:
        """Return the Hessian of ``sum_j cost_j L_j`` (cost >= 0), positive semidefinite."""
        weight = cost * self.spread
        if np.any(weight < 0):  # concave in the sum of powers, and convex in the weights with the bend alone
            result = (self.slope * weight[:, None, :]) @ self.slope.transpose(0, 2, 1)
        else:
            scaled = self.slope * np.sqrt(weight)[:, None, :]
            result = scaled @ scaled.transpose(0, 2, 1)
        if self.bend is not None:
            index = np.arange(result.shape[-1])
            result[:, index, index] += np.einsum("dij,dj->di", self.bend, cost)
        return result


class Landscape:
    """Losses of a batch of laws at one budget as functions of the weights, powers computed once.

    With ``price`` per source the weights are shares of money: share ``w`` buys ``w * budget / price`` draws.
    """

    def __init__(
        self, law: LawParameters, budget: float, price: Float[np.ndarray, " source"] | None = None
    ) -> None:
        batch = law.batched()
        self.law, self.budget = batch, float(budget)
        self.reach = self.budget / (np.ones(batch.transfer.shape[1]) if price is None else price)
        self.scale = self.budget if batch.by_share else 1.0
        shared = bool(np.all(batch.rho == batch.rho[:, :1]))
        self.rho = batch.rho[:, None, :1] if shared else batch.rho[:, None, :]
        self.straight = bool(np.all(batch.rho == 1))
        self.plain = self.straight and not np.isfinite(batch.unique).any()
        self.shared = shared
        tau = batch.transfer / self.scale
        self.tau = tau if self.straight else _power(tau, batch.rho[:, None, :])
        self.base = batch.irreducible_loss + batch.budget_amplitude * self.budget**-batch.budget_exponent

    def _sum(self, weights: np.ndarray) -> np.ndarray:
        drawn = worth(weights * self.reach, self.law.unique, self.law.repeats)[..., None]
        powered = drawn if self.straight else _power(drawn, self.rho)
        return self._added(powered)

    def _added(self, powered: np.ndarray) -> np.ndarray:
        if self.shared:
            return (powered.transpose(0, 2, 1) @ self.tau)[:, 0]
        return np.einsum("dij,dij->dj", powered, self.tau)

    def loss(self, weights: Float[np.ndarray, "draw source"]) -> Float[np.ndarray, "draw target"]:
        """Return the losses of one mixture per draw."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            reducible = self.law.amplitude * self.law.fall.of_sum(
                self._sum(weights), self.law.exponent, self.law.rho, self.law.formula_numbers
            )
        return self.base + np.where(self.law.amplitude > 0, reducible, 0.0)

    def curvature(self, weights: Float[np.ndarray, "draw source"]) -> Curvature:
        """Return losses and derivatives at one mixture of weights above 0 per draw."""
        drawn = worth(weights * self.reach, self.law.unique, self.law.repeats)[..., None]
        first = (self.reach * worth(weights * self.reach, self.law.unique, self.law.repeats, order=1))[
            ..., None
        ]
        some = np.where(drawn > 0, drawn, 1.0)  # a source held at 0 does not move
        if self.straight:
            powered, rise = drawn, first
        else:
            powered = _power(drawn, self.rho)
            rise = self.rho * powered / some * first
        total = self._added(powered)
        amplitude = self.law.amplitude
        active = amplitude > 0
        reducible, fall, spread = self.law.fall.derivatives(
            np.where(active, total, 1.0), amplitude, self.law.exponent, self.law.rho, self.law.formula_numbers
        )
        bend = None
        if not self.plain:
            second = worth(weights * self.reach, self.law.unique, self.law.repeats, order=2)[..., None]
            second = self.reach[:, None] ** 2 * second
            turn = self.rho * powered / some * ((self.rho - 1) * first**2 / some + second)
            bend = -turn * self.tau * fall[:, None, :]
        return Curvature(
            loss=self.base + reducible, slope=-rise * self.tau * fall[:, None, :], spread=spread, bend=bend
        )
