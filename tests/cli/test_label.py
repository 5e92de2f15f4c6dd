"""The verb label: a table or folder of reports in, label columns out, words without names, and figures against known labels."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from stub_endpoint import Told, chat, stub_endpoint
from typer.testing import CliRunner, Result

from voxmix.cli import app
from voxmix.images.finding import find_images
from voxmix.texts.labels import DEFAULT_RULES
from voxmix.texts.labels.endpoint import Endpoint
from voxmix.texts.labels.rule_files import read_rules

LABELS = "effusion,pneumothorax,edema"
ROWS = [
    ("a.png", "p1", "Quimby, Ada", "FINDINGS: Small left effusion, seen by Dr. Quimby. No pneumothorax. Possible edema."),
    ("b.png", "p2", "", "The lungs are clear. No effusion."),
    ("c.png", "p3", "", ""),
    ("d.png", "p4", "", "The lungs are clear. No effusion."),
]  # fmt: skip


@pytest.fixture
def films(tmp_path: Path) -> Path:
    from PIL import Image

    for number, (name, *_) in enumerate(ROWS):
        Image.new("L", (40, 40), 10 + number).save(tmp_path / name)
    path = tmp_path / "films.csv"
    _write(path, ["image", "person", "patient name", "report"], ROWS)
    return path


def _write(path: Path, header: list[str], rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))


def _label(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["label", *map(str, arguments)])


def _fails(*arguments: Any) -> str:
    result = _label(*arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.split())


def test_a_table_keeps_its_columns_and_init_reads_the_labels(films: Path) -> None:
    out = films.with_name("labelled.csv")
    result = _label(films, "-o", out, "--labels", LABELS)
    assert result.exit_code == 0, result.output
    assert "4 reports, 2 different, 1 repeated, 1 empty" in result.output
    rows = _read(out)
    assert [row["report"] for row in rows] == [row[3] for row in ROWS]
    assert [tuple(row[name] for name in LABELS.split(",")) for row in rows] == [
        ("1", "0", "-1"),
        ("0", "", "0"),
        ("", "", ""),
        ("0", "", "0"),
    ]
    table = find_images(out)
    assert [dict(record.labels) for record in table.records] == [
        {"effusion": 1, "pneumothorax": 0},
        {"effusion": 0, "edema": 0},
        {},
        {"effusion": 0, "edema": 0},
    ]


@pytest.mark.parametrize(("flag", "cell"), [("1", "1"), ("0", "0"), ("empty", ""), ("-1", "-1")])
def test_doubt_is_written_as_asked(films: Path, flag: str, cell: str) -> None:
    out = films.with_name("labelled.tsv")
    assert _label(films, "-o", out, "--labels", "edema", "--uncertain", flag, "--prefix", "r_").exit_code == 0
    assert _read(out)[0]["r_edema"] == cell


def test_the_words_that_decided_hold_no_name(films: Path) -> None:
    words = films.with_name("words.csv")
    assert _label(films, "--words", words, "--labels", LABELS).exit_code == 0
    rows = _read(words)
    assert [(row["row"], row["label"], row["said"], row["words"]) for row in rows[:3]] == [
        ("line 2", "effusion", "present", "effusion"),
        ("line 2", "pneumothorax", "absent", "No ... pneumothorax"),
        ("line 2", "edema", "uncertain", "Possible ... edema"),
    ]
    assert len(rows) == 7
    assert "Quimby" not in words.read_text(encoding="utf-8")


def test_findings_and_impression_stand_for_a_report(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    _write(
        path, ["id", "indication", "findings", "impression"], [("1", "Effusion?", "No edema.", "Fracture.")]
    )
    assert _label(path, "-o", tmp_path / "o.csv", "--labels", "effusion,edema,fracture").exit_code == 0
    row = _read(tmp_path / "o.csv")[0]
    assert (row["effusion"], row["edema"], row["fracture"]) == ("", "0", "1")


def test_a_folder_of_texts(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_text("Effusion.", encoding="utf-8")
    (folder / "a.png").write_bytes(b"")
    (folder / "b/c.txt").write_bytes("Épanchement. Edema.".encode("cp1252"))
    (folder / "d.txt").write_bytes(b"\0\0Effusion")
    (folder / "e.txt").write_text(" \n", encoding="utf-8")
    result = _label(folder, "-o", tmp_path / "o.csv", "--labels", "effusion,edema", "--json")
    assert result.exit_code == 0, result.output
    rows = _read(tmp_path / "o.csv")
    assert [(r["report_file"], r["image"], r["effusion"], r["edema"]) for r in rows] == [
        ("a.txt", "a.png", "1", ""),
        ("b/c.txt", "", "", "1"),
        ("e.txt", "", "", ""),
    ]
    told = json.loads(result.stdout)
    assert (told["rows"], told["empty"]) == (3, 1)
    notes = " ".join(told["notes"])
    assert "1 files are not UTF-8 and were read as Windows-1252: b/c.txt" in notes
    assert "set aside 1 files" in notes
    assert "images are named relative to" in result.stderr


def test_figures_against_known_labels_are_those_by_hand(films: Path) -> None:
    gold = films.with_name("gold.csv")
    _write(
        gold,
        ["image", "effusion", "pneumothorax", "edema"],
        [("a.png", 1, 1, 1), ("b.png", 1, "", 0), ("d.png", 0, 0, "-1"), ("x.png", 1, 1, 1)],
    )
    result = _label(
        films, "--check", gold, "--labels", "effusion,pneumothorax,edema,picc", "--at-least", 1, "--json"
    )
    assert result.exit_code == 0, result.output
    check = json.loads(result.stdout)["check"]
    effusion = check["labels"]["effusion"]
    assert (effusion["precision"], effusion["recall"], effusion["f1"]) == (1.0, 0.5, pytest.approx(2 / 3))
    assert (check["labels"]["edema"]["support"], check["labels"]["edema"]["recall"]) == (1, 0.0)
    assert check["labels"]["pneumothorax"]["found"] == 0
    assert check["macro_f1"] == pytest.approx(2 / 9)
    notes = " ".join(check["notes"])
    for part in ("3 rows are compared by image", "1 rows of gold.csv were not labelled: line 5",
                 "1 labelled rows are not in gold.csv: line 4", "does not know the labels picc", "1 cells are uncertain"):  # fmt: skip
        assert part in notes
    few = json.loads(_label(films, "--check", gold, "--labels", LABELS, "--at-least", 2, "--json").stdout)[
        "check"
    ]
    assert {n for n, s in few["labels"].items() if s["in_the_mean"]} == {"effusion"}
    assert "macro F1 over 1 labels" in _label(films, "--check", gold, "--at-least", 2).output


def test_own_rules(films: Path) -> None:
    own = films.with_name("own.yaml")
    own.write_text("labels:\n- name: shadow\n  words: [lungs are clear]\n", encoding="utf-8")
    out = films.with_name("o.csv")
    assert _label(films, "-o", out, "--rules", own).exit_code == 0
    assert [row["shadow"] for row in _read(out)] == ["", "1", "", "1"]
    written = films.with_name("all.yaml")
    assert _label(films, "-o", out, "--write-rules", written).exit_code == 0
    assert read_rules(written) == DEFAULT_RULES


def test_what_cannot_be_labelled_is_one_sentence(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    bare = tmp_path / "bare.csv"
    _write(bare, ["image", "shade"], [("a.png", "x")])
    empty = tmp_path / "empty.csv"
    _write(empty, ["image", "report"], [("a.png", "")])
    rules = tmp_path / "rules.yaml"
    rules.write_text("labels:\n- name: shadow\n  words: ['(']\n", encoding="utf-8")
    cues = tmp_path / "cues.yaml"
    cues.write_text("labels: []\ncues: {deny: [no]}\n", encoding="utf-8")
    both = tmp_path / "both.csv"
    _write(both, ["report", "edema"], [("Edema.", "1")])
    for arguments, part in (
        ((tmp_path / "none.csv",), "no such file"),
        ((bare,), "no column of reports"),
        ((bare, "--report", "text"), "lacks the columns"),
        ((empty,), "all are empty"),
        ((films, "--labels", "effusion,elephant"), "there is no rule for ['elephant']"),
        ((films, "--rules", tmp_path / "none.yaml"), "no such file"),
        ((films, "--rules", films), "is neither YAML nor JSON"),
        ((films, "--rules", bare), "holds no rules of labels"),
        ((films, "--rules", rules), "the words '(' of a rule cannot be read"),
        ((films, "--rules", cues), "no and yes in quotes"),
        ((both, "-o", out), "the columns ['edema'] twice; give --prefix"),
        ((films, "-o", films), "would be written over"),
        ((films, "-o", out, "--words", out), "give each its own"),
        ((films, "--uncertain", "2"), "should be one of -1, 1, 0, empty"),
        ((films, "--model", "m"), "--endpoint and --model belong together"),
        ((films, "--endpoint", "http://localhost:1/v1", "--model", "m"), "say where with --answers"),
        ((films, "--check", bare), "no column that is called as a label"),
        ((films, "--check", both), "share no column that names every row once"),
        ((films, "--words", out, "--key", "study"), "lacks the column 'study' of --key"),
    ):  # fmt: skip
        assert part in _fails(*arguments), arguments
    assert not out.exists()


def test_a_model_behind_an_endpoint(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: int, body: dict[str, Any]) -> Told:
        there = "effusion" in body["messages"][1]["content"]
        return chat(json.dumps({"effusion": "present" if there else "not named", "gadget": "absent"}))

    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    out = films.with_name("o.csv")
    with stub_endpoint(answer) as stub:
        asks = (films, "-o", out, "--labels", "effusion,gadget", "--endpoint", stub.url, "--model", "m", "--key-variable", "MY_KEY")  # fmt: skip
        first = _label(*asks)
        again = _label(*asks, "--json")
        assert len(stub.bodies) == 2
        sent = " ".join(stub.texts)
        assert stub.headers[0]["Authorization"] == "Bearer sk-very-secret"
    assert first.exit_code == again.exit_code == 0, first.output
    assert [(row["effusion"], row["gadget"]) for row in _read(out)] == [
        ("1", "0"),
        ("1", "0"),
        ("", ""),
        ("1", "0"),
    ]
    assert "Quimby" not in sent
    assert "[NAME]" in sent
    told = json.loads(again.stdout)
    assert (told["by"], told["asked"], told["kept"], told["nonsense"]) == ("m", 0, 2, 0)
    for output in (first.output, again.output):
        assert "secret" not in output
        assert "leave this machine" not in output
    kept = "".join(p.read_text(encoding="utf-8") for p in out.with_name("o.csv.answers").rglob("*.json"))
    assert "Quimby" not in kept
    assert "secret" not in kept


def test_what_is_refused_is_refused_before_a_model_is_asked_or_a_table_written(films: Path) -> None:
    out = films.with_name("o.csv")
    known = films.with_name("known.csv")
    _write(known, ["image", "report", "effusion"], [("a.png", "Effusion.", "1")])
    with stub_endpoint(lambda *_: chat('{"effusion": "absent"}')) as stub:
        asks = ("--labels", "effusion", "--endpoint", stub.url, "--model", "m")
        assert "twice; give --prefix" in _fails(known, "-o", out, *asks)
        assert "no such file" in _fails(films, "-o", out, "--check", films.with_name("none.csv"), *asks)
        assert "no column that is called as a label" in _fails(films, "-o", out, "--check", films, *asks)
        assert not stub.bodies
    assert not out.exists()


def test_it_is_said_that_texts_leave_the_machine(films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Endpoint, "is_local", False)
    with stub_endpoint(lambda *_: chat('{"effusion": "absent"}')) as stub:
        result = _label(films, "-o", films.with_name("o.csv"), "--labels", "effusion", "--endpoint", stub.url, "--model", "m")  # fmt: skip
    assert "2 texts leave this machine" in result.stderr
    assert "unencrypted" in result.stderr
