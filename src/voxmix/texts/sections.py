"""Sections of a report: indication, findings, impression and the like, by their headings."""

import re
from collections.abc import Sequence
from typing import Literal

Section = Literal["indication", "technique", "comparison", "findings", "impression"]

HEADINGS: dict[Section, tuple[str, ...]] = {
    "indication": ("indication", "indications", "clinical indication", "history", "clinical history", "clinical information",
                   "reason for exam", "reason for examination", "reason for this examination", "reason for study", "clinical data",
                   "clinical details", "patient history", "clinical question"),
    "technique": ("technique", "examination", "exam", "procedure", "study", "views", "exam type", "type of examination", "protocol"),
    "comparison": ("comparison", "comparisons", "comparison study", "prior", "priors"),
    "findings": ("findings", "finding", "report", "description", "observations", "body of report", "results",
                 "findings and impression", "findings/impression", "findings & impression"),
    "impression": ("impression", "impressions", "conclusion", "conclusions", "summary", "opinion", "assessment", "diagnosis",
                   "final diagnosis", "interpretation"),
}  # fmt: skip
"""Headings by section, in lower case."""

_WORDS = sorted((word for words in HEADINGS.values() for word in words), key=len, reverse=True)
_NAMES = "|".join(re.escape(word).replace(r"\ ", r"[ \t]+") for word in _WORDS)
_CAPITALS = "|".join(re.escape(word.upper()).replace(r"\ ", r"[ \t]+") for word in _WORDS)
_HEADING = re.compile(
    rf"(?:^|(?<=\n))[ \t*_#]*(?:(?i:final|radiology)[ \t]+)?(?P<line>(?i:{_NAMES}))[ \t*_]*(?::|[ \t]-[ \t]|(?=\n))[ \t*_]*"
    rf"|(?<=[.;])[ \t]*(?P<sentence>(?i:{_NAMES}))[ \t]*:"
    rf"|(?<!\w)(?P<capitals>{_CAPITALS})[ \t]*:"
)

_EDGES = " \t\n*_#"


def sections_of(report: str) -> dict[Section | Literal["other"], str]:
    """Return the sections of a report that have text, in the report's order; what stands before a heading is "other".

    A heading is one of :data:`HEADINGS` at the start of a line, followed by a colon, a dash or the end of the line; after a
    sentence, or in capitals anywhere, it needs a colon.

    >>> sections_of("Chest PA. FINDINGS: Clear lungs. IMPRESSION: Normal.")["impression"]
    'Normal.'
    """
    report = report.replace("\r\n", "\n")
    found: dict[Section | Literal["other"], str] = {}
    for name, start, end in section_places(report):
        text = report[start:end]
        found[name] = f"{found[name]}\n{text}" if name in found else text
    return found


def section_places(report: str) -> list[tuple[Section | Literal["other"], int, int]]:
    """Return name, start and end of each section that has text, in the report's order; lines end with a line feed."""
    places: list[tuple[Section | Literal["other"], int, int]] = []
    name: Section | Literal["other"] = "other"
    start = 0
    for match in [*_HEADING.finditer(report), None]:
        part = report[start : match.start() if match else len(report)]
        text = part.strip(_EDGES)
        if text:
            first = start + len(part) - len(part.lstrip(_EDGES))
            places.append((name, first, first + len(text)))
        if match:
            name, start = _section(match["line"] or match["sentence"] or match["capitals"]), match.end()
    return places


def _section(heading: str) -> Section:
    plain = " ".join(heading.lower().split())
    return next(name for name, words in HEADINGS.items() if plain in words)


def chosen_text(report: str, wanted: Sequence[Section]) -> str:
    """Return the wanted sections of a report one after the other; without them what stands before its first heading.

    A report without headings is that as a whole.
    """
    found = sections_of(report)
    parts = [found[name] for name in wanted if name in found]
    return "\n".join(parts) if parts else found.get("other", "")
