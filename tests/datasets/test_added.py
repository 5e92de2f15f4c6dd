"""A data set that another package adds is detected, listed, read and finetuned on as voxmix's own are."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from voxmix.cli import app
from voxmix.datasets import LAYOUTS
from voxmix.datasets.dataset import DataSet, LabeledManifest, holds
from voxmix.datasets.sets.folder import read_folder
from voxmix.datasets.sources import detect_layout, read_labeled, read_layout, read_source
from voxmix.datasets.table import data_sets, layouts, register_data_set, tasks_of_sets, unregister_data_set
from voxmix.datasets.task import Part, Task, numbered
from voxmix.datasets.volume_files import gather
from voxmix.downstream.labeled_images import read_labeled_images
from voxmix.downstream.task_file import find_task
from voxmix.errors import InputError
from voxmix.volumes.manifest import Manifest, VolumeRecord

OWN = frozenset(data_sets())

TASK = Task(
    name="knees",
    kind="classification",
    domain="KNEE-MR",
    layout="knees",
    classes=numbered("well", "torn"),
    split=(2, 1, 1),
)


def read_knees(root: Path) -> Manifest:
    """Read ``knee_<person>v<visit>_<class>.npy``."""
    return gather(
        VolumeRecord(
            path=path,
            domain="KNEE-MR",
            subject=path.stem.split("_")[1],
            category=path.stem.split("_")[2],
        )
        for path in sorted(root.glob("knee_*.npy"))
    )


def labeled_knees(task: Task, data: Path) -> LabeledManifest:
    found = read_knees(data)
    part: dict[str, Part] = {"a": "train", "b": "validation", "c": "test"}
    return LabeledManifest(
        manifest=found, parts={record.subject: part[record.subject[0]] for record in found.records}
    )


KNEES = DataSet(
    name="knees",
    title="Knees",
    expects="`knee_*.npy`",
    traps="visits are one person",
    read=read_knees,
    shows=holds("knee_*.npy"),
    sessions=("Knees", re.compile(r"([a-z]\d)v\d")),
    labeled=labeled_knees,
    tasks=(TASK,),
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    for name in set(data_sets()) - OWN:
        unregister_data_set(name)


@pytest.fixture
def knees(tmp_path: Path) -> Path:
    for number, name in enumerate(("a1v1_0", "a1v2_0", "a2v1_1", "b1v1_0", "c1v1_1")):
        np.save(tmp_path / f"knee_{name}.npy", np.full((4, 4, 4), number, np.float32))
    return tmp_path


def test_it_is_unknown_before(knees: Path) -> None:
    assert detect_layout(knees) == "folder"
    with pytest.raises(InputError, match="unknown layout 'knees'"):
        read_layout("knees", knees)
    with pytest.raises(InputError, match="unknown task 'knees'"):
        find_task("knees", None)


def test_it_is_detected_and_its_visits_are_one_person(knees: Path) -> None:
    register_data_set(KNEES)
    manifest, layout = read_source(knees)
    assert layout == "knees"
    assert manifest.subjects("KNEE-MR") == ("a1", "a2", "b1", "c1")
    assert manifest.notes == (
        "5 subjects are sessions of 4 persons by the names of Knees: joined to these persons",
    )
    with pytest.raises(InputError, match=r"choose one of \['folder', .*'medmnist', 'knees'\]"):
        read_layout("knee", knees)
    shown = CliRunner().invoke(app, ["manifest", str(knees), "--layout", "knees", "--json"])
    assert shown.exit_code == 0, shown.output
    assert '"knees"' in shown.stdout


def test_its_task_has_the_publishers_parts(knees: Path) -> None:
    register_data_set(KNEES)
    found = read_labeled_images(find_task("knees", None), knees)
    parts = {record.subject: (found.parts[record.subject], record.category) for record in found.records}
    assert parts == {
        "a1v1": ("train", "0"),
        "a1v2": ("train", "0"),
        "a2v1": ("train", "1"),
        "b1v1": ("validation", "0"),
        "c1v1": ("test", "1"),
    }


def test_without_parts_its_images_are_those_of_the_manifest(knees: Path) -> None:
    register_data_set(replace(KNEES, labeled=None))
    assert read_labeled(TASK, knees) == LabeledManifest(manifest=read_layout("knees", knees))


def test_the_example_of_the_docs_runs(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "manifests-audits-caches.md"
    code = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[
        -1
    ]
    exec(compile(code, str(page), "exec"), {})
    for name in ("knees/a.npy", "knees/b.npy", "cartilage/a.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.zeros((4, 4, 4), np.float32))
    manifest, layout = read_source(tmp_path)
    assert layout == "knees"
    assert [(r.domain, r.subject, r.label is not None) for r in manifest.records] == [
        ("KNEE-MR", "a", True),
        ("KNEE-MR", "b", False),
    ]


def test_names_are_taken_once() -> None:
    register_data_set(KNEES)
    with pytest.raises(InputError, match="data set 'knees' already"):
        register_data_set(KNEES)
    with pytest.raises(InputError, match="task 'knees' already"):
        register_data_set(replace(KNEES, name="other"))
    with pytest.raises(InputError, match="data set 'amos' already"):
        register_data_set(replace(KNEES, name="amos"))


def test_the_table_holds_what_the_command_line_lists() -> None:
    assert layouts() == LAYOUTS
    assert {task.layout for task in tasks_of_sets()} <= set(data_sets())
    assert all(row.title for row in data_sets().values())
    assert [row.name for row in data_sets().values() if row.read is read_folder] == ["folder"]
