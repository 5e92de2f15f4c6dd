"""A law's numbers as coordinates of a search: their bounds, which may move, the losses there and their derivatives.

A pure run is told one transfer of each target alone, so only cells of mixtures have an axis of sources: with many
domains nearly all of a table would be zeros.
"""

import copy
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.law.cells import Cells
from voxmix.law.curves import MIN_EXPONENT
from voxmix.law.forms import LawParameters, worth

HUBER = 0.02  # relative error from which a residual counts linearly: about the noise between seeds
MIN_RHO = 0.1
_NOTHING = 1e-12  # amplitudes and transfers below this, relative, count as 0
_FREE = 1e4  # most that a transfer to a target that is no source may be above the one that is held


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Freedom:
    """Which numbers may move, and which cells count.

    ``curve``, ``transfer``, ``budget_term`` free E, A, beta and the formula's own numbers; tau of other sources (to a
    target that is no source, of all but the largest at the start, which holds the scale); B and a. ``rho`` is
    "held", "shared" or "per-target". ``rows`` (cell, target) says which losses count. ``one_exponent`` moves
    beta of all targets together; rho is held then. ``weight`` multiplies each loss's part of the objective.
    """

    curve: bool
    transfer: bool
    budget_term: bool
    rho: str
    rows: Bool[np.ndarray, "*draw cell target"]
    own: bool = False
    one_exponent: bool = False
    weight: Float[np.ndarray, "*draw cell target"] | None = None

    @property
    def border(self) -> str:
        """How the number outside the targets' own blocks is shared: "held" where there is none."""
        return "shared" if self.one_exponent else self.rho


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each number of a target stands in the coordinates of the search: E, then logarithms of the others.

    A formula's numbers stand as :meth:`~voxmix.law.reducible.FormulaNumber.coordinate` says.
    """

    formula: tuple[str, ...]

    irreducible_loss: ClassVar[int] = 0
    amplitude: ClassVar[int] = 1
    exponent: ClassVar[int] = 2
    budget_amplitude: ClassVar[int] = 3
    budget_exponent: ClassVar[int] = 4
    curve: ClassVar[slice] = slice(0, 3)
    budget_term: ClassVar[slice] = slice(3, 5)

    @property
    def own(self) -> slice:
        """The formula's own numbers."""
        return slice(5, 5 + len(self.formula))

    @property
    def transfer(self) -> slice:
        """The transfers of all sources."""
        return slice(self.own.stop, None)

    def transfer_of(self, source: int) -> int:
        """The transfer of one source."""
        return int(self.own.stop) + source


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Losses:
    """Predicted losses at a point, and what their derivatives are made of.

    ``loss = size E + reducible + term``; ``far`` is ``ln n`` less the center. Of the cells of mixtures alone, ``powers``
    over ``total`` is each source's part of the CES sum, ``log_given`` the logarithm of what it gives.
    """

    loss: Float[np.ndarray, "draw cell target"]
    reducible: Float[np.ndarray, "draw cell target"]
    term: Float[np.ndarray, "draw cell target"]
    far: Float[np.ndarray, "draw cell target"]
    powers: Float[np.ndarray, "draw mixed target source"]
    total: Float[np.ndarray, "draw mixed target"]
    log_given: Float[np.ndarray, "draw mixed target source"]

    def only(self, draws: Int[np.ndarray, " draw"]) -> "Losses":
        """Return those of fewer draws."""
        return Losses(**{item.name: getattr(self, item.name)[draws] for item in fields(self)})

    def replaced(self, other: "Losses", where: Bool[np.ndarray, "draw target"]) -> "Losses":
        """Return the other's numbers for some targets, and these for the rest."""
        if where.all():
            return other
        if not where.any():
            return self
        values = {}
        for item in fields(self):
            mine, new = getattr(self, item.name), getattr(other, item.name)
            values[item.name] = np.where(np.expand_dims(where, (1, *range(3, mine.ndim))), new, mine)
        return Losses(**values)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slopes:
    """Derivatives of the losses at a point.

    Attributes:
        head: by the numbers before the transfers.
        pull: by ``ln n``: of a pure run the derivative by its source's transfer.
        share: what each transfer moves ``ln n`` of a mixture.
        border: by the number outside the blocks.
    """

    head: Float[np.ndarray, "draw cell target number"]
    pull: Float[np.ndarray, "draw cell target"]
    share: Float[np.ndarray, "draw mixed target source"]
    border: Float[np.ndarray, "draw cell target"]

    def only(self, draws: Int[np.ndarray, " draw"]) -> "Slopes":
        """Return those of fewer draws."""
        return Slopes(**{item.name: getattr(self, item.name)[draws] for item in fields(self)})


