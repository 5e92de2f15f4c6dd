"""The report of a study: the whole way from images to one page, whose numbers are those of the runs and probes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from verbs import voxmix

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView
from voxmix.encoder_study.config_file import write_config
from voxmix.encoder_study.examples import study_examples
from voxmix.encoder_study.report_contents import encoder_content
from voxmix.probe_tasks import ProbeTask
from voxmix.probes.predicted_masks import PREDICTED_FILE, read_predicted, shown_cases

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
    (asked,) = re.findall(r'<section id="what-if".*?</section>', page, flags=re.S)
    assert "one seed" in asked  # so there is no line, and nothing to ask
    assert "what-if-panel" not in asked
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


def test_masks_are_shown_as_the_heads_of_chosen_encoders_found_them(trained: Path, films: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    lines = ["image,person,split,square mask"]
    for number in range(24):
        pixels = np.full((24, 24), 40, dtype=np.uint8)
        square = np.zeros_like(pixels)
        square[4 + number % 9 : 14 + number % 9, 6:16] = 255
        image.fromarray(np.maximum(pixels, square)).save(trained.parent / f"square{number}.png")
        image.fromarray(square).save(trained.parent / f"mask{number}.png")
        lines.append(
            f"square{number}.png,q{number},{'validation' if number % 3 else 'train'},mask{number}.png"
        )
    (trained.parent / "squares.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    masks = ProbeTask(kind="masks", images="../squares.csv", outside=True)
    _set(
        trained,
        tasks={**LABELS, "squares": masks},
        probes=replace(EncoderView.open(trained).config.probes, epochs=12, rates=(0.01,)),
    )
    assert voxmix("prepare", trained).exit_code == 0
    assert voxmix("probe", trained).exit_code == 0
    view = EncoderView.open(trained)
    data = next(one for one in view.tasks.data if one.name == "squares")
    examples = [one for one in study_examples(view) if one.task == "squares"]
    assert [one.case for one in examples] == [case.case for case in shown_cases(data)]
    sizes = sorted({run.spec.samples for run in view.planned})
    names = ["untrained", *(f"{o} scratch {n}" for o in ("dino", "clip") for n in (sizes[0], sizes[-1]))]
    for one in examples:
        assert list(one.predicted) == names  # the middle size is not shown
        assert one.note == ""
        assert np.array_equal(
            one.masks["square"], data.masks(next(c for c in data.cases if c.case == one.case))["square"]
        )
    folder = next(p.folder for p in view.probes if p.data is data and p.candidate.judged.name == names[1])
    kept = read_predicted(folder / PREDICTED_FILE)
    for one in examples:
        assert np.array_equal(one.predicted[names[1]]["square"], kept[one.case]["square"])
    labels = [one for one in study_examples(view) if one.task == "findings"]
    assert all(not one.predicted and not one.masks for one in labels)
    (folder / PREDICTED_FILE).unlink()
    told = [one.note for one in study_examples(EncoderView.open(trained)) if one.note]
    assert told == [
        f"No found masks are kept of {names[1]}: remove the folder probes/squares and judge again."
    ]


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
