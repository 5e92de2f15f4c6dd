"""What a language model is asked about a report, and how strictly its answer is read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from voxmix._io import canonical_json
from voxmix.errors import InputError

QUESTION_VERSION = 1
"""Raised whenever the same answer is read in another way than before."""

SAID = {"present": 1, "absent": 0, "uncertain": -1, "not named": None}
"""The words of an answer, and the label's value: -1 is named with doubt alone, None not known."""

_PROMPT = (
    "You read radiology reports. Say for each label what the report says of it: \"present\", \"absent\" (the report denies it), "
    "\"uncertain\" (it is named with doubt alone), or \"not named\". Only what is said of this examination's images counts, not the "
    "indication, the history or a recommendation; what is unchanged is present. Silence is no denial: it is \"not named\". "
    "Labels: {labels}. Answer with one JSON object that has every label as a key, {form}, and nothing else."
)  # fmt: skip
_PLAIN = "and one of these four as its value"
_QUOTED = (
    'and as its value an object {"said": one of these four, "words": the words of the report that decide, copied '
    "exactly, empty where it is not named}"
)


class NonsenseError(Exception):
    """An answer that cannot be used; says why, without a word of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Labels that are asked for; with ``quoted`` the words that decided too.

    Raises:
        InputError: no label, or one twice.
    """

    labels: tuple[str, ...]
    quoted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if (
            not self.labels
            or len(set(self.labels)) < len(self.labels)
            or not all(n.strip() for n in self.labels)
        ):
            raise InputError(f"labels must be names, each once; got {list(self.labels)}")  # fmt: skip

    @property
    def prompt(self) -> str:
        """What the model is told before it sees a report."""
        return _PROMPT.format(labels=", ".join(self.labels), form=_QUOTED if self.quoted else _PLAIN)

    def messages(self, text: str) -> list[dict[str, str]]:
        """Return the messages of one request."""
        return [{"role": "system", "content": self.prompt}, {"role": "user", "content": f"Report:\n{text}"}]

    def identity(self, text: str, model: str) -> str:
        """Return what names an answer: text, labels, model and prompt, as JSON text."""
        return canonical_json(
            {"version": QUESTION_VERSION, "text": text, "labels": list(self.labels), "model": model, "prompt": self.prompt}
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model says of each label: 1, 0, -1 (in doubt) or None; and the words that decided, where they were asked for.

    ``unquoted`` counts words that do not stand in the report: they are left out.
    """

    values: Mapping[str, int | None]
    words: Mapping[str, str] = field(default_factory=dict, repr=False)
    unquoted: int = 0


def read_answer(content: str, question: Question, text: str) -> Answer:
    """Return what an answer says.

    It must be one JSON object with exactly the labels as keys, once each, and one of four words for each. Thoughts before
    it (``<think>``) and a fence of code around it are passed over.

    Raises:
        NonsenseError: anything else.
    """
    plain = re.sub(r"^\s*<think>.*?</think>", "", content, flags=re.DOTALL).strip()
    plain = re.sub(r"^```(?:json)?\s*\n(.*)\n?```$", r"\1", plain, flags=re.DOTALL)
    try:
        value = json.loads(plain, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise NonsenseError("no JSON") from None
    if not isinstance(value, dict):
        raise NonsenseError("no JSON object")
    if set(value) - set(question.labels):
        raise NonsenseError("labels that were not asked for")
    if set(question.labels) - set(value):
        raise NonsenseError("labels left out")
    values, words, unquoted = {}, {}, 0
    spread = " ".join(text.split()).lower()
    for name in question.labels:
        said, quote = _said(value[name], quoted=question.quoted)
        values[name] = SAID[said]
        if quote and values[name] is not None:
            if " ".join(quote.split()).lower() in spread:
                words[name] = " ".join(quote.split())
            else:
                unquoted += 1
    return Answer(values=values, words=words, unquoted=unquoted)


def _said(value: Any, *, quoted: bool) -> tuple[str, str]:
    if quoted:
        if (
            not isinstance(value, dict)
            or set(value) != {"said", "words"}
            or not isinstance(value["words"], str)
        ):
            raise NonsenseError("a value of another form")  # fmt: skip
        value, quote = value["said"], value["words"]
    else:
        quote = ""
    word = value.strip().lower() if isinstance(value, str) else ""
    if word not in SAID:
        raise NonsenseError("a value that is none of the four words")
    return word, quote


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)
