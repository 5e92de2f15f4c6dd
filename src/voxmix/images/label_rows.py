"""Labels of the reports of a table: by rules or by a language model, each report once, and as cells of columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxmix._progress import ProgressCallback, silent
from voxmix.images.report_rows import ReportRow, ReportRows
from voxmix.texts.labels.asking import AskedReports, ask_reports
from voxmix.texts.labels.endpoint import Endpoint
from voxmix.texts.labels.label import label_report
from voxmix.texts.labels.question import Question
from voxmix.texts.labels.rules import Rules
from voxmix.texts.privacy import deidentify
from voxmix.texts.report_text import ReportText, TextRecipe, report_text

UNCERTAIN = -1
SENT = TextRecipe(max_words=2000)
"""What of a report a model is sent: findings and impression (all of a report without headings), without names and dates."""

_WORD: dict[int | None, str] = {1: "present", 0: "absent", UNCERTAIN: "uncertain"}


@dataclass(frozen=True, kw_only=True, slots=True)
class RowLabels:
    """Labels of one row: 1, 0, -1 (named with doubt alone), or None (not named, or not known); and the words that decided."""

    values: Mapping[str, int | None] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabeledRows:
    """Labels of all rows, in their order, and what is to be said of them."""

    names: tuple[str, ...]
    rows: tuple[RowLabels, ...]
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, dict[str, int]]:
        """Return label to how many rows say present, absent, uncertain, or do not name it."""
        found = {name: Counter(_WORD.get(row.values.get(name), "not named") for row in self.rows) for name in self.names}  # fmt: skip
        return {
            name: {word: count[word] for word in (*_WORD.values(), "not named")}
            for name, count in found.items()
        }

    def cells(self, uncertain: str, prefix: str = "") -> list[dict[str, str]]:
        """Return each row's labels as cells; ``uncertain`` is what a label is written as that is in doubt."""
        as_text = {None: "", UNCERTAIN: uncertain}
        return [
            {
                prefix + name: as_text.get(value := row.values.get(name), str(value))
                for name in self.names
            }
            for row in self.rows
        ]  # fmt: skip


def label_by_rules(
    table: ReportRows,
    rules: Rules,
    names: Sequence[str],
    *,
    quoted: bool = False,
    progress: ProgressCallback = silent,
) -> LabeledRows:
    """Return the labels that rules read; with ``quoted`` the words that decided, of the report without what names a person."""
    known: dict[tuple[str, tuple[str, ...]], RowLabels] = {}
    rows = []
    for number, row in enumerate(table.rows, 1):
        place = (row.report, row.names if quoted else ())
        if place not in known:
            known[place] = _by_rules(row, rules, names, quoted=quoted)
        rows.append(known[place])
        progress(number, len(table.rows))
    return LabeledRows(names=tuple(names), rows=tuple(rows))


def _by_rules(row: ReportRow, rules: Rules, names: Sequence[str], *, quoted: bool) -> RowLabels:
    labels = label_report(row.report, rules=rules)
    values = {name: UNCERTAIN if name in labels.uncertain else labels.values[name] for name in names}
    if not quoted:
        return RowLabels(values=values)
    plain = label_report(deidentify(row.report, known=row.names).text, rules=rules)
    return RowLabels(values=values, words={name: said for name in names if (said := plain.words(name))})


def texts_to_send(table: ReportRows) -> tuple[ReportText, ...]:
    """Return what a model is sent of each row's report; "" where nothing is left of it."""
    return tuple(report_text(row.report, SENT, known=row.names) for row in table.rows)


def label_by_model(
    table: ReportRows,
    texts: Sequence[ReportText],
    question: Question,
    endpoint: Endpoint,
    folder: Path,
    *,
    parallel: int = 4,
    again: bool = False,
    progress: ProgressCallback = silent,
) -> tuple[LabeledRows, AskedReports]:
    """Return the labels that a language model reads in ``texts`` (:func:`texts_to_send`), and what came of asking it.

    Raises as :func:`voxmix.texts.labels.asking.ask_reports`.
    """
    asked = ask_reports(
        [text.text for text in texts if text.text],
        question,
        endpoint,
        folder,
        parallel=parallel,
        again=again,
        progress=progress,
    )
    rows = []
    for text in texts:
        found = asked.by_text[text.text].answer if text.text else None
        rows.append(RowLabels() if found is None else RowLabels(values=found.values, words=found.words))
    cut = sum(text.cut_words > 0 for text in texts)
    notes = list(asked.lines())
    bare = sum(
        bool(row.report.strip()) and not text.text for row, text in zip(table.rows, texts, strict=True)
    )
    if bare:
        notes.append(f"{bare} reports have neither findings nor impression; their labels are empty")
    if cut:
        notes.append(f"{cut} reports were cut after {SENT.max_words:,} words")
    return LabeledRows(names=question.labels, rows=tuple(rows), notes=tuple(notes)), asked


def word_rows(table: ReportRows, labels: LabeledRows, key: str | None) -> list[dict[str, str]]:
    """Return a row for each label that a report names: its row, the label, what is said, and the words that decided."""
    return [
        {
            "row": row.place,
            "key": row.cells.get(key, "") if key else "",
            "label": name,
            "said": _WORD[value],
            "words": found.words.get(name, ""),
        }
        for row, found in zip(table.rows, labels.rows, strict=True)
        for name in labels.names
        if (value := found.values.get(name)) is not None
    ]
