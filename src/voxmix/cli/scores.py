"""The verb that compares what was measured: compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._io import as_argument
from voxmix._progress import waiting
from voxmix.cli.app import emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, but_excluded, whole_draws
from voxmix.cli.kinds import do
from voxmix.errors import InputError, StepPendingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxmix.encoder_study import EncoderView
    from voxmix.report import Table
    from voxmix.scores import Comparison, ProxyAgreement
    from voxmix.study import StudyView


@verb
def compare(
    study: StudyArgument,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; repeat for more.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Leave this task out; repeat for more.")] = None,
    level: Annotated[float, typer.Option(help="Level of the intervals and tests.")] = 0.95,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    csv: Annotated[
        Path | None, typer.Option(help="Write every score, one per row, to this CSV file.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write figures and tables to this HTML file, in the look of the report."),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            parser=whole_draws,
            metavar="IMAGES",
            help="Study of encoders: those that learned from so many images; the most if left out.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--every", help="Study of encoders: every encoder with every other.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the trained mixtures, what each law said of them, and the scores of finetuned or frozen encoders.

    Mixtures are compared within seeds. Laws: level, error, order with its noise, and what their choice cost.

    Scores are tested over the same cases and seeds, and corrected for the number of comparisons. Runs of one task
    under different protocols are refused; what is missing or unfinished is named. With --task: scores alone.

    Of a study of encoders: the scores of their probes, with intervals over persons, and paired tests of the encoders that
    learned from the largest subset, and of what they began from.

    Examples:

      voxmix compare mystudy

      voxmix compare cxr --samples 256 --task tubes

      voxmix compare mystudy --task hippocampus --markdown > scores.md

      voxmix compare mystudy --csv scores.csv --html scores.html
    """
    if as_json and markdown:
        raise InputError("--json and --markdown exclude each other; give one of them")
    do(
        "compare", study, task=task, exclude=exclude, level=level, markdown=markdown, csv=csv, html=html, samples=samples, every=every, as_json=as_json
    )  # fmt: skip


def compare_mixtures(
    view: "StudyView",
    *,
    task: "Sequence[str] | None" = None,
    exclude: "Sequence[str] | None" = None,
    level: float = 0.95,
    markdown: bool = False,
    csv: Path | None = None,
    html: Path | None = None,
    as_json: bool = False,
) -> None:
    """Print what a mixture study's strategies, laws and finetuned encoders came to."""
    from voxmix.report import strategy_tables, tables_of_scores
    from voxmix.study import answer_content, compare_scores, next_step, study_status
    from voxmix.study.scores import finetuned_tasks

    study = view.root
    with waiting("comparing"):
        strategies = () if task else strategy_tables(answer_content(view), every=as_json)
        try:
            tasks = task
            if exclude:
                tasks = but_excluded(finetuned_tasks(view), task, exclude, what="task")
            scores = compare_scores(view, tasks=tasks, level=level)
        except StepPendingError as error:
            following = next_step(study_status(view))
            if not task and not strategies and following is not None:
                raise StepPendingError(
                    f"no strategy of {study} is trained with its present settings, next: {following.command}; and {error}"
                ) from None
            if csv is not None or not strategies:
                raise
            scores = None
    if scores is not None and csv is not None:
        _write_csv(scores[0], csv)
    if html is not None:
        found, foretold = (None, ()) if scores is None else scores
        _write_html(html, view.root, found, agreements=foretold, strategies=strategies)
    if as_json:
        told = {table.name: table.records() for table in strategies}
        emit_json({"strategies": told} | ({} if scores is None else _value(*scores)))
        return
    for table in strategies:
        _show(table, markdown=markdown)
        if not markdown:
            emit(f"{table.note}\n")
    if scores is None:
        emit(f"no finetuned encoder is measured yet: voxmix finetune {as_argument(study)} --task NAME")
        return
    for table in tables_of_scores(*scores):
        _show(table, markdown=markdown)
        if not markdown:
            emit("")
    for sentence in _sentences(*scores):
        emit(f"- {sentence}")


