"""Terminals whose locale is not UTF-8: a sign that they lack is spelled in letters that they have, and nothing is lost."""

import codecs
import sys
from io import TextIOBase, TextIOWrapper

_SPELLED = {
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "±": "+/-",
    "×": "x",
    "·": "*",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "λ": "lambda",
    "τ": "tau",
}
_HANDLER = "voxmix-spelled"


def spell_for_plain_terminals(*streams: TextIOBase) -> None:
    """Let stdout and stderr (or ``streams``) spell the signs that their encoding lacks: a few in words, others as ``\\uXXXX``, as JSON does."""
    codecs.register_error(_HANDLER, _spelled)
    for stream in streams or (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors=_HANDLER)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    given = error.object[error.start : error.end]
    return "".join(_SPELLED.get(sign) or _escaped(sign) for sign in given), error.end


def _escaped(sign: str) -> str:
    """Return a sign as JSON escapes it: a pair of escapes for those beyond the first 65,536."""
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
