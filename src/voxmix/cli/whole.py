"""The verbs that do every step of a study: study run, and demo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import as_argument
from voxmix._progress import progress_bar, waiting
from voxmix.cli.app import emit, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study
from voxmix.cli.preparation import prepare_volumes, show_preparation
from voxmix.cli.study import show
from voxmix.cli.training import ComputeFlags, takes_compute_flags, train_runs
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.study import Study


@verb
@takes_compute_flags
def study_run(study: StudyArgument, flags: ComputeFlags, as_json: JsonOption = False) -> None:
    """Run every step that is not finished, in order: prepare, run, fit, allocate, pretrain, report.

    Takes the flags of voxmix run.

    Example:

      voxmix study run mystudy --device cuda
    """
    opened = flags.applied_to(open_study(study))
    with opened.lock():
        _run_all(opened, as_json=as_json)


def _run_all(study: "Study", *, as_json: bool) -> None:
    from voxmix import study as steps

    preparation = prepare_volumes(study)
    steps.check_study(study)
    if not as_json:
        show_preparation(preparation)
    train_runs(study, steps.proxy_runs(study), "training proxies")
    steps.proxy_table(study).to_csv(study.measurements_path)
    with progress_bar("fitting", unit="laws") as progress:
        steps.fit_laws(study, progress=progress)
    with waiting("allocating"):
        steps.allocate_strategies(study)
    train_runs(study, steps.check_runs(study), "training mixtures")
    with waiting("writing the report"):
        content = steps.make_report(study)
    show(content, as_json=as_json)
    if not as_json:
        emit(f"\nreport: {study.report_path}")


@verb
@takes_compute_flags
def demo(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A new folder; an existing demo is resumed.")
    ] = Path("demo-study"),
    *,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Run the whole method on phantom volumes, in minutes; nothing is downloaded.

    Takes the flags of voxmix run.

    Example:

      voxmix demo
    """
    from voxmix.study import Study
    from voxmix.study.starting import start_study

    if (study / "study.yaml").exists():
        opened = Study.open(study)
        if opened.config.data.phantoms is None:
            raise InputError(
                f"{study} is a study of your own; continue it with: voxmix study run {as_argument(study)}"
            )
    else:
        opened = start_study(study, data=None, phantoms=True).study
    opened = flags.applied_to(opened)
    with opened.lock():
        _run_all(opened, as_json=as_json)
