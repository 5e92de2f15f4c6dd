"""TextRecipe: what of a report is kept, without what names a person, cut where it is too long."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from voxmix._io import digest
from voxmix.errors import InputError, did_you_mean
from voxmix.run_settings import at_least
from voxmix.texts.privacy import deidentify
from voxmix.texts.sections import HEADINGS, Section, chosen_text

TEXT_VERSION = 2
"""Raised whenever the same report and recipe give another text than before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRecipe:
    """What of a report is kept: these sections, so many words, without names, dates and numbers of persons.

    Raises:
        InputError: a section that is not known, or no words.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    sections: tuple[Section, ...] = ("findings", "impression")
    """Sections that are kept, in this order; a report without headings is kept whole."""
    max_words: int = 400
    """Words after which a report is cut; 400 words are about 600 tokens, more than any context here."""
    deidentify: bool = True
    """Replace names, dates, numbers, addresses and places by what they are. Leave it on unless the texts are public."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sections", tuple(self.sections))
        at_least(self, "max_words", 1)
        unknown = [name for name in self.sections if name not in HEADINGS]
        if unknown or not self.sections:
            hint = (
                did_you_mean(str(unknown[0]), list(HEADINGS), what="known are ")
                if unknown
                else "name at least one"
            )
            raise InputError(f"sections has {list(self.sections)}; {hint}")

    def as_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-like data; :meth:`from_dict` is its inverse."""
        return {"version": TEXT_VERSION, **asdict(self), "sections": list(self.sections)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "TextRecipe":
        """Return the recipe written by :meth:`as_dict`."""
        known = {name: item for name, item in value.items() if name != "version"}
        return cls(**known | {"sections": tuple(known["sections"])})

    @property
    def digest(self) -> str:
        """Digest of the recipe."""
        return digest(self.as_dict())


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportText:
    """A report after a recipe: its text, how many words were cut, and what was replaced, by kind."""

    text: str
    cut_words: int = 0
    replaced: Mapping[str, int] = field(default_factory=dict)


def report_text(report: str, recipe: TextRecipe, *, known: tuple[str, ...] = ()) -> ReportText:
    """Return what a recipe keeps of a report, on one line; "" where nothing is left.

    ``known`` are names and numbers of whom it is about (:func:`voxmix.texts.privacy.deidentify`). The text is cut before names are sought, a little behind the last word that is kept, so that a report of any
    length takes bounded time and no name is torn in two.
    """
    chosen = chosen_text(_clean(report), recipe.sections)
    words = chosen.split(" ")
    near = " ".join(words[: recipe.max_words + _MARGIN])
    found = deidentify(near, known=known) if recipe.deidentify else None
    kept = (near if found is None else found.text).split()
    total = len(chosen.split())
    text = " ".join(kept[: recipe.max_words])
    cut = max(0, total - recipe.max_words) if len(kept) > recipe.max_words else 0
    return ReportText(text=text, cut_words=cut, replaced={} if found is None else dict(found.counts))


_MARGIN = 12
"""Words: more than any name, date or address has."""


def _clean(report: str) -> str:
    """Return a report in composed letters, without control characters; lines stay lines, other space is one space."""
    text = unicodedata.normalize("NFC", report).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    return re.sub(r"[^\S\n]+", " ", text)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextCounts:
    """What came of all reports: how many have a text, are empty, share theirs with another, were cut; what was replaced."""

    texts: int
    empty: int
    different: int
    commonest: int
    cut: int
    replaced: Mapping[str, int]

    def lines(self) -> tuple[str, ...]:
        """Return the counts in sentences; no text is shown."""
        said = [
            f"{self.texts} reports with text, {self.different} different; {self.empty} images without a text"
        ]
        if self.texts > 1 and self.different == 1:
            said.append("all texts are equal: nothing can be learned from them")
        elif self.commonest > 1:
            said.append(
                f"the commonest text stands in {self.commonest} reports; equal texts count as one meaning"
            )
        if self.cut:
            said.append(f"{self.cut} reports were cut, being too long")
        if self.replaced:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.replaced.items()))
            said.append(f"replaced in the texts: {kinds}")
        return tuple(said)


def count_texts(texts: Sequence[ReportText]) -> TextCounts:
    """Return what came of all reports."""
    groups = Counter(text.text.lower() for text in texts if text.text)
    return TextCounts(
        texts=sum(groups.values()),
        empty=sum(not text.text for text in texts),
        different=len(groups),
        commonest=max(groups.values(), default=0),
        cut=sum(text.cut_words > 0 for text in texts),
        replaced=_sum(text.replaced for text in texts),
    )


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)
