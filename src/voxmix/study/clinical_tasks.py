"""A clinical task in a study: its cases, the encoders that start on it, their finetuning, and the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxmix._optional import require
from voxmix.errors import InputError, VoxmixError
from voxmix.runs.files import RESULT_FILE
from voxmix.study.folder import Study
from voxmix.study.listener import QUIET, Listener
from voxmix.study.preparing import names_of
from voxmix.study.training import train_runs
from voxmix.study.view import StudyView

if TYPE_CHECKING:
    from voxmix.datasets.task import Task
    from voxmix.downstream.cases import CaseSet
    from voxmix.scores import DownstreamResult
    from voxmix.study.finetuning import PlannedRun


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetunedTask:
    """The runs of a task, all finished, and their results in the same order."""

    runs: tuple[PlannedRun, ...]
    results: tuple[DownstreamResult, ...]


def finetune_task(
    study: Study | StudyView,
    hear: Listener = QUIET,
    *,
    task: str,
    inits: Sequence[str] | None = None,
    seeds: int = 3,
    data: Path | None = None,
    control: str | None = None,
    surface: bool = False,
    predictions: bool = False,
    pictures: bool = True,
) -> FinetunedTask:
    """Finetune every initialization on a clinical task under one protocol, where that is pending.

    Encoders that are missing are pretrained first. ``inits`` are scratch, single, strategies of the study, or folders
    of checkpoints, and those of the paper if left out; ``control`` is one of :data:`voxmix.scores.result.CONTROLS`. ``data`` stands in for the task's
    own folder. ``surface`` measures surface distances too, ``predictions`` writes the test predictions as NIfTI,
    ``pictures`` keeps slices of two test cases for the report.

    Raises:
        InputError: no such task, initialization or control; or cases that cannot be used.
        VoxmixError: a run failed; the others are kept.
    """
    require("torch", extra="train")
    from voxmix.allocation.strategies import finetuned_strategies
    from voxmix.scores import read_result
    from voxmix.study import finetuning, task_cases

    known = _known_control(control)
    view = StudyView.of(study)
    study = view.study
    chosen = task_cases.study_task(study, task)
    cases = _cases(view, chosen, data, hear)
    protocol = task_cases.study_protocol(study, chosen, cases)
    runs = finetuning.plan_runs(
        study,
        protocol,
        {name: _encoders(view, name, chosen.domain, hear) for name in inits or finetuned_strategies()},
        seeds=seeds,
        control=known,
        recipe=view.cache.recipe,
    )
    if (surface or predictions) and len(finetuning.pending_runs(runs)) < len(runs):
        hear.tell("--surface and --predictions have no effect on runs that are finished")
    with hear.bar(f"finetuning {task}", unit="draws") as progress:
        failed = finetuning.finetune_pending(
            study,
            runs,
            surface=surface,
            predictions=predictions,
            pictures=pictures and study.config.compute.pictures,
            progress=progress,
        )
    for failure in failed:
        hear.tell(f"{failure.run.spec.init}, seed {failure.run.spec.seed} failed: {failure.reason}")
    if failed:
        raise VoxmixError(f"{len(failed)} of {len(runs)} runs failed (see above); the others are kept")
    return FinetunedTask(runs=runs, results=tuple(read_result(run.folder / RESULT_FILE) for run in runs))


def _known_control(control: str | None) -> Any:
    from voxmix.scores.result import CONTROLS

    if control is not None and control not in CONTROLS:
        raise InputError(f"unknown control {control!r}; choose one of {list(CONTROLS)}")
    return control


def _cases(view: StudyView, task: Task, data: Path | None, hear: Listener) -> CaseSet:
    from voxmix.study.task_cases import study_cases

    with hear.bar(f"preparing cases of {task.name}", unit="images") as progress:
        cases, asides = study_cases(
            view.study, task, data=data, cache=view.cache, names=names_of(view.study), progress=progress
        )
    for aside in asides:
        hear.tell(f"set aside {aside.path}: {aside.reason}")
    for reason, count in cases.set_aside.items():
        hear.tell(f"{count} cases not used: {reason}")
    for remark in cases.notes:
        hear.tell(remark)
    if cases.overlap:
        hear.tell(
            f"{cases.overlap} training subjects were pretrained on too; none of validation and test were"
        )
    return cases


def _encoders(view: StudyView, init: str, domain: str, hear: Listener) -> list[Path | None]:
    """Return the folders of an initialization's encoders, pretrained now where they are not yet."""
    from voxmix.allocation.strategies import SCRATCH
    from voxmix.downstream.inits import is_checkpoint

    if init == SCRATCH:
        return [None]
    if is_checkpoint(init):
        hear.tell(
            f"{init}: the volumes it was pretrained on are not known here, so leakage cannot be ruled out"
        )
        return [Path(init)]
    specs = view.encoder_runs(init, domain=domain)
    train_runs(view, specs, f"pretraining {init}", hear)
    return [view.study.run_dir(spec) for spec in specs]
