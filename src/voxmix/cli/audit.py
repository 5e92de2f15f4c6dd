"""The verb audit: what is odd about volumes before anything is prepared."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.checks import FITNESS_HEADERS, fitness_cells, fitness_value, say_set_aside
from voxmix.cli.kinds import do
from voxmix.cli.volumes import LayoutOption, SubjectPatternOption, WorkersOption, joined
from voxmix.errors import InputError
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView
    from voxmix.volumes import Manifest, Recipe
    from voxmix.volumes.auditing.audit import Audit

_FEW = 5


@verb
def audit(
    source: Annotated[
        Path,
        or_here(
            "SOURCE", "A manifest, a folder of volumes, a study; with --images a folder or table of images."
        ),
    ],
    images: Annotated[
        bool, typer.Option("--images", help="SOURCE holds images (films, slices), not volumes.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another manifest that must not share training cases; repeat for more."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Judge by this recipe file; else by the study's, or the preset small."),
    ] = None,
    sheets: Annotated[
        Path | None, typer.Option(help="Write contact sheets (PNG) and audit.html into this folder.")
    ] = None,
    layout: LayoutOption = None,
    subject_pattern: SubjectPatternOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find faults in volumes or images before you spend hours on them. Exit code 1 when there is a leak.

    It looks for leaks across the split (by subject or identical content, also against another manifest), duplicates,
    files that cannot be read, CTs that are not in HU, values and voxel sizes far from the domain's, volumes that would
    be blank, saturated or mostly padding when prepared, and label maps that do not fit. Of images: persons and near-equal
    images on both sides of the split, duplicates, inverted films, and letters or marks that tell centers apart.

    Examples:

      voxmix audit manifest.csv --sheets look/

      voxmix audit pretraining.csv --against downstream.csv --json

      voxmix audit films.csv --images --sheets look/
    """
    if is_study(source):
        do(
            "audit",
            source,
            images=images,
            against=against,
            recipe=recipe,
            sheets=sheets,
            layout=layout,
            subject_pattern=subject_pattern,
            workers=workers,
            as_json=as_json,
        )
    elif images:
        if any(given is not None for given in (against, recipe, layout, subject_pattern)):
            raise InputError(
                "--against, --recipe, --layout and --subject-pattern are for volumes, not for images; leave them out"
            )
        from voxmix.cli.image_audit import audit_source

        audit_source(source, sheets=sheets, workers=workers, as_json=as_json)
    else:
        from voxmix.datasets.sources import read_source
        from voxmix.settings import checked
        from voxmix.study.presets import preset
        from voxmix.volumes import Recipe

        found = joined(read_source(source, layout=layout)[0], subject_pattern)
        start = preset("small")
        own = checked(Recipe, start.recipe, where="the preset")
        _audit(
            found,
            own,
            start.model.crop,
            against=against,
            recipe=recipe,
            sheets=sheets,
            subject_pattern=subject_pattern,
            workers=workers,
            as_json=as_json,
        )


def audit_mixtures(
    view: "StudyView",
    *,
    against: Sequence[Path] | None = None,
    recipe: Path | None = None,
    sheets: Path | None = None,
    layout: str | None = None,
    subject_pattern: str | None = None,
    workers: int | None = None,
    as_json: bool = False,
) -> None:
    """Print what is odd about the volumes of a study of mixtures; exit code 1 when there is a leak."""
    from voxmix.study.preparing import read_manifest, study_recipe

    study = view.study
    if subject_pattern is not None:
        raise InputError(f"{study.root} is a study: set data.subject_pattern in its study.yaml")
    found = read_manifest(study.source, study.config.data)
    _audit(
        found,
        study_recipe(study),
        study.config.model.crop,
        against=against,
        recipe=recipe,
        sheets=sheets,
        workers=workers,
        as_json=as_json,
    )


def _audit(
    found: "Manifest",
    own: "Recipe",
    crop: int,
    *,
    against: Sequence[Path] | None,
    recipe: Path | None,
    sheets: Path | None,
    subject_pattern: str | None = None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Look at volumes and print what is odd; ``own`` and ``crop`` judge them, unless a file of a recipe is given."""
    from voxmix.datasets.sources import read_source
    from voxmix.datasets.to_cache import read_recipe
    from voxmix.report.audit_page import write_audit
    from voxmix.runs import cores
    from voxmix.volumes.auditing.audit import audit as look
    from voxmix.volumes.persons.proposals import remarks

    chosen = own
    if recipe is not None:
        chosen = read_recipe(recipe)
        crop = min(chosen.min_shape)
    say_set_aside(found)
    others = [joined(read_source(other)[0], subject_pattern, missing_ok=True) for other in against or ()]
    with progress_bar("auditing", unit="files") as progress:
        result = look(
            found,
            others,
            recipe=chosen,
            crop=crop,
            pictures=sheets is not None,
            workers=workers or cores(),
            progress=progress,
        )
    written = write_audit(result, sheets) if sheets is not None else ()
    if as_json:
        emit_json({**_audit_value(result, written), "notes": list(remarks(found))})
    else:
        _show_audit(result, chosen)
        for path in written:
            if path.suffix == ".html":
                emit(f"\nlook at: {path}  (shows patients: keep it with the data)")
    if result.counts().get("leak"):
        raise typer.Exit(1)


def _audit_value(result: "Audit", written: Sequence[Path]) -> dict[str, Any]:
    return {
        "files": len(result.surveys),
        "counts": result.counts(),
        "findings": [
            {"kind": f.kind, "domain": f.domain, "id": f.name, "path": str(f.path), "message": f.message}
            for f in result.findings
        ],
        "fitness": fitness_value(result.fitness),
        "written": [str(path) for path in written],
    }


def _show_audit(result: "Audit", recipe: "Recipe") -> None:
    from voxmix.volumes.auditing.sentences import complaint_lines

    groups: dict[tuple[str, str], list[str]] = {}
    files: dict[str, str] = {}
    for survey in result.surveys:  # messages name another file by its digest; here its path may be said
        files.setdefault(survey.name, str(survey.record.path))
    for finding in result.findings:
        message = " ".join(files.get(word, word) for word in finding.message.split(" "))
        line = f"  {finding.path}: {message}"
        groups.setdefault((finding.kind, finding.domain), []).append(line)
    looked_at = Counter(survey.record.domain for survey in result.surveys)
    for (kind, domain), lines in groups.items():
        emit(f"{kind}, {domain}: {len(lines)} of {looked_at[domain]} volumes")
        for line in lines[:_FEW]:
            emit(line)
        if len(lines) > _FEW:
            emit(f"  and {len(lines) - _FEW} more: --json lists all")
    if result.fitness:
        emit("")
        rows = [[item.domain, str(item.measured), *fitness_cells(item)] for item in result.fitness]
        least = " x ".join(str(n) for n in recipe.min_shape)
        title = f"When prepared at {recipe.spacing_mm:g} mm, at least {least} voxels (medians)"
        emit_table(title, ["domain", "volumes", *FITNESS_HEADERS], rows)
        for line in complaint_lines(result.fitness, where="a study or recipe file"):
            emit(f"\n{line}")
    counted = ", ".join(f"{count} {kind}" for kind, count in result.counts().items())
    emit(f"\n{len(result.surveys)} volumes looked at: {counted or 'nothing odd'}")
