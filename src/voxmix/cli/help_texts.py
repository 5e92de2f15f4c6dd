"""The text of --help: paragraphs without the line breaks of the source, so that they fill any width."""

import inspect
from collections.abc import Callable
from typing import Any


def help_text(function: Callable[..., Any]) -> str:
    """Return a verb's docstring with each paragraph on one line; examples, which are indented, stay as they are."""
    parts = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split()) for part in parts)
