"""Records of a table of losses: from CSV, Parquet or plain rows to checked columns."""

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from voxmix._csv import check_once, read_csv_cells
from voxmix._optional import require
from voxmix.errors import InputError, VoxmixWarning
from voxmix.mixture import Mixture, check_domains
from voxmix.response import LOSS, Response

REQUIRED = ("run", "seed", "budget", "target", "loss")
_TAKEN = ("run", "seed", "budget", "target", "source", "loss_se")
WEIGHT, VOLUMES, SAMPLES = "weight:", "volumes:", "samples:"
_GROUPED = re.compile(r"\d{1,3}(?:[.,'\u00a0\u202f ]\d{3})+")
_SEPARATOR = re.compile(r"[,'\u00a0\u202f ]")
_SIGNS = re.compile(r"[\W_]+")
ROUNDED = 0.005  # weights that were rounded to two or three decimals sum to within this of 1
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
    """Return the rows of a CSV file (:func:`voxmix._csv.read_csv_cells`) as records of texts, blank rows too.

    Raises:
        InputError: no such file, no text, no header, or a row with more cells than the header.

    Warns:
        VoxmixWarning: it is not UTF-8 text; says what it was read as.
    """
    table = read_csv_cells(path, give="a CSV or Parquet file")
    head = table.names
    if not head:
        raise InputError(f"{path} has no header line; the first line names the columns {list(REQUIRED)}")
    if not {name.casefold() for name in head} & {*REQUIRED, "source"}:
        raise InputError(
            f"{path} is not a table of losses: its first line names none of the columns {list(REQUIRED)}. "
            "If it has a row for each run and a column for each loss, turn it into such a table with voxmix table"
        )
    check_once(head, path=path)
    for note in table.notes:
        warnings.warn(note, VoxmixWarning, stacklevel=2)
    records: list[dict[str, Any]] = []
    pointed = [] if table.separator == ";" else [name for name in head if name.casefold() == "budget"]
    for number, (_, cells) in enumerate(table.rows, start=1):
        if any(cells[len(head) :]):
            raise InputError(
                f"row {number} of {path} has more cells than the header has columns; fix that line"
            )
        record = dict(zip(head, cells, strict=False))
        for name in (
            pointed or record
        ):  # where points are decimal, budgets alone may have separators of thousands
            if name in record:
                record[name] = number_text(name, record[name], table.separator, number)
        records.append(record)
    return records


def number_text(column: str, cell: str, delimiter: str, row: int) -> str:
    """Return a cell with a decimal point and without separators of thousands, where it is a number.

    Raises:
        InputError: a budget such as 2,000 beside semicolons, which may be two or two thousand.
    """
    if column.casefold() == "budget" and _GROUPED.fullmatch(cell.strip()):
        if delimiter == ";":
            raise InputError(
                f"row {row}, column budget: {cell.strip()!r} may be thousands or a decimal number; write it "
                "without a separator, e.g. 2000"
            )
        if "." not in cell:
            return _SEPARATOR.sub("", cell)
    if delimiter == ";" and column.casefold() not in ("run", "source", "target"):
        return cell.replace(",", ".")
    return cell


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


def columns_of(
    records: Sequence[Mapping[str, Any]], domains: Sequence[str] | None, response: Response = LOSS
) -> dict[str, Any]:
    """Return the columns of a table of losses, by the names of :class:`voxmix.measurement.MeasurementTable`.

    Losses are those that stand for the ``response`` column.

    Raises:
        InputError: names the row (1 is the first) and the column.
    """
    if response.name in _TAKEN:
        raise InputError(
            f"the column {response.name!r} is no response; name the column that holds what was measured"
        )
    required = [response.name if name == "loss" else name for name in REQUIRED]
    numbered = [
        (row, _named(record, response.name))
        for row, record in enumerate(records, start=1)
        if not all(_empty(value) for value in record.values())
    ]
    records = [record for _, record in numbered]
    if not records:
        raise InputError("the table has no rows; give at least the pure runs of every domain")
    columns = list(dict.fromkeys(name for names in dict.fromkeys(map(tuple, records)) for name in names))
    missing = [name for name in required if name not in columns]
    if missing:
        raise InputError(
            f"column {missing[0]!r} is missing (needed: {required}); the table has {columns}"
            + _wide(records, columns, missing)
        )
    _check_values(numbered, response)
    weighted = [name.removeprefix(WEIGHT) for name in columns if name.startswith(WEIGHT)]
    names = _domains(records, columns, weighted, domains)
    place = {name: i for i, name in enumerate(names)}
    kept: dict[tuple[str, str], tuple[Any, ...]] = {}
    scaled: list[int] = []
    spelled: set[str] = set()
    mixtures = _Shared(place, weighted)
    for row, record in numbered:
        run, target = _text(record, "run", row), _text(record, "target", row)
        if target not in spelled:
            for message in misspelled_targets([target], names).values():
                raise InputError(f"row {row}, column target: {message}")
            spelled.add(target)
        value = _values_of(record, mixtures, row, scaled, response)
        before = kept.setdefault((run, target), value)
        if before[:4] != value[:4]:
            raise InputError(
                f"row {row}, columns run and target: run {run!r} and target {target!r} occur earlier with "
                f"other values ({response.name} {response.from_loss(before[3]):g}, here "
                f"{response.from_loss(value[3]):g}); keep one, or give the runs different names"
            )
    if scaled:
        warnings.warn(
            f"the weights of {len(scaled):,} of {len(numbered):,} rows do not sum to 1 but to within {ROUNDED} of it "
            f"(the first is row {scaled[0]}): taken as rounded, and scaled to sum to 1",
            VoxmixWarning,
            stacklevel=2,
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
        "response": response,
    }


