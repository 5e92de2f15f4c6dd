"""The verb of clinical tasks: finetune."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, open_study
from voxmix.cli.training import train_runs
from voxmix.errors import InputError, VoxmixError

if TYPE_CHECKING:
    from voxmix.datasets.task import Task
    from voxmix.downstream.cases import CaseSet
    from voxmix.study import Study
    from voxmix.study.finetuning import PlannedRun


@verb
def finetune(
    study: StudyArgument,
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
    as_json: JsonOption = False,
) -> None:
    """Finetune encoders on a clinical task: one protocol for every initialization, scored on unseen subjects.

    Encoders that are missing are pretrained first. Ctrl-C loses nothing.

    Examples:

      voxmix finetune mystudy --task amos-ct --data /data/amos22

      voxmix finetune mystudy --task my-organs --init scratch --init transfer-aware --seeds 5

      voxmix finetune mystudy --task my-organs --init transfer-aware --frozen
    """
    from voxmix._optional import require

    require("torch", extra="train")
    from voxmix.allocation.strategies import finetuned_strategies
    from voxmix.study import finetuning as downstream

    opened = open_study(study)
    with opened.lock():
        chosen = downstream.study_task(opened, task)
        cases = _cases(opened, chosen, data)
        protocol = downstream.study_protocol(opened, chosen, cases)
        runs = downstream.plan_runs(
            opened,
            protocol,
            {name: _encoders(opened, name, chosen.domain) for name in init or finetuned_strategies()},
            seeds=seeds,
            control=_control(frozen, control),
            recipe=_recipe(opened),
        )
        if (surface or predictions) and len(downstream.pending_runs(runs)) < len(runs):
            note("--surface and --predictions have no effect on runs that are finished")
        with progress_bar(f"finetuning {task}", unit="draws") as progress:
            failed = downstream.finetune_pending(
                opened,
                runs,
                surface=surface,
                predictions=predictions,
                pictures=pictures and opened.config.compute.pictures,
                progress=progress,
            )
    for failure in failed:
        note(f"{failure.run.spec.init}, seed {failure.run.spec.seed} failed: {failure.reason}")
    if failed:
        raise VoxmixError(f"{len(failed)} of {len(runs)} runs failed (see above); the others are kept")
    _show(runs, as_json=as_json)


def _control(frozen: bool, control: str | None) -> Any:
    from voxmix.scores.result import CONTROLS

    if frozen and control not in (None, "frozen"):
        raise InputError(f"--frozen and --control {control} are two controls; give one at a time")
    chosen = "frozen" if frozen else control
    if chosen is not None and chosen not in CONTROLS:
        raise InputError(f"unknown control {chosen!r}; choose one of {list(CONTROLS)}")
    return chosen


def _recipe(study: "Study") -> Any:
    from voxmix.study import study_cache

    return study_cache(study).recipe


def _cases(study: "Study", task: "Task", data: Path | None) -> "CaseSet":
    from voxmix.study import study_cache
    from voxmix.study.finetuning import study_cases
    from voxmix.study.preparing import names_of

    with progress_bar(f"preparing cases of {task.name}", unit="images") as progress:
        cases, asides = study_cases(
            study, task, data=data, cache=study_cache(study), names=names_of(study), progress=progress
        )
    for aside in asides:
        note(f"set aside {aside.path}: {aside.reason}")
    for reason, count in cases.set_aside.items():
        note(f"{count} cases not used: {reason}")
    for remark in cases.notes:
        note(remark)
    if cases.overlap:
        note(f"{cases.overlap} training subjects were pretrained on too; none of validation and test were")
    return cases


def _encoders(study: "Study", init: str, domain: str) -> list[Path | None]:
    """Return the folders of an initialization's encoders, pretrained now where they are not yet."""
    from voxmix.downstream.inits import is_checkpoint
    from voxmix.study import encoder_runs

    if init == "scratch":
        return [None]
    if is_checkpoint(init):
        note(f"{init}: the volumes it was pretrained on are not known here, so leakage cannot be ruled out")
        return [Path(init)]
    specs = encoder_runs(study, init, domain=domain)
    train_runs(study, specs, f"pretraining {init}")
    return [study.run_dir(spec) for spec in specs]


def _show(runs: tuple["PlannedRun", ...], *, as_json: bool) -> None:
    from voxmix.runs.files import RESULT_FILE
    from voxmix.scores import mean_score, read_result

    results = [read_result(run.folder / RESULT_FILE) for run in runs]
    if as_json:
        emit_json({"results": [str(run.folder / RESULT_FILE) for run in runs]})
        return
    rows = []
    for init in dict.fromkeys(run.spec.init for run in runs):
        mine = [result for result in results if result.init == init]
        scores = [score for result in mine if (score := mean_score(result)) is not None]
        mean = f"{sum(scores) / len(scores):.3f}" if scores else "–"
        spread = f"{min(scores):.3f} to {max(scores):.3f}" if scores else "–"
        seconds = sum(result.seconds or 0.0 for result in mine) / len(mine)
        rows.append([init, str(len(mine)), mean, spread, f"{seconds:.0f}"])
    first = results[0]
    what = "accuracy" if first.kind == "classification" else "mean Dice"
    title = f"{first.task}: {len(first.cases)} test cases, {first.draws} draws"
    emit_table(title, ["initialization", "seeds", what, "range over seeds", "seconds a run"], rows)
    emit(f"\nintervals and tests: voxmix compare {runs[0].folder.parents[3]}")
