"""The how-to on a study of encoders says what is so."""

import re
from pathlib import Path

import pytest
import yaml

from voxmix.encoder_study.config import EncoderDesign, StartSettings
from voxmix.encoder_study.starting import CONTINUED_RATE, WARM_SHARE
from voxmix.encoder_study.training import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "encoder-study.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_settings_that_it_shows_are_the_defaults() -> None:
    shown = {key: text for text in blocks("yaml") for key in yaml.safe_load(text)}
    design, starts = (yaml.safe_load(shown[key]) for key in ("design", "starts"))
    own = design["design"]
    assert EncoderDesign(**own | {"samples": tuple(own["samples"])}) == EncoderDesign()
    found = {name: StartSettings(**values) for name, values in starts["starts"].items()}
    assert found["scratch"] == StartSettings()
    assert (found["rad-dino"].rate, found["rad-dino"].warm) == (CONTINUED_RATE, WARM_SHARE)


def test_the_table_of_runs_has_the_columns_that_it_names() -> None:
    (row,) = re.findall(r"^\| `runs\.csv` \| (.*) \|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(COLUMNS) - {"run", "unit"}


def test_its_code_looks_at_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pytest.importorskip("PIL")
    from voxmix.radiographs import make_radiographs

    make_radiographs(tmp_path / "films", count=16, seed=0, edge=48)
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("python")[0], "encoder-study.md", "exec"), {})
    assert "16 reports, 16 of them different" in capsys.readouterr().out
    assert (tmp_path / "sheets" / "audit.html").exists()


@pytest.mark.parametrize(
    "words",
    [
        "persons are not known: ",
        "cells say neither yes nor no, taken as unknown",
        "training images have no report and are in no subset",
        "sizes of design.samples that hold the same images are one",
        "the tokenizer changed",
        "the loss of class tokens stayed at",
        "where one that knows nothing costs",
        "the features of different images are nearly the same",
        "does not fit its configuration. Missing: ",
    ],
)
def test_messages_that_it_explains_are_those_of_the_code(words: str) -> None:
    assert words in PAGE
    source = Path(__file__).parents[2] / "src" / "voxmix"
    rooms = ("encoder_study", "images", "objectives", "encoders")
    assert any(
        words in path.read_text(encoding="utf-8") for room in rooms for path in (source / room).rglob("*.py")
    )
