"""Losses that no noise explains: rows far from their twins in seed and from their own curve over budgets.

The rule assumes no law, so a law that does not hold makes no outlier. It is robust: medians, the worst row first, and
everything judged again without it. In log loss, after each seed's own effect over all runs is taken out:

- *Curve*: the same mixture and target at the nearest budgets below and above. A loss between them is never odd, so
  steps, plateaus and steep curves are left alone. At the ends of a curve the losses of the two nearest budgets are
  carried on, or the target's other curves followed; a fall at the largest budget, or a start far above the rest, may
  be a step, so they must be farther off.
- *Others*: where a mixture was run at one budget only, the range of all other losses on that target.
- *Twins*: other seeds of the same mixture and budget. A loss near their median is not odd, unless the whole cell lies
  far off its curve (two seeds may diverge alike).

A row is odd when it lies outside by more than a factor and six times the noise of the seeds, which is judged by the
median over all twins and curves. docs/concepts/law.md has the factors and how often they were wrong.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix.law.table_cells import FEW, cells_of, median, mixture_index, noise_of_targets, seed_effects
from voxmix.measurement import MeasurementTable
from voxmix.response import LOSS, Response

# Factors as differences of log loss.
_INSIDE = np.log(1.5)  # beyond both neighbours, or from the twins
_END = np.log(2.0)  # beyond the end of a curve, where noise or a rise would lead
_STEP = np.log(8.0)  # beyond the end of a curve, where a step would lead
_STEEPEST = 3.0  # exponent of a step over far-apart budgets; the laws go to 2
_ONE_WITNESS = 0.5  # the end of a curve is accused by its one neighbour, which may be the odd one itself
_ALONE = np.log(3.0)  # a whole cell beyond its curve
_OTHERS = np.log(10.0)  # beyond all other losses of the target; beyond many, _ALONE is enough
_MANY = 20
SPREADS = 6.0  # times the noise of one seed, on top of every factor
_NAMED = 3  # odd losses that a sentence names


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlier:
    """A loss that no noise explains: where it is, and about what its twins and its curve predict.

    ``expected`` is None for a loss of exactly 0, which no run can have.
    """

    run: str
    seed: int
    budget: float
    mixture: str
    target: str
    loss: float
    expected: float | None

    @property
    def sentence(self) -> str:
        """Where the loss is and what was expected."""
        return self.said(LOSS)

    def said(self, response: Response) -> str:
        """Return where the value of a response is and what was expected."""
        here = f"run {self.run} (seed {self.seed}, {self.budget:,.0f} draws of {self.mixture}) on {self.target}: "
        if self.expected is None and response.rises:
            return here + f"{response.label} of exactly {response.best:g}, the most that is possible"
        if self.expected is None:
            return here + "a loss of exactly 0, which no run can have"
        value, expected = response.from_loss(self.loss), response.from_loss(self.expected)
        return here + f"{value:.3g} where about {expected:.3g} was expected"

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-like data."""
        return asdict(self)


_Cell = tuple[float, list[int]]  # budget, and the rows of one mixture and target that are not odd


def find_outliers(table: MeasurementTable) -> tuple[Outlier, ...]:
    """Return the rows that no noise explains, in the order of the table."""
    loss = np.asarray(table.loss)
    zero = loss <= 0
    if zero.all():
        return ()
    cells = cells_of(table, mixture_index(table), ~zero)
    found: dict[int, float | None] = {int(row): None for row in np.flatnonzero(zero)}
    effect = seed_effects(table, cells)
    value = np.log(np.where(zero, 1.0, loss)) - [effect.get(seed, 0.0) for seed in table.seed.tolist()]
    noise = noise_of_targets(table, cells, value)
    by_target: dict[int, dict[int, list[_Cell]]] = defaultdict(lambda: defaultdict(list))
    for (m, budget, j), rows in cells.items():
        by_target[j][m].append((budget, rows))
    values = value.tolist()
    for j, by_mixture in by_target.items():
        curves = [sorted(curve) for curve in by_mixture.values()]
        for row, expected in _odd_of_target(curves, values, float(noise[j])):
            found[row] = float(np.exp(expected + np.log(loss[row]) - value[row]))
    return tuple(outlier_at(table, row, found[row]) for row in sorted(found))


