"""The verb manifest, and options of the verbs that read volumes before a study."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption
from voxmix.cli.checks import say_set_aside
from voxmix.datasets import LAYOUTS
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.volumes import Manifest

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
    found = joined(found, subject_pattern)
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


def joined(found: "Manifest", pattern: str | None, *, missing_ok: bool = False) -> "Manifest":
    """Return the volumes with sessions joined to persons by a pattern, where one is given."""
    from voxmix.volumes.persons.rules import join

    return found if pattern is None else join(found, pattern, missing_ok=missing_ok)
