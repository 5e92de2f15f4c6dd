"""What a table of losses looks like that was put together wrongly: in other units, swapped, copied, or no losses at all.

Each check gives a sentence, changes nothing, and says nothing of a table that is right: none spoke on the tables of
real runs that voxmix was tested with.
"""

from collections import defaultdict
from itertools import combinations

import numpy as np

from voxmix.law.cells import Cells
from voxmix.law.table_cells import seed_effects
from voxmix.measurement import MeasurementTable
from voxmix.response import Response

_LOUD = 30.0  # targets of one study differ tenfold
_UNITS = 20.0  # budgets of one source against all others
_GAP = 30.0  # between one budget and the next; grids of budgets step by 2 to 10
_EPOCHS = 10.0  # draws; a run takes hundreds
_SWAPPED = 1.2  # each of two domains beats the other's own data by so much, at every budget
_SEEDS = 3.0
_RISE = 1.01
_SURE_DIGITS = 6  # that two measured losses share by chance once in a million pairs


def oddities(table: MeasurementTable, cells: Cells) -> tuple[str, ...]:
    """Return a sentence for each thing about a table that looks like a mistake."""
    return (
        *_rising(cells, table.response),
        *_units_of_budgets(table),
        *_gap_in_budgets(table),
        *_units_of_losses(cells),
        *_seeds(table),
        *_swapped(cells),
        *_copies(table),
        *_equal_losses(table),
    )


def _rising(cells: Cells, response: Response) -> list[str]:
    for j in range(len(cells.targets)):
        loss = cells.loss[cells.alone(j), j]
        if len(loss) < 3 or np.any(np.diff(loss) <= 0) or loss[-1] < _RISE * loss[0]:
            return []
    if response.rises:
        return [
            f"{response.label} of every target falls with its own budget, as losses do and scores do not: where less is "
            "better, leave direction max (--direction) out"
        ]
    return [
        "the values of every target rise with its own budget, as scores do and losses do not: where more is better, fit "
        'with direction max (--direction max, in Python direction="max")'
    ]


def _units_of_budgets(table: MeasurementTable) -> list[str]:
    low, high = float(np.min(table.budget)), float(np.max(table.budget))
    if high < _EPOCHS:
        return [
            f"all budgets are {low:g} to {high:g} draws: if these are epochs or thousands, every budget that is asked of "
            "this law is in the same unit, and caps by volumes (max_epochs) do not hold"
        ]
    source = table.source
    ranges = {
        name: (float(table.budget[source == i].min()), float(table.budget[source == i].max()))
        for i, name in enumerate(table.domains)
        if np.any(source == i)
    }
    found = []
    for name, (low, high) in ranges.items():
        others = [pair for other, pair in ranges.items() if other != name]
        if others and (
            high * _UNITS < min(pair[0] for pair in others) or low > _UNITS * max(pair[1] for pair in others)
        ):
            found.append(
                f"{name} was trained alone at {low:,.0f} to {high:,.0f} draws, the other domains at "
                f"{min(pair[0] for pair in others):,.0f} to {max(pair[1] for pair in others):,.0f}: if these are "
                "thousands, epochs or steps, write volume draws everywhere"
            )
    return found if len(ranges) > 2 else found[:1]


