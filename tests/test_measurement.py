"""Tables are read whatever their dialect, and refused by row and column."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from voxmix import MeasurementTable
from voxmix.errors import InputError, VoxmixWarning

HEADER = "run,seed,budget,source,target,loss"
ROWS = ["a,0,500,CT,CT,0.05", "a,0,500,CT,MR,0.09", "b,0,500,MR,MR,0.06", "b,0,500,MR,CT,0.08"]


def written(tmp_path, lines, name="runs.csv", **kwargs):
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", **({"encoding": "utf-8"} | kwargs))
    return path


def test_pure_runs_become_one_hot_weights(tmp_path):
    table = MeasurementTable.read(written(tmp_path, [HEADER, *ROWS]))
    assert table.domains == ("CT", "MR")
    assert table.source.tolist() == [0, 0, 1, 1]
    assert table.weights.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert table.target == ("CT", "MR", "MR", "CT")
    assert not table.loss.flags.writeable


def test_semicolons_decimal_commas_and_a_byte_order_mark(tmp_path):
    lines = [line.replace(",", ";").replace(".", ",") for line in [HEADER, *ROWS]]
    table = MeasurementTable.read(written(tmp_path, lines, encoding="utf-8-sig"))
    assert table.loss.tolist() == [0.05, 0.09, 0.06, 0.08]
    assert table.run[0] == "a"


def test_names_beyond_ascii_and_mixtures_survive_the_round_trip(tmp_path):
    rows = [
        {"run": "r1", "seed": 3, "budget": 700, "target": "Schädel", "loss": 1 / 3, "loss_se": 0.01,
         "weight:Schädel": 1 / 3, "weight:頭部": 2 / 3, "volumes:頭部": 12},
        {"run": "r2", "seed": 0, "budget": 700, "target": "頭部", "loss": 0.1, "source": "頭部"},
    ]  # fmt: skip
    table = MeasurementTable.from_rows(rows)
    assert table.source.tolist() == [-1, 1]
    table.to_csv(tmp_path / "t.csv")
    again = MeasurementTable.read_csv(tmp_path / "t.csv")
    for name in ("weights", "budget", "seed", "loss", "loss_se", "volumes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert (again.run, again.target, again.domains) == (table.run, table.target, table.domains)
    assert again.digest == table.digest


def test_rows_are_joined_by_key_never_by_order(tmp_path):
    table = MeasurementTable.read(written(tmp_path, [HEADER, *ROWS]), domains=("CT", "MR"))
    moved = MeasurementTable.read(written(tmp_path, [HEADER, *ROWS[::-1]]), domains=("CT", "MR"))
    assert table.digest == moved.digest
    assert table.reorder(("MR", "CT")).weights[0].tolist() == [0, 1]


def test_a_row_that_stands_twice_alike_counts_once(tmp_path):
    assert len(MeasurementTable.read(written(tmp_path, [HEADER, *ROWS, ROWS[0]]))) == 4


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("a,0,500,CT,CT,0.07", r"row 5.*'a'.*'CT'.*0\.05.*0\.07"),
        ("a,0,900,CT,CT,0.05", r"row 5.*'a'"),
        ("a,0,500,CT,ct,0.05", r"row 5, column target: 'ct' is no domain, but 'CT' is"),
        ("c,0,500,CT,CT,-0.1", r"row 5, column loss: got -0\.1"),
        ("c,0,500,CT,CT,inf", r"row 5, column loss: got inf"),
        ("c,0,500,CT,CT,nan", r"row 5, column loss"),
        ("c,0,500,CT,CT,", r"row 5, column loss: empty"),
        ("c,0,500,CT,CT,low", r"row 5, column loss: 'low' is not a number"),
        ("c,0,0,CT,CT,0.1", r"row 5, column budget: got 0"),
        ("c,0.5,500,CT,CT,0.1", r"row 5, column seed"),
        ("c,0,500,,CT,0.1", r"row 5, column source: empty"),
        (",0,500,CT,CT,0.1", r"row 5, column run: empty"),
        ("c,0,500,CT,CT,0.1,7", r"row 5 .*more cells"),
    ],
)
def test_bad_rows_are_named(tmp_path, extra, words):
    with pytest.raises(InputError, match=words):
        MeasurementTable.read(written(tmp_path, [HEADER, *ROWS, extra]))


def test_one_run_with_two_budgets_is_refused(tmp_path):
    lines = [HEADER, *ROWS[1:], "c,0,500,CT,CT,0.1", "c,0,900,CT,MR,0.1"]
    with pytest.raises(InputError, match=r"row 5, column budget: run 'c'.*row 4"):
        MeasurementTable.read(written(tmp_path, lines))


@pytest.mark.parametrize(
    ("weights", "words"),
    [("0.5,0.4", r"row 1, columns weight.*0\.900000"), ("1.5,-0.5", r"row 1, column weight:B: -0\.5")],
)
def test_weights_that_are_no_mixture_are_refused(tmp_path, weights, words):
    path = written(tmp_path, ["run,seed,budget,weight:A,weight:B,target,loss", f"x,0,500,{weights},A,0.1"])
    with pytest.raises(InputError, match=words):
        MeasurementTable.read(path)


@pytest.mark.parametrize("column", ["run", "seed", "budget", "target", "loss"])
def test_missing_columns_are_named(tmp_path, column):
    keep = [k for k, name in enumerate(HEADER.split(",")) if name != column]
    lines = [",".join(line.split(",")[k] for k in keep) for line in [HEADER, *ROWS]]
    with pytest.raises(InputError, match=f"'{column}' is missing"):
        MeasurementTable.read(written(tmp_path, lines))


def test_no_source_and_no_weights_is_refused(tmp_path):
    with pytest.raises(InputError, match="source"):
        MeasurementTable.read(written(tmp_path, ["run,seed,budget,target,loss", "a,0,500,CT,0.1"]))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"run,seed,budget,source,target,loss\n"])
def test_files_that_are_no_table_are_refused(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(InputError):
        MeasurementTable.read(path)
    with pytest.raises(InputError, match="no such file"):
        MeasurementTable.read(tmp_path / "none.csv")


def test_a_table_of_a_spreadsheet_is_read_as_it_writes_it_and_what_is_assumed_is_said(tmp_path):
    lines = ["sep=;", HEADER.replace(",", ";"), "a;0;500;Schädel;Schädel;0,05"]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    with pytest.warns(VoxmixWarning, match="read as Windows-1252"):
        table = MeasurementTable.read(tmp_path / "t.csv")
    assert table.domains == ("Schädel",)
    assert table.loss.tolist() == [0.05]


def test_select_and_concatenate_are_inverse(tmp_path):
    table = MeasurementTable.read(written(tmp_path, [HEADER, *ROWS]))
    half = table.run[0] == np.array(table.run)
    whole = MeasurementTable.concatenate([table.select(half), table.select(~half)])
    assert whole.digest == table.digest


def test_parquet_gives_the_same_table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = MeasurementTable.read(written(tmp_path, [HEADER, *ROWS]))
    parquet.write_table(pyarrow.Table.from_pylist(table.to_rows()), tmp_path / "t.parquet")
    assert MeasurementTable.read(tmp_path / "t.parquet").digest == table.digest


MIXED = "run,seed,budget,weight:A,weight:B,target,loss"


def test_every_loss_that_is_none_is_named_at_once(tmp_path):
    lines = [HEADER, *ROWS, "c,0,500,CT,CT,nan", "d,0,500,CT,CT,", "", ",,,,,", "e,0,500,CT,CT,-inf"]
    words = r"row 5, column loss: got nan.*2 more rows \(6, 9\)\. A run that diverged"
    with pytest.raises(InputError, match=words):
        MeasurementTable.read(written(tmp_path, lines))


@pytest.mark.parametrize("text", ["2000", "2e3", '"2,000"', "2 000", "2'000", "2000.0", "2\u202f000"])
def test_thousands_are_read_as_people_write_them(tmp_path, text):
    table = MeasurementTable.read(written(tmp_path, [HEADER, f"a,0,{text},CT,CT,0.05"]))
    assert table.budget.tolist() == [2000]


@pytest.mark.parametrize("text", ["2,000", "2.000", "12.500", "1.000.000"])
def test_a_budget_that_may_be_two_or_two_thousand_is_refused(tmp_path, text):
    lines = [HEADER.replace(",", ";"), f"a;0;{text};CT;CT;0,05"]
    with pytest.raises(InputError, match=r"row 1, column budget: .*may be thousands"):
        MeasurementTable.read(written(tmp_path, lines))


def test_names_of_columns_may_be_written_in_capitals(tmp_path):
    lines = ["Run, Seed,BUDGET,Weight:A,weight: B,Target,Loss", "x,0,500,1,0,A,0.1"]
    table = MeasurementTable.read(written(tmp_path, lines))
    assert table.domains == ("A", "B")
    assert table.loss.tolist() == [0.1]
    with pytest.raises(InputError, match="capitals only"):
        MeasurementTable.read(written(tmp_path, ["run,seed,budget,source,target,loss,Loss", "a,0,5,A,A,1,2"]))
    with pytest.raises(InputError, match="'loss' twice"):
        MeasurementTable.read(written(tmp_path, ["run,seed,budget,source,target,loss,loss", "a,0,5,A,A,1,2"]))


def test_rounded_weights_are_scaled_and_counted_and_percent_refused(tmp_path):
    lines = [MIXED, "x,0,500,0.333,0.666,A,0.1", "y,0,500,1.001,0,A,0.2", "z,0,500,0.5,0.5,A,0.3"]
    with pytest.warns(VoxmixWarning, match=r"2 of 3 rows .*first is row 1"):
        table = MeasurementTable.read(written(tmp_path, lines))
    assert table.weights.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert table.weights[0] == pytest.approx([1 / 3, 2 / 3])
    assert table.source.tolist() == [-1, 0, -1]
    with pytest.raises(InputError, match="divide them by 100"):
        MeasurementTable.read(written(tmp_path, [MIXED, "x,0,500,33,67,A,0.1"]))


def test_a_column_of_losses_per_target_is_named_with_the_line_that_mends_it(tmp_path):
    lines = ["run,seed,budget,source,CT,MR", "a,0,500,CT,0.1,0.2", "b,0,500,MR,0.1,0.2"]
    with pytest.raises(InputError, match="turn it into such a table with voxmix table"):
        MeasurementTable.read(written(tmp_path, lines))


def several_runs(domains: int = 5) -> MeasurementTable:
    """Return a table whose rows share mixtures, with errors and volumes here and there."""
    names = tuple(f"D{k}" for k in range(domains))
    rows = [
        {
            "run": f"r{run}",
            "seed": run % 3,
            "budget": 100 * (run + 1),
            "target": target,
            "loss": 1 / (3 + run + k),
            "loss_se": None if k == 1 else 0.01,
            **{f"weight:{name}": float(name == names[run % domains]) for name in names},
            **{f"volumes:{name}": None if name == "D2" else 10 + run for name in names},
        }
        for run in range(2 * domains)
        for k, target in enumerate(names)
    ]
    return MeasurementTable.from_rows(rows)


def test_weights_that_rows_share_are_read_once_and_every_row_is_as_it_was(tmp_path, monkeypatch):
    from voxmix import records

    table, read, path = several_runs(), [], tmp_path / "t.csv"
    weights_of = records._weights_of
    monkeypatch.setattr(records, "_weights_of", lambda *given: read.append(given[2]) or weights_of(*given))
    table.to_csv(path)
    again = MeasurementTable.read_csv(path)
    assert (again.run, again.target, again.digest) == (table.run, table.target, table.digest)
    for name in ("weights", "budget", "seed", "loss", "loss_se", "volumes"):
        assert np.array_equal(getattr(again, name), getattr(table, name), equal_nan=True), name
    assert len(read) == len(set(table.run))  # 10 runs of 5 rows
    with path.open(encoding="utf-8", newline="") as stream:
        written = list(csv.DictReader(stream))
    as_text = [{name: "" if v is None else str(v) for name, v in row.items()} for row in table.to_rows()]
    assert written == as_text


def test_the_first_row_that_cannot_be_is_named_whatever_is_wrong_with_it():
    table = several_runs()
    arrays = {name: np.array(getattr(table, name)) for name in ("weights", "budget", "seed")}
    target = list(table.target)
    target[12] = target[11]
    arrays["seed"][17] = 9
    with pytest.raises(InputError, match="row 13, columns run and target: run 'r2' has two losses"):
        replace(table, target=tuple(target), **arrays)
    arrays["budget"][7] = 1.0
    with pytest.raises(InputError, match="row 8, column budget: run 'r1' has another budget in row 6"):
        replace(table, target=tuple(target), **arrays)


def test_rounded_weights_are_told_of_every_row_that_has_them():
    rows = [
        {"run": "r", "seed": 0, "budget": 100, "target": t, "loss": 0.1, "weight:A": 0.333, "weight:B": 0.666}
        for t in "AB"
    ]
    with pytest.warns(VoxmixWarning, match="the weights of 2 of 2 rows do not sum to 1"):
        MeasurementTable.from_rows(rows)
