"""The keys of --json are those that are documented, so that scripts may rely on them."""

import json
from pathlib import Path

import pytest
from verbs import voxmix

from voxmix.cli.json_keys import JSON_KEYS, Keys, Printed
from voxmix.study import Study, StudyView

CALLS = [
    "fit STUDY",
    "fit TABLE --bootstrap 20 --holdout-budget largest",
    "allocate STUDY",
    "allocate STUDY --budget 4k",
    "allocate LAW --budget 4k --beside LAW --max-weight ABD-CT=0.5",
    "path LAW",
    "structure LAW",
    "plan LAW --loss ABD-CT=0.06",
    "predict LAW --budget 1600 --weights ABD-CT=1",
    "compare STUDY",
    "compare STUDY --task organs",
    "report STUDY --no-pictures",
    "estimate STUDY",
    "export STUDY --mixture-for torch -o OUT",
    "table TABLE",
    "cache list STUDY",
    "cache prune STUDY --dry-run",
    "init OUT --phantoms",
    "status STUDY",
    "pretrain STUDY",
    "work STUDY --step fit",
]


def printed(line: str, study: Path, tmp_path: Path) -> object:
    places = {
        "STUDY": study,
        "LAW": study / "laws" / "transfer.json",
        "TABLE": study / "measurements.csv",
        "OUT": tmp_path / "new",
    }
    done = voxmix(*(places.get(word, word) for word in line.split()), "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", CALLS)
def test_the_keys_are_those_documented(line: str, finished_study: Path, tmp_path: Path) -> None:
    if line.startswith("estimate"):
        pytest.importorskip("torch")
    verb = next(name for name in JSON_KEYS if f"{line} ".startswith(f"{name} "))
    assert JSON_KEYS[verb].faults(printed(line, finished_study, tmp_path)) == []


def test_what_a_whole_study_prints_is_documented(finished_study: Path) -> None:
    from voxmix.cli.study import _by_name
    from voxmix.report import summary_tables
    from voxmix.study import answer_content

    content = answer_content(StudyView(Study.open(finished_study)))
    found = _by_name(summary_tables(content, every=True))
    assert {"answer", "transfer", "predicted-measured"} <= set(found)
    assert JSON_KEYS["study run"].faults(found) == []


def test_a_key_that_is_missing_or_new_is_found() -> None:
    both = Printed(forms=(Keys(always="a b", sometimes="c"), Keys(always="level needed")))
    assert both.faults({"a": 1, "b": 2, "c": 3}) == []
    assert both.faults({"level": 1, "needed": []}) == []
    assert both.faults({"a": 1, "c": 3}) == ["lacks b"]
    assert both.faults({"a": 1, "b": 2, "d": 3}) == ["has d"]
    assert Keys(always="a", each=True).faults([{"a": 1}, {"b": 1}]) == ["lacks a", "has b"]
    assert Keys(always="a", names=True).faults({"x": {"a": 1}, "y": 3}) == ["no object"]


def test_the_verb_schema_gives_them() -> None:
    found = json.loads(voxmix("schema", "--of-json", "path").stdout)
    assert set(JSON_KEYS["path"].forms[0].always.split()) == set(found["anyOf"][0]["required"])
    done = voxmix("schema", "--of-json", "alocate")
    assert done.exit_code == 2
    assert "did you mean 'allocate'" in done.stderr


def test_the_tables_of_pretrain_are_named_alike_whatever_the_budget() -> None:
    from voxmix.cli.study import _by_name
    from voxmix.report.table import Table, columns_of

    tables = [
        Table(name=name, title="t", columns=columns_of(("loss", "number")), rows=((value,),))
        for name, value in (("law-accuracy-100", 1.0), ("law-accuracy-200", 2.0), ("answer", 3.0))
    ]
    assert _by_name(tables) == {
        "law-accuracy": [{"loss": 1.0, "budget": 100}, {"loss": 2.0, "budget": 200}],
        "answer": [{"loss": 3.0}],
    }
