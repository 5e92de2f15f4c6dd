"""Exceptions and warnings. Every message names what was given, what was expected and what to do."""


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


class VoxmixWarning(UserWarning):
    """A result that can be used, with a reason to doubt it."""
