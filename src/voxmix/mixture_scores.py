"""Tables of scores over mixtures: what an encoder of each mixture, or of so many samples of each domain, scored on tasks."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxmix._csv import check_once, read_csv_cells
from voxmix.errors import InputError, VoxmixWarning
from voxmix.measurement import MeasurementTable
from voxmix.records import SAMPLES, VOLUMES, WEIGHT, number_text, read_parquet_records

_GIVE = "a table (CSV or Parquet) with run, seed, the mixture, and a score for each task"
_TASKS = ("target", "task")
_ERRORS = ("standard_error", "se")
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """Records by column, with where each stands in its file."""

    path: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Column:
    """A column of scores: the task that it is of (None where a column names the task), and that of its standard errors."""

    name: str
    task: str | None
    error: str | None


def read_scores(
    path: str | Path, scores: Sequence[str], *, direction: str = "max", best: float = 1.0
) -> MeasurementTable:
    """Return the table of scores of a file: a response of which more (or less) is better, for :func:`voxmix.fit`.

    A row is a run; or a run and a task, where a column ``target`` or ``task`` names it. What a run was trained on stands in
    columns ``weight:<domain>`` (or ``source``) with a ``budget`` of draws; or in ``samples:<domain>``: then shares are those of the
    samples and the budget is their sum. Standard errors are read from the score's column and ``_se``.

    Args:
        path: CSV or Parquet.
        scores: The columns of scores: names, or patterns in which * stands for the task. One name also takes the columns
            ``<name>:<task>``.
        direction: "max" where more is better, the law then being of the error ``best - score``; "min" where less is.
        best: The largest value that is possible; scores lie between 0 and it.

    Raises:
        InputError: no such file, column or score; a score outside 0 to ``best``; weights and samples both; as
            :meth:`MeasurementTable.from_rows`.

    Warns:
        VoxmixWarning: for each thing that was assumed, left out or not used.
    """
    table = _read(Path(path))
    columns, label = _score_columns(table, scores)
    by_samples = any(name.startswith(SAMPLES) for name in table.names)
    notes: list[str] = []
    settings = _by_samples(table, notes) if by_samples else _by_weights(table)
    named = "run" in table.names
    if not named:
        notes.append(f"{table.path.name} has no column run: runs are called by their row")
    records: list[dict[str, Any]] = []
    places: list[str] = []
    empty: list[str] = []
    for place, row in table.rows:
        setting = settings.get(place)
        if setting is None:
            continue
        head = {"run": row["run"] if named else place, "seed": row.get("seed") or 0, **setting}
        for column in columns:
            task = column.task or _task(row, place)
            value = _number(row.get(column.name), f"{place}, column {column.name}")
            if value is None or not math.isfinite(value):
                empty.append(f"{place} on {task}")
                continue
            if not 0 <= value <= best:
                percent = (
                    "; if these are percent, give best 100 (--best 100)" if best == 1 and value > 1 else ""
                )
                raise InputError(
                    f"{place}, column {column.name}: {value:g} is no score between 0 and {best:g}{percent}; correct it, or leave the row out"
                )
            error = None if column.error is None else row.get(column.error)
            records.append({**head, "target": task, label: value, f"{label}_se": error})
            places.append(f"{place} on {task}")
    if not records:
        raise InputError(
            f"{path} has no score in {', '.join(c.name for c in columns)}; give the columns of scores"
        )
    if empty:
        notes.append(f"{len(empty)} scores are empty or not finite, and left out: {_few(empty)}")
    for note in notes:
        warnings.warn(note, VoxmixWarning, stacklevel=2)
    try:
        made = MeasurementTable.from_rows(
            records, response=label, direction=direction, best=best if direction == "max" else 1.0
        )
    except InputError as error:
        at = re.match(r"row (\d+), ", str(error))
        if at is None:
            raise
        raise InputError(f"{places[int(at[1]) - 1]}: {str(error)[at.end() :]}") from None
    return replace(made, response=replace(made.response, unit="samples")) if by_samples else made


def _read(path: Path) -> _Rows:
    if path.suffix.lower() in {".parquet", ".pq"}:
        records = read_parquet_records(path)
        names = tuple(records[0]) if records else ()
        rows = tuple((f"row {n}", dict(row)) for n, row in enumerate(records, 1))
    else:
        found = read_csv_cells(path, give=_GIVE)
        for note in found.notes:
            warnings.warn(note, VoxmixWarning, stacklevel=3)
        names = found.names
        check_once(names, path=path)
        for line, cells in found.rows:
            if any(cells[len(names) :]):
                raise InputError(f"line {line} of {path} has more cells than its header; fix that line")
        rows = tuple(
            (f"line {line}", {n: number_text(n, c, found.separator, line) for n, c in zip(names, cells, strict=False)})
            for line, cells in found.rows
            if any(cells)
        )  # fmt: skip
    if not names or not rows:
        raise InputError(f"{path} has no rows; give {_GIVE}")
    spelled = {name: _plain(name) for name in names}
    check_once(tuple(spelled.values()), path=path)
    return _Rows(
        path=path,
        names=tuple(spelled.values()),
        rows=tuple((place, {spelled[name]: cell for name, cell in row.items()}) for place, row in rows),
    )


def _plain(name: str) -> str:
    """Return a column's name as the format spells it, where only capitals and blanks differ."""
    text = name.strip()
    small = text.casefold()
    prefix = next((word for word in (WEIGHT, SAMPLES, VOLUMES) if small.startswith(word)), None)
    if prefix is not None:
        return prefix + text[len(prefix) :].strip()
    return small if small in ("run", "seed", "budget", "source", *_TASKS) else text


