"""Labels of images as people write them: many spellings of yes, no, uncertain and nothing; lists of names in one cell."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_YES = frozenset(("1", "yes", "y", "true", "t", "pos", "positive", "present", "+"))
_NO = frozenset(("0", "no", "n", "false", "f", "neg", "negative", "absent"))
_UNCERTAIN = frozenset(
    ("-1", "u", "unc", "uncertain", "unclear", "maybe", "possible", "probable", "equivocal", "?")
)
NOTHING = frozenset(("", "nan", "na", "n/a", "none", "null", "-", ".", "unknown", "missing", "not mentioned"))
"""Cells that say nothing, in lower case."""

_NAMES_OF_LISTS = frozenset(("labels", "label", "finding labels", "findings labels", "finding", "classes"))
_NO_FINDING = frozenset(("no finding", "no findings", "normal", "none", "nothing", "no label"))
_READ_SHARE = 0.9
"""Share of a column's filled cells that must say yes, no or uncertain: a few slips do not make it another column."""


def read_label(cell: str) -> int | str | None:
    """Return 1 or 0; "uncertain"; None for an empty cell; "other" for anything else.

    >>> [read_label(cell) for cell in ("1.0", "Absent", "-1", "NaN", "mild")]
    [1, 0, 'uncertain', None, 'other']
    """
    word = re.sub(r"^([-+]?\d+)[.,]0+$", r"\1", cell.strip().lower())
    if word in _YES:
        return 1
    if word in _NO:
        return 0
    if word in NOTHING:
        return None
    return "uncertain" if word in _UNCERTAIN else "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelColumns:
    """Labels of every row, and what was found on the way.

    ``rows`` is label to 1 or 0 for each row, what is not known left out; ``names`` all labels, sorted; ``uncertain`` and
    ``unread`` count the cells that became unknown, by label; ``columns`` are those of the table that hold labels.
    """

    rows: tuple[dict[str, int], ...]
    names: tuple[str, ...]
    columns: tuple[str, ...] = ()
    uncertain: Mapping[str, int]
    unread: Mapping[str, int]


def read_labels(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> LabelColumns:
    """Return the labels that ``columns`` of a table hold.

    A column holds one label where nearly all of its filled cells say yes, no or uncertain; or it is called labels and
    its cells list the names of what is present, apart by | ; or a comma, everything else being absent.
    """
    found: list[dict[str, int]] = [{} for _ in rows]
    uncertain: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    used = []
    for column in columns:
        cells = [row.get(column, "") for row in rows]
        read = [read_label(cell) for cell in cells]
        filled = [value for value in read if value is not None]
        if filled and sum(value != "other" for value in filled) >= _READ_SHARE * len(filled):
            used.append(column)
            for labels, value in zip(found, read, strict=True):
                if isinstance(value, int):
                    labels[column] = value
            uncertain[column] += filled.count("uncertain")
            unread[column] += filled.count("other")
        elif _one_spelling(column) in _NAMES_OF_LISTS and filled:
            used.append(column)
            _add_lists(found, cells)
    names = sorted({name for labels in found for name in labels})
    return LabelColumns(
        rows=tuple(found), names=tuple(names), columns=tuple(used), uncertain=+uncertain, unread=+unread
    )


def _add_lists(found: list[dict[str, int]], cells: Sequence[str]) -> None:
    """Add labels from cells that list what is present; a cell that is empty says nothing of any."""
    listed = [[part.strip() for part in re.split(r"[|;,]", cell) if part.strip()] for cell in cells]
    everything = sorted({name for names in listed for name in names if name.lower() not in _NO_FINDING})
    for labels, names in zip(found, listed, strict=True):
        if names:
            labels.update({name: int(name in names) for name in everything})


def _one_spelling(column: str) -> str:
    return re.sub(r"[\W_]+", " ", column.strip().lower()).strip()
