"""Tables on a terminal: no header and no cell is cut, however narrow it is."""

import re
import sys

import pytest

from voxmix.cli.app import emit_table
from voxmix.cli.columns import laid_out

HEADERS = [
    "domain",
    "volumes",
    "subjects",
    "with labels",
    "training",
    "validation",
    "set aside",
    "other labels",
]
ROWS = [["LONG-NAME-CT", *"1234567"], ["MADE-MR", "1,234,567", *"234567"]]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_narrow_terminal_cuts_nothing(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Headers break between words where the terminal is narrow, and lose no letter."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_table("Volumes", HEADERS, ROWS)
    out = _plain(capsys.readouterr().out)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= columns
    words = set(out.split())
    assert {word for text in HEADERS for word in text.split()} <= words
    assert {cell for row in ROWS for cell in row} <= words


def test_a_sentence_in_a_cell_breaks_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long cell takes several lines of the terminal's width."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_table(
        "Study", ["step", "detail"], [["fit", "out of date: the runs that it was fitted to have changed"]]
    )
    out = _plain(capsys.readouterr().out)
    assert max(len(line) for line in out.splitlines()) <= 40
    assert {"out", "date:", "fitted", "changed"} <= set(out.split())


def test_columns_that_do_not_fit_follow_below_beside_the_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every part begins with the names, and every other column stands in one part."""
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_table("Volumes", HEADERS, ROWS)
    out = _plain(capsys.readouterr().out)
    parts = out.count("MADE-MR")
    assert parts > 1
    assert out.count("1,234,567") == 1
    assert out.count("Volumes") == 1
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)  # a file has no width
    emit_table("Volumes", HEADERS, ROWS)
    assert capsys.readouterr().out.count("MADE-MR") == 1


@pytest.mark.parametrize("width", [20, 33, 50, 80, 200])
def test_parts_hold_every_column_and_fit(width: int) -> None:
    cells = [HEADERS, *ROWS]
    parts = laid_out(cells, width, split=True)[1]
    assert [k for part in parts for k in part.columns if k] == list(range(1, len(HEADERS)))
    assert all(part.columns[0] == 0 for part in parts)
    assert all(part.width <= width or len(part.columns) == 2 for part in parts)
    (whole,) = laid_out(cells, width, split=False)[1]
    assert whole.columns == tuple(range(len(HEADERS)))


def test_rows_whose_first_cell_is_not_theirs_alone_keep_two_columns() -> None:
    cells = [
        ["law", "by", "order", "regret"],
        ["budget", "mean", "0.9", "1%"],
        ["budget", "ratio", "0.8", "2%"],
    ]
    assert [part.columns for part in laid_out(cells, 30, split=True)[1]] == [(0, 1, 2), (0, 1, 3)]


def test_names_that_take_the_width_give_way_to_numbers() -> None:
    cells = [
        ["task", "first", "second", "p", "cases"],
        *(["organs", a, "b" * 9, "0.1", "10"] for a in ("a" * 9, "c" * 9)),
    ]
    numbered, parts = laid_out(cells, 30, split=True)
    assert [row[0] for row in numbered] == ["row", "1", "2"]
    assert [row[1:] for row in numbered] == cells
    assert all(part.columns[0] == 0 and part.width <= 30 for part in parts)
    assert sorted(k for part in parts for k in part.columns if k) == [1, 2, 3, 4, 5]


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
