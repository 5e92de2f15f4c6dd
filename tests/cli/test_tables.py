"""Tables on a terminal: no header and no cell is cut, however narrow it is."""

import re
import sys

import pytest

from voxmix.cli.app import emit_table

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
    words = set(_plain(capsys.readouterr().out).split())
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


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
