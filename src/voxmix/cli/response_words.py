"""What a law of scores calls its quantities: error where a law of losses says loss, samples where budgets count samples."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix.response import Response

_LOSS = re.compile(r"(?<![\w-])(L|l)oss(es)?(?![\w=-])")
_A_LOSS = re.compile(r"(?<![\w-])([Aa]) loss(?![\w=-])")
_DRAWS = re.compile(r"(?<![\w-])(?:(V|v)olume )?draw(s)?(?![\w=-])(?! of the bootstrap)")

_NAMES = frozenset({"response", "run", "runs", "target", "targets", "domain", "domains", "source", "written"})
"""Keys of names that others gave, and of paths."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseWords:
    """Turns sentences on losses and draws into those of a law's response; names of domains and targets stay."""

    response: "Response"
    names: Sequence[str] = ()

    def __call__(self, text: str) -> str:
        """Return a sentence in the response's words."""
        if not self.response.rises and self.response.unit == "draws":
            return text
        names = [re.escape(name) for name in sorted(self.names, key=len, reverse=True)]
        parts = re.split(rf"({'|'.join(names)})", text) if names else [text]
        return "".join(part if place % 2 else self._said(part) for place, part in enumerate(parts))

    def in_json(self, value: Any, *, key: str = "") -> Any:
        """Return JSON-like data with its sentences in the response's words; keys, and texts of one word, stay."""
        if isinstance(value, Mapping):
            return {name: self.in_json(one, key=name) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.in_json(one, key=key) for one in value]
        is_sentence = isinstance(value, str) and " " in value and key not in _NAMES
        return self(value) if is_sentence else value

    def _said(self, text: str) -> str:
        if self.response.rises:
            text = _A_LOSS.sub(lambda m: f"{m[1]}n error", text)
            text = _LOSS.sub(lambda m: ("E" if m[1] == "L" else "e") + "rror" + ("s" if m[2] else ""), text)
        if self.response.unit == "samples":
            text = re.sub(r"bootstrap draws", "bootstrap \0", text)
            text = _DRAWS.sub(lambda m: "sample" + ("s" if m[2] else ""), text).replace("\0", "draws")
        return text
