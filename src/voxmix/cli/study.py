"""A study as its verbs see it: init, status, report, its laws and mixtures, and the tables that every step shows."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._io import as_argument
from voxmix._progress import progress_bar, waiting
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.checks import fitness_value, say_fitness, say_set_aside
from voxmix.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voxmix.experiment import StartedStudy
    from voxmix.report import ReportContent
    from voxmix.store import Study

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]


_STUDY_FILE = "study.yaml"
_OTHER_KINDS = {
    "law": "a fitted law: ask it with predict, plan, path, structure, suggest, or allocate --budget",
    "allocation": "a mixture that voxmix allocate wrote",
    "manifest": "a manifest of volumes: start a study from it with voxmix init STUDY --data",
}


def is_study(path: Path) -> bool:
    """Return whether a path is a study's folder, or its study.yaml."""
    return path.name == _STUDY_FILE or (path / _STUDY_FILE).exists()


def study_file(path: Path) -> Path:
    """Return the study file of a study named by its folder or its file."""
    return path if path.name == _STUDY_FILE else path / _STUDY_FILE


def check_kind(path: Path, *, wanted: str) -> None:
    """Refuse a path that cannot be what a verb wants, and say what it is.

    Raises:
        InputError: no such path, a folder, or a file of another kind.
    """
    if not path.exists():
        raise InputError(f"no such file or folder: {path}; give {wanted}")
    if path.is_dir() or not path.is_file():
        raise InputError(f"{path} is {_what(path)}; give {wanted}")


def _what(path: Path) -> str:
    """Return what a path is, in words, from its name and the first lines."""
    if not path.is_dir():
        return _what_file(path)
    if (path / "card.json").is_file():
        return "the folder of a finished run or an export"
    if (path / "index.json").is_file():
        return "a folder of prepared volumes"
    return f"a folder without {_STUDY_FILE}"


def _what_file(path: Path) -> str:
    from voxmix._io import read_json

    if not path.is_file():
        return "no ordinary file"
    if path.suffix.lower() in (".csv", ".tsv", ".parquet"):
        return "a table: fit a law to it with voxmix fit"
    if path.suffix.lower() == ".html":
        return "a report"
    try:
        value = read_json(path)
    except InputError:
        return "a file that is no study"
    kind = value.get("kind") if isinstance(value, dict) else None
    return _OTHER_KINDS.get(str(kind), "a JSON file of another kind")


def open_study(root: Path, *, check: bool = True) -> "Study":
    """Return the study in a folder, or of a study.yaml, its settings checked against each other.

    Raises:
        InputError: it is none, which says what it is instead; or its study file cannot be used or cannot work.
    """
    from voxmix.analysis import check_study
    from voxmix.store import Study

    if not root.exists():
        raise InputError(
            f"{root} is not a study, and there is no such folder; make one with: voxmix init {shlex.quote(str(root))} --data DIR"
        )
    if not is_study(root):
        raise InputError(f"{root} is {_what(root)}; give the folder of a study (voxmix init makes one)")
    study = Study.open(root)
    if check:
        check_study(study)
    return study


