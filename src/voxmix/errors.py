"""Exceptions and warnings. Every message names what was given, what was expected and what to do."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any


class VoxmixError(Exception):
    """Something failed while doing what was asked. Command-line exit code 1."""

    exit_code = 1


class InputError(VoxmixError, ValueError):
    """What the user gave cannot be used: a value, a file, a setting. Command-line exit code 2."""

    exit_code = 2


class StepPendingError(InputError):
    """A step of the study must be done first; the message names its command."""


class StudyBusyError(VoxmixError):
    """Another process is working on the same study."""


class MissingDependencyError(VoxmixError, ImportError):
    """An optional library is needed and not installed."""


class HandedOver(Exception):
    """What was asked for goes on elsewhere, such as in jobs of a cluster, or was only to be shown; the message is the result.

    Attributes:
        value: the same as JSON-like data.
    """

    def __init__(self, message: str, value: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.value = dict(value)


class VoxmixWarning(UserWarning):
    """A result that can be used, with a reason to doubt it."""


def did_you_mean(name: str, known: Sequence[str], *, what: str = "the domains are ") -> str:
    """Return a question after the nearest known name, or else all that are known."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else what + ", ".join(known)
