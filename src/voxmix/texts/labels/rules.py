"""Rules as data: the words of each label, the words around them that deny or doubt, and how a rule's words are read."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from voxmix._io import digest
from voxmix.errors import InputError

RULES_VERSION = 1
"""Raised whenever the same rules label the same report in another way than before."""

LabelKind = Literal["finding", "tube"]
Cue = Literal["deny", "deny_behind", "doubt", "doubt_behind", "both_doubt", "keep", "stop", "aside"]

_GAP = r"(?:[\s,/-]++(?!(?:no|not|without|but|and)\b)[\w'%.]++){0,4}?[\s,/-]++"


def pattern_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern that finds any of these words, whole and in any case.

    A space is any space or hyphen, `` ?`` one that may be missing, ``*`` any letters, `` ... `` up to four words;
    ``( | )`` are alternatives, and ``?``, ``+`` or ``*`` behind them as in regular expressions.

    Raises:
        InputError: words that are no such pattern.
    """
    parts = []
    for word in sorted(words, key=len, reverse=True):
        part = re.sub(r"(?<=\S) \.\.\. (?=\S)", "\0", word)
        part = re.sub(r"(?<!\))\*", r"\\w*", part).replace("(", "(?:")
        part = part.replace(" ?", r"[\s-]*").replace(" ", r"[\s-]+").replace("\0", _GAP)
        try:
            re.compile(part)
        except re.error as error:
            raise InputError(f"the words {word!r} of a rule cannot be read: {error}") from None
        parts.append(part)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(parts) or '(?!)'})(?!\w)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class LabelRule:
    """What a label is said by.

    Raises:
        InputError: no name, no words, or words that are no pattern (:func:`pattern_of`).
    """

    name: str
    words: tuple[str, ...]
    """Words that name it; denied, doubted or neither by what stands around them."""
    kind: LabelKind = "finding"
    excludes: tuple[str, ...] = ()
    """Words that hold some of ``words`` and mean something else; what they cover names nothing."""
    normal: tuple[str, ...] = ()
    """Words that say that it is not there without naming it, as a normal size of the heart does."""
    includes: tuple[str, ...] = ()
    """Labels that are this one too: a PICC is a central line."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("name", "kind"):
                continue
            if isinstance(value, str) or not all(isinstance(word, str) and word.strip() for word in value):
                raise InputError(
                    f"{item.name} of the rule {self.name!r} must be a list of words, got {value!r}"
                )
            object.__setattr__(self, item.name, tuple(value))
        if self.kind not in get_args(LabelKind):
            raise InputError(f"kind of the rule {self.name!r} must be finding or tube, got {self.kind!r}")
        if not self.name.strip() or not (self.words or self.includes):
            raise InputError(f"a rule needs a name and words, got {self.name!r} with {list(self.words)}")
        _ = self.named, self.excluded, self.denied  # words that are no pattern are refused here

    @cached_property
    def named(self) -> re.Pattern[str]:
        """Pattern of ``words``."""
        return pattern_of(self.words)

    @cached_property
    def excluded(self) -> re.Pattern[str]:
        """Pattern of ``excludes``."""
        return pattern_of(self.excludes)

    @cached_property
    def denied(self) -> re.Pattern[str]:
        """Pattern of ``normal``."""
        return pattern_of(self.normal)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Labels, and the words that change what is said of them.

    Raises:
        InputError: two labels of one name, or a label that includes one that is not there.
    """

    labels: tuple[LabelRule, ...]
    cues: Mapping[Cue, tuple[str, ...]]
    """By kind: ``deny`` and ``doubt`` what follows, ``deny_behind`` and ``doubt_behind`` what stands before,
    ``both_doubt`` both; ``keep`` looks like a denial and is none; ``stop`` ends what a cue reaches; ``aside``: what
    follows is no word on this image."""

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not names:
            raise InputError(f"rules need labels of different names; twice: {twice}")
        unknown = sorted({part for rule in self.labels for part in rule.includes} - set(names))
        if unknown:
            raise InputError(
                f"rules include labels that have no rule: {unknown}; add a rule or leave them out"
            )
        odd = sorted(set(self.cues) - set(get_args(Cue)))
        if odd:
            raise InputError(f"cues have the kinds {odd}; known are {', '.join(get_args(Cue))}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all labels, in their order."""
        return tuple(rule.name for rule in self.labels)

    def only(self, names: Sequence[str]) -> "Rules":
        """Return the rules of these labels, and of those that they include.

        Raises:
            InputError: a label that has no rule.
        """
        unknown = sorted(set(names) - set(self.names))
        if unknown:
            raise InputError(f"there is no rule for {unknown}; the labels are {', '.join(self.names)}")
        kept = {part for rule in self.labels if rule.name in names for part in (rule.name, *rule.includes)}
        return Rules(labels=tuple(rule for rule in self.labels if rule.name in kept), cues=self.cues)

    @cached_property
    def cue_patterns(self) -> dict[Cue, re.Pattern[str]]:
        """Pattern of each kind of cue."""
        return {kind: pattern_of(words) for kind, words in self.cues.items() if words}

    def as_dict(self) -> dict[str, Any]:
        """Return the rules as JSON-like data; :meth:`from_dict` is its inverse."""
        return {
            "version": RULES_VERSION,
            "labels": [{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(rule).items()} for rule in self.labels],
            "cues": {kind: list(words) for kind, words in self.cues.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Rules":
        """Return the rules written by :meth:`as_dict`.

        Raises:
            InputError: keys that a rule does not have, or values that are none.
        """
        try:
            rows: list[dict[str, Any]] = [
                {key: tuple(item) if isinstance(item, list) else item for key, item in rule.items()}
                for rule in value["labels"]
            ]
            labels = tuple(LabelRule(**row) for row in rows)
            cues = {kind: tuple(words) for kind, words in value["cues"].items()}
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"these are no rules of labels: {error}; write them as Rules.as_dict() does"
            ) from None
        return cls(labels=labels, cues=cues)

    @property
    def digest(self) -> str:
        """Digest of the rules."""
        return digest(self.as_dict())
