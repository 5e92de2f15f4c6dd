"""The cells of a table, one mixture, budget and target each, and what their seeds say without a law: effects and noise.

All is robust: medians, which a few odd rows do not move.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from voxmix.measurement import MeasurementTable

MAD = 1.4826  # median absolute deviation of a normal to its standard deviation
FEW = 6  # values that a median needs
_UNKNOWN = 0.15  # noise where neither twins nor curves of three budgets tell it


def mixture_index(table: MeasurementTable) -> Int[np.ndarray, " row"]:
    """Return which mixture each row is of, by number; rows of a run have one."""
    first: dict[str, int] = {}
    of_run = np.array([first.setdefault(run, len(first)) for run in table.run], dtype=np.int64)
    begins = np.zeros(len(first), dtype=np.int64)
    begins[of_run[::-1]] = np.arange(len(of_run))[::-1]
    weights = np.round(table.weights[begins], 9)
    return np.unique(weights, axis=0, return_inverse=True)[1].reshape(-1)[of_run]


RowsByCell = Mapping[tuple[int, float, int], list[int]]
"""Mixture by number, budget and target by number, to the rows of it: one per seed."""


def cells_of(table: MeasurementTable, mixture: np.ndarray, usable: Bool[np.ndarray, " row"]) -> RowsByCell:
    """Return the cells of a table in the order in which they are met; ``mixture`` is :func:`mixture_index`."""
    groups: dict[tuple[int, float, int], list[int]] = defaultdict(list)
    columns = (np.flatnonzero(usable), mixture[usable], table.budget[usable], table.target_index[usable])
    for row, m, budget, j in zip(*(column.tolist() for column in columns), strict=True):
        groups[m, budget, j].append(row)
    return dict(groups)


def seed_effects(table: MeasurementTable, cells: RowsByCell | None = None) -> dict[int, float]:
    """Return the log effect of each seed that has twins: seeds are blocks, better or worse for every run alike.

    ``cells`` are those of the losses above 0, where they are known.
    """
    usable = np.asarray(table.loss) > 0
    if cells is None:
        cells = cells_of(table, mixture_index(table), usable)
    value = np.log(np.where(usable, table.loss, 1.0)).tolist()
    seeds = table.seed.tolist()
    away: dict[int, list[float]] = defaultdict(list)
    for rows in cells.values():
        if len(rows) > 1:
            middle = median([value[row] for row in rows])
            for row in rows:
                away[seeds[row]].append(value[row] - middle)
    return {seed: float(np.median(values)) for seed, values in away.items()}


def noise_of_targets(
    table: MeasurementTable, cells: RowsByCell, value: np.ndarray, *, by_twins: bool = False
) -> Float[np.ndarray, " target"]:
    """Return the standard deviation of one seed's log loss per target: by twins or by curves, whichever is larger.

    With ``by_twins`` curves, which may bend, count only where the table has too few twins.

    The median over all pairs of twins, and over all cells of how far they lie from the line of their neighbours: odd
    rows are too few to move either. A target with few of them takes those of all targets.
    """
    twins: dict[int, list[float]] = defaultdict(list)
    lines: dict[int, list[float]] = defaultdict(list)
    curves: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    values, root = value.tolist(), float(np.sqrt(2))
    logs = {budget: float(np.log(budget)) for budget in np.unique(table.budget).tolist()}
    for (m, budget, j), rows in cells.items():
        twins[j] += [abs(values[a] - values[b]) / root for a, b in combinations(rows, 2)]
        curves[m, j].append((logs[budget], median([values[row] for row in rows])))
    for (_, j), curve in curves.items():
        curve.sort()
        for (x, a), (y, b), (z, c) in zip(curve, curve[1:], curve[2:], strict=False):
            share = (y - x) / (z - x)
            away = b - (1 - share) * a - share * c
            lines[j].append(abs(away) / math.sqrt(1 + share**2 + (1 - share) ** 2))
    told = any(twins.values()) or any(lines.values())
    found = np.full(len(table.targets), 0.0 if told else _UNKNOWN)
    enough = by_twins and sum(map(len, twins.values())) >= FEW
    for gaps in (twins,) if enough else (twins, lines):
        pool = [gap for values in gaps.values() for gap in values]
        for j in range(len(found)):
            known = gaps[j] if len(gaps[j]) >= FEW else pool
            found[j] = max(found[j], MAD * float(np.median(known)) if known else 0.0)
    return found


def median(values: list[float]) -> float:
    """Return the median of a few numbers: that of NumPy, which takes ten times as long over them."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
