"""Labels that were found against a table of labels that people gave, row by row of the same name."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxmix._csv import read_csv_rows
from voxmix.errors import InputError
from voxmix.images.label_rows import LabeledRows
from voxmix.images.label_values import read_label
from voxmix.images.report_rows import FILE_COLUMN, ReportRows
from voxmix.images.table_columns import column_of
from voxmix.texts.labels.check import LabelCheck, check_labels

_GIVE = "a table with the key of each row and columns of labels (1, 0, empty)"
_SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldLabels:
    """Known labels of rows that are to be labelled: by the number of the row, what each cell says; and what cannot be compared."""

    key: str
    names: tuple[str, ...]
    cells: Mapping[int, Mapping[str, int | str | None]] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldCheck:
    """How well labels were found, and what was not compared, in sentences."""

    check: LabelCheck
    key: str
    notes: tuple[str, ...] = ()


def read_gold(table: ReportRows, names: Sequence[str], gold: Path, *, key: str | None = None) -> GoldLabels:
    """Return what the table ``gold`` knows of the rows of ``table``; nothing needs to be labelled yet.

    Args:
        table: The rows that are labelled.
        names: The labels that are looked for.
        gold: A table with a column ``key``, and a column for each known label.
        key: The column that says which rows are the same; found if left out: the image, the text file, or the first column
            of both whose cells all differ.

    Raises:
        InputError: no such file, no common key, a key twice, no row or no label in both.
    """
    found = read_csv_rows(gold, columns=(key,) if key else (), give=_GIVE)
    key = key or _key(table, tuple(found.rows[0]), [list(row.values()) for row in found.rows], gold)
    if key not in table.columns:
        raise InputError(f"the reports' table lacks the column {key!r}; it has {list(table.columns)}")
    ours = _once([(row.cells[key], row.place) for row in table.rows], what="the reports' table", key=key)
    theirs = _once(
        [(row[key], f"line {line}") for row, line in zip(found.rows, found.lines, strict=True)],
        what=str(gold),
        key=key,
    )
    both = [name for name in theirs if name in ours]
    if not both:
        raise InputError(
            f"no row of {gold} has the {key} of a row that was labelled; name the column with --key"
        )
    known = tuple(name for name in names if name in found.rows[0])
    if not known:
        raise InputError(
            f"{gold} has no column that is called as a label: its columns are {list(found.rows[0])}, the labels "
            f"{', '.join(names)}"
        )
    read = {row[key]: {name: read_label(row[name]) for name in known} for row in found.rows}
    place = {row.cells[key]: number for number, row in enumerate(table.rows)}
    notes = [f"{len(both)} rows are compared by {key}"]
    missing, extra = [theirs[n] for n in theirs if n not in ours], [ours[n] for n in ours if n not in theirs]
    if missing:
        notes.append(f"{len(missing)} rows of {gold.name} were not labelled: {_few(missing)}")
    if extra:
        notes.append(f"{len(extra)} labelled rows are not in {gold.name}: {_few(extra)}")
    lacking = [name for name in names if name not in known]
    if lacking:
        notes.append(f"{gold.name} does not know the labels {', '.join(lacking)}")
    odd = Counter(name for row in both for name in known if read[row][name] == "other")
    notes += [f"{gold.name}: {count} cells of {name} say neither yes nor no" for name, count in odd.items()]
    doubt = sum(read[row][name] == "uncertain" for row in both for name in known)
    if doubt:
        notes.append(f"{gold.name}: {doubt} cells are uncertain and not judged")
    cells = {place[row]: read[row] for row in both}
    return GoldLabels(key=key, names=known, cells=cells, notes=tuple(notes))


def check_gold(gold: GoldLabels, labels: LabeledRows, *, at_least: int = 10) -> GoldCheck:
    """Return how well labels were found that are known; in doubt counts as not there.

    Args:
        gold: What is known of the rows that were labelled.
        labels: The labels of all these rows.
        at_least: A label that is there in fewer reports is left out of the mean.
    """
    check = check_labels(
        [{name: labels.rows[number].values.get(name) for name in gold.names} for number in gold.cells],
        [{name: v if isinstance(v := cells[name], int) else None for name in gold.names} for cells in gold.cells.values()],
        min_support=at_least,
    )  # fmt: skip
    return GoldCheck(check=check, key=gold.key, notes=gold.notes)


def _key(table: ReportRows, names: Sequence[str], cells: Sequence[Sequence[str]], gold: Path) -> str:
    image = column_of(table.columns, "image")
    if image in names and image is not None:
        return image
    if FILE_COLUMN in table.columns and FILE_COLUMN in names:
        return FILE_COLUMN
    for place, name in enumerate(names):
        if name in table.columns:
            theirs, ours = [row[place] for row in cells], [row.cells[name] for row in table.rows]
            if all(len(set(part)) == len(part) and all(part) for part in (theirs, ours)):
                return name
    raise InputError(
        f"{gold} and the reports share no column that names every row once; add one to both and name it with --key"
    )


def _once(rows: Sequence[tuple[str, str]], *, what: str, key: str) -> dict[str, str]:
    """Return each row's key to its place."""
    found: dict[str, str] = {}
    for name, place in rows:
        if not name:
            raise InputError(
                f"{place} of {what} has no {key}; give it one, or name another column with --key"
            )
        if name in found:
            raise InputError(
                f"{found[name]} and {place} of {what} have the same {key}; name another column with --key"
            )
        found[name] = place
    return found


def _few(places: Sequence[str]) -> str:
    more = f" and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    return ", ".join(places[:_SHOWN]) + more