def _score_columns(table: _Rows, scores: Sequence[str]) -> tuple[tuple[_Column, ...], str]:
    """Return the columns of scores, and what the score is called."""
    tidy = any(name in table.names for name in _TASKS)
    held = {"run", "seed", "budget", "source", *_TASKS}
    free = [n for n in table.names if n not in held and not n.startswith((WEIGHT, SAMPLES, VOLUMES))]
    found: dict[str, str | None] = {}
    for score in scores:
        before, star, after = score.partition("*")
        if star and tidy:
            raise InputError(
                f"{table.path} names the task of each row, so its scores are one column; name it, got {score!r}"
            )
        if star:
            matched = {
                name: name[len(before) : len(name) - len(after)]
                for name in free
                if name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
                and not _is_error(name, table.names)
            }  # fmt: skip
        elif score in free:
            matched = {score: score}
        else:
            matched = {name: name.removeprefix(f"{score}:") for name in free if name.startswith(f"{score}:") and not _is_error(name, table.names)}  # fmt: skip
        if not matched:
            raise InputError(
                f"no column of scores {score!r} in {table.path}; the columns are {', '.join(table.names)}"
            )
        found |= matched
    if tidy and len(found) > 1:
        raise InputError(
            f"{table.path} names the task of each row, so its scores are one column; give --score once"
        )
    name = scores[0].replace("*", "").strip(":_-. ") if len(scores) == 1 else ""
    columns = tuple(
        _Column(
            name=column,
            task=None if tidy else task,
            error=_error_of(column, table.names, alone=len(found) == 1),
        )
        for column, task in found.items()
    )
    return columns, name or "score"


def _is_error(name: str, names: Sequence[str]) -> bool:
    return name.endswith("_se") and name.removesuffix("_se") in names


def _error_of(column: str, names: Sequence[str], *, alone: bool) -> str | None:
    return next((name for name in (f"{column}_se", *(_ERRORS if alone else ())) if name in names), None)


def _task(row: Mapping[str, Any], place: str) -> str:
    text = next((str(row[name]).strip() for name in _TASKS if row.get(name) not in (None, "")), "")
    if not text:
        raise InputError(f"{place}: no task; every row needs one")
    return text


def _by_weights(table: _Rows) -> dict[str, dict[str, Any]]:
    """Return, by place, the columns that say what a run was trained on."""
    kept = [n for n in table.names if n in ("budget", "source") or n.startswith((WEIGHT, VOLUMES))]
    return {place: {name: row.get(name) for name in kept} for place, row in table.rows}


def _by_samples(table: _Rows, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Return, by place, shares of samples and their sum as the budget; rows without a sample are left out and counted."""
    if any(name.startswith(WEIGHT) for name in table.names) or "source" in table.names:
        raise InputError(
            f"{table.path} says what runs were trained on by samples and by weights; keep one of them"
        )
    columns = [name for name in table.names if name.startswith(SAMPLES)]
    found: dict[str, dict[str, Any]] = {}
    none: list[str] = []
    for place, row in table.rows:
        counts = {name: _number(row.get(name), f"{place}, column {name}") or 0.0 for name in columns}
        wrong = next(
            (name for name, count in counts.items() if not (math.isfinite(count) and count >= 0)), None
        )
        if wrong is not None:
            raise InputError(
                f"{place}, column {wrong}: {counts[wrong]:g} is no count of samples; give 0 or more"
            )
        total = math.fsum(counts.values())
        if total < 1:
            none.append(place)
            continue
        shares = {WEIGHT + name.removeprefix(SAMPLES): count / total for name, count in counts.items()}
        volumes = {n: row.get(n) for n in table.names if n.startswith(VOLUMES)}
        found[place] = {"budget": total, **shares, **volumes}
    if none:
        notes.append(
            f"{len(none)} rows have no samples, where a law has no value, and are left out: {_few(none)}"
        )
    spent = {str(row.get("budget")).strip() for _, row in table.rows}
    if "budget" in table.names:
        notes.append(
            "the budget counts samples; the column budget is not used"
            + (f", and runs differ in it ({len(spent)} values): so do their scores, whatever their samples" if len(spent) > 1 else "")
        )  # fmt: skip
    return found


def _number(cell: Any, where: str) -> float | None:
    """Return a cell as a number, None where it is empty."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise InputError(f"{where}: {cell!r} is not a number") from None


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
