"""The verbs before a study: manifest, audit, and preparing without a study."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.checks import FITNESS_HEADERS, fitness_cells, fitness_value, say_set_aside
from voxmix.cli.kinds import do
from voxmix.datasets import LAYOUTS
from voxmix.errors import InputError
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView
    from voxmix.volumes import Manifest, Recipe
    from voxmix.volumes.auditing.audit import Audit

LayoutOption = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(LAYOUTS[:-1])} or {LAYOUTS[-1]}; detected when left out."),
]
SubjectPatternOption = Annotated[
    str | None,
    typer.Option(
        help="Regular expression that finds the person in a subject's name (its first group, else all that it "
        "matches): joins sessions to persons, such as 'sub-\\d+'."
    ),
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes; every core when left out.")]
_FEW = 5


@verb
def manifest(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Folders of volumes in a known layout, or tables."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the manifest here: .csv or .json.")
    ] = None,
    layout: LayoutOption = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW: rename a domain; repeat for more, or to join two.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Use only this domain; repeat for more.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave this domain out, even if it has faults; repeat for more."),
    ] = None,
    times: Annotated[
        str, typer.Option(help="Which volumes of 4D files and DICOM series: each, first, middle or none.")
    ] = "each",
    split: Annotated[
        bool, typer.Option("--split/--no-split", help="Hold subjects out for validation, or none.")
    ] = True,
    validation: Annotated[float, typer.Option(help="Share of subjects to hold out.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides who is held out.")] = 0,
    like: Annotated[
        Path | None,
        typer.Option(help="A manifest whose subjects keep their side: an earlier one, or pretraining's."),
    ] = None,
    subject_pattern: SubjectPatternOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """List volumes with domain, subject and side of the split, from folders as data sets unpack.

    Whole subjects are held out; adding files moves nobody. The table names your files and subjects: it belongs
    with the data.

    Examples:

      voxmix manifest volumes/ --out manifest.csv          (a folder per domain)

      voxmix manifest amos22/ BraTS2023/ -o pool.csv       (several public sets, layouts detected)

      voxmix manifest scans/ --subject-pattern 'pat\\d+' -o manifest.csv       (pat01_1, pat01_2: one person)

      voxmix manifest Dataset007_Kidney --rename Kidney-CT=ABD-CT -o kidney.csv --like pool.csv
    """
    from voxmix.datasets.sources import read_source, read_sources
    from voxmix.runs import cores
    from voxmix.volumes.manifest_files import write_table
    from voxmix.volumes.reading.multi_volume_files import take_apart

    names = _renames(rename or ())
    found, layouts = read_sources(sources, layout=layout, rename=names, exclude=exclude or ())
    if domain:
        found = found.select(domain)
    found = _joined(found, subject_pattern)
    with progress_bar("reading headers", unit="files") as progress:
        found = take_apart(found, times=times, workers=workers or cores(), progress=progress)
    if split:
        known = read_source(like)[0] if like is not None else None
        try:
            found = found.split(seed=seed, fraction=validation, like=known)
        except InputError as error:
            raise InputError(
                f"{error} (--exclude); or list the volumes without a split: --no-split"
            ) from None
    if out is not None:
        _say_who_moved(found, out)
        write_table(found, out)
    for source, name in zip(sources, layouts, strict=True):
        note(f"{source}: layout {name}" + ("" if layout or name == "table" else " (detected)"))
    say_set_aside(found)
    if as_json:
        emit_json(_manifest_value(found, layouts=layouts, out=out))
        return
    _show_manifest(found)
    if out is not None:
        emit(f"\nWrote {out}")
    else:
        emit("\nNothing was written: give --out manifest.csv")


def _say_who_moved(found: "Manifest", out: Path) -> None:
    """Say how many subjects are on another side than in the manifest that is about to be replaced."""
    from voxmix.volumes.manifest_files import read_table

    if not out.exists():
        return
    try:
        before = read_table(out).sides()
    except InputError:
        return
    moved = sum(before.get(subject, side) != side for subject, side in found.sides().items())
    if moved:
        note(f"{moved} subjects change sides compared with the earlier {out}; --like {out} keeps their sides")


def _renames(given: Sequence[str]) -> dict[str, str]:
    names = {}
    for item in given:
        old, equals, new = item.partition("=")
        if not (equals and old and new):
            raise InputError(f"--rename {item!r} should be OLD=NEW, for example Kidney-CT=ABD-CT")
        names[old] = new
    return names


def _manifest_value(found: "Manifest", *, layouts: Sequence[str], out: Path | None) -> dict[str, Any]:
    from voxmix.volumes.persons.proposals import remarks

    counts, subjects = found.counts(), found.subjects_by_domain()
    train, held_out = found.counts("train"), found.counts("validation")
    return {
        "layouts": list(layouts),
        "manifest": None if out is None else str(out),
        "domains": {
            name: {
                "volumes": count,
                "subjects": len(subjects[name]),
                "training": train[name],
                "validation": held_out[name],
            }
            for name, count in counts.items()
        },
        "notes": list(remarks(found)),
        "set_aside": [{"path": str(s.path), "domain": s.domain, "reason": s.reason} for s in found.set_aside],
    }


def _show_manifest(found: "Manifest") -> None:
    train, held_out = found.counts("train"), found.counts("validation")
    subjects = found.subjects_by_domain()
    labels = Counter(record.domain for record in found.records if record.label is not None)
    aside = [item.domain for item in found.set_aside if not item.is_label]
    others = [item.domain for item in found.set_aside if item.is_label]
    rows = [
        [
            name,
            str(count),
            str(len(subjects[name])),
            str(labels[name]),
            str(train[name]),
            str(held_out[name]),
            str(aside.count(name)),
            str(others.count(name)),
        ]
        for name, count in found.counts().items()
    ]
    headers = [
        "domain", "volumes", "subjects", "with labels", "training", "validation", "set aside", "other labels",
    ]  # fmt: skip
    emit_table("Volumes", headers, rows)


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

        found = _joined(read_source(source, layout=layout)[0], subject_pattern)
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
    from voxmix.runs import cores
    from voxmix.volumes.auditing.audit import audit as look
    from voxmix.volumes.auditing.contact_sheets import write_sheets
    from voxmix.volumes.persons.proposals import remarks

    chosen = own
    if recipe is not None:
        chosen = read_recipe(recipe)
        crop = min(chosen.min_shape)
    say_set_aside(found)
    others = [_joined(read_source(other)[0], subject_pattern, missing_ok=True) for other in against or ()]
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
    written = write_sheets(result, sheets) if sheets is not None else ()
    if as_json:
        emit_json({**_audit_value(result, written), "notes": list(remarks(found))})
    else:
        _show_audit(result, chosen)
        for path in written:
            if path.suffix == ".html":
                emit(f"\nlook at: {path}  (shows patients: keep it with the data)")
    if result.counts().get("leak"):
        raise typer.Exit(1)


def _joined(found: "Manifest", pattern: str | None, *, missing_ok: bool = False) -> "Manifest":
    from voxmix.volumes.persons.rules import join

    return found if pattern is None else join(found, pattern, missing_ok=missing_ok)


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
    for finding in result.findings:
        line = f"  {finding.path}: {finding.message}"
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
