"""Labels of a report: each word that names a finding or a tube, what is said of it, and what that makes of the report."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from voxmix.texts.labels.rules import Cue, LabelRule, Rules
from voxmix.texts.labels.sentences import sentences
from voxmix.texts.labels.tables import DEFAULT_RULES
from voxmix.texts.sections import Section, section_places

Said = Literal["present", "uncertain", "absent"]
Side = Literal["", "left", "right", "both"]
Span = tuple[int, int]

READ: tuple[Section, ...] = ("findings", "impression")
"""Sections that are read; never why the examination was asked for, nor what it is compared with."""

_ORDER: tuple[Said, ...] = ("present", "uncertain", "absent")
"""What counts where a report says several things of a label: the first of these."""

_SIDES = re.compile(
    r"\b(?:(?P<both>bilateral(?:ly)?|bibasilar|biapical|both|right[ -](?:and|greater than)[ -](?:the )?left|left[ -](?:and|greater than)[ -](?:the )?right)"
    r"|(?P<left>left(?:[ -]sided)?|LLL|LUL|lingula\w*)|(?P<right>right(?:[ -]sided)?|RLL|RUL|RML))\b",
    re.IGNORECASE,
)
_CHANGES = re.compile(
    r"\b(?:(?P<unchanged>unchanged|stable|no (?:significant |interval )*change|persist\w*|similar|again (?:seen|noted)|redemonstrat\w*)"
    r"|(?P<new>(?<!no )new|newly))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """One place where a report names a label.

    ``words`` is the place of the words that name it, ``cue`` of those that deny or doubt it (None where none do), both as
    (start, end) in the report. ``side`` and ``change`` are what the same sentence says nearest to them: left, right, both;
    unchanged, new; "" where it says nothing.
    """

    label: str
    said: Said
    words: Span
    cue: Span | None = None
    side: Side = ""
    change: Literal["", "unchanged", "new"] = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """What a report says of every label.

    ``values`` has 1 (present), 0 (absent) or None (not known) for every label of the rules; ``decided`` the mention that
    decided, for each label that is named; ``mentions`` all of them, in the text's order.
    """

    values: Mapping[str, int | None]
    decided: Mapping[str, Mention]
    mentions: tuple[Mention, ...]
    text: str = field(repr=False)

    @property
    def uncertain(self) -> tuple[str, ...]:
        """Labels that the report names with doubt alone."""
        return tuple(name for name, mention in self.decided.items() if mention.said == "uncertain")

    def words(self, label: str) -> str:
        """Return the words that decided on a label, its cue with them; "" where the report does not name it."""
        if label not in self.decided:
            return ""
        mention = self.decided[label]
        spans = sorted({mention.words, *([mention.cue] if mention.cue else [])})
        return " ... ".join(" ".join(self.text[start:end].split()) for start, end in spans)


def label_report(
    text: str,
    *,
    rules: Rules = DEFAULT_RULES,
    uncertain: int | None = None,
) -> Labels:
    """Return what a report says of every label of the rules, and by which words.

    Its findings and impression are read, and of a report without a heading of the findings what stands before the first
    heading; never why it was asked for, or what it is compared with. A label that is named several times is present if it is so once, else uncertain if it is so once.

    Args:
        text: The report.
        rules: The labels and their words.
        uncertain: What a label becomes that is named with doubt alone: None (not known), 1 or 0.
    """
    plain = text.replace("\r\n", " \n").replace("\r", "\n")  # of the same length: places stay
    mentions = [
        mention
        for start, end in _parts(plain)
        for place in sentences(plain, start, end)
        for mention in _mentions(plain, place, rules)
    ]
    mentions.sort(key=lambda mention: (mention.words, mention.label))
    decided: dict[str, Mention] = {}
    for rule in rules.labels:
        ours = [m for m in mentions if m.label == rule.name or m.label in rule.includes]
        if ours:
            decided[rule.name] = min(ours, key=lambda m: _ORDER.index(m.said))
    value: dict[Said, int | None] = {"present": 1, "uncertain": uncertain, "absent": 0}
    values = {name: value[decided[name].said] if name in decided else None for name in rules.names}
    return Labels(values=values, decided=decided, mentions=tuple(mentions), text=text)


def label_reports(
    texts: Iterable[str], *, rules: Rules = DEFAULT_RULES, uncertain: int | None = None
) -> tuple[Labels, ...]:
    """Return the labels of each report (:func:`label_report`)."""
    return tuple(label_report(text, rules=rules, uncertain=uncertain) for text in texts)


def _parts(text: str) -> list[Span]:
    """Return the parts of a report that say what is seen.

    Without a heading of the findings they stand before the first heading, or follow the first sentence of what is compared
    with or of the technique, as in "Comparison: None. The lungs are clear. Impression: Normal."
    """
    places = section_places(text)
    if not any(name == "findings" for name, _, _ in places):
        places = [
            ("findings", *_after_first(text, start, end))
            if name in ("comparison", "technique")
            else (name, start, end)
            for name, start, end in places
        ]
        return [(start, end) for name, start, end in places if name in (*READ, "other")]
    return [(start, end) for name, start, end in places if name in READ]


def _after_first(text: str, start: int, end: int) -> Span:
    first = next(sentences(text, start, end), (start, end))
    return first[1], end


def _mentions(text: str, place: Span, rules: Rules) -> list[Mention]:
    """Return the mentions of one sentence."""
    sentence = text[slice(*place)]
    found: list[tuple[LabelRule, Span, bool]] = []
    for rule in rules.labels:
        taken = [match.span() for match in rule.excluded.finditer(sentence)]
        named = [m.span() for m in rule.named.finditer(sentence) if not _inside(m.span(), taken)]
        found += [(rule, span, True) for span in named]
        found += [(rule, m.span(), False) for m in rule.denied.finditer(sentence)]
    if not found:
        return []
    cues = _cues(sentence, rules)
    mentions = []
    for rule, span, is_named in found:
        said, cue = _said(span, cues, within=is_named)
        if said is None or (not is_named and said != "present"):
            continue  # of another time or person; or "not normal"
        mentions.append(
            Mention(
                label=rule.name,
                said=said if is_named else "absent",
                words=_moved(span, place[0]),
                cue=None if cue is None or not is_named else _moved(cue, place[0]),
                side=_nearest(_SIDES, sentence, span) if is_named else "",  # type: ignore[arg-type]
                change=_nearest(_CHANGES, sentence, span) if is_named else "",  # type: ignore[arg-type]
            )
        )
    return mentions


def _cues(sentence: str, rules: Rules) -> list[tuple[Span, Cue]]:
    """Return the cues of a sentence in its order; of two that overlap the longer one, a stop last."""
    found = [
        (match.span(), kind)
        for kind, pattern in rules.cue_patterns.items()
        for match in pattern.finditer(sentence)
    ]
    kept: list[tuple[Span, Cue]] = []
    for span, kind in sorted(found, key=lambda cue: (cue[1] == "stop", cue[0][0] - cue[0][1], cue[0])):
        if not any(span[0] < end and start < span[1] for (start, end), _ in kept):
            kept.append((span, kind))
    return sorted(kept)


def _said(words: Span, cues: list[tuple[Span, Cue]], *, within: bool) -> tuple[Said | None, Span | None]:
    """Return what the cues of a sentence make of words in it, and which of them did; None: not of this image.

    ``within``: cues among the words themselves count too.
    """
    stops = [start for (start, _), kind in cues if kind == "stop"]
    reached: dict[str, Span] = {}
    for span, kind in cues:
        before, behind = span[1] <= words[0], span[0] >= words[1]
        inside = span[0] >= words[0] and span[1] <= words[1]
        low, high = (span[1], words[0]) if before else (words[1], span[0])
        if inside and not within:
            continue
        if not inside and any(low <= stop < high for stop in stops):
            continue
        if inside or (before and kind in ("deny", "doubt", "both_doubt", "aside")):
            reached[kind] = span
        elif behind and kind in ("deny_behind", "doubt_behind", "both_doubt"):
            reached.setdefault(kind, span)
    if "aside" in reached:
        return None, reached["aside"]
    for kind in ("deny", "deny_behind"):
        if kind in reached:
            return "absent", reached[kind]
    for kind in ("doubt", "doubt_behind", "both_doubt"):
        if kind in reached:
            return "uncertain", reached[kind]
    return "present", None


def _nearest(pattern: re.Pattern[str], sentence: str, words: Span) -> str:
    """Return the name of the pattern's group that stands nearest to words, those before them first."""
    matches = [
        (max(m.start() - words[1], words[0] - m.end(), 0), m.start(), m.lastgroup)
        for m in pattern.finditer(sentence)
    ]
    return str(min(matches)[2]) if matches else ""


def _inside(span: Span, taken: list[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in taken)


def _moved(span: Span, by: int) -> Span:
    return span[0] + by, span[1] + by
