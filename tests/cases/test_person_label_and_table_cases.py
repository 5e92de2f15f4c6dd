"""Every verdict that the headers of the shared cases of tables, label maps, tasks and persons state."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from voxmix.datasets.sources import read_source
from voxmix.errors import InputError
from voxmix.volumes.grids.labels import compare_grids
from voxmix.volumes.manifest_files import NOT_HERE, read_table
from voxmix.volumes.persons.proposals import propose_persons, remarks
from voxmix.volumes.reading.read import read_labels, read_volume
from voxmix.volumes.volume import UnreadableVolumeError, Volume

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def made(write_case: Callable[[str, Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the generators of this module."""
    root = tmp_path_factory.mktemp("cases")
    for name in ("case17", "case18", "case22", "case26"):
        write_case(name, root / name)
    return root


PEOPLE = ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("name", "people"),
    [
        *(
            (name, PEOPLE)
            for name in ("bom.csv", "tabs.tsv", "blank.csv", "mac.csv", "utf16.csv", "windows.csv")
        ),
        *((name, PEOPLE) for name in ("spaces.csv", "case.csv", "hash.csv", "trailing.csv", "sep.csv")),
        ("semicolon.csv", ["Doe, A", "p1", "p2", "p3"]),
        ("quoted.csv", ["p 0", "p1", "p2", "p3"]),
        ("cp1252.csv", ["M\u00fcller", "p1", "p2", "p3"]),
        ("ids.csv", ["001", "01", "1", "1.0"]),
        ("nbsp.csv", ["p0", "p0", "p2", "p3"]),
    ],
)
def test_case17_tables(made: Path, name: str, people: list[str]) -> None:
    found = read_table(made / "case17" / name)
    assert [record.subject for record in found.records] == people
    assert [record.path.name for record in found.records] == [f"s{n}.nii.gz" for n in range(4)]


@pytest.mark.parametrize(
    ("name", "said"),
    [("drive.csv", NOT_HERE), ("dup.csv", "in line 2 and line 3"), ("split.csv", "line 5 .* split 'test'")],
)
def test_case17_refused_with_words(made: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_table(made / "case17" / name)


def right_labels(at: Volume) -> np.ndarray:
    """Return the labels that the field says at the voxels of a map; -1 where rounding decides (on 20 or 60)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in at.data.shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(index @ at.affine[:3, :3].T + at.affine[:3, 3], -1, 0)
    field = 35 + x + 1.3 * y + 1.7 * z
    labels = (field > 20).astype(int) + (field > 60)
    labels[(np.abs(field - 20) < 0.01) | (np.abs(field - 60) < 0.01)] = -1
    return labels


@pytest.mark.parametrize(
    "kind",
    [
        "rounding",
        "float",
        "lps",
        "cropped",
        "coarse",
        "qsdiff",
        "uint16",
        "int64",
        "nanbg",
        "fourth",
        "transposed",
        "mirror",
        "big",
    ],
)
def test_case18_right_labels(made: Path, kind: str) -> None:
    folder = made / "case18" / "MADE-CT" / kind
    image, labels = read_volume(folder / "scan.nii.gz"), read_labels(folder / "scan_seg.nii.gz")
    x, y, z = image.data.shape
    compare_grids(labels, (x, y, z), image.affine)
    values = {1000: 1, 2035: 2}
    found = np.vectorize(lambda v: values.get(v, v))(labels.data)
    wanted = right_labels(labels)
    sure = (wanted >= 0) & ((found > 0) | (kind != "big"))  # The large map was drawn inside the image only.
    assert sure.mean() > 0.2
    np.testing.assert_array_equal(found[sure], wanted[sure])
    assert ("NaN" in " ".join(labels.notes)) == (kind == "nanbg")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("negative", "the lowest is -1.*ignore"),
        ("softmax", "are they probabilities"),
        ("onehot", "choose one by label_volume"),
    ],
)
def test_case18_refused_with_words(made: Path, kind: str, said: str) -> None:
    with pytest.raises(UnreadableVolumeError, match=said):
        read_labels(made / "case18" / "MADE-CT" / kind / "scan_seg.nii.gz")


def test_case18_lost_header(made: Path) -> None:
    folder = made / "case18" / "MADE-CT" / "lost"
    image, labels = read_volume(folder / "scan.nii.gz"), read_labels(folder / "scan_seg.nii.gz")
    x, y, z = image.data.shape
    with pytest.raises(UnreadableVolumeError, match="was its header lost"):
        compare_grids(labels, (x, y, z), image.affine)


def test_case18_pictures_and_empty(made: Path) -> None:
    folder = made / "case18" / "MADE-CT"
    for kind, values in (("rgb", {0, 255}), ("empty", {0}), ("uint8slope", {0, 1})):
        assert set(np.unique(read_labels(folder / kind / "scan_seg.nii.gz").data)) == values


TASKS = {
    "gaps": "classes: {background: 0, a: [1, 2], b: 100, c: 201}",
    "free": "classes: {background: 0, a: 1000, b: 2035}",
    "rgb": "classes: {background: 0, a: 255}",
    "ignore": "classes: {a: [1, 2], b: 2}, regions: true, ignore: 3",
}


@pytest.mark.parametrize("name", [*TASKS, "sessions"])
def test_case22_tasks(made: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    from voxmix.downstream.build_cases import build_cases
    from voxmix.downstream.task_file import read_tasks
    from voxmix.volumes.recipe import Recipe

    classes = TASKS.get(name, "classes: {background: 0, a: 1}, subject_pattern: 'pat\\d+'")
    row = f"made: {{kind: segmentation, domain: ABD-CT, layout: nnunet, source: T-CT, {classes}}}"
    (tmp_path / "tasks.yaml").write_text(row, encoding="utf-8")
    task = read_tasks(tmp_path / "tasks.yaml")["made"]
    recipe = Recipe(spacing_mm=2.5, min_shape=(16, 16, 16))
    found, _ = build_cases(task, made / "case22" / name, root=tmp_path / "cases", recipe=recipe, crop=16)
    assert found.set_aside == {}
    assert len(found.cases) == (18 if name == "sessions" else 7)
    assert not any("cannot be learned" in note for note in found.notes)
    if name == "ignore":
        assert set(np.unique(found.labels(found.cases[0]))) == {0, 1, 2, 255}
    if name == "sessions":
        sides: dict[str, set[str]] = {}
        for case in found.cases:
            sides.setdefault(case.volume.subject, set()).add(case.part)
        assert len(sides) == 6
        assert all(len(parts) == 1 for parts in sides.values())


def test_case22_sessions_are_named(made: Path) -> None:
    found = propose_persons(read_source(made / "case22" / "sessions")[0])
    assert found is not None
    assert (found.pattern, found.sizes) == (r"pat\d+", (3,) * 6)


def test_case26_sessions_of_one_person_stay_together(made: Path) -> None:
    found = read_source(made / "case26")[0]
    assert [len(found.subjects(domain)) for domain in ("MADE-CT", "MADE-MR")] == [6, 6]
    assert len(remarks(found)) == 2
    for seed in range(10):
        sides = found.split(seed=seed).sides()
        assert len(sides) == 12