def misspelled_targets(targets: Sequence[str], domains: Sequence[str]) -> dict[int, str]:
    """Return, by place, what is wrong with targets that differ from a domain in capitals or signs only.

    Any other target that is no domain is one that is only evaluated.
    """
    plain = {_SIGNS.sub("", name.casefold()): name for name in domains}
    others = {name: plain.get(_SIGNS.sub("", name.casefold())) for name in set(targets) - set(domains)}
    wrong = {
        name: f"{name!r} is no domain, but {like!r} is; write them alike, or rename the target if it is something else"
        for name, like in others.items()
        if like is not None
    }
    return {place: wrong[name] for place, name in enumerate(targets) if name in wrong} if wrong else {}


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


def _named(record: Mapping[str, Any], response: str) -> Mapping[str, Any]:
    """Return a record with the names of the format where only capitals or blanks differ, as in ``Loss``."""
    names = _names_of(tuple(record), response)
    return record if names is None else dict(zip(names, record.values(), strict=True))


@lru_cache(maxsize=64)
def _names_of(columns: tuple[str, ...], response: str) -> tuple[str, ...] | None:
    """Return the names of the format for those of a record; None where they are these."""
    plain = {name: name for name in (*REQUIRED, "source", "loss_se")}
    plain |= {response.casefold(): response, f"{response}_se".casefold(): f"{response}_se"}
    found: list[str] = []
    for name in columns:
        text = str(name).strip()
        small = text.casefold()
        prefix = next((word for word in (WEIGHT, VOLUMES) if small.startswith(word)), None)
        if small in plain:
            text = plain[small]
        elif prefix is not None:
            text = prefix + text[len(prefix) :].strip()
        if text in found and text != name:
            raise InputError(f"columns that differ in capitals only: {name!r} and {text!r}; keep one")
        found.append(text)
    return None if tuple(found) == columns else tuple(found)


def _wide(records: Sequence[Mapping[str, Any]], columns: Sequence[str], missing: Sequence[str]) -> str:
    """Return what to do with a table that has a column of losses per target; else nothing."""
    sources = {str(record["source"]).strip() for record in records if not _empty(record.get("source"))}
    targets = [name for name in columns if name in sources or WEIGHT + name in columns]
    if not {"target", "loss"} & set(missing) or len(targets) < 2:
        return ""
    return ". It seems to hold a column of losses per target: turn it into such a table with voxmix table"


def _check_values(numbered: Sequence[tuple[int, Mapping[str, Any]]], response: Response) -> None:
    """Refuse values of the response that cannot be, all at once.

    Raises:
        InputError: names the first row with its value, and the other rows.
    """
    wrong: dict[int, str] = {}
    for row, record in numbered:
        try:
            value = _number(record, response.name, row)
        except InputError as error:
            wrong[row] = str(error)
            continue
        if what := response.wrong(value):
            wrong[row] = f"row {row}, column {response.name}: {what}"
    if wrong:
        first, *others = wrong
        shown = ", ".join(str(row) for row in others[:10]) + (", ..." if len(others) > 10 else "")
        more = f"; so are {len(others)} more rows ({shown})" if others else ""
        raise InputError(
            f"{wrong[first]}{more}. A run that diverged has no {response.name}: leave these rows out"
        )


class _Shared:
    """Weights and volumes of records: what many rows have in the same words, as those of one run do, is read once."""

    def __init__(self, place: Mapping[str, int], weighted: list[str]) -> None:
        self.place, self.weighted = place, weighted
        self._asked = ["source", *(WEIGHT + name for name in weighted), *(VOLUMES + name for name in place)]
        self._known: dict[tuple[Any, ...], tuple[tuple[float, ...], tuple[float, ...], bool]] = {}

    def of(
        self, record: Mapping[str, Any], row: int, scaled: list[int]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return weights and volumes; a row whose weights were rounded is added to ``scaled``."""
        words = tuple(map(record.get, self._asked))
        try:
            found = self._known.get(words)
        except TypeError:  # a value that is no text and no number
            found = None
        if found is None:
            rounded: list[int] = []
            weights = tuple(_weights_of(record, self.place, self.weighted, row, rounded))
            volumes = tuple(
                np.nan if _empty(record.get(VOLUMES + name)) else _number(record, VOLUMES + name, row)
                for name in self.place
            )
            found = self._known[words] = (weights, volumes, bool(rounded))
        weights, volumes, was_rounded = found
        if was_rounded:
            scaled.append(row)
        return weights, volumes


def _values_of(
    record: Mapping[str, Any], shared: _Shared, row: int, scaled: list[int], response: Response
) -> tuple[Any, ...]:
    """Return weights, budget, seed, loss, its standard error and volumes of one record."""
    error = f"{response.name}_se"
    loss, budget = response.to_loss(_number(record, response.name, row)), _number(record, "budget", row)
    if not (np.isfinite(budget) and budget >= 1):
        raise InputError(f"row {row}, column budget: got {budget}, expected at least 1 volume draw")
    weights, volumes = shared.of(record, row, scaled)
    return (
        weights,
        budget,
        _whole(record, "seed", row),
        loss,
        np.nan if _empty(record.get(error)) else _number(record, error, row),
        volumes,
    )


def _weights_of(
    record: Mapping[str, Any], place: Mapping[str, int], weighted: list[str], row: int, scaled: list[int]
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
    total = float(weights.sum())
    if filled and abs(total - 1) > SUM_TOLERANCE:
        if abs(total - 1) > ROUNDED:
            percent = "; these look like percent, so divide them by 100" if abs(total - 100) < 1 else ""
            raise InputError(f"row {row}, columns {WEIGHT}*: weights sum to {total:.6f}, expected 1{percent}")
        scaled.append(row)
        weights = weights / total
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
