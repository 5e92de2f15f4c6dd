"""The benchmark that judges every law by measured mixtures: its figures, on a table whose truth is known."""

import csv
import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from known_laws import known_law

from voxmix import MeasurementTable
from voxmix.law.simulate import simulate

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "law_bank.py"
pytestmark = pytest.mark.skipif(not FILE.exists(), reason="there are no benchmarks beside the tests")
TESTS = [np.array(w) for w in ((1 / 3, 1 / 3, 1 / 3), (0.6, 0.2, 0.2), (0.1, 0.2, 0.7), (0.2, 0.7, 0.1))]


def benchmark():
    spec = spec_from_file_location("law_bank", FILE)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    uniform = [np.full(3, 1 / 3)]
    fitted = simulate(known_law(), budgets=(500, 1000, 2000, 4000), mixtures=uniform)
    later = simulate(known_law(), budgets=(8000,), mixtures=TESTS, pure=False)
    rows = [row | {"kind": "anchor" if row["source"] is None else "pure"} for row in fitted.to_rows()]
    rows += [row | {"kind": "test", "run": "test" + row["run"]} for row in later.to_rows()]
    with (tmp_path / "known.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    fitted.to_csv(tmp_path / "without_kinds.csv")
    return tmp_path


def test_a_law_that_holds_errs_by_nothing_and_the_guess_by_what_mixtures_differ(bank, monkeypatch, capsys):
    module = benchmark()
    arguments = [
        "law_bank.py",
        str(bank),
        "--laws",
        "transfer",
        "naive",
        "auto",
        "--json",
        str(bank / "out.json"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    module.main()
    rows = {row["law"]: row for row in json.loads((bank / "out.json").read_text(encoding="utf-8"))}
    assert set(rows) == {module.GUESS, "transfer, two-stage", "transfer", "naive", "auto"}
    assert {row["table"] for row in rows.values()} == {"known"}
    for law in ("transfer, two-stage", "transfer", "auto"):
        assert rows[law]["error"] < 1e-3
        assert rows[law]["level"] == pytest.approx(0, abs=1e-3)
        assert rows[law]["kendall"] == rows[law]["kendall_relative"] == 1
        assert rows[law]["regret"] == rows[law]["regret_relative"] == 0
    table = MeasurementTable.read_csv(bank / "known.csv")
    test = table.loss[table.budget == 8000].reshape(len(TESTS), 3)
    guess = rows[module.GUESS]
    assert guess["error"] == pytest.approx(np.mean(np.abs(test[0] / test - 1)))
    assert guess["level"] == pytest.approx(test[0].mean() / test.mean() - 1)
    assert guess["regret"] == pytest.approx(test[0].mean() / test.mean(axis=1).min() - 1)
    assert guess["kendall"] is None
    assert rows["naive"]["error"] > 0.05
    said = capsys.readouterr().out
    assert "| known | pure + anchor | transfer" in said
    assert f"| {module.GUESS} |" in said


def test_a_folder_without_such_tables_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["law_bank.py", str(tmp_path)])
    benchmark().main()
    assert "no table with a column kind" in capsys.readouterr().out
