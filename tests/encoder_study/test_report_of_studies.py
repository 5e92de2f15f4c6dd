"""The report of a study: the whole way from images to one page, whose numbers are those of the runs and probes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView
from voxmix.encoder_study.config_file import write_config
from voxmix.encoder_study.report_contents import encoder_content
from voxmix.probe_tasks import ProbeTask

LABELS = {"findings": ProbeTask(kind="labels", labels=("nodule",))}


def _set(root: Path, **changes: Any) -> None:
    view = EncoderView.open(root)
    write_config(replace(view.config, **changes), view.study.path)


def test_study_run_goes_to_the_report_and_prints_the_headline(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    done = voxmix("study", "run", trained)
    assert done.exit_code == 0, done.output
    page = (trained / "report.html").read_text(encoding="utf-8")
    headline = json.loads((trained / "scores.json").read_text(encoding="utf-8"))["sentences"][0]
    assert headline in " ".join(done.output.split())
    assert "Person Name" not in page
    assert str(trained) not in page
    state = json.loads(voxmix("status", trained, "--json").stdout)
    assert [(step["step"], step["done"]) for step in state["steps"]] == [
        (name, True) for name in ("prepare", "run", "probe", "scale", "report")
    ]
    assert state["next"] is None
    found = json.loads(voxmix("study", "run", trained, "--json").stdout)
    assert found["answer"][0] == headline
    assert found["made"] == 0
    assert len(found["scores"]) == 7


def test_the_content_holds_what_was_run_and_judged(trained: Path) -> None:
    _set(trained, tasks={**LABELS, "other": ProbeTask(kind="labels", labels=("edema",))})
    before = encoder_content(EncoderView.open(trained))
    assert before.laws is None
    assert "voxmix probe" in before.no_laws
    assert voxmix("probe", trained).exit_code == 0
    view = EncoderView.open(trained)
    content = encoder_content(view)
    assert content.laws is not None
    assert content.domains == {
        name: sum(item.domain == name and item.split == "train" for item in view.source.items)
        for name in "AB"
    }
    assert [one.images for one in content.subsets] == [subset.images for subset in view.subsets]
    assert sum(one.done for one in content.runs) == len(view.planned) == 6
    assert len(content.scored) == 7
    assert any("edema" in line for line in content.failed)
    assert content.tasks["findings"].startswith("which labels are present (nodule)")
    held_out = {item.key for item in view.source.items if item.split != "train"}
    assert {one.case for one in content.examples} <= held_out
    assert all(len(one.neighbors) == 3 for one in content.examples)
    assert encoder_content(view, pictures=False).examples == ()


def test_report_writes_the_page_and_says_where(trained: Path) -> None:
    _set(trained, tasks=LABELS)
    assert voxmix("probe", trained).exit_code == 0
    done = voxmix("report", trained, "--no-pictures")
    assert done.exit_code == 0, done.output
    assert "report.html" in done.output
    assert (trained / "report.html").is_file()
    _set(trained, tasks={})
    bare = voxmix("report", trained)
    assert bare.exit_code == 2
    assert "has no tasks to judge encoders on" in bare.output
