"""How the reducible loss falls with the effective budget: ``A h(n)``, as predictions, fits and programs need it.

The laws of the family fall as a power, ``h(n) = n**-beta``. Another law gives a :class:`Formula`: h, its derivatives,
and the numbers per target that it has besides A and beta.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Numbers = Mapping[str, np.ndarray]
"""Numbers of a formula besides A and beta, by name; each has the shape of the exponent."""


_SOFT = 0.03  # of a number that may be 0: up to about here, in multiples of its scale, the search is linear


@dataclass(frozen=True, kw_only=True, slots=True)
class FormulaNumber:
    """One number per target of a formula; the fit searches its logarithm from each of ``starts``.

    With ``low=0`` the number may be 0; near it the search is linear.

    Attributes:
        name: what it is called in the saved law and in tables.
        low, high, starts: bounds and starts; multiples of the geometric mean of the fitted budgets where ``in_draws``.
        in_draws: whether it counts draws of the target, as the effective budget does. For targets that are no source a
            formula must keep its form, up to A, when n and these numbers are counted in another unit.
        at_zero: what a number of 0 means, in words; for the status.
    """

    name: str
    low: float
    high: float
    starts: tuple[float, ...]
    in_draws: bool = False
    at_zero: str = ""

    def scale(self, budget: Float[np.ndarray, " cell"]) -> float:
        """Return what bounds and starts are multiples of."""
        return float(np.exp(np.mean(np.log(budget)))) if self.in_draws else 1.0

    def coordinate(self, value: np.ndarray, scale: float) -> np.ndarray:
        """Return where a value stands in the coordinates of the search."""
        return np.asarray(np.log(value / scale + self._shift))

    def value(self, coordinate: np.ndarray, scale: float) -> np.ndarray:
        """Return the value at a coordinate of the search."""
        return np.asarray(np.maximum(np.exp(coordinate) - self._shift, 0.0) * scale)

    def slope(self, value: np.ndarray, scale: float) -> np.ndarray:
        """Return the derivative of the value by the coordinate."""
        return np.asarray(value + self._shift * scale)

    @property
    def _shift(self) -> float:
        return 0.0 if self.low > 0 else _SOFT


@runtime_checkable
class Fall(Protocol):
    """h(n) and what is derived from it. ``exponent`` is beta, ``numbers`` are the formula's own."""

    @property
    def numbers(self) -> tuple[FormulaNumber, ...]:
        """The numbers per target besides A and beta."""

    def at(self, reached: np.ndarray, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """Return h at an effective budget."""

    def of_sum(
        self, total: np.ndarray, exponent: np.ndarray, rho: np.ndarray, numbers: Numbers
    ) -> np.ndarray:
        """Return h where ``n**rho`` is ``total``, the sum over sources."""

    def derivatives(
        self,
        total: np.ndarray,
        amplitude: np.ndarray,
        exponent: np.ndarray,
        rho: np.ndarray,
        numbers: Numbers,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``L = A h``, ``-dL/dtotal``, and ``d2L/dtotal2 / (dL/dtotal)**2`` (0 where L does not fall).

        The last may be below 0 where rho is below 1: L is convex in the weights and need not be so in the total.
        """

    def log_at(self, log_reached: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """Return ln h at one effective budget."""

    def log_ratio(self, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """Return ln h(n) - ln h(exp center), where ``far`` is ln n - center (-inf where nothing is reached)."""

    def in_units(
        self, factor: np.ndarray, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return what A is multiplied by, and the own numbers, where n is counted in units ``factor`` times as large."""

    def log_slopes(
        self, reducible: np.ndarray, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return the derivatives of ``reducible`` by ln n, by ln beta and by each own number.

        The loss at ``center`` is held: A moves along.
        """


@dataclass(frozen=True, slots=True)
class PowerFall:
    """``h(n) = n**-beta``, all in closed form."""

    @property
    def numbers(self) -> tuple[FormulaNumber, ...]:
        """None besides A and beta."""
        return ()

    def at(self, reached: np.ndarray, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(reached**-exponent)

    def of_sum(
        self, total: np.ndarray, exponent: np.ndarray, rho: np.ndarray, numbers: Numbers
    ) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(total ** -(exponent / rho))

    def derivatives(
        self,
        total: np.ndarray,
        amplitude: np.ndarray,
        exponent: np.ndarray,
        rho: np.ndarray,
        numbers: Numbers,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :class:`Fall`."""
        steep = exponent / rho
        reducible = amplitude * total**-steep
        fall = steep * reducible / total
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(fall > 0, (steep + 1) / (steep * reducible), 0.0)
        return reducible, fall, spread

    def log_at(self, log_reached: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(-(exponent * log_reached))

    def log_ratio(self, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(-(exponent * far))

    def in_units(
        self, factor: np.ndarray, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See :class:`Fall`."""
        return np.asarray(factor**-exponent), {}

    def log_slopes(
        self, reducible: np.ndarray, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """See :class:`Fall`."""
        pull = -exponent * reducible
        return pull, pull * np.where(np.isfinite(far), far, 0.0), {}


POWER = PowerFall()


@dataclass(frozen=True, kw_only=True, slots=True)
class Formula:
    """A fall given by h, above 0, falling and convex in the effective budget n, and by its derivatives.

    Each function is given n, beta and the own numbers by name.

    Attributes:
        value: h.
        by_reach: dh/dn and d2h/dn2.
        by_number: dh by beta (under the name "exponent") and by each own number.
        numbers: the numbers per target besides A and beta.

    Example: :data:`OFFSET`, ``h = (kappa + n)**-beta``.
    """

    value: Callable[..., np.ndarray]
    by_reach: Callable[..., tuple[np.ndarray, np.ndarray]]
    by_number: Callable[..., Mapping[str, np.ndarray]]
    numbers: tuple[FormulaNumber, ...] = ()

    def at(self, reached: np.ndarray, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(self.value(reached, exponent, **numbers))

    def of_sum(
        self, total: np.ndarray, exponent: np.ndarray, rho: np.ndarray, numbers: Numbers
    ) -> np.ndarray:
        """See :class:`Fall`."""
        return self.at(total ** (1 / rho), exponent, numbers)

    def derivatives(
        self,
        total: np.ndarray,
        amplitude: np.ndarray,
        exponent: np.ndarray,
        rho: np.ndarray,
        numbers: Numbers,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :class:`Fall`."""
        n = total ** (1 / rho)
        some = np.where(total > 0, total, 1.0)
        first = np.where(total > 0, n / (rho * some), np.where(rho == 1, 1.0, 0.0))
        second = np.where(total > 0, first * (1 / rho - 1) / some, 0.0)
        slope, bend = self.by_reach(n, exponent, **numbers)
        fall = -amplitude * slope * first
        curved = amplitude * (bend * first**2 + slope * second)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(fall > 0, curved / fall**2, 0.0)
        return amplitude * self.at(n, exponent, numbers), fall, spread

    def log_at(self, log_reached: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        return np.asarray(
            np.log(self.at(np.exp(np.full(np.shape(exponent), log_reached)), exponent, numbers))
        )

    def log_ratio(self, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers) -> np.ndarray:
        """See :class:`Fall`."""
        reached = self.at(np.exp(far + center), exponent, numbers)
        return np.asarray(np.log(reached) - self.log_at(center, exponent, numbers))

    def in_units(
        self, factor: np.ndarray, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See :class:`Fall`: numbers in draws are counted in the new unit, and h keeps its value at one new unit."""
        moved = {
            number.name: numbers[number.name] / factor if number.in_draws else numbers[number.name]
            for number in self.numbers
        }
        one = np.ones_like(factor)
        return np.asarray(self.at(factor, exponent, numbers) / self.at(one, exponent, moved)), moved

    def log_slopes(
        self, reducible: np.ndarray, far: np.ndarray, center: float, exponent: np.ndarray, numbers: Numbers
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """See :class:`Fall`."""
        n, middle = np.exp(far + center), np.exp(np.full(np.shape(exponent), center))
        here, there = (self.at(where, exponent, numbers) for where in (n, middle))
        by_here, by_there = (self.by_number(where, exponent, **numbers) for where in (n, middle))
        with np.errstate(invalid="ignore"):
            moved = {
                name: reducible * (by_here[name] / here - by_there[name] / there)
                for name in ("exponent", *numbers)
            }
            by_reach = reducible * n * self.by_reach(n, exponent, **numbers)[0] / here
        return by_reach, exponent * moved.pop("exponent"), moved


OFFSET = Formula(
    value=lambda n, beta, kappa: (kappa + n) ** -beta,
    by_reach=lambda n, beta, kappa: (
        -beta * (kappa + n) ** (-beta - 1),
        beta * (beta + 1) * (kappa + n) ** (-beta - 2),
    ),
    by_number=lambda n, beta, kappa: {
        "exponent": -np.log(kappa + n) * (kappa + n) ** -beta,
        "kappa": -beta * (kappa + n) ** (-beta - 1),
    },
    numbers=(
        FormulaNumber(
            name="kappa",
            low=0.0,
            high=100.0,
            starts=(0.02, 1.5),
            in_draws=True,
            at_zero="its losses show no plateau, so the law is the one without kappa there",
        ),
    ),
)
"""``h = (kappa + n)**-beta``: finite where nothing is drawn (Alabdulmohsin, Neyshabur and Zhai 2022, in mixtures)."""
