"""Which columns of a table stand beside each other in a terminal, and how wide each is."""

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = 3  # a line between two columns and a space at either side
_EDGES = 2  # the spaces at both ends of a table that has room


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


def parts_of(cells: Sequence[Sequence[str]], width: int, *, split: bool) -> list[Part]:
    """Return the parts of a table that fit a width, one if it can be.

    Args:
        cells: the header, then the rows.
        width: columns of the terminal. A part with one column beside its names may be wider, as no word is broken.
        split: whether a table that is too wide may become several; each begins with the names of the rows, the first
            column, or the first two where the first says some names twice.
    """
    from rich.cells import cell_len

    columns = list(zip(*cells, strict=True))
    whole = [max(map(cell_len, column)) for column in columns]
    every = Part(columns=tuple(range(len(columns))), widths=tuple(whole), fits=True)
    if every.width <= width:
        return [every]
    # The first column names the rows, so that its cells do not break; its header may.
    names = max((cell_len(text) for text in columns[0][1:]), default=0)
    least = [
        max((cell_len(word) for text in column for word in text.split()), default=0) for column in columns
    ]
    least[0] = max(least[0], names)
    most = [max((cell_len(text) for text in column[1:]), default=0) for column in columns]
    twice = len(set(columns[0][1:])) < len(columns[0][1:]) and len(columns) > 2
    rows = list(range(2 if twice else 1))
    groups = [rows.copy()]
    for place in range(len(rows), len(columns)):
        taken = sum(least[k] for k in groups[-1]) + _GAP * len(groups[-1])
        if split and len(groups[-1]) > len(rows) and taken + least[place] > width:
            groups.append(rows.copy())
        groups[-1].append(place)
    return [_part(group, least, most, width) for group in groups]


def _part(group: list[int], least: list[int], most: list[int], width: int) -> Part:
    """Share out what is left of the width to the columns that lack most."""
    widths = {place: least[place] for place in group}
    for _ in range(width - sum(widths.values()) - _GAP * (len(group) - 1)):
        place = max(group, key=lambda k: most[k] - widths[k])
        if most[place] <= widths[place]:
            break
        widths[place] += 1
    return Part(columns=tuple(group), widths=tuple(widths.values()), fits=False)
