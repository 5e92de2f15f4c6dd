"""Tables on a terminal: no header and no cell is cut, however narrow it is."""

import re
import sys

import pytest

from voxmix.cli.app import emit, emit_table
from voxmix.cli.columns import cut_middle, laid_out

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
ROWS = [["LONG-NAME-CT", *"1234567"], ["MADE-MR", "1,234,567", *"345678"], ["HN-PET", *"3456789"]]


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
    parts = laid_out(cells, width, split=True).parts
    assert [k for part in parts for k in part.columns if k] == list(range(1, len(HEADERS)))
    assert all(part.columns[0] == 0 for part in parts)
    assert all(part.width <= width or len(part.columns) == 2 for part in parts)
    (whole,) = laid_out(cells, width, split=False).parts
    assert whole.columns == tuple(range(len(HEADERS)))


def test_rows_whose_first_cell_is_not_theirs_alone_keep_two_columns() -> None:
    cells = [
        ["law", "by", "order", "regret"],
        ["budget", "mean", "0.9", "1%"],
        ["budget", "ratio", "0.8", "2%"],
        ["share", "mean", "0.7", "3%"],
    ]
    assert [part.columns for part in laid_out(cells, 30, split=True).parts] == [(0, 1, 2), (0, 1, 3)]


def test_names_that_take_the_width_give_way_to_numbers() -> None:
    cells = [
        ["task", "first", "second", "p", "cases"],
        *(["organs", a, a[:1] + "b" * 8, f"0.{ord(a[0])}", a[:1]] for a in ("a" * 9, "c" * 9, "d" * 9)),
    ]
    found = laid_out(cells, 30, split=True)
    numbered, parts = found.cells, found.parts
    assert [row[0] for row in numbered] == ["row", "1", "2", "3"]
    assert [row[1:] for row in numbered] == cells
    assert all(part.columns[0] == 0 and part.width <= 30 for part in parts)
    assert sorted(k for part in parts for k in part.columns if k) == [1, 2, 3, 4, 5]


LONG = [
    f"prostate-mr-of-the-university-hospital-of-{place}-second-reading" for place in ("lübeck", "utrecht")
]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_long_names_lose_their_middle_and_stay_apart(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_table(
        "Laws", ["target", *LONG, "mean"], [[name, "0.1", "1.0", name[-9]] for name in (*LONG, "x" * 9)]
    )
    out = _plain(capsys.readouterr().out)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= columns
    cut = {word for word in out.split() if word.startswith("prost")}
    assert len(cut) == 2
    assert all("…" in word and word.endswith("reading") for word in cut) or columns == 120
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    emit_table("Laws", ["target", *LONG], [[name, "0.123", "1.000"] for name in LONG])
    assert set(LONG) <= set(capsys.readouterr().out.split())  # a file keeps them whole


def test_the_middle_is_cut() -> None:
    assert cut_middle("short", 5) == "short"
    assert [len(cut_middle("abcdefghijkl", n)) for n in (3, 8, 11)] == [3, 8, 11]
    assert cut_middle("abcdefghijkl", 7) == "abc…jkl"


def test_names_that_would_be_one_when_cut_stay_whole() -> None:
    names = [f"a{'b' * 30}{middle}{'b' * 30}" for middle in "cd"]
    found = laid_out([["name", "value"], *([name, "1"] for name in names)], 40, split=True)
    assert len({row[0] for row in found.cells}) == 3


def test_what_every_row_says_is_said_once_where_the_table_is_too_wide() -> None:
    cells = [
        ["strategy", "measured loss", "seeds", "noise", "verdict"],
        *(
            [name, loss, "2", "–", "apart"]
            for name, loss in (("uniform", "0.1"), ("aware", "0.2"), ("x", "0.3"))
        ),
    ]
    found = laid_out(cells, 24, split=True)
    assert [part.columns for part in found.parts] == [(0, 1)]
    assert found.said_once == ["in every row: seeds 2; verdict apart", "known of no row: noise"]
    assert laid_out(cells, 80, split=True).said_once == []


def test_a_table_of_one_row_is_turned_where_it_is_too_wide() -> None:
    found = laid_out([HEADERS, ROWS[0]], 30, split=True)
    assert [list(row) for row in found.cells] == [
        [name, cell] for name, cell in zip(HEADERS, ROWS[0], strict=True)
    ]
    assert all(part.width <= 30 for part in found.parts)


def test_a_cell_takes_few_lines() -> None:
    text = " ".join(f"DOMAIN-{n} {n}%" for n in range(40))
    found = laid_out([["choice", "gain"], [text, "1"], ["uniform", "2"], ["x", "3"]], 60, split=True)
    assert "…" in found.cells[1][0]
    assert found.cells[1][0].startswith("DOMAIN-0 0%")
    assert found.cells[1][0].endswith("39%")


def test_sentences_break_between_words_and_commands_do_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    command = "next: voxmix allocate /data/a-long-folder/with/a-study --budget 100k"
    emit(f"- a sentence that is much longer than the terminal is wide\n{command}")
    out = capsys.readouterr().out
    assert command in out
    assert out.splitlines()[:2] == ["- a sentence that is much longer than", "  the terminal is wide"]


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
