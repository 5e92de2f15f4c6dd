"""Bad input of a task is named and counted, or refused in words; nobody leaks from pretraining."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.task import ClassTable, Task
from voxmix.downstream.cases import CASES_FILE, CaseSet, open_cases
from voxmix.downstream.split import split_sizes, split_subjects
from voxmix.errors import InputError
from voxmix.volumes.preparing.prepare import prepare
from voxmix.volumes.recipe import Recipe

Build = Callable[..., CaseSet]
Write = Callable[..., Path]


def relabel(dataset: Path, number: int, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = dataset / f"CT/p{number}/p{number}_seg.nii.gz"
    old = nibabel.load(path)
    nibabel.Nifti1Image(change(np.asarray(old.dataobj).copy()), old.affine).to_filename(path)


def test_parts_are_by_subject_and_open_again(cases: CaseSet, task: Task) -> None:
    parts = {part: {c.volume.subject for c in cases.part(part)} for part in ("train", "validation", "test")}
    assert {part: len(subjects) for part, subjects in parts.items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert not parts["train"] & parts["test"]
    assert open_cases(task, cases.cache.root) == cases
    with pytest.raises(InputError, match="as it was before"):
        open_cases(replace(task, unlisted="background"), cases.cache.root)


def test_nothing_stored_names_a_subject_or_a_path(cases: CaseSet, dataset: Path) -> None:
    text = (cases.cache.root / "cases.json").read_text(encoding="utf-8")
    assert str(dataset) not in text
    assert not any(f'"p{number}' in text or f"/p{number}" in text for number in range(10))


def test_unknown_values_set_a_case_aside(dataset: Path, task: Task, build: Build) -> None:
    relabel(dataset, 3, lambda labels: np.where(labels == 2, 7, labels).astype(np.uint8))
    cases = build(task, dataset)
    assert cases.set_aside == {"label map with values of no class: [7]": 1}
    assert len(cases.cases) == 9
    kept = build(replace(task, unlisted="background"), dataset)
    assert len(kept.cases) == 10
    assert not kept.set_aside
    assert all(np.asarray(kept.labels(case)).max() <= 2 for case in kept.cases)


def test_another_grid_is_resampled_with_notice_or_refused(
    dataset: Path, task: Task, build: Build, write_image: Write
) -> None:
    def halved(labels: np.ndarray) -> None:
        write_image(dataset / "CT/p1/p1_seg.nii.gz", labels[::2, ::2, ::2], np.diag([4.0, 4, 4, 1]))

    halved(np.asarray(nibabel.load(dataset / "CT/p1/p1_seg.nii.gz").dataobj).copy())
    cases = build(task, dataset)
    assert len(cases.cases) == 10
    assert any("another grid" in note and note.startswith("1 files") for note in cases.notes)
    away = np.eye(4) * 2
    away[:3, 3], away[3, 3] = 500, 1
    write_image(dataset / "CT/p2/p2_seg.nii.gz", np.ones((20, 20, 20), np.uint8), away)
    refused = build(task, dataset)
    assert len(refused.cases) == 9
    assert any("voxels away" in reason for reason in refused.set_aside)


def test_an_empty_label_map_is_kept_and_counted(dataset: Path, task: Task, build: Build) -> None:
    relabel(dataset, 4, np.zeros_like)
    cases = build(task, dataset)
    assert len(cases.cases) == 10
    assert any(note.startswith("1 label maps are empty") for note in cases.notes)


def test_a_class_that_training_never_shows_is_named(dataset: Path, task: Task, build: Build) -> None:
    for number in range(10):
        relabel(dataset, number, lambda labels: np.where(labels == 2, 1, labels).astype(np.uint8))
    assert any("no training case shows bar" in note for note in build(task, dataset).notes)
    other = replace(task, classes={"background": (0,), "spleen": (5,)}, unlisted="background")
    with pytest.raises(InputError, match="no training case shows any of"):
        build(other, dataset)


def test_fewer_cases_than_parts_are_refused(dataset: Path, task: Task, build: Build) -> None:
    for number in range(2, 10):
        (dataset / f"CT/p{number}/p{number}_seg.nii.gz").unlink()
    with pytest.raises(InputError, match="2 labeled subjects cannot be split"):
        build(task, dataset)


def test_a_domain_that_the_data_does_not_have_is_refused_with_the_line_that_helps(
    dataset: Path, task: Task, build: Build
) -> None:
    with pytest.raises(InputError, match=r"has no domain HN-PET, but CT; .*`source: CT`"):
        build(replace(task, domain="HN-PET", source=""), dataset)
    assert build(replace(task, domain="HN-PET", source="CT"), dataset).cases


def test_no_label_at_all_is_refused(dataset: Path, task: Task, build: Build) -> None:
    for path in dataset.glob("**/*_seg.nii.gz"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"no labeled image.*10 files set aside, first because: no label map"
    ):
        build(task, dataset)


def test_a_part_that_loses_all_its_cases_is_refused(dataset: Path, task: Task, build: Build) -> None:
    for path in dataset.glob("**/*_seg.nii.gz"):
        labels = np.asarray(nibabel.load(path).dataobj).copy()
        nibabel.Nifti1Image(
            np.where(labels == 2, 9, labels).astype(np.uint8), np.diag([2.0, 2, 2, 1])
        ).to_filename(path)
    with pytest.raises(InputError, match=r"values of no class: \[9\]"):
        build(task, dataset)


@pytest.mark.parametrize(
    "change", [{"task": None}, {"cases": 3}, {"cases": [{"volume": "gone"}]}, {"notes": None}]
)
def test_cases_that_are_damaged_are_named(
    task: Task, dataset: Path, build: Build, change: dict[str, object]
) -> None:
    path = build(task, dataset).cache.root / CASES_FILE
    value = json.loads(path.read_text(encoding="utf-8"))
    kept = {**value, **change}
    path.write_text(
        json.dumps({name: item for name, item in kept.items() if item is not None}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"prepare (them )?again"):
        open_cases(task, path.parent)


def test_a_table_and_the_files_must_meet(dataset: Path, build: Build) -> None:
    kinds = Task(
        name="kinds",
        kind="classification",
        domain="CT",
        classes={"ill": (1,), "well": (0,)},
        table=ClassTable(file="table.csv", id="who", value="state"),
        split=(0.5, 0.25, 0.25),
    )
    rows = ["who,state", *(f"p{n},{n % 2}.0" for n in range(7)), "p7,", "p8,2", "ghost,1"]
    (dataset / "table.csv").write_text("\n".join(rows), encoding="utf-8")
    cases = build(kinds, dataset)
    assert len(cases.cases) == 7
    assert cases.set_aside == {
        "no row in table.csv": 1,
        "no state in table.csv": 1,
        "table.csv has a row for a file that is not there": 1,
        "class '2' is none of ['ill', 'well']": 1,
    }
    (dataset / "table.csv").write_bytes("\n".join(["who,state,größe", *rows[1:]]).encode("cp1252"))
    told = build(kinds, dataset).notes
    assert [note for note in told if "read as Windows-1252" in note]
    assert str(dataset) not in " ".join(told)
    (dataset / "table.csv").write_text("who,state\np1,0\np1,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="p1 two classes"):
        build(kinds, dataset)
    (dataset / "table.csv").write_text("name,state\np1,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="lacks the columns"):
        build(kinds, dataset)
    with pytest.raises(InputError, match="outside itself"):
        build(replace(kinds, table=ClassTable(file="../table.csv")), dataset)


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [
        (480, (400, 40, 40), (400, 40, 40)),
        (500, (400, 40, 40), (400, 40, 40)),
        (60, (160, 20, 20), (48, 6, 6)),
        (10, (0.7, 0.1, 0.2), (7, 1, 2)),
        (3, (0.8, 0.1, 0.1), (1, 1, 1)),
        (4, (160, 20, 20), (2, 1, 1)),
        (11, (0.6, 0.2, 0.2), (7, 2, 2)),
    ],
)
def test_sizes_of_the_parts(count: int, wanted: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert split_sizes(count, wanted) == expected


def test_pretrained_subjects_only_train() -> None:
    people = [f"s{n}" for n in range(20)]
    seen = frozenset(people[:12])
    parts = split_subjects(people, sizes=(0.6, 0.2, 0.2), seen=seen)
    assert sorted(parts.values()).count("test") == 4
    assert {parts[subject] for subject in seen} == {"train"}
    few = split_subjects(people, sizes=(0.6, 0.2, 0.2), seen=frozenset(people[:17]))
    assert sorted(few.values()) == ["test"] * 2 + ["train"] * 17 + ["validation"]
    with pytest.raises(InputError, match="19 of 20 subjects were pretrained on"):
        split_subjects(people, sizes=(0.6, 0.2, 0.2), seen=frozenset(people[:19]))


def test_adding_a_subject_moves_few() -> None:
    people = [f"s{n}" for n in range(40)]
    before = split_subjects(people, sizes=(0.6, 0.2, 0.2), seen=frozenset())
    after = split_subjects([*people, "new"], sizes=(0.6, 0.2, 0.2), seen=frozenset())
    assert sum(before[s] != after[s] for s in people) <= 3


def test_nobody_leaks_from_pretraining(
    dataset: Path, task: Task, build: Build, recipe: Recipe, tmp_path: Path
) -> None:
    """By name and by content: a pretrained image under another name only trains."""
    pretrained = prepare(
        read_folder(dataset).split(seed=0, fraction=0.5), recipe=recipe, root=tmp_path / "study"
    ).cache
    trained = {volume.subject for volume in pretrained.select("CT", "train")}
    cases = build(task, dataset, pretrained=pretrained)
    held_out = {c.volume.subject for c in cases.cases if c.part != "train"}
    assert held_out
    assert not held_out & trained
    assert cases.overlap == len(trained & {c.volume.subject for c in cases.part("train")}) > 0
    for number in range(10):
        (dataset / f"CT/p{number}").rename(dataset / f"CT/renamed{number}")
    again = build(task, dataset, pretrained=pretrained)
    keys = {volume.key for volume in pretrained.select("CT", "train")}
    assert not keys & {c.volume.key for c in again.cases if c.part != "train"}
    assert again.overlap > 0


def test_cases_have_one_digest_wherever_they_lie(dataset: Path, task: Task, build: Build) -> None:
    first = build(task, dataset)
    second = build(task, dataset)
    assert first.cache.root != second.cache.root
    assert first.digest == second.digest
    relabel(dataset, 0, np.zeros_like)
    assert build(task, dataset).digest != first.digest
    stored = json.loads((first.cache.root / "cases.json").read_text(encoding="utf-8"))
    assert stored["digest"] == first.digest


def test_a_task_chooses_one_of_several_label_maps(
    task: Task, dataset: Path, build: Build, tmp_path: Path
) -> None:
    expected = build(task, dataset)
    for path in dataset.glob("CT/*/*_seg.nii.gz"):
        plain = nibabel.load(path)
        other = np.zeros(plain.shape, np.uint8)
        several = np.stack([other, np.asarray(plain.dataobj)], axis=-1)
        nibabel.Nifti1Image(several, plain.affine).to_filename(path)
    chosen = build(replace(task, label_volume=1), dataset)
    for part in ("train", "validation", "test"):
        for a, b in zip(expected.part(part), chosen.part(part), strict=True):
            assert np.array_equal(expected.labels(a), chosen.labels(b))
    with pytest.raises(InputError, match="label_volume"):
        replace(task, label_volume=-1)


def test_zoom_is_refused_for_volumes_that_have_a_size(task: Task, dataset: Path, build: Build) -> None:
    with pytest.raises(InputError, match=r"zoom is for volumes without a size in mm.*leave zoom out"):
        build(replace(task, zoom=True), dataset)
