"""The verb prepare, for a study and for volumes without one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxmix._io import as_argument
from voxmix._progress import progress_bar
from voxmix.cli.app import TERMINAL, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.checks import FITNESS_HEADERS, counts_of, fitness_cells, fitness_value
from voxmix.cli.kinds import do
from voxmix.cli.volumes import SubjectPatternOption
from voxmix.errors import InputError
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.study import StudyView
    from voxmix.volumes import Preparation


def show_preparation(preparation: "Preparation") -> None:
    """Print how many volumes each domain has, and medians of what they consist of."""
    train, held_out = preparation.cache.counts("train"), preparation.cache.counts("validation")
    aside = [item.domain for item in preparation.set_aside if not item.is_label]
    labels = [item.domain for item in preparation.set_aside if item.is_label]
    fitness = {item.domain: item for item in preparation.cache.fitness()}
    rows = [
        [
            name,
            str(train[name]),
            str(held_out[name]),
            str(aside.count(name)),
            *([str(labels.count(name))] if labels else []),
            *fitness_cells(fitness[name]),
        ]
        for name in train
    ]
    lost = ["set aside", *(["label maps not used"] if labels else [])]
    emit_table("Prepared volumes", ["domain", "training", "validation", *lost, *FITNESS_HEADERS], rows)


@verb
def prepare(
    source: Annotated[
        Path,
        or_here("SOURCE", "A study; or a manifest or a folder of volumes, with --out."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Without a study: the folder for the prepared volumes.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="Without a study: a YAML file with spacing_mm, min_shape, intensity, ..."),
    ] = None,
    validation: Annotated[
        float, typer.Option(help="Share of subjects to hold out, where the manifest has no split.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides who is held out.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; every core when left out.")] = None,
    codec: Annotated[
        str | None,
        typer.Option(help="Without a study: how arrays are stored, npy or blosc2 (half the size)."),
    ] = None,
    subject_pattern: SubjectPatternOption = None,
    names: Annotated[
        Path | None,
        typer.Option(
            help="Without a study: folder for the private lists (pseudonyms, files set aside); CACHE.private if left out."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Turn files into arrays that training reads fast; files that cannot be used are set aside.

    Volumes get RAS axes, cubic voxels and intensities in [0, 1] by the domain's rule; empty margins are cut, small
    volumes padded. Images of an encoder study get one size of their shorter side, and reports become tokens, without what
    names a person. You can stop at any moment: the same command resumes, and finished volumes are kept.

    Examples:

      voxmix prepare mystudy

      voxmix prepare manifest.csv --recipe recipe.yaml --out prepared

      voxmix prepare manifest.csv --codec blosc2 --out prepared     (half the disk; for slow disks and networks)
    """
    if is_study(source):
        if any(given is not None for given in (out, recipe, codec, subject_pattern, names)):
            raise InputError(
                f"{source} is a study: recipe, codec, cache, data.subject_pattern and data.names are its own (study.yaml); "
                "leave --out, --recipe, --codec, --subject-pattern and --names out"
            )
        do("prepare", source, as_json=as_json)
        return
    preparation = _prepare_outside_study(
        source,
        out=out,
        recipe=recipe,
        validation=validation,
        seed=seed,
        workers=workers,
        codec=codec or "npy",
        subject_pattern=subject_pattern,
        names=names,
    )
    _say(preparation, as_json=as_json)


def prepare_mixtures(view: "StudyView", *, as_json: bool = False) -> None:
    """Prepare the volumes of a mixture study."""
    from voxmix.study import run_step

    _say(run_step("prepare", view, TERMINAL), as_json=as_json)


def _say(preparation: "Preparation", *, as_json: bool) -> None:
    if as_json:
        cache = preparation.cache
        emit_json(
            {
                "training": cache.counts("train"),
                "validation": cache.counts("validation"),
                "set_aside": [
                    {"domain": item.domain, "reason": item.reason}
                    for item in preparation.set_aside
                    if not item.is_label
                ],
                "label_maps_not_used": [
                    {"domain": item.domain, "reason": item.reason}
                    for item in preparation.set_aside
                    if item.is_label
                ],
                "findings": counts_of(preparation.findings),
                "fitness": fitness_value(cache.fitness()),
            }
        )
        return
    show_preparation(preparation)


def _prepare_outside_study(
    source: Path,
    *,
    out: Path | None,
    recipe: Path | None,
    validation: float,
    seed: int,
    workers: int | None,
    codec: str,
    subject_pattern: str | None = None,
    names: Path | None = None,
) -> "Preparation":
    """Prepare a manifest or a folder into a cache of its own."""
    from voxmix.datasets.to_cache import prepare_source
    from voxmix.runs import cores
    from voxmix.volumes.preparing.sentences import preparation_lines, space_line

    if out is None:
        raise InputError(
            f"{source} is no study: give --out CACHE, the folder for its prepared volumes (or make a study: "
            f"voxmix init STUDY --data {as_argument(source)})"
        )
    with progress_bar("preparing", unit="volumes") as progress:
        preparation = prepare_source(
            source,
            root=out,
            recipe=recipe,
            seed=seed,
            fraction=validation,
            workers=workers or cores(),
            codec=codec,
            subject_pattern=subject_pattern,
            names=names,
            progress=progress,
            tell=lambda space: note(space_line(space)),
        )
    for line in preparation_lines(preparation):
        note(line)
    return preparation