def outlier_sentence(odd: Sequence[Outlier], *, kept: bool | None, response: Response = LOSS) -> str:
    """Return how many losses no noise explains, what became of them (None: nothing yet), and the worst of them."""
    shown = sorted(odd, key=lambda item: -_off(item))[:_NAMED]
    more = f"; and {len(odd) - len(shown):,} more" if len(odd) > len(shown) else ""
    done = (
        "are fitted too, as you asked"
        if kept
        else f"are {'set aside' if kept is False else 'in the table, and fit sets them aside'} (--keep-outliers, in Python "
        "keep_outliers=True, fits them)"
    )
    many, one = ("values", f"value of {response.label}") if response.rises else ("losses", "loss")
    what = f"1 {one}" if len(odd) == 1 else f"{len(odd):,} {many}"
    verb = done.replace("are ", "is ", 1).replace("them", "it") if len(odd) == 1 else done
    return (
        f"{what} that no noise of the seeds explains {verb}: "
        f"{'; '.join(item.said(response) for item in shown)}{more}. Check whether that run diverged"
    )


def _off(item: Outlier) -> float:
    return np.inf if item.expected is None else abs(float(np.log(item.loss / item.expected)))


def outlier_at(table: MeasurementTable, row: int, expected: float | None) -> Outlier:
    """Return a row as an outlier."""
    held = np.flatnonzero(table.weights[row] > 0)
    return Outlier(
        run=table.run[row],
        seed=int(table.seed[row]),
        budget=float(table.budget[row]),
        mixture=table.domains[held[0]] if len(held) == 1 else f"a mixture of {len(held)}",
        target=table.target[row],
        loss=float(table.loss[row]),
        expected=expected,
    )


def _odd_of_target(curves: list[list[_Cell]], value: list[float], noise: float) -> list[tuple[int, float]]:
    """Return the odd rows of one target with the log loss that was expected: the worst first, then all again."""
    found: list[tuple[int, float]] = []
    while True:
        excess, row, expected = max(_odd_rows(curves, value, SPREADS * noise), default=(0.0, -1, 0.0))
        if excess <= 0:
            return found
        found.append((row, expected))
        without = [[(budget, [r for r in rows if r != row]) for budget, rows in curve] for curve in curves]
        curves = [[cell for cell in curve if cell[1]] for curve in without]


def _odd_rows(
    curves: Sequence[Sequence[_Cell]], value: list[float], room: float
) -> Iterator[tuple[float, int, float]]:
    """Yield how far each odd row lies beyond what is allowed, the row, and the log loss that was expected."""
    middles = [[median([value[row] for row in rows]) for _, rows in curve] for curve in curves]
    changes = _Changes(curves, middles)
    logs = {budget: float(np.log(budget)) for curve in curves for budget, _ in curve}
    for k, curve in enumerate(curves):
        at = [logs[budget] for budget, _ in curve]
        for c, (_, rows) in enumerate(curve):
            if len(curve) > 1:
                inside = 0 < c < len(curve) - 1
                allowed = _by_curve(at, middles[k], c, None if inside else changes.usual(k, c))
            else:
                allowed = _by_others(
                    np.array([m for n, series in enumerate(middles) if n != k for m in series])
                )
            for row in rows:
                if allowed.beyond(value[row], room) <= 0:
                    continue  # no twin accuses it then
                excess, expected = allowed.judge(value[row], [value[r] for r in rows if r != row], room)
                if excess > 0:
                    witness = 1.0 if 0 < c < len(curve) - 1 else _ONE_WITNESS
                    yield witness * excess, row, expected