@verb
def init(
    study: StudyArgument,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of volumes (a folder per domain, or a known layout), or a manifest."),
    ] = None,
    phantoms: Annotated[bool, typer.Option("--phantoms", help="Make phantom volumes instead.")] = False,
    preset: Annotated[
        str | None, typer.Option(help="Settings to start from: small or paper; demo for phantoms.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Use only this domain; repeat for more.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this domain out; repeat for more.")] = None,
    subject_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression that finds the person in a subject's name: joins sessions."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Start a study: look at the volumes and write a study file to edit.

    Without --preset, spacing and crop are chosen so that the fields of view of all domains fill them: by headers alone.

    Examples:

      voxmix init mystudy --data volumes/          (volumes/ABD-CT/..., volumes/HN-PET/...)

      voxmix init mystudy --data manifest.csv --preset paper

      voxmix init mystudy --data volumes/ --exclude PROSTATE-MR

      voxmix init mystudy --phantoms
    """
    from voxmix.experiment import start_study

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
        from voxmix.volumes.sources import detect_layout

        note(f"{data}: layout {detect_layout(data)} (detected; another one: voxmix manifest --layout)")
    if manifest is not None:
        say_set_aside(manifest)
    counts = manifest.counts() if manifest else started.config.data.phantoms.counts  # type: ignore[union-attr]
    if as_json:
        emit_json({"study": str(study), "volumes": counts, **_fields_value(begun)})
        return
    _show_fields(begun, counts)
    emit(f"\nWrote {started.root / 'study.yaml'}: read it, then: voxmix study run {as_argument(study)}")


def _show_fields(begun: "StartedStudy", counts: "Mapping[str, int]") -> None:
    """Print the volumes of every domain and, where headers said them, their fields of view and what was chosen."""
    proposal = begun.proposal
    if proposal is None:
        emit_table("Volumes", ["domain", "volumes"], [[name, str(count)] for name, count in counts.items()])
        return
    from voxmix.volumes.fields import size_text

    recipe, crop = begun.study.config.recipe, begun.study.config.model.crop
    spacing, least = recipe["spacing_mm"], min(recipe["min_shape"])
    rows = [
        [
            item.domain,
            str(counts[item.domain]),
            size_text(item.median) if item.edges else "-",
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


def fit_study(root: Path, *, as_json: bool) -> None:
    """Fit the laws of a study to its proxy runs."""
    from voxmix.analysis import fit_laws, report_content, study_fitness
    from voxmix.law.doubt import doubts_of

    opened = open_study(root)
    with opened.lock():
        with progress_bar("fitting", unit="laws") as progress:
            laws = fit_laws(opened, progress=progress)
        say_fitness(study_fitness(opened))
        if as_json:
            emit_json({name: law.to_dict() for name, law in laws.items()})
            return
        with waiting("collecting results"):
            content = report_content(opened)
        show(content, ("transfer",), as_json=False)
        law = laws[content.answer_law or next(iter(laws))]
        for message in (*law.notes, *doubts_of(law.problems())):
            emit(f"- {message}")


def allocate_study(root: Path, *, as_json: bool) -> None:
    """Find the mixture of every strategy of a study at its budget."""
    from voxmix.analysis import allocate_strategies, report_content, study_fitness
    from voxmix.mixture import Mixture

    opened = open_study(root)
    with opened.lock():
        with waiting("allocating"):
            found = allocate_strategies(opened)
        say_fitness(study_fitness(opened))
        if as_json:
            emit_json(
                {
                    name: {"weights": item.as_dict()} if isinstance(item, Mixture) else item.to_dict()
                    for name, item in found.items()
                }
            )
            return
        with waiting("collecting results"):
            content = report_content(opened)
        show(content, ("answer",), as_json=False)


@verb
def report(
    study: StudyArgument,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show slices of held-out volumes, or none.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Write report.html: one file with the answer, its figures, and a table behind each.

    It holds no path and no subject name, but it shows slices of held-out volumes. If these may not be shown, give
    --no-pictures before you pass the report on.

    Example:

      voxmix report mystudy --no-pictures
    """
    from voxmix.analysis import make_report, other_volumes_sentence

    opened = open_study(study)
    if others := other_volumes_sentence(opened):
        note(others)
    with opened.lock(), waiting("writing the report"):
        make_report(opened, pictures=pictures)
    if as_json:
        emit_json({"report": str(opened.report_path)})
    else:
        emit(f"report: {opened.report_path}")


@verb
def status(study: StudyArgument, as_json: JsonOption = False) -> None:
    """Show what is done, what is out of date and what comes next. Exit code 2 if study.yaml cannot work.

    Example:

      voxmix status mystudy
    """
    from voxmix.analysis import (
        finetuning_counts,
        other_volumes_sentence,
        study_fitness,
        study_problems,
        study_status,
    )

    opened = open_study(study, check=False)
    problems = study_problems(opened)
    steps = study_status(opened)
    finished, unfinished = finetuning_counts(opened)
    following = next((step for step in steps if not step.done), None)
    command = f"voxmix {following.name} {as_argument(study)}" if following else None
    fitness = study_fitness(opened)
    others = other_volumes_sentence(opened)
    if as_json:
        emit_json(
            {
                "steps": [{"step": s.name, "done": s.done, "detail": s.detail} for s in steps],
                "next": command,
                "finetuning": {"finished": finished, "unfinished": unfinished},
                "fitness": fitness_value(fitness),
                "problems": list(problems),
                "notes": [others] if others else [],
            }
        )
        if problems:
            raise typer.Exit(InputError.exit_code)
        return
    rows = [[step.name, "done" if step.done else "to do", step.detail] for step in steps]
    emit_table("Study", ["step", "state", "detail"], rows)
    say_fitness(fitness)
    if others:
        note(others)
    if problems:
        raise InputError("study.yaml cannot work:\n" + "\n".join(f"  - {line}" for line in problems))
    emit(
        f"\nnext: {command}  (or every remaining step: voxmix study run {as_argument(study)})"
        if command
        else "\nall done"
    )
    if finished or unfinished:
        emit(
            f"finetuning: {finished} runs finished, {unfinished} not; their scores: voxmix compare {as_argument(study)}"
        )


def show(content: "ReportContent", only: tuple[str, ...] | None = None, *, as_json: bool) -> None:
    """Print the report's main tables, or those whose names begin so."""
    from voxmix.report import summary_tables

    tables = [table for table in summary_tables(content) if only is None or table.name.startswith(only)]
    if as_json:
        emit_json({table.name: table.records() for table in tables})
        return
    for table in tables:
        emit_table(table.title, table.headers, table.text_rows())
        emit("")
