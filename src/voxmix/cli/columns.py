"""Which columns of a table stand beside each other in a terminal, how wide each is, and what is cut so that all fit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

_GAP = 3  # a line between two columns and a space at either side
_EDGES = 2  # the spaces at both ends of a table that has room
_NAMES = 0.6  # share of the width that names of rows may take before numbers stand for them
_WORD = 1 / 3  # share of the width that one word may take before its middle is cut
_FEW_ROWS = 2  # rows of a table that is turned where it is too wide
_SHORTEST = 16  # letters of a word that is never cut
_LINES = 4  # lines of a cell before its middle is cut
_MISSING = ("–", "-", "")
_NUMBER = re.compile(r"[<>~≥≤±]?[+\-−]?[\d.∞]")

Cells = Sequence[Sequence[str]]


def cell_len(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len as columns_of

    return columns_of(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Columns that are printed together: their places and widths; ``fits`` where no cell has to break."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    fits: bool

    @property
    def width(self) -> int:
        """Width of the printed table."""
        return sum(self.widths) + _GAP * (len(self.widths) - 1) + _EDGES * self.fits


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A table as it is printed.

    Attributes:
        cells: the header, then the rows; numbers of rows may be added, and long names are cut.
        parts: what stands beside each other.
        same: (heading, value) of columns that say the same in every row and are said once instead.
    """

    cells: Cells
    parts: tuple[Part, ...]
    same: tuple[tuple[str, str], ...] = ()

    @property
    def said_once(self) -> list[str]:
        """What every row says, and what none knows, in sentences."""
        known = [f"{name} {value}" for name, value in self.same if value not in _MISSING]
        unknown = [name for name, value in self.same if value in _MISSING]
        found = [f"in every row: {'; '.join(known)}"] if known else []
        return found + ([f"known of no row: {'; '.join(unknown)}"] if unknown else [])

    def numeric(self, column: int) -> bool:
        """Return whether a column holds numbers, which stand at the right."""
        texts = [row[column] for row in self.cells[1:] if row[column] not in _MISSING]
        return column > 0 and all(_NUMBER.match(text) for text in texts)


def laid_out(cells: Cells, width: int, *, split: bool) -> Layout:
    """Return how a table is printed in a width: in one part if it can be.

    Where it is too wide, cells break between words, and names that take a third of the width are cut in the middle. Where that
    is not enough, a table of one row or two is turned; of others what is the same in every row is said once, and the rest
    follows below, beside the names of the rows again.

    Args:
        cells: the header, then the rows.
        width: columns of the terminal. A part with one column beside its names may be wider, as no word is broken.
        split: whether a table may be cut and become several. Each begins with the names of the rows: the first
            columns that tell them apart, or where these are wide their numbers, which are added.
    """
    whole = _widest(cells)
    every = Part(columns=tuple(range(len(whole))), widths=tuple(whole), fits=True)
    if every.width <= width:
        return Layout(cells=cells, parts=(every,))
    if not split:
        return Layout(cells=cells, parts=(_part(list(every.columns), cells, width),))
    cells = _short(cells, width)
    same: tuple[tuple[str, str], ...] = ()
    if not _fit(cells, width):
        if len(cells) <= _FEW_ROWS + 1 and _fit(turned := list(zip(*cells, strict=True)), width):
            return Layout(cells=turned, parts=(_part(list(range(len(turned[0]))), turned, width),))
        cells, same = _said_once(cells)
    found = _in_parts(cells, width)
    return replace(found, cells=_few_lines(found), same=same)


def _in_parts(cells: Cells, width: int) -> Layout:
    columns = list(range(len(cells[0])))
    if _fit(cells, width):
        return Layout(cells=cells, parts=(_part(columns, cells, width),))
    least = _least(cells)
    names = next((k for k in range(1, len(columns)) if _apart(cells, k)), 0)
    if not names or (sum(least[:names]) + _GAP * names > _NAMES * width and names > 1):
        numbers = ["row", *map(str, range(1, len(cells)))]
        cells = [[number, *row] for number, row in zip(numbers, cells, strict=True)]
        least, names = _least(cells), 1
    groups = [list(range(names))]
    for place in range(names, len(least)):
        taken = sum(least[k] for k in groups[-1]) + _GAP * len(groups[-1])
        if len(groups[-1]) > names and taken + least[place] > width:
            groups.append(list(range(names)))
        groups[-1].append(place)
    return Layout(cells=cells, parts=tuple(_part(group, cells, width) for group in groups))


