"""What is excluded has no part in the answer, and a name that is not there is named."""

import csv
import json
from pathlib import Path

import pytest
from verbs import voxmix

from voxmix.cli.arguments import but_excluded
from voxmix.errors import InputError


def test_names() -> None:
    assert but_excluded(("a", "b", "c"), None, ["b"], what="task") == ("a", "c")
    assert but_excluded(("a", "b", "c"), ["c", "b"], ["b"], what="task") == ("c",)
    with pytest.raises(InputError, match="--exclude orgns: no task has this name; did you mean 'organs'"):
        but_excluded(("organs",), None, ["orgns"], what="task")
    with pytest.raises(InputError, match="leaves no task; the tasks are organs"):
        but_excluded(("organs",), None, ["organs"], what="task")


def test_an_excluded_run_is_as_if_it_were_not_in_the_table(finished_study: Path) -> None:
    table = finished_study / "measurements.csv"
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    run = rows[0]["run"]
    less = finished_study / "less.csv"
    with less.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row for row in rows if row["run"] != run)
    laws = [
        json.loads(voxmix("fit", *arguments, "--bootstrap", "0", "--json").stdout)
        for arguments in ((table, "--exclude", run), (less,), (table,))
    ]
    assert laws[0]["transfer"] == laws[1]["transfer"]
    assert laws[0]["transfer"] != laws[2]["transfer"]


def test_compare_leaves_a_task_out(finished_study: Path) -> None:
    done = voxmix("compare", finished_study, "--exclude", "organs")
    assert done.exit_code == 2
    assert "leaves no task" in done.stderr
