"""The verbs that do every step of a study: study run, and demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import as_argument
from voxmix.cli.app import TERMINAL, emit, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study
from voxmix.cli.kinds import do
from voxmix.cli.preparation import show_preparation
from voxmix.cli.study import show
from voxmix.cli.training import ComputeFlags, takes_compute_flags
from voxmix.errors import InputError
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView


@verb
@takes_compute_flags
def study_run(study: StudyArgument, flags: ComputeFlags, as_json: JsonOption = False) -> None:
    """Run every step that is not finished, in order: prepare, run, fit, allocate, pretrain, report.

    A study of encoders has prepare, run, probe, scale and report.

    Takes the flags of voxmix run.

    Example:

      voxmix study run mystudy --device cuda
    """
    do("study run", study, flags=flags, as_json=as_json)


def run_all(view: "StudyView", *, as_json: bool = False) -> None:
    """Do every step of a mixture study that is not done."""
    from voxmix.study import run_steps

    with view.study.lock():
        for name, outcome in run_steps(view, TERMINAL):
            if name == "prepare" and not as_json:
                show_preparation(outcome)
            elif name == "report":
                show(outcome, as_json=as_json)
    if not as_json:
        emit(f"\nreport: {view.study.report_path}")


@verb
@takes_compute_flags
def demo(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY",
            help="A new folder, demo-study or demo-radiographs if left out; an existing demo is resumed.",
        ),
    ] = None,
    *,
    radiographs: Annotated[
        bool, typer.Option("--radiographs", help="The study of encoders, on made radiographs with reports.")
    ] = False,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Run the whole method on phantom volumes, or on made radiographs, in minutes; nothing is downloaded.

    Takes the flags of voxmix run.

    Examples:

      voxmix demo

      voxmix demo --radiographs
    """
    if radiographs:
        from voxmix.cli.encoder_start import begin_demo

        root = study or Path("demo-radiographs")
        begin_demo(root)
        do("study run", root, flags=flags, as_json=as_json)
        return
    study = study or Path("demo-study")
    from voxmix.study import start_study

    if is_study(study):
        view = open_study(study)
        if view.config.data.phantoms is None:
            raise InputError(
                f"{study} is a study of your own; continue it with: voxmix study run {as_argument(study)}"
            )
    else:
        start_study(study, data=None, phantoms=True)
        view = open_study(study)
    run_all(flags.applied_to(view), as_json=as_json)
