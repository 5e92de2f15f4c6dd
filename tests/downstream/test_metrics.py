"""Scores against values worked out by hand and against plain NumPy and SciPy formulas."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.stats import rankdata

from voxmix.downstream.metrics import classification_scores, segmentation_scores
from voxmix.errors import InputError

CLASSES = ["background", "liver", "spleen"]


def label_map(*boxes: tuple[int, slice], shape: tuple[int, int, int] = (6, 5, 4)) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    for value, box in boxes:
        labels[box] = value
    return labels


def test_dice_of_cases_worked_out_by_hand() -> None:
    # liver: 40 voxels, 20 of them found, 20 more claimed: 2*20/(40+40). spleen: 20 in the reference, none found.
    reference = label_map((1, slice(0, 2)), (2, slice(4, 5)))
    prediction = label_map((1, slice(1, 3)))
    assert segmentation_scores(prediction, reference, 1.0, CLASSES) == {"dice": {"liver": 0.5, "spleen": 0.0}}
    with_background = segmentation_scores(prediction, reference, 1.0, CLASSES, background=True)["dice"]
    # background: 60 in the reference, 80 in the prediction, 40 in both
    assert with_background["background"] == pytest.approx(2 * 40 / (60 + 80))
    assert list(with_background) == CLASSES


@pytest.mark.parametrize(
    ("predicted", "expected"), [(False, None), (True, 0.0)], ids=["both empty", "false alarm"]
)
def test_an_empty_class_is_not_scored_and_a_false_alarm_is_zero(
    predicted: bool, expected: float | None
) -> None:
    reference = label_map((1, slice(0, 2)))
    prediction = label_map((1, slice(0, 2)), *([(2, slice(5, 6))] if predicted else []))
    scores = segmentation_scores(prediction, reference, 1.0, CLASSES, surface=True)
    assert scores["dice"] == {"liver": 1.0, "spleen": expected}
    assert scores["surface_distance_mm"] == {"liver": 0.0, "spleen": None}


def test_dice_equals_the_formula_on_random_overlapping_masks() -> None:
    rng = np.random.default_rng(0)
    names = ["WT", "TC", "ET"]
    prediction, reference = rng.random((2, 3, 7, 6, 5)) < np.array([0.6, 0.3, 0.1])[:, None, None, None]
    found = segmentation_scores(torch.from_numpy(prediction), reference, 1.0, names, sigmoid=True)["dice"]
    for k, name in enumerate(names):
        overlap = 2 * (prediction[k] & reference[k]).sum() / (prediction[k].sum() + reference[k].sum())
        assert found[name] == pytest.approx(overlap, abs=1e-6)


def test_softmax_and_sigmoid_agree_where_classes_do_not_overlap() -> None:
    rng = np.random.default_rng(1)
    prediction, reference = rng.integers(0, 3, (2, 8, 7, 6))
    masks = [np.stack([labels == 1, labels == 2]) for labels in (prediction, reference)]
    flat = segmentation_scores(prediction, reference, 2.0, CLASSES, surface=True)
    assert flat == segmentation_scores(*masks, 2.0, CLASSES[1:], sigmoid=True, surface=True)


def surface_distance(a: np.ndarray, b: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Mean over the border voxels of both of the distance to the other's border."""
    edges = [mask & ~binary_erosion(mask) for mask in (a, b)]
    away = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return float(np.concatenate([away[1][edges[0]], away[0][edges[1]]]).mean())


def test_surface_distance_of_shifted_plates_is_the_shift_in_mm() -> None:
    reference, prediction = label_map((1, slice(1, 2))), label_map((1, slice(4, 5)))
    found = segmentation_scores(prediction, reference, (1.5, 9.0, 9.0), CLASSES, surface=True)
    assert found["surface_distance_mm"]["liver"] == pytest.approx(3 * 1.5)


def test_surface_distance_equals_distance_maps_with_uneven_voxels() -> None:
    grid = np.mgrid[-1:1:20j, -1:1:18j, -1:1:16j]
    reference = ((grid**2).sum(axis=0) < 0.5).astype(int)
    prediction = (((grid - 0.15) ** 2).sum(axis=0) < 0.4).astype(int)
    spacing = (1.0, 2.0, 3.0)
    found = segmentation_scores(prediction, reference, spacing, ["background", "ball"], surface=True)
    expected = surface_distance(prediction > 0, reference > 0, spacing)
    assert found["surface_distance_mm"]["ball"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("prediction", "reference", "sigmoid", "words"),
    [
        (np.zeros((4, 4, 4)), np.zeros((4, 4, 5)), False, "one grid"),
        (np.full((4, 4, 4), 3), np.zeros((4, 4, 4)), False, "prediction holds the value 3; the labels are 0"),
        (np.zeros((4, 4, 4)), np.full((4, 4, 4), 0.5), False, "reference holds the value 0.5"),
        (np.zeros((4, 4)), np.zeros((4, 4)), False, "expected .x, y, z."),
        (np.full((3, 2, 2, 2), 0.7), np.zeros((3, 2, 2, 2)), True, "threshold it first"),
        (np.zeros((2, 2, 2, 2)), np.zeros((3, 2, 2, 2)), True, "a mask per class"),
    ],
)
def test_what_is_no_segmentation_is_refused(
    prediction: np.ndarray, reference: np.ndarray, sigmoid: bool, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        segmentation_scores(prediction, reference, 1.0, CLASSES, sigmoid=sigmoid)


def test_accuracies_and_area_of_a_set_worked_out_by_hand() -> None:
    truth = np.array([0, 0, 0, 1])
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    probability[3] = [0.45, 0.55]
    found = classification_scores(truth, probability)
    # found: 0, 0, 1, 1. Class 0: 2 of 3, class 1: 1 of 1. The case of class 1 is above 2 of 3 of class 0.
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["auc"] == pytest.approx(2 / 3)


def test_area_equals_the_rank_formula_with_ties_and_leaves_absent_classes_out() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 40)
    probability = rng.dirichlet(np.ones(4), 40).round(1)
    areas = []
    for k in range(3):
        own = truth == k
        ranks = rankdata(probability[:, k])
        count = own.sum()
        areas.append((ranks[own].sum() - count * (count + 1) / 2) / (count * (~own).sum()))
    assert classification_scores(truth, probability)["auc"] == pytest.approx(np.mean(areas), abs=1e-6)


def test_one_class_alone_has_no_area() -> None:
    assert classification_scores(np.array([1, 1]), np.array([[0.3, 0.7], [0.6, 0.4]])) == {
        "accuracy": 0.5,
        "balanced_accuracy": 0.5,
        "auc": None,
    }


@pytest.mark.parametrize(
    ("truth", "probability", "words"),
    [
        (np.zeros(0, dtype=int), np.zeros((0, 2)), "at least one case"),
        (np.array([0, 2]), np.full((2, 2), 0.5), "probability has 2 columns"),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]), "not between 0 and 1"),
        (np.array([0, 1]), np.array([[3.0, -1.0], [0.5, 0.5]]), "not between 0 and 1"),
    ],
)
def test_what_is_no_classification_is_refused(truth: np.ndarray, probability: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        classification_scores(truth, probability)
