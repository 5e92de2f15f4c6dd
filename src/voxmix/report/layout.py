"""What a report is made of: sections of blocks, each a figure with its tables, sentences or pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voxmix.report.palette import domain_marks
from voxmix.report.table import Table
from voxmix.report.what_if import WhatIf
from voxmix.report.what_if_scores import ScoreWhatIf

if TYPE_CHECKING:
    from voxmix.report.svg import Drawing  # which imports matplotlib


@dataclass(frozen=True, kw_only=True, slots=True)
class Swatch:
    """One entry of a legend: a square of its color, or the ``glyph`` that is in the figure."""

    label: str
    color: str
    glyph: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureRow:
    """One domain's slices as data URIs; ``wide`` ones are files beside the page, each as wide as it."""

    domain: str
    images: tuple[tuple[str, str], ...]
    wide: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Fold:
    """One line that opens to details: ``title``, what it ``asks``, what was found, and how bad that is (``level``)."""

    title: str
    asks: str
    line: str
    bullets: tuple[str, ...]
    level: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A figure of one or more drawings with its caption, legend and tables; any part may be empty.

    ``lead`` is the one sentence in large type; ``folds`` are lines that open to details; ``steps`` are numbered.
    ``shown`` are open tables; ``tables`` are folded below the figure. What is not for ``paper`` is left out in print.
    """

    heading: str = ""
    sentences: tuple[str, ...] = ()
    drawings: tuple["Drawing", ...] = ()
    legend: tuple[Swatch, ...] = ()
    caption: str = ""
    shown: tuple[Table, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[PictureRow, ...] = ()
    lead: str = ""
    bullets: tuple[str, ...] = ()
    folds: tuple[Fold, ...] = ()
    steps: tuple[str, ...] = ()
    paper: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One part of the report. ``missing`` says what is not there yet, ``command`` what makes it.

    ``panel`` is the part that a script computes; a page has one at most.
    """

    name: str
    title: str
    blocks: tuple[Block, ...] = ()
    missing: str = ""
    command: str = ""
    panel: WhatIf | ScoreWhatIf | None = None


def domain_legend(domains: Sequence[str]) -> tuple[Swatch, ...]:
    """Return the legend of colors that every figure by domain shares."""
    return tuple(Swatch(label=name, color=mark.color) for name, mark in domain_marks(domains).items())
