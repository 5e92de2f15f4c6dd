"""What of a study is done, what is out of date and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxmix.study.folder import Study
from voxmix.study.step import StepView
from voxmix.study.view import StudyView


@dataclass(frozen=True, kw_only=True, slots=True)
class StepState:
    """One step of a study as it is now: whether it and all before it are done and up to date, and how far it is.

    ``left`` counts what it has to make still; None where it makes nothing that is counted, or is not begun.
    """

    name: str
    done: bool
    detail: str
    command: str
    left: int | None = None


def study_status(study: Study | StepView) -> tuple[StepState, ...]:
    """Return the steps of ``voxmix study run`` in order, each with whether it is done and how far it is.

    Args:
        study: a mixture study, or the view of a study of any kind.
    """
    view = StudyView(study) if isinstance(study, Study) else study
    states: list[StepState] = []
    for row in view.steps.of_a_run():
        left = None
        done, detail = False, row.todo if any(state.done for state in states) else "not begun"
        if all(state.done for state in states):
            progress = row.progress(view)
            done, detail, left = progress.done, progress.detail, progress.left
        states.append(
            StepState(name=row.name, done=done, detail=detail, command=row.call(view.root), left=left)
        )
    return tuple(states)


def next_step(states: Sequence[StepState]) -> StepState | None:
    """Return the first step that is not done; None where all are."""
    return next((state for state in states if not state.done), None)
