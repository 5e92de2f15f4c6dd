"""The verb label: reports to a table with label columns, by rules or by a language model; and how right they are."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._progress import progress_bar
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.images.gold_labels import GoldCheck
    from voxmix.images.label_rows import LabeledRows
    from voxmix.images.report_rows import ReportRows
    from voxmix.texts.labels.endpoint import Endpoint
    from voxmix.texts.labels.rules import Rules

_MODEL = "A language model instead of rules"
_DOUBT = {"-1": "-1", "1": "1", "0": "0", "empty": ""}


@verb
def label(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="REPORTS",
            help="A table (CSV, TSV) with a column report, or findings and impression; or a folder of .txt files.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where to write the table with the label columns (.csv or .tsv)."
        ),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="The labels, apart by commas; all that the rules know if left out.")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Your own rules (YAML or JSON); --write-rules writes some to edit.")
    ] = None,
    report: Annotated[str | None, typer.Option(help="The column of reports, where it is not found.")] = None,
    uncertain: Annotated[
        str, typer.Option(help="What is written for a label that is in doubt: -1, 1, 0 or empty.")
    ] = "-1",
    prefix: Annotated[str, typer.Option(help="Put before the names of the label columns.")] = "",
    words: Annotated[
        Path | None,
        typer.Option(help="Where to write the words that decided, label by label, without names and dates."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="A table of known labels: print precision, recall and F1 against it."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The column that names a row in both tables, for --check and --words.")
    ] = None,
    at_least: Annotated[
        int, typer.Option(min=1, help="Reports that a label must be in to count in the mean F1.")
    ] = 10,
    write_rules: Annotated[
        Path | None, typer.Option(help="Where to write the rules that were used (YAML), to be edited.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="An endpoint as OpenAI's, e.g. http://localhost:8000/v1.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model's name, as the endpoint lists it.", rich_help_panel=_MODEL),
    ] = None,
    key_variable: Annotated[
        str,
        typer.Option(help="The environment variable that holds the key, if any.", rich_help_panel=_MODEL),
    ] = "VOXMIX_API_KEY",
    answers: Annotated[
        Path | None,
        typer.Option(
            help="The folder that keeps the answers; beside the table if left out.", rich_help_panel=_MODEL
        ),
    ] = None,
    parallel: Annotated[
        int, typer.Option(min=1, help="Requests under way at once.", rich_help_panel=_MODEL)
    ] = 4,
    timeout: Annotated[
        float,
        typer.Option(help="Seconds after which a request is given up.", rich_help_panel=_MODEL),
    ] = 120.0,
    ask_again: Annotated[
        bool,
        typer.Option(
            "--ask-again",
            help="Ask again where the model refused or answered nonsense.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read labels in reports and write them as columns: 1 present, 0 denied, -1 in doubt, empty not named.

    By rules; or by a language model behind an OpenAI-compatible endpoint, which is sent findings and impression without
    names and dates, each text once. Its answers are kept on disk: after an interrupt the same command goes on. A table
    keeps all its columns, and voxmix init --images reads it.

    Examples:

      voxmix label films.csv -o labelled.csv

      voxmix label films.csv -o labelled.csv --labels effusion,picc --words words.csv --check gold.csv

      voxmix label reports/ -o labels.csv --endpoint http://localhost:8000/v1 --model qwen3
    """
    from voxmix.images.report_rows import check_columns, read_reports, write_rows
    from voxmix.texts.labels.rule_files import write_rules as save_rules

    if uncertain not in _DOUBT:
        raise InputError(f"--uncertain {uncertain!r} should be one of {', '.join(_DOUBT)}")
    _check_paths(source, output, words, write_rules)
    if (endpoint is None) != (model is None):
        raise InputError("--endpoint and --model belong together; give both, or neither for rules")
    used, names = _labels(rules, labels, of_model=endpoint is not None)
    if output is None and check is None and words is None:
        note("nothing is written: give -o labelled.csv to keep the labels")
    table = read_reports(source, column=report)
    if key is not None and key not in table.columns:
        raise InputError(f"{source} lacks the column {key!r} of --key; it has {list(table.columns)}")
    columns = (*table.columns, *(prefix + name for name in names))
    if output is not None:  # before anything is asked of a model
        check_columns(columns)
    gold = None
    if check is not None:
        from voxmix.images.gold_labels import check_gold, read_gold

        gold = read_gold(table, names, check, key=key)
    for sentence in table.notes:
        note(sentence)
    summary: dict[str, Any] = _seen(table)
    if endpoint is None or model is None:
        from voxmix.images.label_rows import label_by_rules

        with progress_bar("labelling", unit="reports") as progress:
            found = label_by_rules(table, used, names, quoted=words is not None, progress=progress)
        summary |= {"by": "rules", "rules": used.digest}
    else:
        from voxmix.texts.labels.endpoint import Endpoint

        place = answers or (None if output is None else output.with_name(output.name + ".answers"))
        if place is None:
            raise InputError(
                "answers of a model are kept on disk: say where with --answers FOLDER, or give -o"
            )
        server = Endpoint(
            url=endpoint, model=model, key=os.environ.get(key_variable, "").strip(), variable=key_variable, timeout=timeout
        )  # fmt: skip
        found, more = _by_model(
            table, names, server, place, quoted=words is not None, parallel=parallel, again=ask_again
        )
        summary |= {"by": model, **more}
    for sentence in found.notes:
        note(sentence)
    if output is not None:
        cells = [
            {**row.cells, **more}
            for row, more in zip(table.rows, found.cells(_DOUBT[uncertain], prefix), strict=True)
        ]
        write_rows(output, columns, cells)
        _note_place(source, output, table)
    if words is not None:
        from voxmix.images.label_rows import word_rows

        write_rows(
            words, ("row", *(("key",) if key else ()), "label", "said", "words"), word_rows(table, found, key)
        )
    if write_rules is not None:
        save_rules(used, write_rules)
    judged = None
    if gold is not None:
        judged = check_gold(gold, found, at_least=at_least)
        for sentence in judged.notes:
            note(sentence)
    written = [str(path) for path in (output, words, write_rules) if path is not None]
    if as_json:
        emit_json({**summary, "labels": found.counts(), "notes": [*table.notes, *found.notes], "check": judged and _check_value(judged), "written": written})  # fmt: skip
        return
    _show(summary, found)
    if judged is not None:
        _show_check(judged)
    emit(
        "\n"
        + (
            f"wrote {', '.join(written)}"
            if written
            else "not written: give -o labelled.csv to keep the labels"
        )
    )


