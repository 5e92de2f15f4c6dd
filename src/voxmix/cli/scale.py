"""The verb scale: the laws of scores of a study of encoders, or of a table of scores."""

from pathlib import Path
from typing import Annotated

import typer

from voxmix.cli.app import emit, emit_json, note, verb
from voxmix.cli.arguments import JsonOption, or_here
from voxmix.cli.encoder_scores import show_laws
from voxmix.cli.kinds import do
from voxmix.errors import InputError
from voxmix.study.files import is_study


@verb
def scale(
    path: Annotated[Path, or_here("STUDY|TABLE", "A study of encoders, or a CSV table of scores.")],
    level: Annotated[float | None, typer.Option(help="Level of the intervals; 0.9 if left out.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Of a table: write the laws to this JSON file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit how errors of frozen encoders fall with the images they learned from.

    For each task and objective: the errors over the sizes, the share of the error that a doubling of the images takes
    away, how many images it takes to beat a reference, which of two objectives needs fewer, and whether data or
    compute is the limit; each with an interval, or the reason why it cannot be told. Three sizes or more are needed.

    A table has the columns objective, start, task, samples, seed, compute and score, and may have standard_error and
    outside. A row without an objective is a reference.

    Examples:

      voxmix scale cxr

      voxmix scale cxr --level 0.95 --json

      voxmix scale scores.csv -o laws.json
    """
    if is_study(path):
        if output is not None:
            raise InputError("--output is for a table; a study keeps its laws in scores.json: leave it out")
        do("scale", path, level=level, as_json=as_json)
        return
    from voxmix.scaling import fit_score_laws
    from voxmix.scaling.score_rows import read_score_table

    laws = fit_score_laws(read_score_table(path), level=0.9 if level is None else level)
    if output is not None:
        laws.save(output)
    if as_json:
        emit_json(laws.as_dict())
        return
    for line in laws.notes:
        note(line)
    show_laws(laws)
    if output is not None:
        emit(f"\nwrote {output}")
