"""Which columns of a table stand beside each other in a terminal, and how wide each is."""

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = 3  # a line between two columns and a space at either side
_EDGES = 2  # the spaces at both ends of a table that has room
_NAMES = 0.6  # share of the width that names of rows may take before numbers stand for them


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


def laid_out(
    cells: Sequence[Sequence[str]], width: int, *, split: bool
) -> tuple[Sequence[Sequence[str]], list[Part]]:
    """Return the cells of a table and the parts that fit a width, one if it can be.

    Args:
        cells: the header, then the rows.
        width: columns of the terminal. A part with one column beside its names may be wider, as no word is broken.
        split: whether a table that is too wide may become several. Each begins with the names of the rows: the first
            columns that tell them apart, or where these are wide their numbers, which are added.
    """
    whole = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    every = Part(columns=tuple(range(len(whole))), widths=tuple(whole), fits=True)
    if every.width <= width:
        return cells, [every]
    least = _least(cells)
    if not split or sum(least) + _GAP * (len(least) - 1) <= width:
        return cells, [_part(list(every.columns), cells, width)]
    names = next((k for k in range(1, len(whole)) if _apart(cells, k)), 0)
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
    return cells, [_part(group, cells, width) for group in groups]


def _apart(cells: Sequence[Sequence[str]], count: int) -> bool:
    """Return whether the first columns tell all rows apart."""
    return len({tuple(row[:count]) for row in cells[1:]}) == len(cells) - 1


def _least(cells: Sequence[Sequence[str]]) -> list[int]:
    """Return how narrow each column may be: its longest word, of the first column the longest cell."""
    columns = list(zip(*cells, strict=True))
    least = [
        max((cell_len(word) for text in column for word in text.split()), default=0) for column in columns
    ]
    return [max([least[0], *map(cell_len, columns[0][1:])]), *least[1:]]


def _part(group: list[int], cells: Sequence[Sequence[str]], width: int) -> Part:
    """Share out what is left of the width to the columns that lack most."""
    least = _least(cells)
    most = [max(map(cell_len, column[1:]), default=0) for column in zip(*cells, strict=True)]
    widths = {place: least[place] for place in group}
    for _ in range(width - sum(widths.values()) - _GAP * (len(group) - 1)):
        place = max(group, key=lambda k: most[k] - widths[k])
        if most[place] <= widths[place]:
            break
        widths[place] += 1
    return Part(columns=tuple(group), widths=tuple(widths.values()), fits=False)
