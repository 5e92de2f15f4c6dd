"""Tasks in study.yaml: what init writes from the images, what is refused, and that they change no run."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxmix.encoder_study import EncoderView, MadeRadiographs, start_encoder_study
from voxmix.encoder_study.config import OF_REPORTS
from voxmix.encoder_study.config_file import parse_config, render_config
from voxmix.encoder_study.default_tasks import group_of, grouped
from voxmix.errors import InputError
from voxmix.probe_tasks import ProbeTask
from voxmix.settings import parse_yaml


def test_labels_that_the_rules_of_reports_know_are_findings_and_tubes() -> None:
    names = ("Effusion", "Pleural_Thickening", "endotracheal_tube", "NG tube", "age above 60", "Pneumothorax")
    assert grouped(names) == {
        "findings": ("Effusion", "Pleural_Thickening", "Pneumothorax"),
        "tubes": ("endotracheal_tube", "NG tube"),
        "labels": ("age above 60",),
    }
    assert group_of("no such thing") == "labels"


def test_init_writes_a_task_for_every_kind_of_label_and_says_how_to_judge_the_writing_of_reports(
    begin: Callable[..., EncoderView], films: Path, tmp_path: Path
) -> None:
    tasks = begin(objectives=("dino",), tasks=True).config.tasks
    own = {
        "findings": ProbeTask(kind="labels", labels=("effusion",)),
        "retrieval": ProbeTask(kind="retrieval"),
    }
    assert tasks == own
    begun = start_encoder_study(tmp_path / "a", images=films)
    text = begun.study.path.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "reports: {kind: reports}" in line]
    assert line.startswith("#")
    assert "a minute for each encoder" in line
    # What the comment says works as it stands.
    asked = text.replace("\ntasks:\n", "\ntasks:\n  reports: {kind: reports}\n")
    config = parse_config(parse_yaml(asked, where="text"), where="text")
    assert config.tasks == {"reports": ProbeTask(kind="reports"), **own}
    made = start_encoder_study(tmp_path / "b", radiographs=MadeRadiographs(count=40, edge=32))
    assert set(OF_REPORTS) <= made.study.config.tasks.keys()  # which show what there is


def test_a_label_that_one_side_of_the_split_lacks_is_in_no_task(films: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(films.read_text(encoding="utf-8").splitlines()))
    for number, row in enumerate(rows):
        row["image"], row["coin"], row["nodule"] = f"{films.parent}/{row['image']}", str(number % 2), "0"
    table = tmp_path / "more.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    begun = start_encoder_study(tmp_path / "a", images=table)
    tasks = begun.study.config.tasks
    assert tasks["findings"].labels == ("effusion",)
    assert tasks["labels"].labels == ("coin",)
    assert any(re.search("in no task.*nodule", line) for line in begun.seen)
    assert "nodule" in begun.study.path.read_text(encoding="utf-8")


def test_other_images_give_tasks_out_of_domain(films: Path, tmp_path: Path) -> None:
    begun = start_encoder_study(
        tmp_path / "a", images=films, task_images=(films,), references={"x": films.parent}
    )
    config = begun.study.config
    outside = {name: task for name, task in config.tasks.items() if task.outside}
    assert set(outside) - {"retrieval-films"} == {"findings-films"}
    assert (begun.study.root / str(outside["findings-films"].images)).resolve() == films
    assert (begun.study.root / config.references["x"]).resolve() == films.parent
    with pytest.raises(InputError, match="two tables give the task findings-films"):
        start_encoder_study(tmp_path / "b", images=films, task_images=(films, films))
    with pytest.raises(InputError, match="--reference x: no such folder"):
        start_encoder_study(tmp_path / "b", images=films, references={"x": tmp_path / "nowhere"})
    assert not (tmp_path / "b").exists()


def test_a_center_of_made_radiographs_that_is_left_out_is_judged_as_the_other(tmp_path: Path) -> None:
    made = MadeRadiographs(count=40, edge=32)
    both = start_encoder_study(tmp_path / "a", radiographs=made).study.config.tasks
    assert not any(task.outside for task in both.values())
    one = start_encoder_study(tmp_path / "b", radiographs=made, domains=("CXR-A",)).study.config.tasks
    outside = {name: task for name, task in one.items() if task.outside}
    assert set(outside) == {"findings-outside", "tubes-outside"}
    assert {task.domains for task in outside.values()} == {("CXR-B",)}
    assert {task.images for task in outside.values()} == {"radiographs/films.csv"}


def test_a_study_file_without_tasks_is_read_as_before(begin: Callable[..., EncoderView]) -> None:
    view = begin(objectives=("dino",), tasks=True)
    text = render_config(view.config)
    values = parse_yaml(text, where="text")
    assert parse_config(values, where="text") == view.config
    for name in ("tasks", "probes", "references"):
        del values[name]
    bare = parse_config(values, where="text")
    assert bare.tasks == {}
    assert not bare.keeps_texts
    assert view.config.keeps_texts  # retrieval asks for the reports
    labels = {"findings": view.config.tasks["findings"]}
    asked, before = (replace(view.study, config=replace(bare, tasks=some)) for some in (labels, {}))
    assert asked.preparation_inputs == before.preparation_inputs  # nothing is prepared again for labels


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("tasks", {"a/b": {"kind": "labels"}}, r"tasks: the name 'a/b' holds \['/'\]"),
        ("tasks", {"x": {"kind": "labels", "outside": True}}, "tasks.x.outside is true without images"),
        (
            "tasks",
            {"x": {"kind": "labels", "column": "side"}},
            "tasks.x: a task of kind labels has no column",
        ),
        ("tasks", {"x": {"kind": "classes"}}, "needs column"),
        ("tasks", {"x": {"kind": "label"}}, "tasks.x.kind"),
        ("tasks", {"x": {"kind": "labels", "lables": ["a"]}}, "lables: unknown key; did you mean"),
        ("references", {"scratch": "x"}, "references.scratch: every start is judged already"),
        ("references", {"untrained": "x"}, "references.untrained: untrained networks are judged already"),
        ("probes", {"inner": 1.5}, "inner must lie between 0 and 1"),
    ],
)
def test_a_mistake_in_tasks_is_one_sentence(
    begin: Callable[..., EncoderView], part: str, value: dict[str, Any], words: str
) -> None:
    values = parse_yaml(render_config(begin(objectives=("dino",), tasks=True).config), where="text")
    with pytest.raises(InputError, match=words):
        parse_config(values | {part: value}, where="text")