def _fit(cells: Cells, width: int) -> bool:
    least = _least(cells)
    return sum(least) + _GAP * (len(least) - 1) <= width


def cut_middle(text: str, width: int, *, head: float = 0.5) -> str:
    """Return a text of at most ``width`` letters: the middle of a longer one is left out, ``head`` of the rest stands before it.

    >>> cut_middle("prostate-mr-of-the-second-center", 15)
    'prostat…-center'
    """
    if len(text) <= width:
        return text
    first = round((width - 1) * head)
    return f"{text[:first]}…{text[len(text) - (width - 1 - first) :]}"


def _short(cells: Cells, width: int) -> Cells:
    """Cut words in the middle that would take a large part of the width, and keep rows apart that were."""
    names = next((k for k in range(1, len(cells[0]) + 1) if _apart(cells, k)), 0)
    for most in range(max(int(width * _WORD), _SHORTEST), width + 1, 8):
        for head in (0.5, 0.25, 0.75):  # where the middle is cut decides what is still told apart
            found = [[_cut_words(text, most, head) for text in row] for row in cells]
            if not names or _apart(found, names):
                return found
    return cells


def _cut_words(text: str, most: int, head: float) -> str:
    if cell_len(text) <= most:
        return text
    return "\n".join(
        " ".join(cut_middle(word, most, head=head) for word in line.split(" ")) for line in text.split("\n")
    )


def _said_once(cells: Cells) -> tuple[Cells, tuple[tuple[str, str], ...]]:
    """Take away columns that say the same in every row, but for the first: of two rows or more."""
    if len(cells) < 3:
        return cells, ()
    alike = [k for k in range(1, len(cells[0])) if len({row[k] for row in cells[1:]}) == 1]
    kept = [k for k in range(len(cells[0])) if k not in alike]
    return [[row[k] for k in kept] for row in cells], tuple((cells[0][k], cells[1][k]) for k in alike)


def _few_lines(layout: Layout) -> Cells:
    """Cut cells in the middle that would take many lines, keeping rows apart that were."""
    import textwrap

    widths = {
        column: wide for part in layout.parts for column, wide in zip(part.columns, part.widths, strict=True)
    }
    cells = [list(row) for row in layout.cells]
    for row in cells[1:]:
        for column, wide in widths.items():
            lines = textwrap.wrap(row[column], wide, break_long_words=False, break_on_hyphens=False)
            if len(lines) > _LINES:
                row[column] = "\n".join([*lines[: _LINES - 2], "…", lines[-1]])
    return (
        cells
        if len({tuple(row) for row in cells}) == len({tuple(row) for row in layout.cells})
        else layout.cells
    )


def _apart(cells: Cells, count: int) -> bool:
    """Return whether the first columns tell all rows apart."""
    return len({tuple(row[:count]) for row in cells[1:]}) == len(cells) - 1


def _widest(cells: Cells) -> list[int]:
    return [
        max(cell_len(line) for text in column for line in text.split("\n"))
        for column in zip(*cells, strict=True)
    ]


def _least(cells: Cells) -> list[int]:
    """Return how narrow each column may be: its longest word; of the first column, whose cells are names, twice that."""
    columns = list(zip(*cells, strict=True))
    least = [
        max((cell_len(word) for text in column for word in text.split()), default=0) for column in columns
    ]
    return [min(_widest(cells)[0], max(2 * least[0], 24)), *least[1:]]


def _part(group: list[int], cells: Cells, width: int) -> Part:
    """Share out what is left of the width to the columns that lack most."""
    least = _least(cells)
    most = _widest([cells[0], *cells[1:]] if len(cells) == 1 else cells[1:])
    widths = {place: least[place] for place in group}
    for _ in range(width - sum(widths.values()) - _GAP * (len(group) - 1)):
        place = max(group, key=lambda k: most[k] - widths[k])
        if most[place] <= widths[place]:
            break
        widths[place] += 1
    return Part(columns=tuple(group), widths=tuple(widths.values()), fits=False)
