"""Colors, markers and short names, the same in every figure; no color stands for two sorts of things on a page.

Domains have hues. Strategies have grays and are told apart by their markers, lines and labels. Labels of a segmentation have
hues of their own. Every color here can be seen on a light and on a dark page, so both schemes have the same.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from voxmix.allocation.strategies import split_name

Line = str | tuple[int, tuple[float, ...]]
"""A pattern of a line as matplotlib takes it."""

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800", "#AA3377")
"""Okabe and Ito (2008), safe for color-blind readers; their yellow is darkened and their black is
the purple of Paul Tol's bright scheme, so that all can be seen on a white and on a dark page."""

_DARKER = ("#00406B", "#8F6200", "#005C43", "#803800", "#2B6C92", "#8A4470", "#6B6200", "#6E2150")
_GRAYS = ("#6E757C", "#868E96")
"""Of the strategies that have a row with a marker, and of others; neither is darker or lighter than both pages allow."""
_LABELS = ("#EE3377", "#33BBEE", "#EE7733", "#44AA99", "#DDCC77", "#AA4499", "#88CCEE", "#999933")
"""Paul Tol (2021), vibrant and muted: of labels on gray pictures."""
_LINES: tuple[Line, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)))
_HATCHES = ("", "///", "\\\\\\", "xxx")  # lines: dots take 150 kB a color in a page
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
_GLYPHS = {
    "o": "●",
    "s": "■",
    "^": "▲",
    "v": "▼",
    "D": "◆",
    "P": "✚",
    "X": "✖",
    "*": "★",
    "<": "◀",
    ">": "▶",
    "p": "⬟",
    "h": "⬢",
}
_HOLLOW = {"D": "◇", "s": "□", "^": "△", "v": "▽", "o": "○", "p": "⬠", "h": "⬡"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How one domain or strategy is drawn everywhere."""

    color: str
    marker: str
    hatch: str = ""
    line: Line = "-"


def domain_marks(domains: Sequence[str]) -> dict[str, Mark]:
    """Return one mark per domain, by its place; after 8 the colors darken, after 16 hatches differ."""
    colors = (*OKABE_ITO, *_DARKER)
    return {
        name: Mark(
            color=colors[i % len(colors)],
            marker=_MARKERS[i % len(_MARKERS)],
            hatch=_HATCHES[min(i // len(colors), len(_HATCHES) - 1)],
        )
        for i, name in enumerate(domains)
    }


def strategy_marks(strategies: Sequence[str]) -> dict[str, Mark]:
    """Return one mark per strategy: the marker of its row for the first of a row, one that is left for others."""
    known: dict[str, str] = {}
    used: set[str] = set()
    for name in strategies:
        row, _ = split_name(name)
        if row is not None and row.marker and row.name not in used:
            used.add(row.name)
            known[name] = row.marker
    others = dict.fromkeys(name for name in strategies if name not in known)
    taken = set(known.values())
    left = [marker for marker in reversed(_MARKERS) if marker not in taken] or list(_MARKERS)
    markers = known | {name: left[i % len(left)] for i, name in enumerate(others)}
    return {
        name: Mark(color=_GRAYS[name not in known], marker=marker, line=_line_of(marker))
        for name, marker in markers.items()
    }


def _line_of(marker: str) -> Line:
    return _LINES[_MARKERS.index(marker) % len(_LINES) if marker in _MARKERS else 0]


def label_colors(labels: Sequence[str]) -> tuple[str, ...]:
    """Return one color per label of a segmentation; after 8 they come again."""
    return tuple(_LABELS[i % len(_LABELS)] for i in range(len(labels)))


def law_markers(laws: Sequence[str]) -> dict[str, str]:
    """Return one marker per law, drawn hollow everywhere."""
    markers = list(_HOLLOW)
    return {name: markers[i % len(markers)] for i, name in enumerate(laws)}


def glyph(marker: str, *, hollow: bool = False) -> str:
    """Return the letter that looks like a marker, for legends in text."""
    return (_HOLLOW if hollow else _GLYPHS).get(marker, "○" if hollow else "●")


def ink_on(color: str) -> str:
    """Return black or white, whichever reads better on ``color`` (relative luminance of WCAG 2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def text_width(text: str) -> float:
    """Return the width of a text in units of an average Latin letter; East Asian letters count 1.7."""
    return sum(1.7 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in text)


def short_name(name: str, *, width: float = 16) -> str:
    """Return the name, cut in the middle with an ellipsis when it is wider than ``width`` letters."""
    if text_width(name) <= width:
        return name
    head, tail = list(name), list[str]()
    keep = (width - 1) / 2
    while text_width("".join(head)) > keep:
        head.pop()
    for letter in reversed(name):
        if text_width("".join(tail)) + text_width(letter) > keep:
            break
        tail.insert(0, letter)
    return "".join(head).rstrip() + "…" + "".join(tail).lstrip()
