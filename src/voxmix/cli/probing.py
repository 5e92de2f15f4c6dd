"""The verb probe: judge frozen encoders on the tasks of a study, or any encoder folders on any images."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, but_excluded, study_around
from voxmix.cli.kinds import do
from voxmix.cli.training import ComputeFlags
from voxmix.compute import ComputeSettings
from voxmix.errors import InputError
from voxmix.settings import checked

if TYPE_CHECKING:
    from voxmix.encoder_study import EncoderView
    from voxmix.encoder_study.probing import ProbedStudy

_OF_FOLDERS = "Without a study"


@verb
def probe(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY", help="The study's folder; left out: the one you are in; none with --encoder."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this task of the study; repeat for more. Without a study: labels, classes, masks, retrieval or reports."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave this task of the study out; repeat for more.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of an encoder, or NAME=FOLDER: a run, an export, or open weights. Repeat to compare.",
            rich_help_panel=_OF_FOLDERS,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder or table of images to judge on, or a folder of prepared ones.",
            rich_help_panel=_OF_FOLDERS,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="With --task labels: only this label; repeat for more.", rich_help_panel=_OF_FOLDERS
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="With --task classes: the column that names the class.", rich_help_panel=_OF_FOLDERS
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(help="With --task masks: only this mask; repeat for more.", rich_help_panel=_OF_FOLDERS),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="linear, attention, knn or a head of another package, for labels and classes; linear if left out.",
            rich_help_panel=_OF_FOLDERS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder for prepared images, features and scores; voxmix-probes if left out.",
            rich_help_panel=_OF_FOLDERS,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where encoders compute: auto, cpu, cuda or mps; the study's compute.device if left out."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of a study: encoders judged at the same time; the study's workers if left out: every GPU or core.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge frozen encoders: what a simple head reads from their features, on persons held out.

    With a study: every finished run, what it began from, and its references, on every task of study.yaml. What was
    judged before is not judged again; features are computed once, and are the same on any device within rounding.
    Exit code 1 if any probe fails; the others are kept.

    With --encoder: any encoder folders on any images, without a study; two or more are compared.

    Examples:

      voxmix probe cxr

      voxmix probe cxr --task tubes --device cuda

      voxmix probe --encoder rad-dino --encoder mine=cxr/runs/ID --images films.csv --task labels

      voxmix probe --encoder rad-dino --images films.csv --task classes --column view
    """
    of_folders = {
        "images": images, "label": label, "column": column, "mask": mask, "head": head, "out": out,
    }  # fmt: skip
    if study is None and not encoder and images is None:
        study = study_around()
    if study is not None:
        given = [name for name, value in {"encoder": encoder, **of_folders}.items() if value]
        if given:
            raise InputError(
                f"--{given[0]} is for probing without a study; write tasks and references into the study's study.yaml"
            )
        do(
            "probe",
            study,
            flags=ComputeFlags(device=device, workers=workers),
            task=task,
            exclude=exclude,
            as_json=as_json,
        )
        return
    if exclude:
        raise InputError(
            "--exclude is for the tasks of a study; without one there is one --task: leave it out"
        )
    if workers is not None and encoder:
        raise InputError(
            "--workers is for a study; without one, encoders are judged one after another: leave it out"
        )
    if not encoder or images is None:
        raise InputError("give a study, or --encoder FOLDER with --images TABLE; see voxmix probe --help")
    if task is not None and len(task) > 1:
        raise InputError("without a study there is one --task: labels, classes, masks, retrieval or reports")
    _probe_folders(
        encoder,
        images,
        kind=(task or ["classes" if column else "masks" if mask else "labels"])[0],
        labels=label or (),
        column=column or "",
        masks=mask or (),
        head=head or "linear",
        out=out or Path("voxmix-probes"),
        compute=checked(ComputeSettings, {"device": device or "auto"}, where="the command line"),
        as_json=as_json,
    )


def probe_study(
    view: "EncoderView",
    *,
    task: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    as_json: bool = False,
) -> None:
    """Judge the encoders of a study and print their scores."""
    from voxmix.encoder_study import run_step

    if not view.config.tasks:
        raise InputError(f"{view.root} has no tasks to judge encoders on; add tasks to {view.study.path}")
    if exclude:
        task = but_excluded(tuple(view.config.tasks), task, exclude, what="task")
    probed = run_step("probe", view, TERMINAL, tasks=tuple(task or ()))
    if as_json:
        emit_json(probes_value(probed))
    else:
        show_probes(probed)
    if probed.failed:
        raise typer.Exit(1)


def probes_value(probed: "ProbedStudy") -> dict[str, Any]:
    """Return the scores of judged encoders, and what failed, as JSON-like data."""
    from voxmix.encoder_study.scores_of import score_rows

    return {
        "scores": list(score_rows(probed.results)),
        "made": probed.made,
        "failed": [asdict(one) for one in probed.failed],
        "set_aside": [{"task": name, "reason": reason} for name, reason in probed.set_aside],
        "notes": list(probed.notes),
    }


def show_probes(probed: "ProbedStudy") -> None:
    """Print the scores of every judged encoder."""
    from voxmix.encoder_study.scores_of import scores_wide

    if not probed.results and not probed.failed:
        return
    for line in probed.notes:
        note(line)
    if not probed.results:
        emit(f"no probe is done, {len(probed.failed)} failed")
        return
    headers, rows = scores_wide(probed.results)
    emit_table("Frozen encoders", headers, rows)
    emit(
        "\nmean of seeds and half their range, on persons held out; x2 is twice the compute; intervals and tests: voxmix compare"
    )
    left = f", {len(probed.failed)} failed" if probed.failed else ""
    emit(f"{len(probed.results)} probes, {probed.made} made now{left}")


def _probe_folders(
    encoder: Sequence[str],
    images: Path,
    *,
    out: Path,
    compute: ComputeSettings,
    as_json: bool,
    kind: str,
    labels: Sequence[str],
    column: str,
    masks: Sequence[str],
    head: str,
) -> None:
    """Judge encoder folders on images, print their scores, and compare them where there are several."""
    from voxmix.cli.scores import comparison_value, show_comparison
    from voxmix.encoder_study.folder_probes import probe_folders
    from voxmix.probe_tasks import ProbeTask
    from voxmix.scores import compare

    asked = {"kind": kind, "labels": list(labels), "column": column, "masks": list(masks), "head": head}
    found = probe_folders(
        _encoder_folders(encoder),
        images,
        checked(ProbeTask, asked, where="the command line"),
        out=out,
        device=compute.device,
        hear=TERMINAL,
    )
    comparison = compare(found.table)
    if as_json:
        emit_json(
            comparison_value(comparison)
            | {"made": found.made, "notes": [*found.notes, *comparison.notes], "out": str(out)}
        )
        return
    for line in found.notes:
        note(line)
    show_comparison(comparison)
    emit(f"\n{len(found.table.results)} probes, {found.made} made now: {out}")


def _encoder_folders(given: Sequence[str]) -> dict[str, Path]:
    """Return name to folder from texts such as "mine=FOLDER" or "FOLDER".

    Raises:
        InputError: a name twice, or no folder.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, separator, folder = text.partition("=")
        if not separator or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        if not name or not Path(folder).is_dir():
            raise InputError(f"--encoder {text!r}: no such folder: {folder}; give FOLDER or NAME=FOLDER")
        if name in found:
            raise InputError(f"--encoder names {name} twice; give NAME=FOLDER with names of your own")
        found[name] = Path(folder)
    return found
