"""Losses that look wrong and are fitted all the same: too near for an outlier, too far for noise. They are only named.

- *Rises*: with the same seed and mixture, which holds the target, a loss does not rise with the budget. Of two that do, the
  one to blame is that without which the curve rises least, then the one farther from the line of its neighbours.
  Where a target's losses rise often, as those of a few volumes that are drawn too often, none of them is odd.
- *Twins*: one seed lies far from all others of the same mixture and budget, which agree. Of two seeds that do not, the one
  that lies farther from the line of its neighbours in budget is named.
- *The law*: among many mixtures that were fitted together, one lies far from where the law puts it.

Steps that a seed takes at a budget of its own are none of these. Foreign losses may rise: they are left alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from voxmix.law.cells import Cells
from voxmix.law.outliers import SPREADS, Outlier, outlier_at
from voxmix.law.table_cells import cells_of, mixture_index, noise_of_targets, seed_effects
from voxmix.measurement import MeasurementTable
from voxmix.response import LOSS, Response

_RISE = np.log(1.1)  # the largest right one in the tables of real runs is 6%
_TWINS = np.log(1.2)
_TWO = np.log(1.4)  # two seeds differ by up to 1.3 in the tables of real runs
_AGREE = 3.0  # times nearer to each other than to the odd one
_OFF_LAW = np.log(1.1)
_MANY = 30  # mixtures at one budget, from which their residuals tell what is far
_FARTHER = 3.0  # times what all but a twentieth do
_FARTHEST = (
    6.0  # the same from a law, whose misfit has long tails: 5.4 in RegMix, 9 for the one odd value of olmix
)
_MAD = 1.4826
_NAMED = 3


@dataclass(frozen=True, slots=True)
class _Point:
    """One loss on the curve of a seed: its log budget, log loss and row."""

    at: float
    value: float
    row: int


@dataclass(frozen=True, slots=True)
class _Twin:
    """The row of a cell that lies farthest from its others, what these say, how far it lies from them, and they apart."""

    row: int
    expected: float
    away: float
    others: int
    apart: float


def find_suspects(table: MeasurementTable, aside: Sequence[Outlier] = ()) -> tuple[Outlier, ...]:
    """Return the losses that look wrong but for those that are outliers anyhow, in the order of the table."""
    gone = {(item.run, item.target) for item in aside}
    usable = np.array([key not in gone for key in zip(table.run, table.target, strict=True)]) & (
        np.asarray(table.loss) > 0
    )
    if not usable.any():
        return ()
    value, effect = np.log(np.where(usable, table.loss, 1.0)), _effects(table)
    level = value - effect
    mixture = mixture_index(table)
    spread = noise_of_targets(table, cells_of(table, mixture, usable), level, by_twins=True)
    noise = {name: float(spread[k]) for name, k in zip(table.target, table.target_index, strict=True)}
    found: dict[int, float] = {}
    curves = list(_curves(table, mixture, value, usable))
    steps: dict[str, list[float]] = defaultdict(list)
    for target, points in curves:
        steps[target] += [max(b.value - a.value, 0.0) for a, b in pairwise(points)]
    usual_of = {target: _usual(sizes) for target, sizes in steps.items()}
    every = _usual([size for sizes in steps.values() for size in sizes])
    for target, points in curves:
        found |= dict(_rises(points, max(_RISE, SPREADS * noise[target], usual_of[target], every)))
    line = {point.row: _line(points, k) for _, points in curves for k, point in enumerate(points)}
    away = np.array([abs(value[row] - line.get(row, value[row])) for row in range(len(table))])
    apart = [(_farthest(rows, level, away), target) for target, rows in _twins(table, mixture, usable)]
    usual = _usual([twin.away for twin, _ in apart])
    for twin, target in apart:
        least = _TWO if twin.others == 1 else _TWINS
        if twin.away > max(least, 1.5 * SPREADS * noise[target], usual, _AGREE * twin.apart):
            found[twin.row] = twin.expected + float(effect[twin.row])
    return tuple(outlier_at(table, row, float(np.exp(found[row]))) for row in sorted(found))


def far_from_law(
    table: MeasurementTable, cells: Cells, predicted: Float[np.ndarray, "cell target"]
) -> tuple[Outlier, ...]:
    """Return losses of swarms that lie far from a joint fit: 10%, and six times as far as all but a twentieth."""
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.log(cells.loss / predicted)
    found: dict[tuple[int, int], float] = {}
    for j in range(len(cells.targets)):
        for budget in np.unique(cells.budget):
            rows = np.flatnonzero(cells.mixed & (cells.budget == budget) & np.isfinite(away[:, j]))
            if len(rows) < _MANY:
                continue
            size = np.abs(away[rows, j] - np.median(away[rows, j]))
            least = max(
                _OFF_LAW, SPREADS * _MAD * float(np.median(size)), _FARTHEST * float(np.quantile(size, 0.95))
            )
            found |= {(int(k), j): float(predicted[k, j]) for k in rows[size > least]}
    where = {
        (tuple(np.round(cells.weights[k], 9)), float(cells.budget[k]), cells.targets[j]): expected
        for (k, j), expected in found.items()
    }
    named = []
    for row in range(len(table)) if where else ():
        key = (tuple(np.round(table.weights[row], 9)), float(table.budget[row]), table.target[row])
        if key in where:
            named.append(outlier_at(table, row, where[key]))
    return tuple(named)


def suspect_sentence(suspects: Sequence[Outlier], response: Response = LOSS) -> str:
    """Return how many losses look wrong, that they were fitted, and the worst of them."""
    shown = sorted(suspects, key=lambda item: -abs(np.log(item.loss / (item.expected or item.loss))))[:_NAMED]
    more = f"; and {len(suspects) - len(shown):,} more" if len(suspects) > len(shown) else ""
    many, one = ("values", f"value of {response.label}") if response.rises else ("losses", "loss")
    what = f"1 {one} looks" if len(suspects) == 1 else f"{len(suspects):,} {many} look"
    return (
        f"{what} wrong and {'is' if len(suspects) == 1 else 'are'} fitted all the same: "
        f"{'; '.join(item.said(response) for item in shown)}{more}. Look at these runs, and leave out what is wrong"
    )


def _effects(table: MeasurementTable) -> Float[np.ndarray, " row"]:
    effect = seed_effects(table)
    return np.array([effect.get(int(seed), 0.0) for seed in table.seed])


def _holds(table: MeasurementTable) -> Bool[np.ndarray, " row"]:
    """Return which rows are of runs that hold their target; what is no source, every run may hold."""
    place = {name: i for i, name in enumerate(table.domains)}
    return np.array(
        [name not in place or table.weights[row, place[name]] > 0 for row, name in enumerate(table.target)]
    )


def _curves(
    table: MeasurementTable, mixture: np.ndarray, value: np.ndarray, usable: np.ndarray
) -> Iterator[tuple[str, list[_Point]]]:
    """Yield the losses of one mixture, target and seed by budget; not those of which two have one budget."""
    rows = [int(row) for row in np.flatnonzero(usable & _holds(table))]
    cell = [(int(mixture[row]), table.target[row], float(table.budget[row])) for row in rows]
    twinned = {place[:2] for place, count in Counter(cell).items() if count > 1}
    groups: dict[tuple[int, str, int], list[_Point]] = defaultdict(list)
    for row, (m, name, budget) in zip(rows, cell, strict=True):
        seed = (
            int(table.seed[row]) if (m, name) in twinned else 0
        )  # runs without twins may each have a seed of their own
        groups[m, name, seed].append(_Point(float(np.log(budget)), float(value[row]), row))
    for (_, target, _), points in groups.items():
        ordered = sorted(points, key=lambda point: point.at)
        if len({point.at for point in ordered}) == len(ordered) > 1:
            yield target, ordered


def _rises(points: list[_Point], least: float) -> Iterator[tuple[int, float]]:
    """Yield the row to blame and the log loss that was expected, for each rise of more than ``least``."""
    while len(points) > 1:
        worst = max(b.value - a.value for a, b in pairwise(points))
        if worst <= least:
            return
        k = max(range(len(points)), key=lambda k: _blame(points, k))
        yield points[k].row, _line(points, k)
        points = [*points[:k], *points[k + 1 :]]


def _blame(points: list[_Point], k: int) -> tuple[float, float]:
    rest = [*points[:k], *points[k + 1 :]]
    return round(_risen(points) - _risen(rest), 9), abs(points[k].value - _line(points, k))


def _risen(points: list[_Point]) -> float:
    return sum(max(0.0, b.value - a.value) for a, b in pairwise(points))


def _line(points: list[_Point], k: int) -> float:
    """Return where the neighbours in budget put a point: between them, or at the nearest one at an end."""
    if 0 < k < len(points) - 1:
        before, after = points[k - 1], points[k + 1]
        share = (points[k].at - before.at) / (after.at - before.at)
        return before.value + share * (after.value - before.value)
    return points[1 if k == 0 else k - 1].value


def _twins(
    table: MeasurementTable, mixture: np.ndarray, usable: np.ndarray
) -> Iterator[tuple[str, list[int]]]:
    groups: dict[tuple[int, float, str], list[int]] = defaultdict(list)
    for row in np.flatnonzero(usable):
        groups[int(mixture[row]), float(table.budget[row]), table.target[row]].append(int(row))
    for (_, _, target), rows in groups.items():
        if len(rows) > 1:
            yield target, rows


def _farthest(rows: list[int], value: Float[np.ndarray, " row"], off: Float[np.ndarray, " row"]) -> _Twin:
    """Return the row that lies farthest from the others; of two, the one that is more off its own curve."""
    middle = float(np.median(value[rows]))
    row = max(rows, key=lambda r: (round(abs(float(value[r]) - middle), 9), float(off[r])))
    others = [float(value[r]) for r in rows if r != row]
    expected = float(np.median(others))
    return _Twin(row, expected, abs(float(value[row]) - expected), len(others), max(others) - min(others))


def _usual(sizes: Sequence[float]) -> float:
    """Return thrice what all but a twentieth of the others stay below: where many are large, none is odd."""
    others = sorted(sizes)[:-1]
    return _FARTHER * float(np.quantile(others, 0.95)) if others else 0.0
