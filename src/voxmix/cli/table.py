"""The verb table: other people's tables of losses to voxmix's own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._amounts import amount
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, open_study
from voxmix.cli.response_words import ResponseWords
from voxmix.errors import InputError
from voxmix.study.files import is_study

if TYPE_CHECKING:
    from voxmix.measurement import MeasurementTable


@verb
def table(
    losses: Annotated[
        Path,
        typer.Argument(
            metavar="LOSSES|STUDY",
            help="CSV or Parquet: a row for each run, a column for each loss. Of a study: the scores of its finetuned encoders.",
        ),
    ],
    mixtures: Annotated[
        Path | None,
        typer.Option(
            help="The table of the weights, where they are not beside the losses; joined by the run's name."
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", help="wide, regmix or olmix: how the columns are called, if nothing else is given."
        ),
    ] = "wide",
    run: Annotated[str | None, typer.Option(help="The column that names the run.")] = None,
    weights: Annotated[
        list[str] | None, typer.Option(help="A column of weights, or a pattern: train_* is domain *; repeat.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--losses", help="A column of losses, or a pattern: loss_* is target *; repeat."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="The column of budgets, or one number for all runs.")
    ] = None,
    seed: Annotated[str | None, typer.Option(help="The column of seeds, or one number for all runs.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: read only the rows that have it; repeat.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A column that a pattern takes and that is none; repeat.")
    ] = None,
    response: Annotated[
        str, typer.Option(help="What was measured, as the column of the new table is called.")
    ] = "loss",
    direction: Annotated[str, typer.Option(help="max where more of it is better (AUC, Dice).")] = "min",
    best: Annotated[float, typer.Option(help="Largest value possible, for --direction max.")] = 1.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write the table.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a table with a row for each run, as others publish them, and write the one that fit reads.

    Weights may be shares or percentages. Runs that stand in one of two files, and losses that are empty or not finite,
    are left out and named. What looks wrong is named and stays: also in a table that fit can read, without fitting a law.

    Of a study, writes what its finetuned encoders scored, with the mixture that each was pretrained on: fit it with --score score.

    Examples:

      voxmix table train_pile_loss_1m.csv --mixtures train_mixture_1m.csv --format regmix -o runs.csv

      voxmix table swarm.csv --run id --weights 'h_*' --losses 'loss_*' --budget tokens --only params=2e8 -o runs.csv

      voxmix table mystudy -o scores.csv
    """
    from voxmix.measurement import MeasurementTable
    from voxmix.wide import WIDE_FORMATS, WideRecords, is_tidy, read_wide_records

    measured: dict[str, Any] = {"response": response, "direction": direction, "best": best}
    if is_study(losses):
        _refuse_choices(run, weights, column, budget, seed, only, leave_out, mixtures, path=losses)
        from voxmix.study import scores_over_mixtures

        made, notes = scores_over_mixtures(open_study(losses))
        found = WideRecords(records=(), notes=notes)
    elif mixtures is None and is_tidy(losses, response):
        _refuse_choices(run, weights, column, budget, seed, only, leave_out, path=losses)
        found = WideRecords(records=(), notes=("a row for each run and target: the table is read as it is",))
        made = MeasurementTable.read(losses, **measured)
    else:
        given: dict[str, Any] = {
            "run": run,
            "budget": _number_or_column(budget),
            "seed": _number_or_column(seed),
        }
        given |= {name: tuple(value) for name, value in (("weights", weights), ("losses", column)) if value}
        row = replace(
            WIDE_FORMATS[form], **{name: value for name, value in given.items() if value is not None}
        )
        row = replace(row, leave_out=(*row.leave_out, *(leave_out or ())))
        found = read_wide_records(losses, mixtures, row, only=_choices(only))
        made = MeasurementTable.from_wide(found, **measured)
    said = ResponseWords(response=made.response, names=(*made.domains, *dict.fromkeys(made.target)))
    odd = said.in_json(_odd(made))
    for sentence in (*found.notes, *odd["odd"]):
        note(sentence)
    if output is not None:
        made.to_csv(output)
    targets = list(dict.fromkeys(made.target))
    value = {
        "runs": len(set(made.run)),
        "losses": len(made),
        **({"scores": len(made), "response": made.response.to_dict()} if made.response.rises else {}),
        **made.response.named_error(),
        "domains": list(made.domains),
        "targets": targets,
        "budgets": sorted({float(b) for b in made.budget}),
        "seeds": sorted({int(s) for s in made.seed}),
        "notes": list(found.notes),
        **odd,
        "written": None if output is None else str(output),
    }
    if as_json:
        emit_json(value)
        return
    rows = [
        ["runs", f"{value['runs']:,}"],
        ["scores" if made.response.rises else "losses", f"{len(made):,}"],
        *([name, _few(value[name])] for name in ("domains", "targets", "budgets", "seeds")),
    ]
    emit_table(f"Table of {'scores' if made.response.rises else 'losses'}", ["what", "how many"], rows)
    emit(f"\nwrote {output}" if output else "\nnot written: give -o runs.csv to keep it")


def _refuse_choices(*choices: Any, path: Path) -> None:
    if any(choices):
        raise InputError(
            f"{path} has a row for each run and target already, and is read as it is: leave out --mixtures, --run, --weights, "
            "--losses, --budget, --seed, --only and --leave-out"
        )


def _odd(table: "MeasurementTable") -> dict[str, Any]:
    """Return what looks wrong about a table, in sentences and by row: what fit will set aside, and what it will not."""
    from voxmix.law.cells import gather
    from voxmix.law.oddities import oddities
    from voxmix.law.outliers import find_outliers, outlier_sentence
    from voxmix.law.suspects import find_suspects, suspect_sentence

    outliers = find_outliers(table)
    suspects = find_suspects(table, outliers)
    said = [outlier_sentence(outliers, kept=None, response=table.response)] if outliers else []
    said += [suspect_sentence(suspects, table.response)] if suspects else []
    return {
        "odd": [*said, *oddities(table, gather(table))],
        "outliers": [item.to_dict() for item in outliers],
        "suspects": [item.to_dict() for item in suspects],
    }


def _few(values: Any) -> str:
    texts = [f"{v:,.0f}" if isinstance(v, float) else str(v) for v in values]
    shown = ", ".join(texts[:6]) + (", ..." if len(texts) > 6 else "")
    return f"{len(texts):,}: {shown}"


def _number_or_column(text: str | None) -> float | str | None:
    try:
        return None if text is None else amount(text)
    except InputError:
        return text


def _choices(given: Sequence[str] | None) -> dict[str, str]:
    found = {}
    for text in given or ():
        column, separator, value = text.partition("=")
        if not separator or not column:
            raise InputError(f"--only {text!r} should be COLUMN=VALUE, e.g. --only params=2e8")
        found[column] = value
    return found
