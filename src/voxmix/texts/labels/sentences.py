"""Sentences of a report, as places in its text."""

import re
from collections.abc import Iterator

_END = re.compile(
    r"(?<!\d)(?<!\bDr)(?<!\bvs)(?<!\bapprox)[.?!;]+(?=\s|$|[A-Z])"  # not within 3.5
    r"|(?<=\d)[.](?=\s+[A-Z]|\s*$)"
    r"|\n\s*\n"
    r"|\n(?=\s*(?:[-*•]|\d{1,2}[.)])\s)"
    r"|(?<=\S)\n(?=[ \t]*[A-Z][a-z])",
    re.MULTILINE,
)
_LONGEST = 1000
"""Characters; what goes on longer is cut there, so that a report of any length takes time in proportion."""

_NUMBER = re.compile(r"\s*\(?\d{1,2}[.)]\s+")


def sentences(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence of a part of a text.

    A sentence ends at a full stop, a question mark or a semicolon, at an empty line, and at a line's end where the next
    line is an item of a list or starts with a capital; after 1,000 characters at the latest.
    """
    end = len(text) if end is None else end
    here = start
    for match in _END.finditer(text, start, end):
        if _NUMBER.fullmatch(text[here : match.end()] + " "):
            continue  # the number of a list's item
        yield from _cut(text, here, match.start())
        here = match.end()
    yield from _cut(text, here, end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST:
        blank = text.rfind(" ", start, start + _LONGEST)
        cut = blank if blank > start else start + _LONGEST
        yield start, cut
        start = cut
    if text[start:end].strip():
        yield start, end
