"""Wide tables of losses as others publish them: one row for each run, a column for each weight and each loss."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxmix._csv import check_once, read_csv_cells
from voxmix._table import Table
from voxmix.errors import InputError
from voxmix.records import ROUNDED, SUM_TOLERANCE, WEIGHT, number_text, read_parquet_records

_WHOLE = re.compile(r"(\d+)\.0+")  # a whole number that pandas wrote as a float
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_PERCENT = 0.5  # percentages that were rounded sum to within this of 100
_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class WideFormat:
    """How a wide table is read.

    Attributes:
        label: whose tables look so.
        run: the column that names the run, in the table of losses and in that of mixtures.
        weights: columns of weights: names, or a pattern such as ``train_*``, where * stands for the domain.
        losses: columns of losses likewise, where * stands for the target.
        budget: a column, or one number for all runs; None takes the column ``budget``.
        seed: a column, or one number for all runs; None takes the column ``seed``, or 0.
        leave_out: columns that a pattern would take and that are none.
    """

    label: str
    run: str = "run"
    weights: tuple[str, ...] = ("weight:*",)
    losses: tuple[str, ...] = ("loss:*",)
    budget: str | float | None = None
    seed: str | int | None = None
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in (*self.weights, *self.losses):
            if pattern.count("*") > 1:
                raise InputError(
                    f"{pattern!r} has more than one *; give a pattern with one, or names of columns"
                )


WIDE_FORMATS: Table[WideFormat] = Table(
    "table_formats",
    {
        "wide": WideFormat(
            label="any table with columns weight:DOMAIN and loss:TARGET, or those that you name"
        ),
        "regmix": WideFormat(
            label="RegMix (sail-sg/regmix): 17 domains of the Pile, 13 losses; 1B tokens for the runs of 1M parameters",
            run="index",
            weights=("train_the_pile_*",),
            losses=("metric/the_pile_*_val_loss",),
            budget=1e9,
        ),
        "olmix": WideFormat(
            label="olmix (allenai/olmix, swarm dclm): 24 topics, bits per byte of 110 tasks; 3B tokens",
            weights=("*",),
            losses=("*",),
            budget=3e9,
            leave_out=("", "name", "index"),
        ),
    },
)
"""Every format. Packages add rows by entry points of the group ``voxmix.table_formats``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WideRecords:
    """Records in the tidy format, and what was assumed, set aside or not used, in sentences."""

    records: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """The columns of one file, its rows with their number (1 is the first below the header), and the rows not chosen."""

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[int, dict[str, Any]], ...]
    passed: tuple[dict[str, Any], ...] = ()


def read_wide_records(
    losses: Path, mixtures: Path | None, form: WideFormat, *, only: Mapping[str, str] | None = None
) -> WideRecords:
    """Return the records of a wide table, or of two that are joined by the column of the run, never by order.

    ``only`` keeps the rows that have these values in these columns.

    Raises:
        InputError: a file that is no table; a column missing; a run twice; weights that do not sum to 1 or 100; a budget
            that is none; no run in both files. Names the run and the column.
    """
    notes: list[str] = []
    budgets = "budget" if form.budget is None else str(form.budget)
    left = _only(_read(losses, notes, budgets), only or {})
    right = left if mixtures is None else _only(_read(mixtures, notes, budgets), only or {})
    for column in only or {}:
        if column not in left.names and column not in right.names:
            raise InputError(f"no column {column!r} to choose rows by; the columns are {_shown(left.names)}")
    named = form.run in left.names or mixtures is not None
    loss_rows, weight_rows = _by_run(left, form.run, named), _by_run(right, form.run, named)
    if not named:
        notes.append(f"{losses.name} has no column {form.run!r}: runs are called by their row")
    runs = _joined(loss_rows, weight_rows, (left, right), form.run, notes)
    held = {form.run, "source", *form.leave_out, *(only or {})}
    held |= {
        budgets,
        "seed" if form.seed is None else str(form.seed),
    }
    weight_columns = _columns(right.names, form.weights, held)
    loss_columns = _columns(
        left.names, form.losses, held | (set(weight_columns.values()) if left is right else set())
    )
    by_source = not weight_columns and "source" in right.names
    if not weight_columns and not by_source:
        raise InputError(_no_columns(right, "weights", form.weights))
    if not loss_columns:
        raise InputError(_no_columns(left, "losses", form.losses))
    notes += _not_used(left, right, {*held, *weight_columns.values(), *loss_columns.values()})
    merged = {run: {**weight_rows[run][1], **loss_rows[run][1]} for run in runs}
    for setting in (form.budget or "budget", form.seed or "seed"):
        _agree(str(setting), runs, loss_rows, weight_rows)
    shares = {} if by_source else _weights(weight_rows, runs, weight_columns, notes)
    records: list[dict[str, Any]] = []
    absent: list[str] = []
    for run in runs:
        head = {
            "run": run,
            "seed": _setting(merged[run], form.seed, "seed", run, default=0),
            "budget": _setting(merged[run], form.budget, "budget", run),
        }
        head |= {"source": merged[run]["source"]} if by_source else shares[run]
        for target, column in loss_columns.items():
            value = _number(loss_rows[run][1].get(column), run, column)
            if value is None or not math.isfinite(value):
                absent.append(f"{run} on {target}")
            else:
                records.append({**head, "target": target, "loss": value})
    if not records:
        raise InputError(
            f"no run of {left.path} has a loss in {_shown(loss_columns.values())}; give the columns of losses"
        )
    if absent:
        notes.append(
            f"{_count(absent, 'loss')} {'is' if len(absent) == 1 else 'are'} empty or not finite, and left out"
        )
    if form.budget is not None and "budget" not in merged[runs[0]] and not isinstance(form.budget, str):
        notes.append(f"every run counts as {form.budget:,.0f} draws")
    return WideRecords(records=tuple(records), notes=tuple(notes))


