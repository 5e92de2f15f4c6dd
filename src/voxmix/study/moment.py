"""A study at one moment: its steps, what is made of it and from what, and the results of its runs, each read once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voxmix.errors import InputError, VoxmixWarning
from voxmix.runs import is_finished
from voxmix.runs.results import RunResult, read_run
from voxmix.study.folder import Study
from voxmix.study.step import Steps, loaded
from voxmix.study.steps import STEPS

if TYPE_CHECKING:
    from voxmix.design import RunSpec
    from voxmix.study.config import StudyConfig

T = TypeVar("T")


class StudyMoment:
    """What every view of a study of mixtures can say, whatever has been made of the study.

    Whether a run is finished is never kept.
    """

    def __init__(self, study: Study, *, known: Mapping[Path, RunResult] | None = None) -> None:
        """``known`` are results that were read before, by folder."""
        self.study = study
        self._results = dict(known or {})
        self._inputs: dict[str, str] = {}
        self._made: dict[str, str] | None = None

    def after(self, name: str) -> StudyMoment:
        """Return a view of the study after a step, of which nothing is kept but results of runs."""
        return StudyMoment(self.study, known=self._results)

    @property
    def config(self) -> StudyConfig:
        """The study's settings."""
        return self.study.config

    @property
    def root(self) -> Path:
        """The study's folder."""
        return self.study.root

    @property
    def steps(self) -> Steps:
        """The steps of a mixture study."""
        return STEPS

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study: no other process may work on it meanwhile.

        Raises:
            StudyBusyError: one does.
        """
        return self.study.lock()

    def check(self) -> None:
        """Check the study as :func:`voxmix.study.checks.check_study` does, which knows views.

        Raises:
            InputError: lists every problem.
        """
        loaded("voxmix.study.checks:check_study")(self)

    def inputs(self, name: str) -> str:
        """Return the digest of what a step's files are made from, as it is now."""
        if name not in self._inputs:
            digest_of = self.steps[name].inputs
            assert digest_of is not None, name
            self._inputs[name] = digest_of(self)
        return self._inputs[name]

    def is_made(self, name: str) -> bool:
        """Return whether a step's files are made, from its inputs as they are now."""
        inputs = self.inputs(name)
        if self._made is None:
            self._made = self.study.made()
        return self._made.get(name) == inputs

    def mark_made(self, name: str) -> None:
        """Remember that a step's files are made from its inputs as they are now."""
        self.study.mark_made(name, self.inputs(name))
        self._made = None

    def kept(self, name: str, read: Callable[[], T], *, again: str) -> T | None:
        """Return what a step has made, if it is up to date; None where it is not, or cannot be read.

        Warns:
            VoxmixWarning: its files are gone or damaged; ``again`` says what happens now.
        """
        if not self.is_made(name):
            return None
        try:
            return read()
        except InputError as error:
            warnings.warn(f"{error}: {again}", VoxmixWarning, stacklevel=3)
            return None

    def results(self, specs: tuple[RunSpec, ...]) -> tuple[RunResult, ...]:
        """Return the finished runs among ``specs``, in their order, each once."""
        folders = dict.fromkeys(self.study.run_dir(spec) for spec in specs)
        return tuple(self._result(folder) for folder in folders if is_finished(folder))

    def _result(self, folder: Path) -> RunResult:
        if folder not in self._results:
            self._results[folder] = read_run(folder)
        return self._results[folder]

    def result(self, folder: Path) -> RunResult | None:
        """Return the finished run in a folder of the study's runs; None where there is none that can be read."""
        if folder.parent != self.study.runs_dir:
            return None
        try:
            return self._result(folder)
        except InputError:
            return None