@dataclass(frozen=True, slots=True)
class _Allowed:
    """Where a log loss is never odd, and by how much (log) it may lie beyond; and what was expected."""

    low: float
    high: float
    down: float
    up: float
    expected: float

    def beyond(self, loss: float, room: float) -> float:
        """Return by how much a log loss lies beyond what is allowed, whatever its twins."""
        return max(loss - self.high - self.up, self.low - loss - self.down) - room

    def judge(self, loss: float, twins: list[float], room: float) -> tuple[float, float]:
        """Return by how much a log loss lies beyond what is allowed, and what was expected of it."""
        beyond = self.beyond(loss, room)
        if not twins:
            return beyond, self.expected
        middle = median(twins)
        alike = abs(loss - middle) - _INSIDE - room
        whole_cell = (
            max(loss - self.high - max(self.up, _ALONE), self.low - loss - max(self.down, _ALONE)) - room
        )
        if alike <= 0 or whole_cell > alike:
            return whole_cell, self.expected
        return min(beyond, alike), middle


class _Changes:
    """The changes that curves make from one budget to another, of which every curve asks that of the others."""

    def __init__(self, curves: Sequence[Sequence[_Cell]], middles: Sequence[Sequence[float]]) -> None:
        self._curves = curves
        self._levels = [
            {budget: middle for (budget, _), middle in zip(curve, series, strict=True)}
            for curve, series in zip(curves, middles, strict=True)
        ]
        self._sorted: dict[tuple[float, float], tuple[list[float], dict[int, float]]] = {}

    def usual(self, place: int, c: int) -> float | None:
        """Return the median change of the others from the neighbour of an end of a curve to the end."""
        inward = 1 if c == 0 else -1
        end, near = self._curves[place][c][0], self._curves[place][c + inward][0]
        if (end, near) not in self._sorted:
            own = {k: at[end] - at[near] for k, at in enumerate(self._levels) if end in at and near in at}
            self._sorted[end, near] = (sorted(own.values()), own)
        ordered, own = self._sorted[end, near]
        count = len(ordered) - 1
        if count < 2:
            return None
        gone, half = bisect_left(ordered, own[place]), count // 2

        def nth(n: int) -> float:
            return ordered[n if n < gone else n + 1]

        return nth(half) if count % 2 else (nth(half - 1) + nth(half)) / 2


def _by_curve(at: list[float], middles: list[float], c: int, usual: float | None) -> _Allowed:
    """Return what a mixture's other budgets allow: between its neighbours; at an end, where they or others lead."""
    lowest = min(middle for k, middle in enumerate(middles) if k != c)  # a seed may step down early
    if 0 < c < len(middles) - 1:
        below, above = middles[c - 1], middles[c + 1]
        share = (at[c] - at[c - 1]) / (at[c + 1] - at[c - 1])
        line = below + share * (above - below)
        return _Allowed(lowest, max(below, above), _INSIDE, _INSIDE, float(line))
    inward = 1 if c == 0 else -1
    near = middles[c + inward]
    lead = near
    if len(middles) > 2:
        slope = (middles[c + 2 * inward] - near) / (at[c + 2 * inward] - at[c + inward])
        lead = near + slope * (at[c] - at[c + inward])
    like = near if usual is None else near + usual
    step = max(_STEP, _STEEPEST * abs(at[c] - at[c + inward]))
    down, up = (_END, step) if c == 0 else (step, _END)
    return _Allowed(min(lowest, lead, like), max(near, lead, like), down, up, float(lead))


def _by_others(rest: Float[np.ndarray, " cell"]) -> _Allowed:
    """Return what all other losses of the target allow, for a mixture that was run at one budget only."""
    if len(rest) < FEW:
        return _Allowed(-np.inf, np.inf, 0.0, 0.0, 0.0)
    beyond = _OTHERS if len(rest) < _MANY else _ALONE
    return _Allowed(float(rest.min()), float(rest.max()), beyond, beyond, float(np.median(rest)))
