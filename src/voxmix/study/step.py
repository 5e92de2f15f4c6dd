"""What a step of a study is, whatever kind of study: what it needs, what it does, how far it is, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from voxmix._io import as_argument
from voxmix._table import Table
from voxmix.errors import StepPendingError

if TYPE_CHECKING:
    from voxmix.engines.job_file import Job
    from voxmix.study.listener import Listener


@runtime_checkable
class StepView(Protocol):
    """What a step may ask of the view of a study."""

    @property
    def root(self) -> Path:
        """The study's folder."""

    @property
    def steps(self) -> Steps:
        """The steps of studies of this kind."""

    @property
    def lease_seconds(self) -> float:
        """Seconds without a sign of life after which another process takes over what one has claimed."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study: no other process may work on it meanwhile.

        Raises:
            StudyBusyError: one does.
        """

    def check(self) -> None:
        """Check every setting of the study against the others, and against what is prepared.

        Raises:
            InputError: lists every problem.
        """

    def after(self, name: str) -> StepView:
        """Return a view of the study after a step."""

    def is_made(self, name: str) -> bool:
        """Return whether a step's files are made, from its inputs as they are now."""

    def mark_made(self, name: str) -> None:
        """Remember that a step's files are made from its inputs as they are now."""

    def made(self) -> dict[str, str]:
        """Return the steps that were finished, each with the digest of what it was made from."""

    def mark(self, name: str, inputs: str) -> None:
        """Remember a digest of what is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Whether a step is done from its inputs as they are now, how far it is, in words, and how many things it has to make."""

    done: bool
    detail: str
    left: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRuns:
    """The runs that a step is made of, as far as they are known now.

    Attributes:
        jobs: all of them, finished ones too.
        words: what the spec of one is, in words.
        table: writes the table of runs, given a view; None where there is none.
        table_of_part: whether it is written also while some of them are not finished.
    """

    jobs: Sequence[Job]
    words: Callable[[Any], str]
    table: Callable[[Any], object] | None = None
    table_of_part: bool = False


@runtime_checkable
class Unit(Protocol):
    """A piece of a step's work; its name is the same in every process that finds the same left to do."""

    @property
    def name(self) -> str: ...


@runtime_checkable
class StepUnits(Protocol):
    """The work of a step as it is left now, in pieces that any process may take; the step then puts together what they made."""

    @property
    def units(self) -> Sequence[Unit]:
        """What is left."""

    def is_done(self, unit: Any) -> bool:
        """Return whether some process has made a unit meanwhile, or said why it cannot be made."""

    def make(self, unit: Any, *, careful: bool = False, stop: Callable[[], bool] | None = None) -> bool:
        """Make a unit and return whether all of it is done: not where ``stop`` said so before.

        ``careful``: a process that made it before is gone; what ends a process must not end this one.
        """

    def failed(self) -> Mapping[str, str]:
        """Return what could not be made, here or elsewhere, and why."""

    def join(self, hear: Listener) -> Any:
        """Put together what all processes have made: by the one that holds the study, unless the step is done as it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a study.

    Attributes:
        name: what it is called.
        sentence: what it does, for people.
        work: the function that does what is not done yet, given a view of the study, a listener and the step's own
            options, and returns what came of it; or ``package.module:function``, loaded when it is run.
        progress: how far it is, asked where the steps that it needs are done.
        missing: what is said where another step needs this one.
        needs: names of the steps without which it cannot begin.
        inputs: digest of what its files are made from; None where it keeps none, or the files say it themselves.
        todo: how far it is while earlier steps are not done, in words.
        on_request: whether it is done only when asked for, and not by ``voxmix study run``.
        options: what its command needs beside the study.
        verb: the command that does it; a row of elsewhere has none of its own.
        runs: "package.module:function" of a step that is made of runs: given a view and a listener, it returns the
            :class:`StepRuns`, which any number of workers share; a step without is done by one worker.
        units: "package.module:function" of a step whose work may be cut: given a view and a listener, it returns the
            :class:`StepUnits`, which any number of workers share; None where it cannot be cut now.
    """

    name: str
    sentence: str
    work: str | Callable[..., Any]
    progress: Callable[[Any], Progress]
    missing: str | Callable[[Any], str]
    needs: tuple[str, ...] = ()
    inputs: Callable[[Any], str] | None = None
    todo: str = "not begun"
    on_request: bool = False
    options: str = ""
    verb: str = "study run"
    runs: str = ""
    units: str = ""

    def call(self, study: Path | str) -> str:
        """Return the command line that does the step."""
        place = as_argument(study) if isinstance(study, Path) else study
        return " ".join(filter(None, (f"voxmix {self.verb}", place, self.options)))

    def run(self, view: StepView, hear: Listener, **options: Any) -> Any:
        """Do what is not done of the step and return what came of it.

        Raises:
            StepPendingError: a step that it needs is not done; names the command.
        """
        for name in self.needs:
            needed = view.steps[name]
            if not needed.progress(view).done:
                raise needed.pending(view)
        work = loaded(self.work) if isinstance(self.work, str) else self.work
        return work(view, hear, **options)

    def pending(self, view: StepView, why: str = "") -> StepPendingError:
        """Return the error that says what is not done (``why``, or as the step says), and the command that does it."""
        missing = self.missing if isinstance(self.missing, str) else self.missing(view)
        return StepPendingError(f"{why or missing}; first: {self.call(view.root)}")


def loaded(name: str) -> Callable[..., Any]:
    """Return the function that ``package.module:function`` names; its module is loaded now."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


class Steps(Table[Step]):
    """The steps of one kind of study. A row of elsewhere comes right after the last step that it needs; of none, at the end."""

    def in_order(self) -> tuple[Step, ...]:
        """Return every step, in the order in which they are done."""
        rows = self.rows()
        ordered = [rows.pop(name) for name in self._own]
        for row in rows.values():
            places = [place for place, before in enumerate(ordered, 1) if before.name in row.needs]
            ordered.insert(max(places) if places else len(ordered), row)
        return tuple(ordered)

    def of_a_run(self) -> tuple[Step, ...]:
        """Return the steps that ``voxmix study run`` does, in order."""
        return tuple(row for row in self.in_order() if not row.on_request)


def prepared_from(view: Any) -> str:
    """Return the digest of what decides which images or volumes a study prepares, and how."""
    inputs: str = view.study.preparation_inputs
    return inputs


def counted(left: int, total: int, what: str) -> Progress:
    """Return how far a step is that makes ``total`` things, of which ``left`` are not made yet."""
    return Progress(done=not left, detail=f"{total - left} of {total} {what}", left=left)


def not_done(left: int, total: int, what: str) -> str:
    """Return what is said where a step needs all of ``total`` things and ``left`` are not made yet."""
    return f"{left} of {total} {what} are not done"


def written(page: Path, shown: Iterable[Path]) -> Progress:
    """Return how far a page is that shows files: done when none of those that exist is newer than it."""
    done = page.exists() and all(one.stat().st_mtime <= page.stat().st_mtime for one in shown if one.exists())
    return Progress(done=done, detail=page.name if done else "to be written")


def steps_table(steps: Sequence[Step], *, study: str = "mystudy") -> list[str]:
    """Return a Markdown table of steps: the command and what it does."""
    return [
        "| step | what it does |",
        "|---|---|",
        *(f"| `{row.call(study)}` | {row.sentence} |" for row in steps),
    ]
