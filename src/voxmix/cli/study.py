"""The verbs of a study itself: init, status and report, and the tables that every step shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxmix._io import as_argument
from voxmix._progress import waiting
from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note, verb
from voxmix.cli.arguments import JsonOption, StudyArgument, load_law, or_here
from voxmix.cli.checks import fitness_value, say_fitness, show_regime
from voxmix.cli.kinds import STUDY_KINDS, do, kind_row
from voxmix.cli.steps import say_next, show_going_on, show_steps, watched
from voxmix.errors import InputError
from voxmix.study.files import MIXTURES, is_study
from voxmix.study.step import loaded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxmix.law import Regime
    from voxmix.report import ReportContent, Table
    from voxmix.study import StudyView


@verb
def report(
    study: Annotated[Path, or_here("STUDY|LAW", "A study, or a law that fit or scale wrote (JSON).")],
    others: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[STUDY]...", help="Further studies of mixtures: one page of all.", show_default=False
        ),
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Show slices of held-out volumes, or none.")
    ] = True,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Of a law: where to write; else beside it, with .html for .json. Of several studies: else studies.html.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write report.html: one file with the answer, its figures, and a table behind each.

    It holds no path and no subject name, but it shows slices of held-out volumes. If these may not be shown, give
    --no-pictures before you pass the report on.

    Of a law alone, such as one fitted to a table, it shows the mixture for the largest fitted budget, the curves and the
    transfers; the page itself computes mixtures for other budgets and limits. Of laws of scores (voxmix scale) it shows the
    answer and the curves; the page itself computes errors for other numbers of images.

    Of several studies of mixtures, one page: answers, doubts, laws and scores side by side, without slices.

    Examples:

      voxmix report mystudy --no-pictures

      voxmix report law.json -o law.html

      voxmix report small large --output both.html
    """
    if others:
        _report_studies([study, *others], output=output or Path("studies.html"), as_json=as_json)
        return
    if not is_study(study) and study.suffix.lower() == ".json":
        _report_law(study, output=output, as_json=as_json)
        return
    if output is not None:
        raise InputError(
            f"-o is for a law, or for several studies: {study} is one study, and it keeps its report; leave it out"
        )
    do("report", study, pictures=pictures, as_json=as_json)


def _report_law(path: Path, *, output: Path | None, as_json: bool) -> None:
    """Write the report of a law's file, or of a file of laws of scores."""
    from voxmix.cli.score_questions import score_laws_at
    from voxmix.report import law_content, score_law_content, write_encoder_report, write_report
    from voxmix.runs import provenance

    target = path.with_suffix(".html") if output is None else output
    laws, made = score_laws_at(path), provenance()["time"]
    law = load_law(path) if laws is None else None
    with waiting("writing the report"):
        if laws is not None:
            write_encoder_report(score_law_content(laws, file=path.name, made=made), target)
        elif law is not None:
            write_report(law_content(law, file=path.name, made=made), target)
    if as_json:
        emit_json({"report": str(target)})
    else:
        emit(f"report: {target}")


def _report_studies(paths: "Sequence[Path]", *, output: Path, as_json: bool) -> None:
    """Write one page of several studies of mixtures."""
    mixtures = STUDY_KINDS[MIXTURES]
    for path in paths:
        kind = kind_row(path)
        if kind is not mixtures:
            raise InputError(
                f"a page of several studies is of studies of mixtures, and {path} is one of {kind.about}; leave it out, and report "
                "it by itself"
            )
    labels = labels_of(paths)
    views = [loaded(mixtures.open)(path, check=True) for path in paths]
    from voxmix.study import report_studies

    report_studies(dict(zip(labels, views, strict=True)), output, TERMINAL)
    if as_json:
        emit_json({"report": str(output), "studies": labels})
    else:
        emit(f"report: {output}")


def labels_of(paths: "Sequence[Path]") -> list[str]:
    """Return the names of folders as labels.

    Raises:
        InputError: one folder twice, or two folders of one name.
    """
    names = [path.resolve().name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"{', '.join(twice)} is given twice; give each study once, and rename one of two of the same name"
        )
    return names


