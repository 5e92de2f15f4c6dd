"""A study at one moment: its steps, what is made of it and from what, and the results of its runs, each read once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from voxmix._memory import without_collecting
from voxmix.errors import InputError, VoxmixWarning
from voxmix.runs import is_finished
from voxmix.runs.results import RunResult, read_run
from voxmix.study.folder import Study
from voxmix.study.place import Moment
from voxmix.study.step import Steps, loaded
from voxmix.study.steps import STEPS

if TYPE_CHECKING:
    from voxmix.design import RunSpec
    from voxmix.study.config import StudyConfig

T = TypeVar("T")


class StudyMoment(Moment[Study]):
    """What every view of a study of mixtures can say, whatever has been made of the study.

    Whether a run is finished is never kept.
    """

    def __init__(self, study: Study, *, known: Mapping[Path, RunResult] | None = None) -> None:
        """``known`` are results that were read before, by folder."""
        super().__init__(study)
        self._results = dict(known or {})

    def after(self, name: str) -> StudyMoment:
        """Return a view of the study after a step, of which nothing is kept but results of runs."""
        return StudyMoment(self.study, known=self._results)

    @property
    def config(self) -> StudyConfig:
        """The study's settings."""
        return self.study.config

    @property
    def steps(self) -> Steps:
        """The steps of a mixture study."""
        return STEPS

    def check(self) -> None:
        """Check the study as :func:`voxmix.study.checks.check_study` does, which knows views.

        Raises:
            InputError: lists every problem.
        """
        loaded("voxmix.study.checks:check_study")(self)

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
        with without_collecting():
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
