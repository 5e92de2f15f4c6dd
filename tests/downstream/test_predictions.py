"""Predictions as files and pictures: a perfect one gives the user's own label map back; a checkpoint's path names nothing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from voxmix.datasets.task import Task
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.inference import CasePrediction
from voxmix.downstream.inits import init_name
from voxmix.downstream.predictions import (
    PredictionKeeper,
    file_values,
    label_map,
    predicted_slice,
)
from voxmix.downstream.task_file import find_task
from voxmix.encoders.interchange import PretrainedEncoder
from voxmix.errors import InputError

TURNED = np.array([[0, -2.0, 0, 30], [0, 0, 2.0, -8], [-2.0, 0, 0, 5], [0, 0, 0, 1]])


@pytest.fixture
def turned(
    tmp_path: Path, write_image: Callable[..., Path], build: Callable[..., CaseSet], task: Task
) -> CaseSet:
    """Cases whose files have turned and flipped axes, and label values 5 and 9."""
    rng = np.random.default_rng(0)
    for number in range(10):
        labels = np.zeros((20, 22, 24), np.uint8)
        x, y, z = rng.integers(3, 12, 3)
        labels[x : x + 3, y : y + 5, z : z + 7], labels[x + 1, y + 1, z] = 5, 9
        image = (rng.uniform(0, 0.3, labels.shape) + 0.05 * labels).astype(np.float32)
        write_image(tmp_path / f"data/CT/p{number}/p{number}.nii.gz", image, TURNED)
        write_image(tmp_path / f"data/CT/p{number}/p{number}_seg.nii.gz", labels, TURNED)
    own = replace(task, classes={"background": (0,), "box": (5,), "dot": (9,)})
    return build(own, tmp_path / "data")


def test_a_perfect_prediction_is_the_label_file_of_its_case(
    turned: CaseSet, protocol_of: Callable[..., object], tmp_path: Path
) -> None:
    keeper = PredictionKeeper(folder=tmp_path / "run", protocol=protocol_of(turned), nifti=True)
    for case in turned.part("test"):
        keeper(CasePrediction(case=case, labels=turned.labels(case)), turned)
    written = sorted((tmp_path / "run" / "predictions").iterdir())
    assert [path.name for path in written] == sorted(f"{case.name}.nii.gz" for case in turned.part("test"))
    originals = {
        np.asarray(nibabel.load(path).dataobj).tobytes() for path in (tmp_path / "data").rglob("*_seg.nii.gz")
    }
    for path in written:
        image = nibabel.load(path)
        assert np.asarray(image.dataobj).tobytes() in originals
        assert np.allclose(image.affine, TURNED)


def test_slices_of_two_cases_are_kept_and_none_without_pictures(
    turned: CaseSet, protocol_of: Callable[..., object], tmp_path: Path
) -> None:
    protocol = protocol_of(turned)
    for pictures in (True, False):
        keeper = PredictionKeeper(folder=tmp_path / str(pictures), protocol=protocol, pictures=pictures)
        for case in (*turned.part("test"), *turned.part("train")):
            keeper(CasePrediction(case=case, labels=turned.labels(case)), turned)
    assert not (tmp_path / "False").exists()
    with np.load(tmp_path / "True" / "montage.npz", allow_pickle=False) as stored:
        assert stored["cases"].tolist() == [case.name for case in turned.part("test")][:2]
        assert stored["classes"].tolist() == ["background", "box", "dot"]
        assert np.array_equal(stored["1/reference"], stored["1/prediction"])
        assert set(np.unique(stored["0/reference"])) <= {0, 1, 2}
        assert 0 <= stored["0/image"].min() < stored["0/image"].max() <= 1


def test_the_slice_is_where_the_reference_is_largest_whatever_was_predicted() -> None:
    reference = np.zeros((4, 4, 5), np.uint8)
    reference[0, 0, 1], reference[1:3, 1:3, 3] = 1, 2
    found = predicted_slice("a", np.zeros((4, 4, 5)), reference, np.ones((4, 4, 5), np.uint8))
    assert np.array_equal(found.reference, reference[:, :, 3])
    empty = predicted_slice("a", np.arange(5) * np.ones((4, 4, 5)) / 4, np.zeros((4, 4, 5)), reference)
    assert np.array_equal(empty.prediction, reference[:, :, 2])
    assert (empty.image == 0.5).all()
    with pytest.raises(InputError, match="differ in shape"):
        predicted_slice("a", np.zeros((4, 4, 4)), reference, reference)


def test_nested_regions_become_the_data_set_s_own_values() -> None:
    task = find_task("brats-t1", None)
    truth = np.arange(4, dtype=np.uint8).reshape(1, 1, 4)  # background, 1 necrosis, 2 edema, 3 enhancing
    masks = np.stack([np.isin(truth, [int(v) for v in values]) for values in task.classes.values()])
    assert len(masks) == 3
    assert np.array_equal(file_values(task)[label_map(masks)], truth)


def test_a_checkpoint_is_named_by_its_weights_never_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}", encoding="utf-8")
    encoder = PretrainedEncoder(
        weights={}, card={"weights_sha256": "0123456789abcdef" * 4, "run_id": "../../evil"}
    )
    assert init_name(str(tmp_path), encoder) == "checkpoint-01234567"
    assert init_name("transfer-aware", encoder) == "transfer-aware"
    assert init_name("scratch", None) == "scratch"
