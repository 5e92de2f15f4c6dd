"""Miniatures of every public data set's layout become cases, with the traps of each."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.table import tasks_of_sets
from voxmix.datasets.task import Task
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.labeled_images import read_labeled_images
from voxmix.errors import InputError
from voxmix.volumes.intensity import IntensityRule

BY_NAME = {task.name: task for task in tasks_of_sets()}
Build = Callable[..., CaseSet]
Write = Callable[..., Path]


def cube(seed: int, *values: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and a label map that holds ``values``."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((18, 18, 18), np.uint8)
    for number, value in enumerate(values):
        labels[3 * number : 3 * number + 3, 4:12, 4:12] = value
    return (rng.uniform(0, 0.4, labels.shape) + 0.5 * (labels > 0)).astype(np.float32), labels


def test_amos_ct_and_mri_apart(tmp_path: Path, build: Build, write_image: Write) -> None:
    for number in (1, 2, 3, 500, 501, 502, 503):
        image, labels = cube(number, 1, 6, 15)
        write_image(tmp_path / f"d/imagesTr/amos_{number:04d}.nii.gz", image)
        write_image(tmp_path / f"d/labelsTr/amos_{number:04d}.nii.gz", labels)
    write_image(tmp_path / "d/imagesTs/amos_0600.nii.gz", cube(9)[0])
    ct = build(BY_NAME["amos-ct"], tmp_path / "d")
    mri = build(replace(BY_NAME["amos-mri"], domain="MR", source="ABD-MRI"), tmp_path / "d")
    assert [len(ct.part(part)) for part in ("train", "validation", "test")] == [2, 1, 1]
    assert [len(mri.part(part)) for part in ("train", "validation", "test")] == [1, 1, 1]
    assert len(ct.classes) == 16
    assert mri.set_aside == {"no label map": 1}
    assert set(np.unique(ct.labels(ct.cases[0]))) == {0, 1, 6, 15}


def brats(root: Path, write: Write, triples: dict[str, tuple[int, ...]]) -> Path:
    for visit, values in triples.items():
        image, labels = cube(len(visit) + hash(visit) % 97, *values)
        for contrast in ("t1n", "t1c", "t2w", "t2f"):
            noise = np.random.default_rng([len(contrast), *map(ord, visit + contrast)]).uniform(
                0, 0.1, image.shape
            )
            write(root / visit / f"{visit}-{contrast}.nii.gz", (image + noise).astype(np.float32))
        write(root / visit / f"{visit}-seg.nii.gz", labels)
    return root


def test_brats_visits_stay_together_and_older_labels_are_named(
    tmp_path: Path, build: Build, write_image: Write
) -> None:
    triples = {
        "BraTS-GLI-00000-000": (1, 2, 3),
        "BraTS-GLI-00000-001": (1, 2, 3),
        "BraTS-GLI-00001-000": (1, 2, 4),
        "BraTS-GLI-00002-000": (2,),
        "BraTS-GLI-00003-000": (1, 3, 4),
        "BraTS-GLI-00004-000": (1, 2, 3),
    }
    cases = build(BY_NAME["brats-t1"], brats(tmp_path / "d", write_image, triples))
    assert len(cases.cases) == 10  # two contrasts of five visits
    assert cases.set_aside == {"label map with 3 and 4, which is 3 in older editions": 2}
    assert any("older edition" in note and "4 for 3" in note for note in cases.notes)
    by_subject: dict[str, set[str]] = {}
    for case in cases.cases:
        by_subject.setdefault(case.volume.subject, set()).add(case.part)
        assert set(np.unique(cases.labels(case))) <= {0, 1, 2, 3}
    assert len(by_subject) == 4
    assert all(len(parts) == 1 for parts in by_subject.values())


def test_hecktor_takes_the_ct_and_its_label(tmp_path: Path, build: Build, write_image: Write) -> None:
    for number in range(4):
        name = f"CHUM-{number:03d}"
        image, labels = cube(number, 1, 2)
        write_image(tmp_path / f"d/Task 1/{name}/{name}__CT.nii.gz", image)
        write_image(
            tmp_path / f"d/Task 1/{name}/{name}__PT.nii.gz", image[::2, ::2, ::2] * 3, np.diag([4.0, 4, 4, 1])
        )
        write_image(tmp_path / f"d/Task 1/{name}/{name}.nii.gz", labels)
        write_image(tmp_path / f"d/Task 2/{name}/{name}__CT.nii.gz", image)
    cases = build(BY_NAME["hecktor"], tmp_path / "d")
    assert len(cases.cases) == 4
    assert cases.set_aside == {"the same patient is in another task": 4}
    assert {case.volume.domain for case in cases.cases} == {"HN-CT"}


def test_bhsd_groups_five_kinds_into_the_papers_number(
    tmp_path: Path, build: Build, write_image: Write
) -> None:
    for number in range(3):
        image, labels = cube(number, 1, 2, 3, 4, 5)
        write_image(tmp_path / f"d/label_192/images/{number}.nii.gz", image)
        write_image(tmp_path / f"d/label_192/ground truths/{number}.nii.gz", labels)
    cases = build(BY_NAME["bhsd"], tmp_path / "d")
    case = cases.cases[0]
    stored = np.asarray(cases.cache.labels(case.volume))
    inside, around = np.isin(stored, (2, 3)), np.isin(stored, (1, 4, 5))
    assert np.array_equal(cases.labels(case), inside * 1 + around * 2)


def test_oasis_takes_the_rated(tmp_path: Path, build: Build) -> None:
    rows = ["ID,M/F,CDR"]
    for number, rating in enumerate(("0", "0.5", "1", "", "0", "2", "0", "0", "0"), start=1):
        name = f"OAS1_{number:04d}_MR1"
        path = tmp_path / f"d/disc1/{name}/PROCESSED/MPRAGE/SUBJ_111/{name}_mpr_n4_anon_sbj_111.hdr"
        path.parent.mkdir(parents=True)
        data = (1000 * cube(number, 1, 2)[0]).astype(np.int16)
        nibabel.Spm99AnalyzeImage(data, np.diag([-1.0, 1, 1, 1])).to_filename(path)
        rows.append(f"{name},F,{rating}")
    (tmp_path / "d/oasis_cross-sectional.csv").write_text("\n".join(rows), encoding="utf-8")
    rule = IntensityRule(kind="window", low=0, high=1000)
    cases = build(replace(BY_NAME["oasis"], intensity=rule), tmp_path / "d")
    assert sorted(case.target for case in cases.cases if case.target is not None) == [0] * 5 + [1] * 3
    assert cases.set_aside == {"no class is given": 1}


def test_synbrain_is_a_folder_per_class(tmp_path: Path, build: Build, write_image: Write) -> None:
    for kind in "abcde":
        for number in range(3):
            write_image(tmp_path / f"d/{kind}/{kind}{number}.nii.gz", cube(ord(kind) * 7 + number, 1)[0])
    cases = build(BY_NAME["synbrain-pet"], tmp_path / "d")
    assert cases.classes == tuple("abcde")
    assert len(cases.cases) == 15
    with pytest.raises(InputError, match="needs 6 classes, found 5"):
        build(replace(BY_NAME["synbrain-pet"], class_count=6), tmp_path / "d")


@pytest.mark.parametrize("edge", [28, 64])
def test_organmnist_keeps_the_publishers_split_and_fills_the_crop(
    tmp_path: Path, build: Build, edge: int
) -> None:
    sizes = {"train": 4, "val": 2, "test": 3}
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for name, count in sizes.items():
        arrays[f"{name}_images"] = rng.integers(0, 256, (count, edge, edge, edge), dtype=np.uint8)
        arrays[f"{name}_labels"] = np.arange(count, dtype=np.uint8)[:, None]
    (tmp_path / "d").mkdir()
    np.savez(tmp_path / "d/organmnist3d.npz", **arrays)
    cases = build(BY_NAME["organmnist3d"], tmp_path / "d")
    found = [len(cases.part(part)) for part in ("train", "validation", "test")]
    assert found == [4, 2, 3]
    assert cases.classes[10] == "pancreas"
    assert {case.volume.shape for case in cases.cases} == {(16, 16, 16)}
    assert sorted(c.target for c in cases.part("test") if c.target is not None) == [0, 1, 2]
    assert any("no training case shows bladder" in note for note in cases.notes)


def own(classes: dict[str, tuple[int, ...]], layout: str, source: str) -> Task:
    return Task(
        name="own", kind="segmentation", domain="CT", source=source, layout=layout, classes=classes,
        split=(0.6, 0.2, 0.2),
    )  # fmt: skip


def test_nnunet_and_decathlon(tmp_path: Path, build: Build, write_image: Write) -> None:
    import json

    for number in range(3):
        image, labels = cube(number, 1)
        write_image(tmp_path / f"Dataset001_X/imagesTr/c_{number}_0000.nii.gz", image)
        write_image(tmp_path / f"Dataset001_X/labelsTr/c_{number}.nii.gz", labels)
        write_image(tmp_path / f"Task01_Y/imagesTr/y_{number}.nii.gz", image)
        write_image(tmp_path / f"Task01_Y/labelsTr/y_{number}.nii.gz", labels)
    (tmp_path / "Dataset001_X/dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "labels": {"background": 0, "a": 1}}
        ),
        encoding="utf-8",
    )
    training = [{"image": f"./imagesTr/y_{n}.nii.gz", "label": f"./labelsTr/y_{n}.nii.gz"} for n in range(3)]
    (tmp_path / "Task01_Y/dataset.json").write_text(
        json.dumps({"name": "Y", "modality": {"0": "CT"}, "training": training}), encoding="utf-8"
    )
    classes = {"background": (0,), "a": (1,)}
    assert len(build(own(classes, "nnunet", "X-CT"), tmp_path / "Dataset001_X").cases) == 3
    assert len(build(own(classes, "decathlon", "Y-CT"), tmp_path / "Task01_Y").cases) == 3


def test_what_the_layout_calls_the_domain_is_said(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / "CT/a/a.nii.gz", cube(0, 1)[0])
    with pytest.raises(InputError, match="HN-CT"):
        read_labeled_images(
            replace(own({"background": (0,), "a": (1,)}, "folder", ""), domain="HN-CT"), tmp_path
        )
