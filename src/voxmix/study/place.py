"""What a study's folder and a view of it have in common, whatever kind of study it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

from voxmix import _html
from voxmix.runs.files import RESULT_FILE
from voxmix.study import files, marks
from voxmix.study.step import Steps, StepView

if TYPE_CHECKING:
    from voxmix.study.listener import Listener


class StudyFolder:
    """A folder with a study file, and what is made from it. A dataclass of a kind adds ``config`` and its own parts."""

    __slots__ = ()
    root: Path
    config: Any

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root.resolve().name!r}, {self.in_short})"

    def _repr_html_(self) -> str:
        finished = len(list(self.runs_dir.glob(f"*/{RESULT_FILE}"))) if self.runs_dir.is_dir() else 0
        lines = (
            *self.in_lines,
            ("finished runs", f"{finished}"),
            ("report", "made" if self.report_path.is_file() else "not made"),
        )
        where = "every setting is in study.yaml; voxmix.study.study_status(study) says what is done and what comes next"
        return _html.paragraph(repr(self)) + _html.table(("", ""), lines) + _html.paragraph(where)

    @property
    def in_short(self) -> str:
        """The study in a few words, for its repr."""
        return "a study"

    @property
    def in_lines(self) -> tuple[tuple[str, str], ...]:
        """What the study is, as pairs of a name and a value, for notebooks."""
        return ()

    @property
    def path(self) -> Path:
        """The study file."""
        return self.root / files.STUDY_FILE

    @property
    def cache_dir(self) -> Path:
        """Where prepared arrays lie."""
        return self.root / files.CACHE_FOLDER

    @property
    def private_dir(self) -> Path:
        """Who stands behind the pseudonyms, and which files were set aside; nothing of it is ever passed on."""
        return self.root / files.PRIVATE_FOLDER

    @property
    def runs_dir(self) -> Path:
        """One folder per run, named by the digest of its spec."""
        return self.root / files.RUNS_FOLDER

    @property
    def report_path(self) -> Path:
        """The report."""
        return self.root / files.REPORT_FILE

    def is_made(self, step: str, inputs: str) -> bool:
        """Return whether a step was finished from these inputs (their digest)."""
        return self.made().get(step) == inputs

    def mark_made(self, step: str, inputs: str) -> None:
        """Remember that a step is finished and from which inputs."""
        marks.mark(self.root, step, inputs)

    def made(self) -> dict[str, str]:
        """Return the steps that were finished, see :func:`voxmix.study.marks.made`."""
        return marks.made(self.root)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study for this process; the lock goes with the process, even when it is killed.

        Raises:
            StudyBusyError: another process holds it; names the process.
        """
        return marks.held(self.root, lease_seconds=self.config.compute.lease_seconds)


@runtime_checkable
class _Configured(Protocol):
    """A study's folder with its settings."""

    @property
    def root(self) -> Path: ...
    @property
    def config(self) -> Any: ...
    def made(self) -> dict[str, str]: ...
    def mark_made(self, step: str, inputs: str) -> None: ...
    def lock(self) -> AbstractContextManager[None]: ...


S = TypeVar("S", bound=_Configured)


class Moment(Generic[S]):
    """A study at one moment: its steps, and what is made of it and from what, each read once.

    A kind of study adds ``steps``, ``check`` and ``after`` (:class:`voxmix.study.step.StepView`), and what it reads.
    """

    def __init__(self, study: S) -> None:
        """Look at a study."""
        self.study = study
        self._inputs: dict[str, str] = {}
        self._made: dict[str, str] | None = None

    @property
    def root(self) -> Path:
        """The study's folder."""
        return self.study.root

    @property
    def lease_seconds(self) -> float:
        """Seconds without a sign of life after which another process takes over what one has claimed."""
        return float(self.study.config.compute.lease_seconds)

    @property
    def steps(self) -> Steps:
        """The steps of studies of this kind."""
        raise NotImplementedError

    def check(self) -> None:
        """Check the study's settings, see :class:`voxmix.study.step.StepView`."""
        raise NotImplementedError

    def after(self, name: str) -> StepView:
        """Return a view of the study after a step."""
        raise NotImplementedError

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study: no other process may work on it meanwhile.

        Raises:
            StudyBusyError: one does.
        """
        return self.study.lock()

    def do(self, name: str, hear: Listener, **options: Any) -> Any:
        """Do what is not done of one step, under the study's lock, and return what came of it; ``options`` are the step's own.

        Raises:
            StepPendingError: a step that it needs is not done; names the command.
            StudyBusyError: another process works on the study.
        """
        with self.lock():
            return self.steps[name].run(self, hear, **options)

    def inputs(self, name: str) -> str:
        """Return the digest of what a step's files are made from, as it was when first asked for."""
        if name not in self._inputs:
            digest_of = self.steps[name].inputs
            assert digest_of is not None, name
            self._inputs[name] = digest_of(self)
        return self._inputs[name]

    def is_made(self, name: str) -> bool:
        """Return whether a step's files are made, from its inputs as they are now."""
        return self.made().get(name) == self.inputs(name)

    def made(self) -> dict[str, str]:
        """Return the steps that were finished, each with the digest of what it was made from."""
        if self._made is None:
            self._made = self.study.made()
        return self._made

    def mark_made(self, name: str) -> None:
        """Remember that a step's files are made from its inputs as they are now."""
        self.mark(name, self.inputs(name))

    def mark(self, name: str, inputs: str) -> None:
        """Remember a digest of what is made."""
        self.study.mark_made(name, inputs)
        self._made = None
