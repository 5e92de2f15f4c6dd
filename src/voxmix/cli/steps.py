"""The steps of a study of any kind as its status tells them: which are done, and which command comes next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxmix._io import as_argument
from voxmix.cli.app import emit, emit_table

if TYPE_CHECKING:
    from voxmix.study import StepState


def show_steps(title: str, steps: "Sequence[StepState]") -> None:
    """Print the table of steps."""
    rows = [[step.name, "done" if step.done else "to do", step.detail] for step in steps]
    emit_table(title, ["step", "state", "detail"], rows)


def say_next(following: "StepState | None", root: Path) -> None:
    """Print the command that comes next for the study in ``root``, or that all is done."""
    emit(
        f"\nnext: {following.command}  (or every remaining step: voxmix study run {as_argument(root)})"
        if following
        else "\nall done"
    )