def _check_paths(source: Path, *written: Path | None) -> None:
    """Refuse to write over what is read, or two tables to one place."""
    paths = [path.resolve() for path in written if path is not None]
    if source.resolve() in paths:
        raise InputError(f"{source} would be written over; give the new table another name")
    if len(set(paths)) < len(paths):
        raise InputError("two of the tables to write have one name; give each its own")


def _labels(rules: Path | None, labels: str | None, *, of_model: bool) -> tuple["Rules", tuple[str, ...]]:
    """Return the rules and the labels that are wanted; a model knows labels that have no rule too."""
    from voxmix.texts.labels import DEFAULT_RULES
    from voxmix.texts.labels.rule_files import read_rules

    used = DEFAULT_RULES if rules is None else read_rules(rules)
    if labels is None:
        return used, used.names
    names = tuple(dict.fromkeys(name.strip() for name in labels.split(",") if name.strip()))
    if not names:
        raise InputError("--labels names none; give them apart by commas, e.g. --labels effusion,picc")
    return (used if of_model else used.only(names)), names


def _seen(table: "ReportRows") -> dict[str, Any]:
    empty = sum(not row.report.strip() for row in table.rows)
    return {
        "rows": len(table.rows),
        "empty": empty,
        "different": len(table.different),
        "repeated": len(table.rows) - empty - len(table.different),
    }