class Problem:
    """Losses and their derivatives in the coordinates of the search (:class:`Columns`)."""

    def __init__(
        self,
        cells: Cells,
        loss: Float[np.ndarray, "draw cell target"],
        law: LawParameters,
        free: Freedom,
        kind: str,
        max_exponent: float,
        max_transfer: float,
    ) -> None:
        self.cells, self.free, self.kind = cells, free, kind
        self.fall, self.at = law.fall, Columns(tuple(law.formula_numbers))
        self.scales = [number.scale(cells.budget) for number in self.fall.numbers]
        self.loss = np.where(free.rows, loss, 1.0)
        self.counts = free.rows.astype(np.float64)
        self.weight = self.counts if free.weight is None else self.counts * free.weight
        weights = self.counts / np.maximum(self.counts.sum(axis=-2, keepdims=True), 1)
        self.size = np.sqrt(np.sum(weights * self.loss**2, axis=1, keepdims=True))
        self.size = np.maximum(self.size, 1e-300)
        self.mixed, alone = np.flatnonzero(cells.source < 0), np.flatnonzero(cells.source >= 0)
        self.alone = alone[np.argsort(cells.source[alone], kind="stable")]
        """Cells of pure runs, by source."""
        self.source_of = cells.source[self.alone]
        drawn = worth(cells.weights * cells.budget[:, None], law.unique, law.repeats[:, None, :])
        drawn = drawn / (cells.budget[:, None] if law.by_share else 1.0)
        with np.errstate(divide="ignore"):
            log_drawn = np.log(drawn)
        log_drawn = np.broadcast_to(log_drawn, (loss.shape[0], *log_drawn.shape[-2:]))
        self.log_alone, self.log_mixed = (
            log_drawn[:, self.alone, self.source_of],
            log_drawn[:, self.mixed],
        )
        self.center = 0.0 if law.by_share else float(np.mean(np.log(cells.budget)))
        self.log_budget = np.log(cells.budget) - np.mean(np.log(cells.budget))
        self.middle = float(np.mean(np.log(cells.budget)))
        self._start(law, max_exponent, max_transfer)

    def _start(self, law: LawParameters, max_exponent: float, max_transfer: float) -> None:
        at, size = self.at, self.size[:, 0]
        floor = np.log(_NOTHING * size)
        level = self.fall.log_at(self.center, law.exponent, law.formula_numbers)
        with np.errstate(divide="ignore"):
            log_a = np.log(law.amplitude) + level
            log_b = np.log(law.budget_amplitude) - law.budget_exponent * self.middle
            log_tau = np.log(law.transfer).transpose(0, 2, 1)
        head = [law.irreducible_loss / size, log_a, np.log(law.exponent), log_b, np.log(law.budget_exponent)]
        head += [
            n.coordinate(law.formula_numbers[n.name], scale)
            for n, scale in zip(self.fall.numbers, self.scales, strict=True)
        ]
        self.theta = np.concatenate([np.stack(head, axis=-1), log_tau], axis=-1)
        self.low, self.high = np.empty(self.theta.shape), np.empty(self.theta.shape)

        def bound(place: int | slice, low: float | np.ndarray, high: float | np.ndarray) -> None:
            self.low[..., place], self.high[..., place] = low, high

        bound(at.irreducible_loss, 0.0, np.inf)
        for place in (at.amplitude, at.budget_amplitude):
            bound(place, floor, floor + 60)
        for place in (at.exponent, at.budget_exponent):
            bound(place, np.log(MIN_EXPONENT), np.log(max_exponent))
        for k, number in enumerate(self.fall.numbers):
            scale = self.scales[k]
            ends = [number.coordinate(np.array(end * scale), scale) for end in (number.low, number.high)]
            bound(at.own.start + k, *ends)
        bound(at.transfer, np.log(_NOTHING), np.log(max_transfer))
        held = self._held_sources()
        self.moves = self._moves(held)
        for j, source in enumerate(held):
            place = at.transfer_of(int(source))
            if self.cells.own[j] < 0:
                self.high[:, j, at.transfer] = np.log(_FREE) + self.theta[:, j, place, None]
            self.low[:, j, place] = np.minimum(self.low[:, j, place], 0.0)
            self.high[:, j, place] = np.maximum(self.high[:, j, place], 0.0)
        inside = np.clip(self.theta, self.low, self.high)
        self.theta = np.where(self.moves, inside, np.where(np.isfinite(self.theta), self.theta, self.low))
        self.rho = law.rho.copy()

    def _held_sources(self) -> Int[np.ndarray, " target"]:
        """Return whose transfer holds the scale: the target's own, or the largest at the start if it is no source."""
        largest = self.theta[..., self.at.transfer].mean(axis=0).argmax(axis=1)
        return np.where(self.cells.own >= 0, self.cells.own, largest)

    def _moves(self, held: Int[np.ndarray, " target"]) -> Bool[np.ndarray, "target number"]:
        """Return which numbers the search may move; ``held`` is whose transfer holds the scale."""
        at, free = self.at, self.free
        moves = np.zeros(self.theta.shape[1:], dtype=bool)
        moves[:, at.curve] = free.curve
        moves[:, at.exponent] &= not free.one_exponent
        moves[:, at.budget_term] = free.budget_term
        moves[:, at.own] = free.curve
        moves[:, at.transfer] = free.transfer
        moves[:, at.transfer] &= self._sources_seen()
        for j, source in enumerate(held):
            moves[j, at.transfer_of(int(source))] = free.own and self.cells.own[j] >= 0
        return moves

    def _sources_seen(self) -> Bool[np.ndarray, "target source"]:
        rows = self.free.rows if self.free.rows.ndim == 2 else self.free.rows.any(axis=0)
        return (rows.T.astype(float) @ (self.cells.weights > 0)) > 0

    def _formula_numbers(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Return the formula's own numbers, one row of them for all cells."""
        own = theta[:, None, :, self.at.own]
        return {
            number.name: number.value(own[..., k], self.scales[k])
            for k, number in enumerate(self.fall.numbers)
        }

    def losses(self, theta: np.ndarray, rho: np.ndarray) -> Losses:
        """Return the losses at a point."""
        at, number = self.at, theta[:, None]
        log_given = self.log_mixed[:, :, None, :] + number[..., at.transfer]
        scaled = rho[:, None, :, None] * log_given
        top = scaled.max(axis=-1, keepdims=True)
        top = np.where(np.isfinite(top), top, 0.0)
        powers = np.exp(scaled - top)
        total = powers.sum(axis=-1)
        log_n = np.empty((len(theta), *self.loss.shape[1:]))
        with np.errstate(divide="ignore"):
            log_n[:, self.mixed] = (np.log(total) + top[..., 0]) / rho[:, None, :]
        own = theta[..., at.transfer][..., self.source_of].transpose(0, 2, 1)
        log_n[:, self.alone] = self.log_alone[..., None] + own
        far = log_n - self.center
        exponent = np.exp(number[..., at.exponent])
        fallen = self.fall.log_ratio(far, self.center, exponent, self._formula_numbers(theta))
        reducible = np.exp(np.clip(number[..., at.amplitude] + fallen, -700, 300))
        own = np.exp(number[..., at.budget_exponent]) * self.log_budget[:, None]
        term = np.exp(np.clip(number[..., at.budget_amplitude] - own, -700, 300))
        if not self.free.budget_term:
            none = number[..., at.budget_amplitude] <= self.low[:, None, :, at.budget_amplitude]
            term = np.where(none, 0.0, term)
        return Losses(
            loss=self.size * number[..., at.irreducible_loss] + reducible + term,
            reducible=reducible,
            term=term,
            far=far,
            powers=powers,
            total=total,
            log_given=log_given,
        )

    def residual(self, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals and their derivative by the predicted loss, before any weight."""
        if self.kind == "log":
            value, slope = np.log(np.maximum(guess, 1e-300) / self.loss), 1 / np.maximum(guess, 1e-300)
        elif self.kind == "relative-huber":
            value, slope = guess / self.loss - 1, 1 / self.loss
        else:
            value, slope = (guess - self.loss) / self.size, 1 / np.broadcast_to(self.size, guess.shape)
        return value * self.counts, slope * self.counts

    def cost(self, value: np.ndarray) -> Float[np.ndarray, "draw target"]:
        """Return the objective per draw and target."""
        if self.kind == "relative-huber":
            size = np.abs(value)
            value2 = np.where(size <= HUBER, value**2, 2 * HUBER * size - HUBER**2)
        else:
            value2 = value**2
        with np.errstate(over="ignore"):
            return np.minimum((self.weight * value2).sum(axis=1), 1e300)

    def rooted(self, value: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return residuals and their derivative with the weights, Huber's too, folded in by root."""
        root = np.sqrt(self.weight)
        if self.kind == "relative-huber":
            root = root * np.sqrt(np.minimum(1.0, HUBER / np.maximum(np.abs(value), 1e-300)))
        return value * root, slope * root

    def slopes(self, theta: np.ndarray, rho: np.ndarray, at_point: Losses) -> Slopes:
        """Return derivatives of the losses; ``at_point`` is :meth:`losses` there."""
        at, reducible, term, mixed = self.at, at_point.reducible, at_point.term, self.mixed
        share = at_point.powers / np.maximum(at_point.total, 1e-300)[..., None]
        numbers = self._formula_numbers(theta)
        pull, by_exponent, by_own = self.fall.log_slopes(
            reducible, at_point.far, self.center, np.exp(theta[:, None, :, at.exponent]), numbers
        )
        head = np.empty((*reducible.shape, at.transfer.start))
        head[..., at.irreducible_loss] = self.size
        head[..., at.amplitude] = reducible
        head[..., at.exponent] = by_exponent
        head[..., at.budget_amplitude] = term
        head[..., at.budget_exponent] = (
            -np.exp(theta[:, None, :, at.budget_exponent]) * self.log_budget[:, None] * term
        )
        for k, number in enumerate(self.fall.numbers):
            rise = number.slope(numbers[number.name], self.scales[k])
            head[..., at.own.start + k] = by_own[number.name] * rise
        head *= self.moves[:, : at.transfer.start]
        border = by_exponent
        if not self.free.one_exponent:  # one source's part does not depend on rho
            far = at_point.far[:, mixed]
            log_given = np.where(share > 0, at_point.log_given, 0.0)
            reached = np.where(np.isfinite(far), far, 0.0) + self.center
            border = np.zeros_like(reducible)
            border[:, mixed] = (
                pull[:, mixed] * (np.sum(share * log_given, axis=-1) - reached) / rho[:, None, :]
            )
        return Slopes(head=head, pull=pull, share=share * self.moves[:, at.transfer], border=border)

    def of_sources(
        self, values: Float[np.ndarray, "draw alone *rest"]
    ) -> Float[np.ndarray, "draw source *rest"]:
        """Return sums over the pure runs of each source; ``values`` are in the order of :attr:`alone`."""
        found = np.zeros((len(values), len(self.cells.domains), *values.shape[2:]))
        if len(self.alone):
            sources, starts = np.unique(self.source_of, return_index=True)
            found[:, sources] = np.add.reduceat(values, starts, axis=1)
        return found

    def only(self, draws: Int[np.ndarray, " draw"]) -> "Problem":
        """Return the problem of fewer draws."""
        fewer = copy.copy(self)
        for name in ("loss", "size", "log_alone", "log_mixed", "low", "high"):
            setattr(fewer, name, getattr(self, name)[draws])
        for name in ("counts", "weight"):
            array = getattr(self, name)
            setattr(fewer, name, array[draws] if array.ndim == 3 else array)
        return fewer

    def border(self, theta: np.ndarray, rho: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the number outside the blocks (draw, target), and its bounds."""
        if self.free.one_exponent:
            place = self.at.exponent
            return theta[..., place], self.low[..., place], self.high[..., place]
        return rho, np.full_like(rho, MIN_RHO), np.ones_like(rho)

    def with_border(
        self, theta: np.ndarray, rho: np.ndarray, moved: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return theta and rho with the number outside the blocks at a new place."""
        if self.free.one_exponent:
            theta = theta.copy()
            theta[..., self.at.exponent] = moved
            return theta, rho
        return theta, (rho if self.free.rho == "held" else moved)

    def law(self, law: LawParameters, theta: np.ndarray, rho: np.ndarray) -> LawParameters:
        """Return the parameters at the end of the search; amplitudes and transfers at their floor are 0."""
        at, resting = self.at, theta <= self.low + 1e-9
        exponent, own = np.exp(theta[..., at.exponent]), np.exp(theta[..., at.budget_exponent])
        numbers = {name: array[:, 0] for name, array in self._formula_numbers(theta).items()}
        level = self.fall.log_at(self.center, exponent, numbers)
        log_b = theta[..., at.budget_amplitude] + own * self.middle
        tau = np.where(resting[..., at.transfer], 0.0, np.exp(theta[..., at.transfer]))
        return law.changed(
            {
                "irreducible_loss": theta[..., at.irreducible_loss] * self.size[:, 0],
                "amplitude": np.where(
                    resting[..., at.amplitude], 0.0, np.exp(theta[..., at.amplitude] - level)
                ),
                "exponent": exponent,
                "budget_amplitude": np.where(resting[..., at.budget_amplitude], 0.0, np.exp(log_b)),
                "budget_exponent": own,
                "transfer": tau.transpose(0, 2, 1),
                "rho": rho,
                **numbers,
            }
        )
