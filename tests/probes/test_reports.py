"""Reports as a task of frozen encoders: what an image shows is written, scored case by case, and marked as generated."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxmix.probe_tasks import JudgedEncoder, ProbeSettings, ProbeTask, ReportSettings
from voxmix.probes.done import is_done
from voxmix.probes.features import FeatureStore
from voxmix.probes.judge import judge
from voxmix.probes.reports import COMMONEST, NEAREST
from voxmix.probes.task_cases import probe_data
from voxmix.scores.result import ValuedCase
from voxmix.texts.generated import GENERATED_FILE, WARNING, read_generated
from voxmix.texts.tokenizer import TextTokenizer, fit_tokenizer

SETTINGS = ProbeSettings(reports=ReportSettings(width=48, depth=2, prefix=4, tokens=40, epochs=25, rate=3e-3))
SCORES = ("label F1", "BLEU-4", "ROUGE-L", "chrF")


@dataclass(frozen=True, kw_only=True)
class Reported:
    """A source in memory whose images have reports."""

    pictures_: Any
    texts: dict[str, str]
    text_tokenizer: TextTokenizer
    axes: int = 2
    digest: str = "reported"
    pictures: str = "pictures"
    label_names: tuple[str, ...] = ()

    @property
    def tokenizer(self) -> str:
        return self.text_tokenizer.digest

    @property
    def items(self) -> Any:
        return tuple(replace(item, has_text=True, labels={}) for item in self.pictures_.items)

    def array(self, item: Any) -> np.ndarray:
        return np.asarray(item.pixels, dtype=np.float16)

    def tokens(self, item: Any) -> np.ndarray:
        return self.text_tokenizer.encode([self.texts[item.key]])[0]

    def label_tokens(self, item: Any) -> np.ndarray:
        return np.zeros(0, dtype=np.int64)


@pytest.fixture
def reported(make_pictures) -> Reported:
    """Images of which a bar says whether there is an effusion."""
    found = make_pictures(persons=50)
    texts = {
        item.key: "left pleural effusion." if item.labels["side: left"] else "cardiomegaly and no effusion."
        for item in found.items
    }
    return Reported(
        pictures_=found, texts=texts, text_tokenizer=fit_tokenizer(texts.values(), vocabulary=320)
    )


def probe(source: Reported, encoder: Any, folder: Path, settings: ProbeSettings = SETTINGS) -> Any:
    data = probe_data(ProbeTask(kind="reports"), "reports", source)
    judged = JudgedEncoder(name="mine", encoder=encoder.digest)
    store = FeatureStore(folder / "features")
    return data, judged, judge(data, encoder, judged, store=store, folder=folder / "probe", settings=settings)


def test_what_an_image_shows_is_written(reported, encoder, tmp_path: Path) -> None:
    data, judged, found = probe(reported, encoder, tmp_path)
    result = found.result
    assert result.kind == "values"
    assert result.metrics[:4] == SCORES
    assert all(isinstance(case, ValuedCase) for case in result.cases)
    mean = np.mean([case.values["label F1"] for case in result.cases])
    assert mean > 0.9
    assert mean > found.figures[f"label F1, {COMMONEST}"] + 0.2
    assert 0 <= found.figures[f"label F1, {NEAREST}"] <= 1
    assert found.figures["loss per token, features of another image"] > found.figures["loss per token"]
    assert not any(f"of the {COMMONEST}" in note for note in found.notes)
    assert is_done(tmp_path / "probe", data, judged, settings=SETTINGS)


def test_generated_texts_are_marked_and_never_in_the_result(reported, encoder, tmp_path: Path) -> None:
    data, _, found = probe(reported, encoder, tmp_path)
    path = tmp_path / "probe" / GENERATED_FILE
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(line["generated"] is True for line in lines)
    assert lines[0]["warning"] == WARNING
    reports = read_generated(path)
    assert [one.case for one in reports] == [case.case for case in data.part("test")]
    assert {one.nearest for one in reports} <= {case.case for case in data.part("train")}
    for one, case in zip(reports, found.result.cases, strict=True):
        assert dict(one.scores) == dict(case.values)
    assert "effusion." not in (tmp_path / "probe" / "result.json").read_text(encoding="utf-8")
    assert not set(reported.texts.values()) & {line.get("reference") for line in lines}


def test_a_decoder_that_ignores_the_image_is_seen(reported, encoder, tmp_path: Path) -> None:
    """The images are all the same: nothing is better than the commonest report, and the notes say so."""
    blank = replace(
        reported,
        pictures_=replace(
            reported.pictures_,
            items=tuple(
                replace(item, pixels=np.zeros_like(item.pixels)) for item in reported.pictures_.items
            ),
        ),
    )
    short = replace(SETTINGS, reports=replace(SETTINGS.reports, epochs=4))
    _, _, found = probe(blank, encoder, tmp_path, short)
    assert any(
        "is not better beyond noise than of the commonest training report" in note for note in found.notes
    )


def test_other_settings_of_reports_make_these_again_alone(reported, encoder, tmp_path: Path) -> None:
    short = replace(SETTINGS, reports=replace(SETTINGS.reports, epochs=1))
    data, judged, first = probe(reported, encoder, tmp_path, short)
    before = (tmp_path / "probe" / GENERATED_FILE).read_bytes()
    assert first.made
    assert not probe(reported, encoder, tmp_path, short)[2].made
    other = replace(short, reports=replace(short.reports, epochs=2))
    assert not is_done(tmp_path / "probe", data, judged, settings=other)
    assert (
        other.digest == short.digest == ProbeSettings().digest
    )  # labels, classes and masks are not made again
    (tmp_path / "probe" / "result.json").unlink()
    assert probe(reported, encoder, tmp_path, short)[2].result.cases == first.result.cases
    assert (tmp_path / "probe" / GENERATED_FILE).read_bytes() == before