def _gap_in_budgets(table: MeasurementTable) -> list[str]:
    budgets = np.unique(table.budget)
    ratio = budgets[1:] / budgets[:-1]
    if not len(ratio) or ratio.max() < _GAP:
        return []
    at = int(ratio.argmax())
    above = dict.fromkeys(run for run, b in zip(table.run, table.budget, strict=True) if b > budgets[at])
    below = dict.fromkeys(run for run, b in zip(table.run, table.budget, strict=True) if b <= budgets[at])
    names = below if len(below) < len(above) else above  # the few are more likely wrong
    shown = ", ".join(list(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [
        f"no run lies between {budgets[at]:,.0f} and {budgets[at + 1]:,.0f} draws: if the budgets of {shown} are in another "
        "unit, bring all to one"
    ]


def _units_of_losses(cells: Cells) -> list[str]:
    with np.errstate(divide="ignore"):
        level = np.array(
            [
                np.median(np.log(column[~np.isnan(column)]))
                for column in cells.loss.T
                if not np.isnan(column).all()
            ]
        )
    found = []
    for j, name in enumerate(cells.targets if len(level) == len(cells.targets) else ()):
        rest = np.delete(level, j)
        if len(rest) and min(abs(level[j] - rest)) > np.log(_LOUD):
            times = float(np.exp(abs(level[j] - np.median(rest))))
            found.append(
                f"losses of {name} are typically {times:,.0f} times {'above' if level[j] > rest[0] else 'below'} those "
                "of the other targets: bring them to one unit, or weigh the targets (target_weights), because the mean "
                "loss follows the largest"
            )
    return found if len(cells.targets) > 2 else found[:1]


def _seeds(table: MeasurementTable) -> list[str]:
    """Name a seed whose losses all lie threefold off: seeds differ by percents."""
    effect = seed_effects(table)
    if len(effect) < 2:
        return []
    low, high = min(effect, key=lambda seed: effect[seed]), max(effect, key=lambda seed: effect[seed])
    times = float(np.exp(effect[high] - effect[low]))
    if times < _SEEDS:
        return []
    return [
        f"losses of seed {high} are typically {times:,.3g} times those of seed {low} for the same mixture and budget: "
        "check whether they are in one unit"
    ]


def _swapped(cells: Cells) -> list[str]:
    found = []
    for a, b in combinations(range(len(cells.targets)), 2):
        if _beats(cells, a, b) and _beats(cells, b, a):
            one, other = cells.targets[a], cells.targets[b]
            found.append(
                f"{one} alone is better on {other} than {other} itself, and {other} alone better on {one} than {one}: "
                "check whether their names are swapped in the column target"
            )
    return found


def _beats(cells: Cells, source: int, target: int) -> bool:
    """Whether one target's own domain beats another's own data there, at all budgets (two or more) they share."""
    own = {cells.budget[k]: cells.loss[k, target] for k in cells.alone(target)}
    if cells.own[source] < 0:
        return False
    pairs = [
        (cells.loss[k, target], own[cells.budget[k]])
        for k in cells.pure(int(cells.own[source]), target)
        if cells.budget[k] in own
    ]
    return len(pairs) > 1 and all(_SWAPPED * foreign < mine for foreign, mine in pairs)


def _copies(table: MeasurementTable) -> list[str]:
    """Name runs whose losses on two targets or more are equal to the last digit."""
    copies = _alike(table)
    if not copies:
        return []
    first = copies[0]
    return [
        f"{sum(len(names) - 1 for names in copies):,} of {len(set(table.run)):,} runs have the same losses as another to the last "
        f"digit ({first[1]} as {first[0]}): a copy adds nothing new, so leave it out"
    ]


def _alike(table: MeasurementTable) -> list[list[str]]:
    """Return groups of runs whose losses, on two targets or more, are all the same."""
    runs: dict[str, list[int]] = defaultdict(list)
    for row, run in enumerate(table.run):
        runs[run].append(row)
    same: dict[object, list[str]] = defaultdict(list)
    for run, rows in runs.items():
        if len(rows) > 1:
            same[tuple(sorted((table.target[row], float(table.loss[row])) for row in rows))].append(run)
    return [names for names in same.values() if len(names) > 1]


def _equal_losses(table: MeasurementTable) -> list[str]:
    """Name losses that are equal to six digits or more, on other targets of their run or on the target after other runs.

    Runs that are copies as a whole are left to :func:`_copies`, and so are numbers of few digits, which meet by chance.
    """
    of_run: dict[tuple[str, float], list[int]] = defaultdict(list)
    of_target: dict[tuple[str, float], list[int]] = defaultdict(list)
    for row, loss in enumerate(table.loss):
        if _digits(float(loss)) >= _SURE_DIGITS:
            of_run[table.run[row], float(loss)].append(row)
            of_target[table.target[row], float(loss)].append(row)
    within = [rows for rows in of_run.values() if len(rows) > 1]
    copies = {name for names in _alike(table) for name in names[1:]}
    kept = [[row for row in rows if table.run[row] not in copies] for rows in of_target.values()]
    across = [rows for rows in kept if len(rows) > 1]
    found = []
    if within:
        rows = within[0]
        found.append(
            f"{sum(map(len, within)):,} losses equal another of their run to the last digit (run {table.run[rows[0]]} on "
            f"{table.target[rows[0]]} and {table.target[rows[1]]}, {table.loss[rows[0]]:.6g}): check whether a column was "
            "copied; all are fitted"
        )
    if across:
        rows = across[0]
        found.append(
            f"{sum(map(len, across)):,} losses equal one of another run on the same target to the last digit (runs "
            f"{table.run[rows[0]]} and {table.run[rows[1]]} on {table.target[rows[0]]}, {table.loss[rows[0]]:.6g}): check "
            "whether they were copied; all are fitted"
        )
    return found


def _digits(value: float) -> int:
    return len(f"{value!r}".split("e")[0].replace(".", "").strip("0"))
