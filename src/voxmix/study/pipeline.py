"""Running a study from Python: all of its steps with :func:`run_study`, or one call for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix.study.checks import study_remarks
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener, StepProgress, Tell, warn
from voxmix.study.step import StepView
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.allocation import Allocation
    from voxmix.allocation.refinement import Refinement
    from voxmix.law import FittedLaw
    from voxmix.mixture import Mixture
    from voxmix.report import ReportContent
    from voxmix.runs import RunResult
    from voxmix.study.clinical_tasks import FinetunedTask
    from voxmix.study.costs import StudyCost
    from voxmix.study.training import Proxies
    from voxmix.volumes import Preparation


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRun:
    """A study of which every step is done.

    Attributes:
        study: the study; its report lies at ``study.report_path``.
        outcomes: step to what it gave, also of steps that were added to the table.
    """

    study: Study
    outcomes: Mapping[str, Any]

    @property
    def content(self) -> ReportContent:
        """What the report shows: the answer, the mixtures, the laws, the measurements."""
        found: ReportContent = self.outcomes["report"]
        return found

    @property
    def answer(self) -> Mixture | None:
        """The mixture that the report recommends; None where no law gave one."""
        from voxmix.report.content import mixture_of

        found = self.content.strategies.get(self.content.answer or "")
        return None if found is None else mixture_of(found)


def run_study(
    study: Study | Path | str,
    *,
    progress: StepProgress | None = None,
    tell: Tell | None = None,
) -> StudyRun:
    """Run every step of a study that is not done, in order, as ``voxmix study run`` does, and return what came of it.

    Stop it at any moment: the same call goes on from there. ``progress`` is called with (what is going on, done, total).
    ``tell`` hears notes, in sentences; if it is left out, what was odd is a warning.

    Raises:
        InputError: no study there, or one whose settings cannot work.
        StudyBusyError: another process is working on it.
        VoxmixError: a run failed; the others are kept.

    Example:
        >>> import voxmix
        >>> done = voxmix.run_study("mystudy")  # doctest: +SKIP
        >>> done.answer  # doctest: +SKIP
    """
    view = open_study(study)
    with view.lock():
        outcomes = dict(run_steps(view, Listener.calling(progress, tell)))
    return StudyRun(study=view.study, outcomes=outcomes)


def run_steps(view: StepView, hear: Listener = QUIET) -> Iterator[tuple[str, Any]]:
    """Do the steps of a study of any kind in order and yield each one's name and what came of it; the caller holds the lock."""
    for number, row in enumerate(view.steps.of_a_run()):
        if number:
            view.check()
        outcome = row.run(view, hear)
        view = view.after(row.name)
        if row.inputs is not None and not view.is_made(row.name):
            view.mark_made(row.name)
        yield row.name, outcome


def run_step(name: str, study: Study | StudyView | Path | str, hear: Listener = QUIET, **options: Any) -> Any:
    """Do what is not done of one step of a study, under its lock, and return what came of it."""
    return open_study(study).do(name, hear, **options)


def open_study(study: Study | StudyView | Path | str) -> StudyView:
    """Return a view of a study, or of that in a folder or of a study.yaml, its settings checked against each other.

    Raises:
        InputError: it is none, or its study file cannot be used or cannot work.

    Warns:
        VoxmixWarning: a setting has no effect.
    """
    if isinstance(study, StudyView):
        return study
    view = StudyView(study if isinstance(study, Study) else Study.open(Path(study)))
    view.check()
    for remark in study_remarks(view.study):
        warn(remark)
    return view


def refine(
    study: Study | Path | str,
    *,
    budget: int | None = None,
    rounds: int = 5,
    draws: int | None = None,
    tolerance: float = 0.05,
    progress: StepProgress | None = None,
    tell: Tell | None = None,
) -> Refinement:
    """Train the law's choice and its neighbours and fit again, until they agree; see :func:`voxmix.study.refining.refine_study`."""
    hear = Listener.calling(progress, tell)
    found: Refinement = run_step(
        "refine", study, hear, budget=budget, rounds=rounds, draws=draws, tolerance=tolerance
    )
    return found


def prepare(
    study: Study | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> Preparation:
    """Prepare the volumes of a study that are not in its cache yet; make its phantoms first, where it has them."""
    found: Preparation = run_step("prepare", study, Listener.calling(progress, tell))
    return found


def run(
    study: Study | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> Proxies:
    """Train the proxy runs of a study that are pending; return them and what they measured."""
    found: Proxies = run_step("run", study, Listener.calling(progress, tell))
    return found


def fit(
    study: Study | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> dict[str, FittedLaw]:
    """Fit the laws of a study to its proxy runs, where they are not up to date; return them by name."""
    found: dict[str, FittedLaw] = run_step("fit", study, Listener.calling(progress, tell))
    return found


def allocate(
    study: Study | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> dict[str, Allocation | Mixture]:
    """Find the mixtures of a study's strategies, where they are not up to date; return them by name."""
    found: dict[str, Allocation | Mixture] = run_step("allocate", study, Listener.calling(progress, tell))
    return found


def pretrain(
    study: Study | Path | str, *, progress: StepProgress | None = None, tell: Tell | None = None
) -> tuple[RunResult, ...]:
    """Train the mixtures of a study's strategies, where that is pending; return their runs."""
    found: tuple[RunResult, ...] = run_step("pretrain", study, Listener.calling(progress, tell))
    return found


def finetune(
    study: Study | Path | str,
    task: str,
    *,
    inits: Sequence[str] | None = None,
    seeds: int = 3,
    data: Path | None = None,
    control: str | None = None,
    surface: bool = False,
    predictions: bool = False,
    pictures: bool = True,
    progress: StepProgress | None = None,
    tell: Tell | None = None,
) -> FinetunedTask:
    """Finetune encoders of a study on a clinical task; see :func:`voxmix.study.clinical_tasks.finetune_task`."""
    found: FinetunedTask = run_step(
        "finetune",
        study,
        Listener.calling(progress, tell),
        task=task,
        inits=inits,
        seeds=seeds,
        data=data,
        control=control,
        surface=surface,
        predictions=predictions,
        pictures=pictures,
    )
    return found


def report(
    study: Study | Path | str,
    *,
    pictures: bool = True,
    progress: StepProgress | None = None,
    tell: Tell | None = None,
) -> ReportContent:
    """Write the report of a study, with or without slices of volumes; return what it shows."""
    found: ReportContent = run_step("report", study, Listener.calling(progress, tell), pictures=pictures)
    return found


def estimate(
    study: Study | Path | str,
    *,
    seconds: float = 5.0,
    tflops: float | None = None,
    progress: StepProgress | None = None,
    tell: Tell | None = None,
) -> StudyCost | None:
    """Estimate what the unfinished runs of a study will cost; see :func:`voxmix.study.costs.estimate_cost`."""
    from voxmix.study.costs import estimate_cost

    hear = Listener.calling(progress, tell)
    return estimate_cost(open_study(study), hear, seconds=seconds, tflops=tflops)