def is_tidy(path: Path, response: str) -> bool:
    """Return whether a file has a row for each run and target, as :meth:`voxmix.measurement.MeasurementTable.read` wants."""
    names = {name.strip().casefold() for name in _read(path, [], "budget").names}
    return {"target", response.casefold()} <= names


def _read(path: Path, notes: list[str], budgets: str) -> _File:
    """Return a file whose column ``budgets`` has no separators of thousands, and numbers no decimal commas."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        records = read_parquet_records(path)
        names = tuple(records[0]) if records else ()
        rows: tuple[tuple[int, dict[str, Any]], ...] = tuple(enumerate(records, start=1))
    else:
        table = read_csv_cells(path, give="a CSV or Parquet file")
        names = table.names
        check_once(names, path=path)
        notes += table.notes
        for number, (_, cells) in enumerate(table.rows, start=1):
            if any(cells[len(names) :]):
                raise InputError(
                    f"row {number} of {path} has more cells than the header has columns; fix that line"
                )

        def plain(name: str, cell: str, row: int) -> str:
            if name == budgets:
                return number_text("budget", cell, table.separator, row)
            return _point(cell) if table.separator == ";" else cell

        rows = tuple(
            (n, {name: plain(name, cell, n) for name, cell in zip(names, cells, strict=False)})
            for n, (_, cells) in enumerate(table.rows, start=1)
            if any(cells)
        )
    if not names or not rows:
        raise InputError(f"{path} has no rows; give a header and a row for each run")
    return _File(path=path, names=names, rows=rows)


def _point(cell: str) -> str:
    return cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell


def _only(file: _File, only: Mapping[str, str]) -> _File:
    """Return the rows that have the wanted values in those of the columns that the file has."""
    here = {column: wanted for column, wanted in only.items() if column in file.names}
    rows = tuple(
        (n, row) for n, row in file.rows if all(_same(row.get(c), value) for c, value in here.items())
    )
    if not rows:
        held = {c: _shown(sorted({str(row.get(c)) for _, row in file.rows})) for c in here}
        raise InputError(f"no row of {file.path} has {dict(here)}; the values there are {held}")
    chosen = {n for n, _ in rows}
    passed = tuple(row for n, row in file.rows if n not in chosen)
    return _File(path=file.path, names=file.names, rows=rows, passed=passed)


def _same(value: Any, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).strip() == wanted.strip()


def _by_run(file: _File, column: str, named: bool) -> dict[str, tuple[int, dict[str, Any]]]:
    """Return the rows by the name of their run, a whole number being the same as 1 and as 1.0."""
    if not named:
        return {str(n): (n, row) for n, row in file.rows}
    if column not in file.names:
        raise InputError(
            f"{file.path} has no column {column!r} that names the run; the columns are {_shown(file.names)}"
        )
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, row in file.rows:
        run = _run_name(row, column)
        if not run:
            raise InputError(f"row {number} of {file.path} has no {column}; every run needs a name")
        if run in found:
            raise InputError(
                f"{file.path} has the run {run!r} twice (rows {found[run][0]} and {number}); keep one, or give the second "
                "a name of its own"
            )
        found[run] = (number, row)
    return found


def _run_name(row: Mapping[str, Any], column: str) -> str:
    text = "" if row.get(column) is None else str(row[column]).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def _joined(
    losses: Mapping[str, Any],
    weights: Mapping[str, Any],
    files: tuple[_File, _File],
    column: str,
    notes: list[str],
) -> list[str]:
    """Return the runs that both files have, and note those that one lacks; not those that ``only`` passed over."""
    left, right = files
    passed = {_run_name(row, column) for file in files for row in file.passed}
    runs = [run for run in losses if run in weights]
    if not runs:
        raise InputError(
            f"no run of {left.path} ({_shown(losses)}) is in {right.path} ({_shown(weights)}); check the column of the run"
        )
    for rest, here, there in (
        ([run for run in losses if run not in weights and run not in passed], left, "mixture"),
        ([run for run in weights if run not in losses and run not in passed], right, "loss"),
    ):
        if rest:
            notes.append(
                f"{_count(rest, 'run')} of {here.path.name} {'has' if len(rest) == 1 else 'have'} no {there}, and "
                f"{'is' if len(rest) == 1 else 'are'} left out"
            )
    return runs


def _columns(names: Sequence[str], patterns: Sequence[str], held: set[str]) -> dict[str, str]:
    """Return domain or target to its column."""
    found: dict[str, str] = {}
    for pattern in patterns:
        before, star, after = pattern.partition("*")
        if not star:
            if pattern not in names:
                raise InputError(f"no column {pattern!r}; the columns are {_shown(names)}")
            _named_once(found, pattern, pattern)
            continue
        for name in names:
            inside = name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
            if inside and name not in held:
                _named_once(found, name[len(before) : len(name) - len(after)], name)
    return found


def _named_once(found: dict[str, str], name: str, column: str) -> None:
    if found.setdefault(name, column) != column:
        raise InputError(
            f"the columns {found[name]!r} and {column!r} are both {name!r}; leave one out (--leave-out)"
        )


def _no_columns(file: _File, what: str, patterns: Sequence[str]) -> str:
    return (
        f"no column of {what} in {file.path}: none is like {' or '.join(patterns)}; name them, or give a pattern with * "
        f"(--{what}). The columns are {_shown(file.names)}"
    )


def _not_used(left: _File, right: _File, used: set[str]) -> list[str]:
    """Name the columns that are neither used nor the same for all rows: runs may differ in what they say."""
    told: dict[str, int] = {}
    for file in (left, right):
        for name in file.names:
            values = {str(row.get(name)) for _, row in file.rows}
            if name and name not in used and len(values) > 1:
                told.setdefault(name, len(values))
    if not told:
        return []
    shown = ", ".join(f"{name} ({count:,} values)" for name, count in list(told.items())[:_NAMED])
    more = f" and {len(told) - _NAMED:,} more" if len(told) > _NAMED else ""
    return [
        f"columns that are not used: {shown}{more}; to read the rows of one value, give --only COLUMN=VALUE"
    ]


def _agree(column: str, runs: Iterable[str], *parts: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
    for run in runs:
        values = [part[run][1][column] for part in parts if column in part[run][1]]
        if len(values) > 1 and not _same(values[0], str(values[1])):
            raise InputError(
                f"run {run!r} has the {column} {values[0]} beside its losses and {values[1]} beside its mixture"
            )


def _weights(
    rows: Mapping[str, tuple[int, dict[str, Any]]],
    runs: Sequence[str],
    columns: Mapping[str, str],
    notes: list[str],
) -> dict[str, dict[str, float]]:
    """Return the weights of every run, with a sum of 1: shares, or percentages, rounded or not."""
    found: dict[str, dict[str, float]] = {}
    for run in runs:
        found[run] = {}
        for domain, column in columns.items():
            weight = _number(rows[run][1].get(column), run, column) or 0.0
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(
                    f"run {run!r}, column {column}: {weight} is no weight; give a number of at least 0"
                )
            found[run][domain] = weight
    total = {run: sum(weights.values()) for run, weights in found.items()}
    unit = 100.0 if all(abs(value - 100) <= _PERCENT for value in total.values()) else 1.0
    off = [run for run in runs if abs(total[run] / unit - 1) > ROUNDED]
    if off:
        raise InputError(
            f"the {len(columns)} weights of run {off[0]!r} sum to {total[off[0]]:.6g}, expected 1 or, for all runs, 100 "
            f"({len(off):,} of {len(runs):,} runs are so); check which columns are weights: {_shown(columns.values())}"
        )
    if unit > 1:
        notes.append("weights are percentages: divided by 100")
    rounded = [run for run in runs if abs(total[run] / unit - 1) > SUM_TOLERANCE]
    if rounded:
        notes.append(
            f"the weights of {len(rounded):,} of {len(runs):,} runs were rounded (run {rounded[0]} sums to "
            f"{total[rounded[0]]:.6g}): scaled to sum to {unit:g}"
        )
    return {
        run: {WEIGHT + domain: value / total[run] for domain, value in weights.items()}
        for run, weights in found.items()
    }


def _setting(
    row: Mapping[str, Any], given: str | float | None, name: str, run: str, *, default: float | None = None
) -> float:
    """Return the budget or seed of a run: of its column, or the one number for all."""
    if given is None and name not in row and default is not None:
        return default
    if given is not None and not isinstance(given, str):
        return given
    column = name if given is None else given
    if column not in row:
        raise InputError(
            f"no column {column!r} for the {name} of a run; give the name of a column or one number for all runs "
            f"(--{name}). The columns are {_shown(row)}"
        )
    value = _number(row[column], run, column)
    if value is None:
        raise InputError(f"run {run!r}, column {column}: empty; every run needs a {name}")
    return value


def _number(cell: Any, run: str, column: str) -> float | None:
    """Return a cell as a number, or None where it is empty."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise InputError(
            f"run {run!r}, column {column}: {cell!r} is not a number; leave the column out (--leave-out) if it is none"
        ) from None


def _count(names: Sequence[str], noun: str) -> str:
    plural = noun if len(names) == 1 else noun + ("es" if noun.endswith("s") else "s")
    return f"{len(names):,} {plural} ({_shown(names)})"


def _shown(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(str(n) for n in known[:_NAMED]) + (
        f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else ""
    )
