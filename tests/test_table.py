"""A table takes rows of installed packages and of scripts, and refuses names that are not or already there."""

from types import SimpleNamespace

import pytest

from voxmix import _table
from voxmix._table import Table
from voxmix.errors import InputError


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> "Table[int]":
    point = SimpleNamespace(name="installed", load=lambda: 3)
    monkeypatch.setattr(
        _table, "entry_points", lambda group: [point] if group == "voxmix.small_things" else []
    )
    return Table("small_things", {"one": 1, "two": 2})


def test_rows_come_in_order_from_three_sources(table: "Table[int]") -> None:
    table.add("mine", 4)
    assert table.rows() == {"one": 1, "two": 2, "installed": 3, "mine": 4}
    assert list(table.rows()) == list(table.names())
    table.remove("mine")
    assert "mine" not in table


@pytest.mark.parametrize("name", ["one", "installed"])
def test_no_row_is_replaced(table: "Table[int]", name: str) -> None:
    with pytest.raises(InputError, match=f"already a row '{name}' among the small things; use another name"):
        table.add(name, 5)


def test_an_unknown_row_is_named_with_the_nearest(table: "Table[int]") -> None:
    with pytest.raises(InputError, match="unknown small thing 'tow'; did you mean 'two'"):
        table["tow"]
    with pytest.raises(
        InputError, match=r"unknown small thing 'x'; the small things are .*one.*two.*installed"
    ):
        table["x"]


@pytest.mark.parametrize(
    ("kind", "one"), [("strategies", "strategy"), ("data_sets", "data set"), ("laws", "law")]
)
def test_one_row_is_called_in_the_singular(kind: str, one: str) -> None:
    with pytest.raises(InputError, match=f"unknown {one} 'x'"):
        Table(kind, {"y": 1})["x"]