def compare_encoders(
    view: "EncoderView",
    *,
    task: "Sequence[str] | None" = None,
    exclude: "Sequence[str] | None" = None,
    level: float = 0.95,
    samples: int | None = None,
    every: bool = False,
    markdown: bool = False,
    csv: Path | None = None,
    html: Path | None = None,
    as_json: bool = False,
) -> None:
    """Print the scores of a study's frozen encoders with intervals, and paired tests between them."""
    from voxmix.encoder_study.probing import score_table
    from voxmix.encoder_study.scores_of import chosen_for_comparison
    from voxmix.scores import compare

    if exclude:
        task = but_excluded(tuple(view.config.tasks), task, exclude, what="task")
    with waiting("comparing"):
        table = score_table(view, tuple(task or ()))
        found = compare(chosen_for_comparison(table, samples=samples, every=every), level=level)
    if table.unfinished:
        note(f"{len(table.unfinished)} probes are not done: voxmix probe {as_argument(view.root)}")
    if html is not None:
        _write_html(html, view.root, found)
    show_comparison(found, markdown=markdown, csv=csv, as_json=as_json)


def show_comparison(
    comparison: "Comparison", *, markdown: bool = False, csv: Path | None = None, as_json: bool = False
) -> None:
    """Print scores of frozen encoders with intervals, and paired tests between them."""
    from voxmix.report import tables_of_scores
    from voxmix.report.score_tables import estimates_table

    if csv is not None:
        _write_csv(comparison, csv)
    if as_json:
        emit_json(comparison_value(comparison))
        return
    full = (estimates_table(comparison), *tables_of_scores(comparison)[1:])
    for table in full if markdown else _brief(comparison):
        _show(table, markdown=markdown)
        if not markdown:
            emit("")
    for sentence in _sentences(comparison, ()):
        emit(f"- {sentence}")


def _brief(comparison: "Comparison") -> "tuple[Table, ...]":
    """Return the tables that are read in a terminal: few columns, each value with its interval in one."""
    from voxmix.report import tables_of_scores
    from voxmix.report.score_tables import brief_differences_table, brief_scores_table

    others = [t for t in tables_of_scores(comparison)[1:] if t.name != "differences"]
    return (brief_scores_table(comparison), brief_differences_table(comparison), *others)


def _write_html(
    path: Path,
    root: Path,
    comparison: "Comparison | None",
    *,
    agreements: "Sequence[ProxyAgreement]" = (),
    strategies: "Sequence[Table]" = (),
) -> None:
    from voxmix.report.compare_page import write_comparison

    write_comparison(
        path, study=root.resolve().name, comparison=comparison, agreements=agreements, strategies=strategies
    )
    note(f"page: {path}")


def comparison_value(comparison: "Comparison") -> dict[str, Any]:
    """Return a comparison of frozen encoders as JSON-like data."""
    return _value(comparison, ())


def _write_csv(comparison: "Comparison", path: Path) -> None:
    from voxmix._io import naming_full_disk, write_text
    from voxmix.report import to_csv
    from voxmix.report.score_tables import estimates_table

    with naming_full_disk(path.parent):
        write_text(path, to_csv(estimates_table(comparison)))


def _show(table: "Table", *, markdown: bool) -> None:
    from voxmix.report import to_markdown

    if markdown:
        emit(f"### {table.title}\n\n{to_markdown(table)}\n{table.note}\n")
    else:
        emit_table(table.title, table.headers, table.text_rows())


def _sentences(comparison: "Comparison", agreements: "Sequence[ProxyAgreement]") -> list[str]:
    from voxmix.report import score_words as words

    return [
        *words.score_sentences(comparison),
        *words.control_sentences(comparison),
        *(sentence for item in agreements for sentence in words.agreement_sentences(item)),
        *words.gap_sentences(comparison),
    ]


def _value(comparison: "Comparison", agreements: "Sequence[ProxyAgreement]") -> dict[str, Any]:
    from voxmix.report.score_tables import agreement_table, controls_table, differences_table, estimates_table

    controls = controls_table(comparison)
    table = comparison.table
    return {
        "scores": estimates_table(comparison).records(),
        "differences": differences_table(comparison).records(),
        "controls": controls.records() if controls else [],
        "best": {name: list(comparison.best(name)) for name in table.tasks},
        "proxy": [_agreement(item) | {"by_task": agreement_table(item).records()} for item in agreements],
        "missing": list(table.missing()),
        "unfinished": list(table.unfinished),
        "set_aside": [{"run": name, "reason": reason} for name, reason in table.set_aside],
        "notes": list(comparison.notes),
        "level": comparison.level,
    }


def _agreement(item: "ProxyAgreement") -> dict[str, Any]:
    numbers = {name: getattr(item, name) for name in ("mean", "low", "high", "p", "least_p")}
    return {
        "measure": item.measure,
        "rank_correlation": {name: None if value != value else value for name, value in numbers.items()},
        "decidable": item.decidable,
        "pairs_told_apart": item.told_apart,
        "pairs_in_the_right_order": item.right,
    }
