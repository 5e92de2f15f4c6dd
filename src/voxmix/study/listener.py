"""Who hears how a step goes: progress while it works, and notes that are not its result."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from voxmix._progress import ProgressCallback
from voxmix.errors import VoxmixWarning

StepProgress = Callable[[str, int, int], None]
"""Called with (what is going on, done, total)."""
Tell = Callable[[str], None]
"""Called with a sentence."""


@runtime_checkable
class Bar(Protocol):
    """Begin to show one piece of work: a label, and what is counted; yields where to say how far it is."""

    def __call__(self, label: str, *, unit: str = "") -> AbstractContextManager[ProgressCallback]: ...


def _nowhere(message: str) -> None:
    """Tell nobody."""


def warn(message: str) -> None:
    """Tell a sentence as a :class:`voxmix.errors.VoxmixWarning`."""
    warnings.warn(message, VoxmixWarning, stacklevel=2)


@contextmanager
def _quiet(label: str, *, unit: str = "") -> Iterator[ProgressCallback]:
    yield lambda done, total: None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Where the steps of a study say how far they are, what was odd, and what is good to know.

    By default what was odd is a warning, and the rest is said nowhere.
    """

    bar: Bar = _quiet
    tell: Tell = warn
    inform: Tell = _nowhere

    @classmethod
    def calling(cls, progress: StepProgress | None, tell: Tell | None) -> "Listener":
        """Return a listener that calls ``progress`` with (label, done, total) and ``tell`` with sentences."""

        @contextmanager
        def bar(label: str, *, unit: str = "") -> Iterator[ProgressCallback]:
            yield lambda done, total: progress(label, done, total) if progress is not None else None

        return cls(bar=bar) if tell is None else cls(bar=bar, tell=tell, inform=tell)

    @contextmanager
    def waiting(self, label: str) -> Iterator[None]:
        """Show that something goes on whose steps cannot be counted."""
        with self.bar(label) as progress:
            yield
            progress(1, 1)


QUIET = Listener()
