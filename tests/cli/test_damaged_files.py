"""Whatever stands in the place of a state file: no verb answers with a traceback."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.study import Study

DAMAGES: dict[str, bytes | None] = {
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "number": b"7",
    "text": b'"x"',
    "object": b"{}",
    "deep": b"[" * 100_000,
    "deep objects": b'{"kind":' * 100_000,
    "digits": b'{"kind": ' + b"9" * 5000 + b"}",
    "infinite": b'{"format": 1e400}',
    "nan": b'{"format": NaN}',
    "latin": b'{"kind": "\xe9"}',
    "utf-16": '{"kind": "run"}'.encode("utf-16"),
    "half a character": b'{"kind": "\\ud800"}',
    "binary": bytes(range(256)),
    "cut": b'{"kind": "run", "format": 1, "spec": {',
    "right kind alone": b'{"kind": "run", "format": 1}',
    "folder": None,
}
FILES = {
    "steps.json": "steps.json",
    "index": "cache/index.json",
    "result": "runs/*/result.json",
    "law": "laws/transfer.json",
    "allocation": "allocations/transfer-aware.json",
    "score": "downstream/organs/scratch/seed-0/result.json",
    "measurements": "measurements.csv",
    "report": "report.html",
    "spec": "runs/*/spec.json",
}
VERBS = ("status", "fit", "allocate", "compare")
_PLAIN = {("steps.json", "object"), ("steps.json", "half a character")}  # steps that nobody knows: begin anew
_STOPPING = {(file, kind) for file in ("steps.json", "index") for kind in DAMAGES} - _PLAIN


def damage(path: Path, what: bytes | None) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    if what is None:
        path.mkdir()
    else:
        path.write_bytes(what)


def answer(*arguments: str) -> str:
    """Run a verb in this process; fail at anything but an answer or a sentence."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code in (0, 1, 2), (arguments, done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), (arguments, done.exception)
    return done.output


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_state_file_is_named(finished_study: Path, file: str) -> None:
    path = min(finished_study.glob(FILES[file]))
    whole = path.read_bytes()
    for number, kind in enumerate(DAMAGES):
        damage(path, DAMAGES[kind])
        said = answer(VERBS[number % len(VERBS)], str(finished_study), "--json")
        if VERBS[number % len(VERBS)] != "compare" and (file, kind) in _STOPPING:
            assert path.name in said, (kind, said)
    damage(path, whole)
    assert answer("status", str(finished_study), "--json")


@pytest.mark.parametrize("folder", ["cache", "runs", "laws", "allocations", "downstream", "report.html"])
def test_a_file_where_a_folder_should_be(finished_study: Path, folder: str) -> None:
    path = finished_study / folder
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_text("no folder", encoding="utf-8")
    for verb in VERBS:
        answer(verb, str(finished_study), "--json")


@pytest.mark.parametrize(("file", "kind"), [("result", "cut"), ("law", "null"), ("score", "deep")])
def test_a_report_names_what_is_damaged(finished_study: Path, file: str, kind: str) -> None:
    path = min(finished_study.glob(FILES[file]))
    damage(path, DAMAGES[kind])
    answer("report", str(finished_study), "--no-pictures", "--json")


def test_laws_and_mixtures_that_are_gone_or_damaged_are_made_anew_and_are_the_same(
    finished_study: Path,
) -> None:
    law, mixture = (finished_study / FILES[name] for name in ("law", "allocation"))
    before = (
        json.loads(law.read_text(encoding="utf-8"))["transfer"],
        json.loads(mixture.read_text(encoding="utf-8"))["weights"],
    )
    for kind in (b"{", None):
        for path in (law, mixture):
            path.unlink() if kind is None else path.write_bytes(kind)
        assert "voxmix fit" in answer("report", str(finished_study), "--json")
        assert "fitted again now" in answer("fit", str(finished_study), "--json")
        assert "voxmix allocate" in answer("status", str(finished_study), "--json")
        assert "found again now" in answer("allocate", str(finished_study), "--json")
        assert (
            json.loads(law.read_text(encoding="utf-8"))["transfer"],
            json.loads(mixture.read_text(encoding="utf-8"))["weights"],
        ) == before


def test_a_study_that_nobody_may_write_to_is_shown(finished_study: Path) -> None:
    """Root may write everywhere, so the folder stands in for it: no verb that only looks makes or changes a file."""
    before = {path: path.stat().st_mtime_ns for path in finished_study.rglob("*")}
    for verb in ("status", "compare", "structure"):
        answer(verb, str(finished_study), "--json")
    assert {path: path.stat().st_mtime_ns for path in finished_study.rglob("*")} == before


@pytest.mark.parametrize("verb", ["fit", "allocate"])
def test_two_verbs_at_the_same_time(finished_study: Path, verb: str) -> None:
    with Study.open(finished_study).lock():
        done = CliRunner().invoke(app, [verb, str(finished_study)])
        assert done.exit_code == 1
        assert "another voxmix process" in done.output.replace("\n", " ")
        assert CliRunner().invoke(app, ["status", str(finished_study)]).exit_code == 0


def test_hints_quote_paths(finished_study: Path) -> None:
    moved = finished_study.rename(finished_study.with_name("my study; rm -rf"))
    (moved / "report.html").unlink()
    done = CliRunner().invoke(app, ["status", str(moved), "--json"])
    assert shlex.split(json.loads(done.stdout)["next"]) == ["voxmix", "report", str(moved)]
