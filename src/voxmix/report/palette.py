"""Colors, markers and short names: one per domain and one per strategy, the same in every figure."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from voxmix.allocation.strategies import split_name

OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800", "#7A7A7A")
"""Okabe and Ito (2008), safe for color-blind readers; their yellow is darkened and their black is gray,
so that both can be seen on a white and on a dark page."""

_DARKER = ("#00406B", "#8F6200", "#005C43", "#803800", "#2B6C92", "#8A4470", "#6B6200", "#454545")
_HATCHES = ("", "///", "\\\\\\", "xxx")  # lines: dots take 150 kB a color in a page
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
_GLYPHS = {"o": "●", "s": "■", "^": "▲", "v": "▼", "D": "◆", "P": "✚", "X": "✖", "*": "★"}
_HOLLOW = {"D": "◇", "s": "□", "^": "△", "v": "▽", "o": "○", "p": "⬠", "h": "⬡"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How one domain or strategy is drawn everywhere."""

    color: str
    marker: str
    hatch: str = ""


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
    """Return one mark per strategy: that of its row for the first of a row, by place for others."""
    known: dict[str, Mark] = {}
    used: set[str] = set()
    for name in strategies:
        row, _ = split_name(name)
        if row is not None and row.color and row.name not in used:
            used.add(row.name)
            known[name] = Mark(color=row.color, marker=row.marker)
    others = [name for name in strategies if name not in known]
    return known | {
        name: Mark(color=_DARKER[i % len(_DARKER)], marker=_MARKERS[-1 - i % len(_MARKERS)])
        for i, name in enumerate(dict.fromkeys(others))
    }


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
