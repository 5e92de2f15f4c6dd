"""Whatever stands in the place of a state file: no verb answers with a traceback."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voxmix.cli import app

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
_STOPPING = {(file, kind) for file in ("steps.json", "index") for kind in DAMAGES} - {
    ("steps.json", "object")
}


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
    path.write_text("no folder")
    for verb in VERBS:
        answer(verb, str(finished_study), "--json")


@pytest.mark.parametrize(("file", "kind"), [("result", "cut"), ("law", "null"), ("score", "deep")])
def test_a_report_names_what_is_damaged(finished_study: Path, file: str, kind: str) -> None:
    path = min(finished_study.glob(FILES[file]))
    damage(path, DAMAGES[kind])
    answer("report", str(finished_study), "--no-pictures", "--json")
