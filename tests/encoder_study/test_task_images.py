"""Images that tasks have of their own: prepared as the study's, once for all of their tasks, and never of a person learned from."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from voxmix.encoder_study import EncoderView, MadeRadiographs, run_step, start_encoder_study
from voxmix.encoder_study.config_file import write_config
from voxmix.errors import InputError
from voxmix.images.cache import ImageCache
from voxmix.probe_tasks import ProbeTask
from voxmix.study.listener import Listener


def _table(folder: Path, persons: Mapping[str, str], *, shown: int = 0) -> Path:
    """Write a table of two films of each person, on the given side; ``shown`` decides what they show."""
    image = pytest.importorskip("PIL.Image")
    folder.mkdir()
    rng = np.random.default_rng([7, shown])
    rows = []
    for number, (person, side) in enumerate((p, s) for p, s in persons.items() for _ in range(2)):
        pixels = rng.integers(0, 120, (24, 22), dtype=np.uint8)
        image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "person": person, "split": side, "effusion": str(number % 2)})
        rows[-1] |= {"report": f"Effusion {number % 2}.", "view": ("AP", "PA", "lateral")[number % 3]}
    table = folder / "other.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def _prepare(study: Any) -> None:
    run_step("prepare", study, Listener(tell=lambda line: None))


def _with_tasks(view: EncoderView, **tasks: ProbeTask) -> EncoderView:
    write_config(replace(view.config, tasks=tasks), view.study.path)
    return EncoderView.open(view.root)


OTHERS = {f"Other {n}": "train" if n < 3 else "validation" for n in range(5)}


def test_tasks_of_equal_images_share_what_is_prepared(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    table = _table(tmp_path / "other", OTHERS)
    view = _with_tasks(
        begin(objectives=("clip",)),
        own=ProbeTask(kind="labels"),
        there=ProbeTask(kind="labels", images=str(table), outside=True),
        views=ProbeTask(kind="classes", column="view", images=str(table), outside=True),
        texts=ProbeTask(kind="retrieval", images=str(table), outside=True),
    )
    _prepare(view)
    view = EncoderView.open(view.root)
    assert view.is_made("prepare")
    sources: dict[str, Any] = view.task_sources
    assert sources["own"] is view.source
    assert sources["there"] is sources["views"] is sources["texts"]
    assert "view: AP" in sources["views"].label_names
    assert (
        sources["texts"].tokenizer == view.source.tokenizer
    )  # a text tower reads the words of one tokenizer
    assert len(list((view.root / "tasks").iterdir())) == 1
    assert "Other" not in (view.study.prepared_dir / "index.json").read_text(encoding="utf-8")
    assert "Other" not in "".join(
        path.read_text(encoding="utf-8") for path in (view.root / "tasks").rglob("index.json")
    )


def test_an_edit_of_a_tasks_table_asks_to_prepare_again_and_leaves_runs_alone(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    table = _table(tmp_path / "other", OTHERS)
    view = _with_tasks(begin(objectives=("clip",)), there=ProbeTask(kind="labels", images=str(table)))
    _prepare(view)
    before = {run.spec.run_id for run in EncoderView.open(view.root).planned}
    table.write_text(
        table.read_text(encoding="utf-8").replace(",1,Effusion 1.", ",0,Effusion 1.", 1), encoding="utf-8"
    )
    assert not EncoderView.open(view.root).is_made("prepare")
    _prepare(EncoderView.open(view.root))
    assert {run.spec.run_id for run in EncoderView.open(view.root).planned} == before


def test_a_person_who_is_learned_from_and_judged_on_is_refused(
    begin: Callable[..., EncoderView], tmp_path: Path
) -> None:
    view = begin(objectives=("clip",))
    _prepare(view)
    kept = EncoderView.open(view.root).source
    assert isinstance(kept, ImageCache)
    from voxmix.volumes.preparing.private_lists import Names, read_map

    found = read_map(Names(folder=view.study.private_dir).map_path)
    assert found is not None
    learned = next(
        found.subjects[item.person] for item in kept.items if item.split == "train"
    )  # the name behind the pseudonym
    table = _table(tmp_path / "other", {**OTHERS, learned: "validation"})
    task = ProbeTask(kind="labels", images=str(table), outside=True)
    with pytest.raises(
        InputError, match=r"tasks\.there: 1 person \(2 images\) of other\.csv would be judged on"
    ) as told:
        _prepare(_with_tasks(view, there=task))
    assert learned not in str(told.value)
    table = _table(tmp_path / "more", {**OTHERS, learned: "train"}, shown=1)
    _prepare(_with_tasks(view, there=replace(task, images=str(table))))
    with pytest.raises(InputError, match="as a carried head is judged on all of it"):
        _prepare(_with_tasks(view, there=replace(task, images=str(table), carried=True)))


def test_an_image_that_is_learned_from_and_judged_on_is_refused(
    begin: Callable[..., EncoderView], films: Path, tmp_path: Path
) -> None:
    view = begin(objectives=("clip",))
    rows = list(csv.DictReader(films.read_text(encoding="utf-8").splitlines()))
    table = tmp_path / "renamed.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["image", "person", "split", "effusion"])
        writer.writeheader()
        for number, row in enumerate(rows):
            side = "train" if number < 10 else "validation"
            writer.writerow(
                {
                    "image": films.parent / row["image"],
                    "person": number,
                    "split": side,
                    "effusion": number % 2,
                }
            )
    with pytest.raises(InputError, match="encoders learn from the same"):
        _prepare(_with_tasks(view, there=ProbeTask(kind="labels", images=str(table), outside=True)))


def test_folders_that_are_not_there_are_refused_before_anything_is_done(
    begin: Callable[..., EncoderView],
) -> None:
    view = _with_tasks(begin(objectives=("clip",)), there=ProbeTask(kind="labels", images="nowhere.csv"))
    write_config(replace(view.config, references={"x": "nowhere"}), view.study.path)
    with pytest.raises(InputError, match=r"(?s)references\.x: there is no folder.*tasks\.there: there is no"):
        _prepare(view.root)
    with pytest.raises(InputError, match=r"add it there, so that its cells are read"):
        _with_tasks(view, there=ProbeTask(kind="classes", column="view"))


def test_the_other_center_of_made_radiographs_is_prepared_beside(tmp_path: Path) -> None:
    begun = start_encoder_study(
        tmp_path / "a",
        radiographs=MadeRadiographs(count=24, edge=32),
        domains=("CXR-A",),
        objectives=("mae",),
        samples=("all",),
    )
    _prepare(begun.study)
    view = EncoderView.open(begun.study.root)
    assert {item.domain for item in view.source.items} == {"CXR-A"}
    assert {item.domain for item in view.task_sources["tubes-outside"].items} == {"CXR-B"}
