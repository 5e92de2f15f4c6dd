"""A user's table of scores: one row for each judged encoder on one task."""

import math
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix.errors import InputError
from voxmix.probe_tasks import JudgedEncoder
from voxmix.scaling.results import Scored

NEEDED = ("task", "objective", "samples", "score")
"""Columns that a table of scores has at least."""
_YES, _NO = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no")
GIVE = "a CSV table with the columns task, objective, start, samples, seed, compute, score"


def read_score_table(path: Path) -> tuple[Scored, ...]:
    """Return the scores of a CSV table: objective, start, task, samples, seed, compute, score, and where it is known
    standard_error, outside, metric, control and name.

    A row without an objective is a reference, called by ``name`` or ``start``. ``compute`` 1 is equal compute; left out it is 1.
    Tables that a study writes (``scores.csv``) are read too.

    Raises:
        InputError: a column that is missing, a cell that is none of what it can be, or a score above 1; names the line.
    """
    table = read_csv_rows(path, columns=NEEDED, give=GIVE)
    found = []
    for line, row in zip(table.lines, table.rows, strict=True):
        where = f"{path}, line {line}"
        score = _number(row, "score", where)
        samples = _number(row, "samples", where, left_out=0.0)
        if samples < 0 or samples != int(samples):
            raise InputError(f"{where}: samples should be a number of images, got {row['samples']!r}")
        if score > 1:
            raise InputError(
                f"{where}: score {score:g} is above 1; scores are shares of 1, so give 0.85 for 85%, and of an error 1 - error"
            )
        objective, start = row["objective"].strip(), row.get("start", "").strip()
        name = row.get("name", "").strip() or " ".join(
            filter(None, (objective, start, f"{samples:.0f}" if objective else ""))
        )
        if not objective and not name:
            raise InputError(f"{where}: a row without an objective is a reference and needs a name in start")
        if objective and not samples:
            raise InputError(f"{where}: samples is missing: how many images the encoder learned from")
        compute = _number(row, "compute", where, left_out=1.0)
        if not compute > 0:
            raise InputError(
                f"{where}: compute should be above 0 (1 is equal compute, 2 is twice as much), got {compute:g}"
            )
        seed = _number(row, "seed", where, left_out=0.0)
        if seed != int(seed):
            raise InputError(f"{where}: seed should be a whole number, got {row['seed']!r}")
        if bool(row["task"].strip()) != bool(table.rows[0]["task"].strip()):
            raise InputError(
                f"{where}: some rows name their task and some do not; name it in every row, or in none if there is one task"
            )
        control = row.get("control", "").strip() or ("compute" if compute != 1.0 else "")
        if control not in ("", "compute", "epochs"):
            raise InputError(f"{where}: control should be compute, epochs or nothing, got {control!r}")
        error = _number(row, "standard_error", where, left_out=math.nan)
        if error < 0:
            raise InputError(f"{where}: standard_error should be 0 or more, got {error:g}")
        found.append(
            Scored(
                task=row["task"].strip() or "task",
                metric=row.get("metric", "").strip() or "score",
                outside=_yes(row, "outside", where),
                judged=JudgedEncoder(
                    name=name,
                    encoder=row.get("encoder", "").strip() or name,
                    objective=objective,
                    start=start or (name if not objective else ""),
                    samples=int(samples),
                    compute=compute,
                    control=control,  # type: ignore[arg-type]
                    seed=int(seed),
                ),
                cases=(),
                subjects=(),
                weighted=None,
                score=score,
                standard_error=None if math.isnan(error) else error,
            )
        )
    return tuple(found)


def _yes(row: dict[str, str], column: str, where: str) -> bool:
    text = row.get(column, "").strip().lower()
    if text not in _YES and text not in _NO:
        raise InputError(f"{where}: {column} should be yes or no (or 1 or 0), got {text!r}")
    return text in _YES


def _number(row: dict[str, str], column: str, where: str, *, left_out: float | None = None) -> float:
    text = row.get(column, "").strip()
    if not text and left_out is not None:
        return left_out
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} should be a number, got {text!r}")
    return value
