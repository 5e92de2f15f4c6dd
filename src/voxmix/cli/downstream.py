"""The verb of clinical tasks: finetune."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import as_argument
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study
from voxmix.cli.training import ComputeFlags, takes_compute_flags
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.study import FinetunedTask


@verb
@takes_compute_flags
def finetune(
    study: StudyArgument,
    *,
    task: Annotated[str, typer.Option(help="A task of the paper, or a row of STUDY/tasks.yaml.")],
    init: Annotated[
        list[str] | None,
        typer.Option(
            help="scratch, single, a strategy of the study, or a checkpoint's folder; repeat for more. "
            "Left out: scratch, single, data-proportional, transfer-aware."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs per initialization.")] = 3,
    data: Annotated[Path | None, typer.Option(help="The data set's folder; else the task's own.")] = None,
    frozen: Annotated[bool, typer.Option("--frozen", help="The encoder does not learn (a control).")] = False,
    control: Annotated[
        str | None, typer.Option(help="Another control: permuted (weights) or no-tokens (encoder silenced).")
    ] = None,
    surface: Annotated[bool, typer.Option("--surface", help="Measure surface distances too.")] = False,
    predictions: Annotated[
        bool,
        typer.Option("--predictions", help="Write the test predictions as NIfTI over the original images."),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Keep slices of two test cases for the report, unless study.yaml forbids pictures.",
        ),
    ] = True,
    flags: ComputeFlags,
    as_json: JsonOption = False,
) -> None:
    """Finetune encoders on a clinical task: one protocol for every initialization, scored on unseen subjects.

    Encoders that are missing are pretrained first. Ctrl-C loses nothing. Takes the flags of voxmix run.

    Examples:

      voxmix finetune mystudy --task amos-ct --data /data/amos22

      voxmix finetune mystudy --task my-organs --init scratch --init transfer-aware --seeds 5

      voxmix finetune mystudy --task my-organs --init transfer-aware --frozen
    """
    from voxmix.study import run_step

    if frozen and control not in (None, "frozen"):
        raise InputError(f"--frozen and --control {control} are two controls; give one at a time")
    found = run_step(
        "finetune",
        flags.applied_to(open_study(study)),
        TERMINAL,
        task=task,
        inits=init,
        seeds=seeds,
        data=data,
        control="frozen" if frozen else control,
        surface=surface,
        predictions=predictions,
        pictures=pictures,
    )
    _show(found, as_json=as_json)


def _show(found: "FinetunedTask", *, as_json: bool) -> None:
    from voxmix.runs.files import RESULT_FILE
    from voxmix.scores import mean_score

    if as_json:
        emit_json({"results": [str(run.folder / RESULT_FILE) for run in found.runs]})
        return
    rows = []
    for init in dict.fromkeys(run.spec.init for run in found.runs):
        mine = [result for result in found.results if result.init == init]
        scores = [score for result in mine if (score := mean_score(result)) is not None]
        mean = f"{sum(scores) / len(scores):.3f}" if scores else "–"
        spread = f"{min(scores):.3f} to {max(scores):.3f}" if scores else "–"
        seconds = sum(result.seconds or 0.0 for result in mine) / len(mine)
        rows.append([init, str(len(mine)), mean, spread, f"{seconds:.0f}"])
    first = found.results[0]
    what = "accuracy" if first.kind == "classification" else "mean Dice"
    title = f"{first.task}: {len(first.cases)} test cases, {first.draws} draws"
    emit_table(title, ["initialization", "seeds", what, "range over seeds", "seconds a run"], rows)
    emit(f"\nintervals and tests: voxmix compare {as_argument(found.runs[0].folder.parents[3])}")
