"""Tables: what people read, and that machines get every digit."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxmix.errors import InputError
from voxmix.report import Column, ReportContent, Table, summary_tables, to_csv, to_markdown
from voxmix.report.figures import answer_data
from voxmix.report.runs_tables import kinds_table, most_repeated
from voxmix.report.table import number_text, percent_text
from voxmix.scores.forecast import GUESS


def _table(**changes: object) -> Table:
    values = {
        "name": "t",
        "title": "T",
        "columns": (
            Column(name="a|b"),
            Column(name="share", kind="percent"),
            Column(name="90%", kind="percent", end="low"),
            Column(name="90%", kind="percent", end="high"),
        ),
        "rows": (("<x>", 1 / 3, 0.1, 0.25), ("y", None, float("nan"), None)),
    }
    return Table(**(values | changes))


@given(st.floats(1e-12, 1e12))
def test_numbers_keep_three_digits(value: float) -> None:
    text = number_text(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=0.00501)
    digits = text.split("e")[0].replace(",", "").replace(".", "").strip("0")
    assert len(digits) <= 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.026412, "0.0264"),
        (0.0009996, "0.00100"),
        (16000, "16,000"),
        (0, "0"),
        (np.nan, "–"),
        (-0.5, "-0.500"),
    ],
)
def test_number_text(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.2371, "+23.7%"), (-0.0413, "−4.1%"), (-0.0001, "0.0%"), (0.99999, "+100%"), (12.3, "+1,230%")],
)
def test_percent_text(share: float, text: str) -> None:
    assert percent_text(share, signed=True) == text


def test_people_read_a_range_as_one_column() -> None:
    table = _table()
    assert table.headers == ("a|b", "share", "90%")
    assert table.text_rows() == (("<x>", "33.3%", "10.0% to 25.0%"), ("y", "–", "–"))


def test_csv_holds_every_digit_and_leaves_the_unknown_empty() -> None:
    rows = list(csv.reader(io.StringIO(to_csv(_table()))))
    assert rows[0] == ["a|b", "share", "90%, low", "90%, high"]
    assert float(rows[1][1]) == 1 / 3
    assert rows[2] == ["y", "", "", ""]


def test_markdown_is_not_broken_by_its_cells() -> None:
    lines = to_markdown(_table()).splitlines()
    assert lines[0] == "| a\\|b | share | 90% |"
    assert lines[2].startswith("| &lt;x> | 33.3% |")


def test_a_row_or_range_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="row 1 has 1 cells, expected 4"):
        _table(rows=(("x",),))
    with pytest.raises(InputError, match="low column"):
        _table(columns=(Column(name="r", end="low"),), rows=())


def test_a_terminal_gets_the_main_tables(content: ReportContent) -> None:
    tables = summary_tables(content)
    assert [t.name.split("-")[0] for t in tables] == ["answer", "predicted", "law", "law", "transfer"]
    for table in tables:
        assert all(len(row) == len(table.headers) for row in table.text_rows())
        assert "nan" not in to_markdown(table).lower()
    assert summary_tables(ReportContent(study="empty")) == ()


def test_answer_counts_draws_per_volume(content: ReportContent) -> None:
    data = answer_data(content)
    assert data is not None
    assert data.repeats == pytest.approx(data.draws / [60, 24, 60, 60, 42, 18])
    assert np.all(data.near[:, 0] <= data.weight + 1e-9)
    assert np.all(data.weight <= data.near[:, 1] + 1e-9)


def test_runs_are_counted_by_kind(content: ReportContent) -> None:
    rows = {(row[0], row[1]): row for row in kinds_table(content).rows}
    assert rows[("pure runs", 1000)][2:5] == (6, "1", 6000)
    assert rows[("anchors", 1000)][2:5] == (1, "1", 1000)
    assert rows[("uniform", 16000)][2:5] == (3, "1, 2, 3", 48000)
    assert rows[("all", None)][2] == len(content.runs)


def test_the_most_repeated_domain_of_a_run_is_named(content: ReportContent) -> None:
    pure_pet = next(run for run in content.runs if run.spec.mixture.source == "HN-PET")
    assert most_repeated(pure_pet) == (1000 / 18, "HN-PET")


def test_laws_are_judged_in_the_terminal_s_tables_beside_the_guess(content: ReportContent) -> None:
    from voxmix.report.forecast_tables import judged_laws

    items = {item.law: item for item in judged_laws(content, budget=16000)}
    tables = {table.name: table for table in summary_tables(content)}
    rows = {row["law"]: row for row in tables["law-accuracy-16000"].records()}
    assert list(rows) == [*content.laws_in_order, GUESS] == list(items)
    for name, row in rows.items():
        assert row["level of the mean loss"] == items[name].by("mean").level
        assert row["level of the mean of relative losses"] == items[name].by("relative").level
        assert row["error per strategy and target"] == items[name].mean_error
    chosen = tables["law-choices-16000"].records()
    assert [(row["law"], row["objective"]) for row in chosen] == [
        (law, kind) for law in rows for kind in ("mean", "relative")
    ]
    for row in chosen:
        part = items[row["law"]].by(row["objective"])
        assert (row["chooses"], row["regret"]) == (part.choice, part.regret)
    note = tables["law-choices-16000"].note
    assert ("not known" in note) == bool(np.isnan(items[GUESS].by("mean").regret_noise))
