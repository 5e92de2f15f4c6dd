"""Label values as programs leave them: numbers above 255, what nobody knows, and sessions of one person."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from voxmix.datasets.task import IGNORED, Task
from voxmix.downstream.cases import CaseSet, label_table
from voxmix.downstream.finetune import finetune
from voxmix.downstream.inference import CasePrediction, ignored_voxels, score
from voxmix.downstream.loss import build_loss
from voxmix.downstream.metrics import segmentation_scores
from voxmix.downstream.predictions import file_values
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.spec import FinetuneSpec
from voxmix.downstream.task_file import read_tasks
from voxmix.downstream.transforms import to_regions
from voxmix.errors import InputError
from voxmix.run_settings import ModelSettings

Build = Callable[..., CaseSet]


def renumber(dataset: Path, values: dict[int, int], dtype: type = np.uint16) -> None:
    """Write the label maps again with other values."""
    for path in dataset.rglob("*_seg.nii.gz"):
        image = nibabel.load(path)
        data = np.asarray(image.dataobj)  # type: ignore[attr-defined]
        changed = np.zeros(data.shape, dtype)
        for old, new in values.items():
            changed[data == old] = new
        nibabel.Nifti1Image(changed, image.affine).to_filename(path)  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_large_values_are_the_same_task(dataset: Path, build: Build, task: Task, dtype: type) -> None:
    plain = build(task, dataset)
    renumber(dataset, {1: 1000, 2: 2035}, dtype)
    large = replace(task, classes={"background": (0,), "box": (1000,), "bar": (2035,)})
    found = build(large, dataset)
    assert len(found.cases) == 10
    before = {case.name: case for case in plain.cases}
    for case in found.cases:
        np.testing.assert_array_equal(found.labels(case), plain.labels(before[case.name]))
    assert file_values(large).tolist() == [0, 1000, 2035]


def test_large_values_may_be_unlisted_or_overlap(dataset: Path, build: Build, task: Task) -> None:
    renumber(dataset, {1: 1000, 2: 2035})
    rest = replace(task, classes={"background": (0,), "bar": (2035,)}, unlisted="background")
    assert len(build(rest, dataset).cases) == 10
    both = replace(task, regions=True, classes={"all": (1000, 2035), "bar": (2035,)})
    found = build(both, dataset)
    labels = found.labels(found.cases[0])
    masks = to_regions(torch.from_numpy(labels)[None], Protocol(task=both, model=_model(), cases=""))[0]
    assert masks.sum((1, 2, 3)).tolist() == [(labels > 0).sum(), (labels == 2).sum()]
    assert file_values(both).tolist() == [0, 1000, 2035]
    assert sorted(set(label_table(both))) == [0, 1, 2]


def _model() -> ModelSettings:
    return ModelSettings(
        crop=16, patch=4, width=24, depth=2, heads=2, decoder_width=12, decoder_depth=1, decoder_heads=2
    )


def test_digests_of_tasks_without_the_new_keys_stay(task: Task) -> None:
    assert not {"ignore", "subject_pattern"} & task.as_dict().keys()
    assert replace(task, ignore=(3,)).as_dict()["ignore"] == (3,)


@pytest.mark.parametrize("regions", [False, True])
def test_what_is_ignored_counts_in_no_loss(task: Task, regions: bool) -> None:
    classes = {"box": (1, 2), "bar": (2,)} if regions else task.classes
    plain = replace(task, classes=classes, regions=regions)
    torch.manual_seed(0)
    logits = torch.randn(2, len(classes), 6, 6, 6, requires_grad=True)
    labels = torch.randint(0, 3, (2, 6, 6, 6), dtype=torch.uint8)
    usual = build_loss(Protocol(task=plain, model=_model(), cases=""))
    loss = build_loss(Protocol(task=replace(plain, ignore=(9,)), model=_model(), cases=""))
    torch.testing.assert_close(loss(logits, labels), usual(logits, labels))
    labels[:, :2] = IGNORED
    value = loss(logits, labels)
    value.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, :2].any()
    assert logits.grad[:, :, 2:].any()
    torch.testing.assert_close(value, usual(logits[:, :, 2:], labels[:, 2:]))
    labels[:] = IGNORED
    assert torch.isfinite(loss(logits, labels))


def test_what_is_ignored_counts_in_no_score() -> None:
    rng = np.random.default_rng(0)
    prediction, reference = rng.integers(0, 3, (2, 8, 8, 8))
    ignored = np.zeros((8, 8, 8), bool)
    ignored[:3] = True
    names = ["background", "a", "b"]
    for background in (False, True):
        found = segmentation_scores(prediction, reference, 1.0, names, background=background, ignored=ignored)
        assert found == segmentation_scores(prediction[3:], reference[3:], 1.0, names, background=background)


def test_a_task_with_an_ignore_label_from_file_to_score(dataset: Path, build: Build, tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(
        "known: {kind: segmentation, domain: CT, classes: {background: 0, box: 1}, ignore: 2, split: [0.6, 0.2, 0.2],"
        " settings: {draws: 4, batch_size: 2, feature_size: 4, validations: 1}}",
        encoding="utf-8",
    )
    task = read_tasks(tmp_path / "tasks.yaml")["known"]
    assert task.ignore == (2,)
    found = build(task, dataset)
    assert len(found.cases) == 10
    protocol = Protocol(task=task, model=_model(), cases=found.digest, settings=_settings(task))
    case = found.part("test")[0]
    labels, ignored = found.labels(case), ignored_voxels(found, case)
    assert ignored is not None
    assert ignored.any()
    right = np.where(ignored, 1, labels).astype(np.uint8)  # Whatever is said there makes no difference.
    assert score(CasePrediction(case=case, labels=right), found, protocol)["scores"]["dice"] == {"box": 1.0}
    spec = FinetuneSpec(protocol=protocol, init="scratch", seed=0)
    finetune(spec, cases=found, encoder=None, folder=tmp_path / "run", threads=1)
    assert (tmp_path / "run" / "result.json").exists()


def _settings(task: Task):  # type: ignore[no-untyped-def]
    from voxmix.downstream.protocol import FinetuneSettings

    return FinetuneSettings(**task.settings)


@pytest.mark.parametrize("ignore", [(0,), (1,), (-1,), (70000,)])
def test_an_ignore_label_that_cannot_be_is_refused(task: Task, ignore: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="task boxes"):
        replace(task, ignore=ignore)


def test_sessions_are_told_and_joined_by_the_task(tmp_path: Path, build: Build, task: Task) -> None:
    rng = np.random.default_rng(0)
    for person in range(5):
        for session in range(3):
            image = rng.uniform(size=(18, 18, 18)).astype(np.float32)
            for name, data in (
                (f"pat{person}_{session}", image),
                (f"pat{person}_{session}_seg", image > 0.5),
            ):
                path = tmp_path / "data" / "CT" / f"{name}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                nibabel.Nifti1Image(data.astype(np.float32), np.diag([2.0, 2, 2, 1])).to_filename(path)
    two = replace(task, classes={"background": (0,), "bright": (1,)})
    apart = build(two, tmp_path / "data")
    assert any("15 subjects look like 5 persons" in note for note in apart.notes)
    assert any("subject_pattern: 'pat\\d+'" in note for note in apart.notes)
    joined = build(replace(two, subject_pattern=r"pat\d+"), tmp_path / "data")
    assert len({case.volume.subject for case in joined.cases}) == 5
    for part in ("train", "validation", "test"):
        assert len(joined.part(part)) % 3 == 0  # type: ignore[arg-type]
