"""Records of a table of losses: from CSV, Parquet or plain rows to checked columns."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix._io import read_table_text
from voxmix._optional import require
from voxmix.errors import InputError
from voxmix.mixture import Mixture, check_domains

REQUIRED = ("run", "seed", "budget", "target", "loss")
WEIGHT, VOLUMES = "weight:", "volumes:"
SUM_TOLERANCE = 1e-5
"""Tables are written with six decimals; Mixture itself asks for 1e-6."""


def read_parquet_records(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file as records (needs pyarrow).

    Raises:
        InputError: no such file, or not Parquet.
        MissingDependencyError: names what to install.
    """
    parquet = require("pyarrow.parquet", extra="parquet")
    if not Path(path).is_file():
        raise InputError(f"no such file: {path}; check the path")
    try:
        records: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not a Parquet file ({error}); give a Parquet or CSV table") from None
    return records


def read_csv_records(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file (comma, semicolon or tab; UTF-8) as records of texts.

    Raises:
        InputError: no such file, not UTF-8, no header, or a row with more cells than the header.
    """
    lines = read_table_text(path, give="a CSV or Parquet file").splitlines()
    if not lines or not lines[0].strip():
        raise InputError(f"{path} has no header line; the first line names the columns {list(REQUIRED)}")
    delimiter = max(",;\t", key=lines[0].count)
    try:
        records = list(csv.DictReader(lines, delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path} is not a CSV table ({error}); save it again as CSV UTF-8") from None
    for number, record in enumerate(records, start=1):
        if None in record:
            raise InputError(
                f"row {number} of {path} has more cells than the header has columns; mend that line"
            )
        if delimiter == ";":
            for name, value in record.items():
                if value and name not in ("run", "source", "target"):
                    record[name] = value.replace(",", ".")
    return [{(k or "").strip(): v for k, v in record.items()} for record in records if any(record.values())]


def _empty(value: Any) -> bool:
    if value is None or (isinstance(value, str) and not value.strip()):
        return True
    return isinstance(value, float) and bool(np.isnan(value))


def _text(record: Mapping[str, Any], column: str, row: int) -> str:
    value = record.get(column)
    if _empty(value):
        raise InputError(f"row {row}, column {column}: empty; every row needs one")
    return str(value).strip()


def _number(record: Mapping[str, Any], column: str, row: int) -> float:
    value = record.get(column)
    if _empty(value):
        raise InputError(
            f"row {row}, column {column}: empty; leave the whole row out where nothing was measured"
        )
    try:
        return float(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"row {row}, column {column}: {value!r} is not a number") from None


def _whole(record: Mapping[str, Any], column: str, row: int) -> int:
    value = _number(record, column, row)
    if not float(value).is_integer():
        raise InputError(f"row {row}, column {column}: {value} is not a whole number")
    return int(value)


def columns_of(records: Sequence[Mapping[str, Any]], domains: Sequence[str] | None) -> dict[str, Any]:
    """Return the columns of a table of losses, by the names of :class:`voxmix.measurement.MeasurementTable`.

    Raises:
        InputError: names the row (1 is the first) and the column.
    """
    if not records:
        raise InputError("the table has no rows; give at least the pure runs of every domain")
    columns = list(dict.fromkeys(name for record in records for name in record))
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing (needed: {list(REQUIRED)}); the table has {columns}"
        )
    weighted = [name.removeprefix(WEIGHT) for name in columns if name.startswith(WEIGHT)]
    names = _domains(records, columns, weighted, domains)
    place = {name: i for i, name in enumerate(names)}
    kept: dict[tuple[str, str], tuple[Any, ...]] = {}
    for row, record in enumerate(records, start=1):
        run, target = _text(record, "run", row), _text(record, "target", row)
        value = _values_of(record, target, place, weighted, row)
        before = kept.setdefault((run, target), value)
        if before[:4] != value[:4]:
            raise InputError(
                f"row {row}, columns run and target: run {run!r} and target {target!r} stand before with "
                f"other values (loss {before[3]:g}, here {value[3]:g}); keep one, or name the runs apart"
            )
    values = list(kept.values())
    return {
        "domains": names,
        "run": tuple(run for run, _ in kept),
        "target": tuple(target for _, target in kept),
        "weights": np.array([v[0] for v in values]),
        "budget": np.array([v[1] for v in values]),
        "seed": np.array([v[2] for v in values], dtype=np.int64),
        "loss": np.array([v[3] for v in values]),
        "loss_se": np.array([v[4] for v in values], dtype=np.float64),
        "volumes": np.array([v[5] for v in values], dtype=np.float64),
    }


def _domains(
    records: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    weighted: Sequence[str],
    domains: Sequence[str] | None,
) -> tuple[str, ...]:
    """Return the domains of the source axis: those given, else of the weight columns, then the sources as first met."""
    if not weighted and "source" not in columns:
        raise InputError(
            f"no column says what a run was trained on: add 'source' or '{WEIGHT}<domain>' columns"
        )
    if domains is None:
        met = [str(r["source"]).strip() for r in records if not _empty(r.get("source"))]
        domains = tuple(dict.fromkeys([*weighted, *met]))
    names = check_domains(domains)
    unknown = [name for name in weighted if name not in names]
    if unknown:
        raise InputError(f"column {WEIGHT}{unknown[0]}: unknown domain; the domains are {list(names)}")
    return names


def _values_of(
    record: Mapping[str, Any], target: str, place: Mapping[str, int], weighted: list[str], row: int
) -> tuple[Any, ...]:
    """Return weights, budget, seed, loss, its standard error and volumes of one record."""
    if target not in place:
        raise InputError(
            f"row {row}, column target: unknown domain {target!r}; the sources are {list(place)}"
        )
    loss, budget = _number(record, "loss", row), _number(record, "budget", row)
    if not (np.isfinite(loss) and loss >= 0):
        raise InputError(f"row {row}, column loss: got {loss}, expected a finite number of at least 0")
    if not (np.isfinite(budget) and budget >= 1):
        raise InputError(f"row {row}, column budget: got {budget}, expected at least 1 volume draw")
    return (
        tuple(_weights_of(record, place, weighted, row)),
        budget,
        _whole(record, "seed", row),
        loss,
        np.nan if _empty(record.get("loss_se")) else _number(record, "loss_se", row),
        tuple(
            np.nan if _empty(record.get(VOLUMES + name)) else _number(record, VOLUMES + name, row)
            for name in place
        ),
    )


def _weights_of(
    record: Mapping[str, Any], place: Mapping[str, int], weighted: list[str], row: int
) -> Float[np.ndarray, " source"]:
    weights = np.zeros(len(place))
    filled = [name for name in weighted if not _empty(record.get(WEIGHT + name))]
    for name in filled:
        weights[place[name]] = _number(record, WEIGHT + name, row)
        if not (np.isfinite(weights[place[name]]) and weights[place[name]] >= 0):
            raise InputError(
                f"row {row}, column {WEIGHT}{name}: {weights[place[name]]} is not a weight; "
                "give a number from 0 to 1"
            )
    if filled and abs(weights.sum() - 1) > SUM_TOLERANCE:
        raise InputError(f"row {row}, columns {WEIGHT}*: weights sum to {weights.sum():.6f}, expected 1")
    if _empty(record.get("source")):
        if not filled:
            raise InputError(
                f"row {row}, column source: empty, and no {WEIGHT}<domain> is given; fill one of them"
            )
        return weights
    source = str(record["source"]).strip()
    if source not in place:
        raise InputError(
            f"row {row}, column source: unknown domain {source!r}; the domains are {list(place)}"
        )
    if filled and weights[place[source]] < 1 - SUM_TOLERANCE:
        raise InputError(
            f"row {row}, column source: {source!r} does not agree with the weights of that row; keep one"
        )
    return Mixture.pure(tuple(place), source).weights.copy()
