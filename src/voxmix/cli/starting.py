"""The verb init: look at volumes or images, and write a study file to edit."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, NewStudyArgument
from voxmix.cli.checks import say_set_aside
from voxmix.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voxmix.study import StartedStudy


_OF_MIXTURES, _OF_ENCODERS = "Study of mixtures", "Study of encoders"


@verb
def init(
    study: NewStudyArgument,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of volumes (a folder per domain, or a known layout), or a manifest.",
            rich_help_panel=_OF_MIXTURES,
        ),
    ] = None,
    phantoms: Annotated[
        bool,
        typer.Option("--phantoms", help="Make phantom volumes instead.", rich_help_panel=_OF_MIXTURES),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images, or a table of them with reports and labels.", rich_help_panel=_OF_ENCODERS
        ),
    ] = None,
    volumes: Annotated[
        Path | None,
        typer.Option(
            help="Prepared volumes instead: a study of mixtures, or what prepare --out wrote.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    slices: Annotated[
        bool,
        typer.Option(
            "--slices",
            help="With --volumes: learn from axial slices, not from whole volumes.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = False,
    radiographs: Annotated[
        bool,
        typer.Option(
            "--radiographs", help="Make radiographs with reports instead.", rich_help_panel=_OF_ENCODERS
        ),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from. Mixtures: small, paper, demo (phantoms); encoders: small, base, demo "
            "(radiographs)."
        ),
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Use only this domain; repeat for more.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this domain out; repeat for more.")] = None,
    subject_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression that finds the person in a subject's name: joins sessions.",
            rich_help_panel=_OF_MIXTURES,
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="What to learn by: dino, clip, unicl, siglip, mae; several by commas, or repeat. Left out: dino, and "
            "unicl or clip where there are reports.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    samples: Annotated[
        str | None,
        typer.Option(
            help="Images of each nested subset, rising, e.g. 64,256,1024,all.", rich_help_panel=_OF_ENCODERS
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights to begin from, as NAME=FOLDER, or scratch for none; repeat for more. Left out: scratch.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    edge: Annotated[
        int | None,
        typer.Option(
            help="Edge of what the network sees, in pixels. Left out: that of the first start, or of the preset.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="A column of labels; repeat for more. Left out: columns whose cells say yes or no.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    task_images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another folder or table of images, such as of another center, to judge encoders on; repeat for more.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="An encoder to judge beside the study's own, as NAME=FOLDER; repeat for more. Starts are judged anyway.",
            rich_help_panel=_OF_ENCODERS,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a study: look at volumes or images and write a study file to edit.

    A study of mixtures needs --data or --phantoms. Without --preset, spacing and
    crop are chosen by the fields of view in the files' headers.

    A study of encoders needs --images, --volumes or --radiographs: every
    objective from every start on every nested subset is a run. Encoders are then judged, frozen, on the labels and
    reports that the images have, and on those of --task-images.

    Examples:

      voxmix init mystudy --data volumes/    (volumes/ABD-CT/..., ...)

      voxmix init mystudy --data manifest.csv --preset paper

      voxmix init mystudy --data volumes/ --exclude PROSTATE-MR

      voxmix init mystudy --phantoms

      voxmix init cxr --images films.csv --objective dino,unicl --samples 64,all

      voxmix init cxr --images films.csv --start rad-dino=FOLDER --start scratch

      voxmix init cxr --images films.csv --task-images elsewhere.csv

      voxmix init brains --volumes mystudy --objective dino,mae
    """
    of_encoders = {
        "objective": objective, "samples": samples, "start": start, "edge": edge, "label": label, "task_images": task_images,
        "reference": reference,
    }  # fmt: skip
    if images is not None or volumes is not None or radiographs:
        if sum((images is not None, volumes is not None, radiographs)) > 1 or (slices and volumes is None):
            raise InputError(
                "give one of --images, --volumes and --radiographs; --slices goes with --volumes"
            )
        if data is not None or phantoms or subject_pattern:
            raise InputError(
                "--data, --phantoms and --subject-pattern are for a study of mixtures, --images, --volumes and --radiographs for "
                "one of encoders; give those of one kind"
            )
        from voxmix.cli.encoder_start import begin

        begin(
            study,
            images=images,
            volumes=volumes,
            slices=slices,
            preset=preset or "small",
            domains=domain or (),
            exclude=exclude or (),
            as_json=as_json,
            **of_encoders,  # type: ignore[arg-type]
        )
        return
    given = [name for name, value in (of_encoders | {"slices": slices}).items() if value]
    if given:
        raise InputError(
            f"--{given[0].replace('_', '-')} is for a study of encoders; give --images, --volumes or --radiographs, too"
        )
    from voxmix.study import start_study

    begun = start_study(
        study,
        data=data,
        phantoms=phantoms,
        preset=preset,
        domains=domain,
        exclude=exclude,
        subject_pattern=subject_pattern,
    )
    started, manifest = begun.study, begun.manifest
    if data is not None and data.is_dir():
        from voxmix.datasets.sources import detect_layout

        note(f"{data}: layout {detect_layout(data)} (detected; another one: voxmix manifest --layout)")
    if manifest is not None:
        say_set_aside(manifest)
    counts = manifest.counts() if manifest else started.config.data.phantoms.counts  # type: ignore[union-attr]
    if as_json:
        emit_json({"study": str(study), "volumes": counts, **_fields_value(begun)})
        return
    _show_fields(begun, counts)
    emit(f"\nWrote {started.path}: read it")


