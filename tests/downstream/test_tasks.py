"""The table says what the paper says; a user's row is checked, and starts from another where it is asked to."""

from dataclasses import fields
from pathlib import Path

import pytest

from voxmix.datasets.table import tasks_of_sets
from voxmix.downstream.task_file import find_task, read_tasks
from voxmix.errors import InputError

BY_NAME = {task.name: task for task in tasks_of_sets()}
# arXiv 2605.06859: names of table 5 with their split and number of classes, crops of table 7.
TABLE_5 = {
    "amos-ct": ((160, 20, 20), 16, "ABD-CT"),
    "amos-mri": ((160, 20, 20), 16, "ABD-MRI"),
    "brats-t1": ((400, 40, 40), 3, "BRAIN-T1"),
    "brats-t2": ((400, 40, 40), 3, "BRAIN-T2"),
    "hecktor": ((418, 53, 53), 3, "HN-CT"),
    "bhsd": ((72, 10, 10), 3, "HN-CT"),
    "oasis": ((165, 35, 35), 2, "BRAIN-T1"),
    "synbrain-pet": ((348, 76, 76), 5, "HN-PET"),
    "organmnist3d": ((972, 161, 610), 11, "ABD-CT"),
}
TABLE_7 = {
    "amos-ct": (1, 1, 2), "amos-mri": (1, 1, 2), "brats-t1": (4, 1, 2), "brats-t2": (4, 1, 2),
    "hecktor": (4, 1, 4), "bhsd": (4, 1, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE_5)
def test_rows_of_table_5(name: str) -> None:
    task = BY_NAME[name]
    split, classes, domain = TABLE_5[name]
    assert (task.split, task.domain) == (split, domain)
    assert (len(task.classes) or task.class_count) == classes


@pytest.mark.parametrize("name", TABLE_7)
def test_crops_of_table_7(name: str) -> None:
    task = BY_NAME[name]
    assert (task.pos, task.neg, task.samples) == TABLE_7[name]
    assert task.score_background == name.startswith("amos")
    assert task.regions == name.startswith("brats")


def test_every_row_is_in_the_tables() -> None:
    assert set(BY_NAME) == set(TABLE_5)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_of_ones_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "liver: {kind: segmentation, domain: ABD-CT, data: ct, classes: {background: 0, liver: [6]}, split: [8, 1, 1]}\n"
        "liver-long: {like: liver, settings: {draws: 9}}\n"
        "amos-ct: {like: amos-ct, data: /data/amos22}\n",
    )
    tasks = read_tasks(path)
    assert tasks["liver"].classes == {"background": (0,), "liver": (6,)}
    assert tasks["liver"].data == str(tmp_path / "ct")
    assert tasks["liver-long"].settings == {"draws": 9}
    assert tasks["liver-long"].data == tasks["liver"].data
    amos = tasks["amos-ct"]
    differing = [f.name for f in fields(amos) if getattr(amos, f.name) != getattr(BY_NAME["amos-ct"], f.name)]
    assert differing == ["data"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("liver: {kind: segmentation, domian: ABD-CT}", "did you mean 'domain'"),
        ("liver: {kind: segmentation, domain: ABD-CT, classes: {liver: 6, kidney: 2}}", "background"),
        ("liver: {kind: segmentation, domain: ABD-CT, classes: {background: 0, a: 1, b: 1}}", "two classes"),
        ("liver: {kind: segmentation, domain: ABD-CT, classes: {background: 0, a: 70000}}", "0 to 65535"),
        ("liver: {like: lung}", "unknown"),
        ("liver: 3", "settings"),
        ("- 1", "map names"),
        ("a: [", "not YAML"),
        ("../up: {like: oasis}", "domain name"),
        ("a: {like: oasis, split: [1, 0, 1]}", "above 0"),
        ("a: {like: hecktor, pos: 0, neg: 0}", "pos and neg"),
    ],
)
def test_bad_rows_are_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_tasks(write(tmp_path, text))


def test_unknown_task_names_the_known() -> None:
    with pytest.raises(InputError, match="amos-ct"):
        find_task("amos", None)


def test_the_page_of_tasks_says_what_the_table_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/tasks.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| `")
    ]
    assert [row[0].strip("`") for row in rows] == [task.name for task in tasks_of_sets()]
    for (_, _, domain, classes, split, crops, loss, background), task in zip(
        rows, tasks_of_sets(), strict=True
    ):
        assert domain == task.domain
        assert int(classes) == (len(task.classes) or task.class_count)
        assert split == " / ".join(f"{size:g}" for size in task.split)
        if task.kind == "segmentation":
            assert crops == f"{task.pos:g} : {task.neg:g} x {task.samples}"
            assert loss == f"DiceCE, {'sigmoid' if task.regions else 'softmax'}"
            assert background == ("yes" if task.score_background else "no")
        else:
            assert (crops, loss) == ("one view", "cross-entropy")
