"""Amounts as people write them: 8k, 1.5M, 1e5 or 16,000 draws; the same on the command line and in study.yaml."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from voxmix.errors import InputError

_TIMES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_WRITTEN = re.compile(
    r"\s*(\d[\d_]*|\d{1,3}(?:,\d{3})+|(?=\.\d))(\.\d*)?(e[+-]?\d+)?\s*([kmgb]?)\s*", re.IGNORECASE
)
PATTERN = r"^\s*(\d[\d_]*|\d{1,3}(,\d{3})+|(?=\.\d))(\.\d*)?([eE][+-]?\d+)?\s*[kKmMgGbB]?\s*$"
"""What an amount in words looks like, for the schema of study files."""
_HINT = "give a number such as 16000, 16k or 1e5"


def amount(text: str) -> float:
    """Return the number that a text says.

    >>> amount("8k"), amount("1e5"), amount("1.5M"), amount("16,000")
    (8000.0, 100000.0, 1500000.0, 16000.0)

    Raises:
        InputError: no number, one that is not finite, or a letter that stands for none of k, M and G.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} is no amount; {_HINT}")
    whole, fraction, power, times = found.groups(default="")
    digits = whole.replace("_", "").replace(",", "")
    value = float(f"{digits or 0}{fraction}{power}") * _TIMES[times.lower()]
    if not math.isfinite(value):
        raise InputError(f"{text!r} is too large; {_HINT}")
    return value


def whole_amount(text: str) -> int:
    """Return the whole number that a text says.

    >>> whole_amount("8k"), whole_amount("2.5k")
    (8000, 2500)

    Raises:
        InputError: as :func:`amount`, or what it says is not whole.
    """
    if text.strip().isdecimal():  # of any length, to the last digit
        return int(text)
    value = amount(text)
    if not abs(value - round(value)) <= 1e-9 * max(value, 1):
        raise InputError(f"{text!r} is {value:g}, which is not whole; {_HINT}")
    return round(value)


@dataclass(frozen=True, slots=True)
class Written:
    """Marks a field of settings whose number may be written as an amount; words in ``but`` stay as they are."""

    whole: bool = True
    but: tuple[str, ...] = ()

    def read(self, value: Any) -> Any:
        """Return the number that a text says; all else is for the field's own check."""
        if not isinstance(value, str) or value in self.but:
            return value
        try:
            return whole_amount(value) if self.whole else amount(value)
        except InputError as error:
            raise ValueError(str(error)) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        inner = handler(schema)
        kinds = [one for one in inner.get("anyOf", [inner]) if one != {"type": "string"}]
        words = [{"enum": list(self.but)}] if self.but else []
        return {"anyOf": [*kinds, *words, {"type": "string", "pattern": PATTERN}]}


Amount = Annotated[int, Written()]
"""A whole number of draws, images or what else is counted, which a file may also write as 8k or 1e5."""
AnyAmount = Annotated[float, Written(whole=False)]
"""As Amount, of a number that need not be whole."""