def _by_model(
    table: "ReportRows", names: tuple[str, ...], server: "Endpoint", place: Path, *, quoted: bool, parallel: int, again: bool
) -> tuple["LabeledRows", dict[str, Any]]:  # fmt: skip
    from voxmix.images.label_rows import label_by_model, texts_to_send
    from voxmix.texts.labels.question import Question

    with progress_bar("taking out names", unit="reports") as progress:
        texts = texts_to_send(table)
        progress(len(texts), len(texts))
    count = len({text.text for text in texts if text.text})
    if not server.is_local:
        note(
            f"{count:,} texts leave this machine: they are sent to {server.place}, without the names and dates that rules find, "
            "and rules miss some (docs: privacy of reports)"
        )
    if server.in_the_clear:
        note(
            f"texts{' and key' if server.key else ''} travel unencrypted: {server.place} is asked by http, not https"
        )
    with progress_bar(f"asking {server.model}", unit="texts") as progress:
        found, asked = label_by_model(
            table, texts, Question(labels=names, quoted=quoted), server, place, parallel=parallel, again=again, progress=progress
        )  # fmt: skip
    faults = [a.fault for a in asked.by_text.values() if a.fault]
    counted = {fault.replace(" ", "_"): faults.count(fault) for fault in ("refused", "nonsense", "not taken")}
    return found, {"asked": asked.asked, "kept": asked.kept, **counted, "answers": str(place)}


def _note_place(source: Path, output: Path, table: "ReportRows") -> None:
    """Say that images are named relative to another folder than the new table's."""
    from voxmix.images.table_columns import column_of

    column = column_of(table.columns, "image")
    home = source if source.is_dir() else source.parent
    if column is None or home.resolve() == output.parent.resolve():
        return
    if any(row.cells[column] and not Path(row.cells[column]).is_absolute() for row in table.rows):
        note(f"images are named relative to {home}: move {output} there before voxmix init --images reads it")


def _show(summary: dict[str, Any], found: "LabeledRows") -> None:
    emit(
        f"{summary['rows']:,} reports, {summary['different']:,} different, {summary['repeated']:,} repeated, "
        f"{summary['empty']:,} empty; labels by {summary['by']}\n"
    )
    counts = found.counts()
    rows = [[name, *(f"{n:,}" for n in counts[name].values())] for name in found.names]
    emit_table("Labels", ["label", "present", "absent", "uncertain", "not named"], rows)


def _show_check(judged: "GoldCheck") -> None:
    check = judged.check
    rows = [
        [
            score.label,
            f"{score.support:,}",
            f"{score.found:,}",
            *(_share(v) for v in (score.precision, score.recall, score.f1)),
            "too few" if score.label in check.left_out else "yes",
        ]
        for score in sorted(check.scores, key=lambda score: -score.support)
    ]
    emit("")
    emit_table(
        f"Against known labels of {check.reports:,} reports",
        ["label", "reports with it", "found", "precision", "recall", "F1", "in the mean"],
        rows,
    )
    counted = len(check.scores) - len(check.left_out)
    emit(
        f"\nmacro F1 over {counted} labels: {_share(check.macro_f1)}; micro F1 over all: {_share(check.micro_f1)}"
    )


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _check_value(judged: "GoldCheck") -> dict[str, Any]:
    check = judged.check
    return {
        "key": judged.key,
        "reports": check.reports,
        "macro_f1": _number(check.macro_f1),
        "micro_f1": _number(check.micro_f1),
        "labels": {
            s.label: {
                "support": s.support,
                "found": s.found,
                "right": s.right,
                "precision": _number(s.precision),
                "recall": _number(s.recall),
                "f1": _number(s.f1),
                "in_the_mean": s.label not in check.left_out,
            }
            for s in check.scores
        },
        "notes": list(judged.notes),
    }


def _number(value: float) -> float | None:
    return None if value != value else value