def _show_fields(begun: "StartedStudy", counts: "Mapping[str, int]") -> None:
    """Print the volumes of every domain and, where headers said them, their fields of view and what was chosen."""
    proposal = begun.proposal
    if proposal is None:
        emit_table("Volumes", ["domain", "volumes"], [[name, str(count)] for name, count in counts.items()])
        return
    from voxmix.volumes.auditing.fields import edges_text

    recipe, crop = begun.study.config.recipe, begun.study.config.model.crop
    spacing, least = recipe["spacing_mm"], min(recipe["min_shape"])
    rows = [
        [
            item.domain,
            str(counts[item.domain]),
            edges_text(item.median) if item.edges else "-",
            f"{item.voxel_mm:.2g}" if item.edges else "-",
            f"{item.padding(spacing_mm=spacing, least=least):.0%}" if item.edges else "-",
        ]
        for item in begun.fields
    ]
    emit_table("Volumes", ["domain", "volumes", "field, mm", "voxel, mm", "padding"], rows)
    size = f"spacing {spacing:g} mm, crops of {crop} voxels ({crop * spacing:g} mm), min_shape {least}"
    emit(f"\n{size}" + (f": {proposal.reason}" if begun.adapted else ""))
    if proposal.changed and not begun.adapted:
        edge = proposal.min_shape
        note(
            f"the fields of view ask for smaller crops than the preset's: in study.yaml, under recipe "
            f"`spacing_mm: {proposal.spacing_mm:g}` and `min_shape: [{edge}, {edge}, {edge}]`, under model "
            f"`crop: {proposal.crop}`; or leave --preset out"
        )
    if proposal.misfits and len(proposal.misfits) < len(begun.fields):
        flags = " ".join(f"--exclude {shlex.quote(name)}" for name in proposal.misfits)
        note(
            f"{', '.join(proposal.misfits)}: too small a field of view for the common crop, so most of a crop is padding; leave "
            f"out: voxmix init ... {flags} (or data.exclude in study.yaml)"
        )


def _fields_value(begun: "StartedStudy") -> dict[str, Any]:
    """Return what ``--json`` says of the fields of view."""
    proposal = begun.proposal
    if proposal is None:
        return {}
    fields = {
        item.domain: {"field_mm": list(item.median), "voxel_mm": item.voxel_mm}
        for item in begun.fields
        if item.edges
    }
    return {
        "fields": fields,
        "proposal": {**asdict(proposal), "misfits": list(proposal.misfits)},
        "spacing_mm": begun.study.config.recipe["spacing_mm"],
        "crop": begun.study.config.model.crop,
    }
