"""Columns that name a class in each cell, such as the view or the region: each class becomes a label ``column: class``."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from voxmix.errors import InputError
from voxmix.images.label_values import NOTHING, LabelColumns
from voxmix.images.table_columns import OF_NAMES, plain_name

_MOST = 100
"""Classes of one column: more are numbers, dates or sentences."""
_BETWEEN = ": "
_IDENTIFYING = ("image", "person", "report", "indication", "findings", "impression")
"""What a column can be beside classes; cells of these are files, persons or texts."""


def class_label(column: str, value: str) -> str:
    """Return the label that a class of a column becomes.

    >>> class_label("plane", "axial")
    'plane: axial'
    """
    return column + _BETWEEN + value


def classes_of(label_names: Sequence[str], column: str) -> tuple[str, ...]:
    """Return the classes of a column by its labels, in their order; none where it is no column of classes.

    >>> classes_of(("effusion", "plane: axial", "plane: coronal"), "plane")
    ('axial', 'coronal')
    """
    head = class_label(column, "")
    return tuple(name.removeprefix(head) for name in label_names if name.startswith(head))


def class_columns(label_names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of classes that labels are from, sorted.

    >>> class_columns(("effusion", "plane: axial", "plane: coronal"))
    ('plane',)
    """
    return tuple(sorted({name.partition(_BETWEEN)[0] for name in label_names if _BETWEEN in name}))


def check_classes(
    classes: Sequence[str],
    columns: Sequence[str],
    roles: Mapping[str, str | None],
    *,
    path: Path,
    labels: Sequence[str],
) -> None:
    """Refuse columns that cannot hold classes.

    Raises:
        InputError: a column that is not there, is named twice or as a label too, or holds files, persons or texts.
    """
    if lacking := [name for name in classes if name not in columns]:
        raise InputError(f"{path} lacks the columns of classes {lacking}; it has {list(columns)}")
    if twice := sorted(
        name for name, count in Counter((*classes, *labels)).items() if count > 1 and name in classes
    ):
        raise InputError(
            f"the columns {twice} are given twice, as classes or as labels and classes; give each once"
        )
    taken = {roles[role]: role for role in _IDENTIFYING if roles[role] is not None}
    for name in classes:
        role = taken.get(name) or ("name or number of a person" if plain_name(name) in OF_NAMES else None)
        if role is not None:
            raise InputError(
                f"the column {name!r} of {path} is its {role}, and cannot hold classes; give columns such as view or region"
            )


def add_classes(
    found: LabelColumns, rows: Sequence[Mapping[str, str]], classes: Sequence[str], *, path: Path
) -> tuple[LabelColumns, list[str]]:
    """Return the labels of every row with those of its classes, and notes.

    The class of a row's cell is 1 and the column's others are 0; a cell that says nothing leaves all of them unknown.
    Spellings that differ in case or spaces alone are one class, and so are 1 and 1.0.

    Raises:
        InputError: a column with more classes than a column of classes has, with none, or with a class whose label is there
            already.
    """
    labels, names, notes = [dict(row) for row in found.rows], set(found.names), []
    for column in classes:
        cells = [_plain(row.get(column, "")) for row in rows]
        spellings = Counter(cell for cell in cells if cell.lower() not in NOTHING)
        one: dict[str, str] = {}  # the commonest spelling of each class
        for cell, _ in sorted(spellings.items(), key=lambda pair: (-pair[1], pair[0])):
            one.setdefault(cell.lower(), cell)
        if not one:
            raise InputError(f"the column {column!r} of {path} is empty: it holds no classes")
        if len(one) > _MOST:
            raise InputError(
                f"the column {column!r} of {path} has {len(one)} different values; a column of classes has at most {_MOST}"
            )
        if there := sorted({class_label(column, value) for value in one.values()} & names):
            raise InputError(
                f"{path} has a label called as the class {there[0]!r}; rename one of the columns"
            )
        for row, cell in zip(labels, cells, strict=True):
            if cell.lower() in one:
                row.update(
                    {class_label(column, value): int(key == cell.lower()) for key, value in one.items()}
                )
        names |= {class_label(column, value) for value in one.values()}
        notes += _notes(column, cells, one, spellings)
    every = tuple(sorted(names))
    return replace(found, rows=tuple(labels), names=every, columns=(*found.columns, *classes)), notes


def _plain(cell: str) -> str:
    return re.sub(r"^([-+]?\d+)[.,]0+$", r"\1", " ".join(cell.split()))


def _notes(column: str, cells: Sequence[str], one: Mapping[str, str], spellings: Counter[str]) -> list[str]:
    unknown = sum(cell.lower() in NOTHING for cell in cells)
    said = f"classes of {column}: {len(one)}" + (f", {unknown} rows unknown" if unknown else "")
    if len(one) == 1:
        said += "; one class only"
    words = sum(bool(cell) and cell.lower() in NOTHING for cell in cells)
    more = (
        [f"classes of {column}: {words} cells say none, nan or the like, taken as unknown"] if words else []
    )
    if merged := len(spellings) - len(one):
        more.append(f"classes of {column}: {merged} spellings differ in case alone, taken as the same class")
    return [said, *more]
