"""The file of generated reports: every line is marked, and one that is not is refused."""

import json
from pathlib import Path

import pytest

from voxmix.errors import InputError
from voxmix.texts.generated import WARNING, GeneratedReport, read_generated, write_generated

REPORTS = (
    GeneratedReport(case="a", text="clear\nlungs", nearest="b", scores={"label F1": 1.0, "BLEU-4": None}),
    GeneratedReport(case="c", text="<script>"),
)


def test_it_comes_back_and_every_line_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "generated.jsonl"
    write_generated(path, REPORTS, {"task": "reports"})
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["generated"] for line in lines] == [True] * 3
    assert lines[0]["warning"] == WARNING
    assert "not a report" in WARNING
    assert lines[0]["task"] == "reports"
    assert read_generated(path) == REPORTS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "no such file"),
        ("{", "is damaged"),
        ("", "not marked as generated"),
        ('{"generated":true}\n{"case":"a","text":"clear"}', "not marked as generated"),
        ('{"generated":true}\n{"generated":true}', "is damaged"),
    ],
)
def test_another_file_is_refused(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "generated.jsonl"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_generated(path)