def report_mixtures(view: "StudyView", *, pictures: bool = True, as_json: bool = False) -> None:
    """Write the report of a mixture study."""
    from voxmix.study import run_step

    for remark in view.run_remarks:
        note(remark)
    run_step("report", view, TERMINAL, pictures=pictures)
    if as_json:
        emit_json({"report": str(view.study.report_path)})
    else:
        emit(f"report: {view.study.report_path}")


@verb
def status(
    study: StudyArgument,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show it again every few seconds, until nothing is left or Ctrl-C."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is done, what goes on, what is out of date and what comes next. Exit code 2 if study.yaml cannot work.

    Of every run that was begun: which worker makes it (machine, job, since when), how far it is, how fast, how long it
    will take; of those that failed why, and after how many attempts.

    Examples:

      voxmix status mystudy

      voxmix status mystudy --watch
    """
    if watch and as_json:
        raise InputError("--watch shows tables; leave out --json, or --watch")
    if watch:
        watched(lambda: do("status", study, check=False))
    else:
        do("status", study, check=False, as_json=as_json)


def show_status(view: "StudyView", *, as_json: bool = False) -> bool:
    """Print what of a mixture study is done, what goes on, and what comes next; return whether all is done."""
    from voxmix.study import next_step, study_problems, study_remarks, study_status
    from voxmix.study.going_on import going_on

    problems = study_problems(view)
    steps = study_status(view)
    following, now = next_step(steps), going_on(view.root, steps)
    finished, unfinished = view.finetuning_counts
    regime = _regime_of(view)
    notes = [*study_remarks(view.study), *view.run_remarks]
    if as_json:
        emit_json(
            {
                "steps": [{"step": s.name, "done": s.done, "detail": s.detail} for s in steps],
                "next": following.command if following else None,
                "now": now.as_dict(),
                "finetuning": {"finished": finished, "unfinished": unfinished},
                "refine": view.refine_words,
                "fitness": fitness_value(view.fitness),
                "regime": None if regime is None else regime.to_dict(),
                "problems": list(problems),
                "notes": notes,
            }
        )
        if problems:
            raise typer.Exit(InputError.exit_code)
        return following is None
    show_steps("Study", steps)
    show_going_on(now)
    emit("")
    show_regime(regime, table=False)
    say_fitness(view.fitness)
    for line in notes:
        note(line)
    if problems:
        raise InputError("study.yaml cannot work:\n" + "\n".join(f"  - {line}" for line in problems))
    say_next(following, view.root)
    if view.refine_words:
        emit(f"refine: {view.refine_words}")
    if finished or unfinished:
        emit(
            f"finetuning: {finished} runs finished, {unfinished} not; their scores: voxmix compare {as_argument(view.root)}"
        )
    return following is None


def _regime_of(view: "StudyView") -> "Regime | None":
    """Return how losses move so far; None where no run is finished, or one is damaged, which its step will say."""
    try:
        return view.regime
    except InputError:
        return None


def show(content: "ReportContent", only: tuple[str, ...] | None = None, *, as_json: bool) -> None:
    """Print the report's main tables, or those whose names begin so."""
    from voxmix.report import summary_tables

    found = summary_tables(content, every=as_json)
    tables = [table for table in found if only is None or table.name.startswith(only)]
    if as_json:
        emit_json(_by_name(tables))
        return
    for table in tables:
        emit_table(table.title, table.headers, table.text_rows())
        emit(f"{table.note}\n" if table.note else "")


_TRANSFER = "transfer-"


def _by_name(tables: "Sequence[Table]") -> dict[str, list[dict[str, Any]]]:
    """Return the rows of tables by name: a budget or a law that a name ends in stands in the rows, so that all studies have the same keys."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in tables:
        name, _, budget = table.name.rpartition("-")
        if name and budget.isdecimal():
            found.setdefault(name, []).extend(row | {"budget": int(budget)} for row in table.records())
        elif table.name.startswith(_TRANSFER):
            law = table.name.removeprefix(_TRANSFER)
            found.setdefault("transfer", []).extend(row | {"law": law} for row in table.records())
        else:
            found.setdefault(table.name, []).extend(table.records())
    return found
