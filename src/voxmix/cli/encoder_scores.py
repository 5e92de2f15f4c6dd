"""What the verbs scale and report do for an encoder study."""

from typing import TYPE_CHECKING

from voxmix.cli.app import TERMINAL, emit, emit_json, emit_table, note
from voxmix.errors import InputError

if TYPE_CHECKING:
    from voxmix.encoder_study import EncoderView
    from voxmix.report.encoder_content import EncoderReportContent
    from voxmix.scaling import Number, ScoreLaws


def scale(view: "EncoderView", *, level: float | None = None, as_json: bool = False) -> None:
    """Fit the laws of scores of a study and print what they say."""
    from voxmix.encoder_study import run_step

    laws: ScoreLaws | None = run_step("scale", view, TERMINAL, level=level)
    if laws is None:
        raise InputError(f"{view.root} has no tasks to judge encoders on; add tasks to {view.study.path}")
    if as_json:
        emit_json(laws.as_dict() | {"table": str(view.study.scores_table_path)})
        return
    show_laws(laws)
    emit(f"\nscores: {view.study.scores_table_path}")


def show_laws(laws: "ScoreLaws") -> None:
    """Print the slopes, the crossings and the answer."""
    from voxmix.scaling.parts import series_name
    from voxmix.scaling.words import reached_text, samples_text

    rows = [
        [
            one.task,
            one.objective,
            one.start,
            ", ".join(f"{n:,}" for n in one.samples),
            ", ".join(f"{error:.3f}" for error in one.errors),
            _percent(one.per_doubling),
            "more samples hurt" if one.inverse else one.per_doubling.status,
        ]
        for one in laws.series
    ]
    headers = ["task", "objective", "start", "samples", "errors", "less error per doubling", "note"]
    if rows:
        emit_table("Errors of frozen encoders against samples", headers, rows)
    if laws.crossings:
        emit("")
        rows = [
            [
                one.task,
                series_name(one.objective, one.start),
                one.reference,
                samples_text(one.samples) if one.reach in ("within", "unclear") else "–",
                reached_text(one, rises=laws.rises(one)),
            ]
            for one in laws.crossings
        ]
        emit_table(
            "Samples that beat a reference", ["task", "encoder", "reference", "samples", "reached"], rows
        )
    emit("")
    for sentence in laws.sentences():
        emit(f"- {sentence}")


def _percent(number: "Number") -> str:
    return f"{number.value:.1%} ({number.low:.1%} to {number.high:.1%})" if number.known else "cannot be told"


def report(view: "EncoderView", *, pictures: bool = True, as_json: bool = False) -> None:
    """Write the report of a study."""
    from voxmix.encoder_study import run_step

    content = run_step("report", view, TERMINAL, pictures=pictures)
    if content is None:
        raise InputError(f"{view.root} has no tasks to judge encoders on; add tasks to {view.study.path}")
    if as_json:
        emit_json({"report": str(view.study.report_path), "answer": list(answer(content))})
        return
    show_answer(view, content)


def show_answer(view: "EncoderView", content: "EncoderReportContent") -> None:
    """Print the headline and where the report is."""
    found = answer(content)
    emit(f"\n{found[0]}" if found else f"\n{content.no_laws}")
    for line in content.failed:
        note(line)
    emit(f"\nreport: {view.study.report_path}")


def answer(content: "EncoderReportContent") -> tuple[str, ...]:
    """Return the answer in sentences, the headline first; none without laws."""
    return () if content.laws is None else content.laws.sentences()
