"""Tables go to data frames and back without a change, whatever library made the frame, and none is needed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from voxmix import MeasurementTable, _frames, allocate, fit
from voxmix.errors import InputError, MissingDependencyError
from voxmix.law.simulate import simulate

from known_laws import known_law  # isort: skip

DOMAINS = ("A", "B", "C")


@pytest.fixture(scope="module")
def table() -> MeasurementTable:
    return simulate(
        known_law(), budgets=(500, 1000, 2000, 4000), domains=DOMAINS, mixtures=[np.full(3, 1 / 3)]
    )


@dataclass
class LikePandas:
    """Has of pandas what is read of it, its words for nothing too."""

    rows: list[dict[str, Any]]

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0])

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        assert orient == "records"
        nothing = type("NAType", (), {})()
        return [{k: nothing if v is None else v for k, v in row.items()} for row in self.rows]


@dataclass
class LikePolars(LikePandas):
    def to_dicts(self) -> list[dict[str, Any]]:
        return [
            {k: np.float64(v) if isinstance(v, float) else v for k, v in row.items()} for row in self.rows
        ]

    def to_dict(self, orient: str) -> list[dict[str, Any]]:
        raise AssertionError("Polars has another to_dict")


@pytest.mark.parametrize("like", [LikePandas, LikePolars])
def test_frames_are_read_by_what_they_can_do(table: MeasurementTable, like: Any) -> None:
    assert MeasurementTable.from_frame(like(table.to_rows())).digest == table.digest
    assert fit(like(table.to_rows())).to_dict() == fit(table).to_dict()


def test_columns_and_rows_will_do(table: MeasurementTable) -> None:
    rows = table.to_rows()
    assert MeasurementTable.from_frame(rows).digest == table.digest
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert MeasurementTable.from_frame(columns).digest == table.digest


@pytest.mark.parametrize("library", _frames.LIBRARIES)
def test_a_frame_of_each_library_comes_back_as_it_was(table: MeasurementTable, library: str) -> None:
    module = pytest.importorskip(library)
    frame = table.to_frame(library=library)
    assert type(frame).__module__.split(".")[0] == module.__name__
    assert MeasurementTable.from_frame(frame).digest == table.digest
    assert fit(frame).to_dict() == fit(table).to_dict()


def test_transfer_of_pandas_is_source_by_target(table: MeasurementTable) -> None:
    pytest.importorskip("pandas")
    frame = fit(table).to_frame("transfer", library="pandas")
    assert list(frame.index) == list(frame.columns) == list(DOMAINS)
    assert frame.loc["C", "A"] == pytest.approx(0.5, rel=0.02)
    assert frame.loc["A", "C"] == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(
    ("value", "says"),
    [("runs.csv", "no table"), (3, "no table"), ({"a": [1], "b": [1, 2]}, "different lengths")],
)
def test_what_is_no_table_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        MeasurementTable.from_frame(value)


def test_without_a_library_the_message_names_what_needs_none(table: MeasurementTable, monkeypatch) -> None:
    monkeypatch.setattr(_frames, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="to_rows"):
        table.to_frame()
    with pytest.raises(InputError, match="pandas"):
        table.to_frame(library="excel")


def test_rows_of_a_law_and_of_its_mixture_are_their_numbers(table: MeasurementTable) -> None:
    law = fit(table, bootstrap=10)
    rows = law.to_rows()
    assert [row["target"] for row in rows] == list(DOMAINS)
    assert [row["exponent"] for row in rows] == law.exponent.tolist()
    assert all(row["exponent_low"] <= row["exponent_high"] for row in rows)
    assert law.to_rows("transfer")[2] == {
        "source": "C",
        **dict(zip(DOMAINS, law.transfer[2].tolist(), strict=True)),
    }
    (pair,) = [row for row in law.to_rows("pairs") if (row["source"], row["target"]) == ("C", "A")]
    assert pair["transfer"] == law.transfer[2, 0]
    assert pair["low"] <= pair["high"]
    with pytest.raises(InputError, match="pairs"):
        law.to_rows("everything")
    found = allocate(law, budget=3000)
    assert sum(row["draws"] for row in found.to_rows()) == pytest.approx(3000)
    assert [row["share"] for row in found.to_rows()] == found.mixture.weights.tolist()
