"""The linear head is scikit-learn's logistic regression, and its gradient is zero by hand."""

from typing import Any

import numpy as np
import pytest

from voxmix.probes.logistic import Linear, Turned, fit_classes, fit_labels, probabilities

PENALTIES = (1e-4, 1e-2, 1.0)
EXACT: dict[str, Any] = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}


def data(
    images: int, features: int, outputs: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return correlated features of unlike size, labels of which some are not known, and classes."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(images, 8)) @ rng.normal(size=(8, features))
    x = (mixed + rng.normal(size=(images, features))) * rng.uniform(0.01, 100, features) + 5
    hidden = mixed[:, :outputs] + rng.normal(size=(images, outputs))
    labels = (hidden > 0).astype(np.float64)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    return x, labels, hidden.argmax(axis=1)


def standard(x: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean(axis=0)) / x.std(axis=0))


def gradient_by_hand(
    x: np.ndarray, truth: np.ndarray, probability: np.ndarray, weight: np.ndarray, penalty: float
) -> np.ndarray:
    """Return the gradient of mean log loss and penalty with respect to weights and bias: (p - y)^T (x, 1) / n + penalty w."""
    rest = (probability - truth) / len(x)
    return np.concatenate([rest.T @ standard(x) + penalty * weight, rest.sum(axis=0)[:, None]], axis=1)


@pytest.mark.parametrize(("images", "features"), [(120, 12), (40, 70)])
def test_the_gradient_of_each_label_is_zero_over_the_images_that_know_it(images: int, features: int) -> None:
    x, labels, _ = data(images, features, 3)
    turned = Turned(x)
    for penalty, fit in zip(PENALTIES, fit_labels(turned, labels, PENALTIES), strict=True):
        probability = probabilities(fit.logits(x))
        assert fit.gradient < 1e-6
        for k in range(3):
            known = np.isfinite(labels[:, k])
            rest = (probability[known, k] - labels[known, k]) / known.sum()
            own = rest @ standard(x)[known] + penalty * fit.weight[k]
            assert np.abs([*own, rest.sum()]).max() < 1e-6


@pytest.mark.parametrize(("images", "features"), [(120, 12), (40, 70)])
def test_the_gradient_of_all_classes_is_zero(images: int, features: int) -> None:
    x, _, target = data(images, features, 4)
    for penalty, fit in zip(PENALTIES, fit_classes(Turned(x), target, 4, PENALTIES), strict=True):
        found = probabilities(fit.logits(x), classes=4)
        assert np.abs(found.sum(axis=1) - 1).max() < 1e-12
        gradient = gradient_by_hand(x, np.eye(4)[target], found, fit.weight, penalty)
        assert np.abs(gradient).max() < 1e-6


@pytest.mark.parametrize("classes", [2, 4])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, labels, target = data(150, 30, classes)
    turned = Turned(x)
    for penalty, fit in zip(PENALTIES, fit_classes(turned, target, classes, PENALTIES), strict=True):
        theirs = linear_model.LogisticRegression(C=1 / (penalty * len(x)), **EXACT)
        expected = theirs.fit(standard(x), target).predict_proba(standard(x))
        assert np.abs(probabilities(fit.logits(x), classes=classes) - expected).max() < 1e-5
    for penalty, fit in zip(PENALTIES, fit_labels(turned, labels, PENALTIES), strict=True):
        for k in range(classes):
            known = np.isfinite(labels[:, k])
            theirs = linear_model.LogisticRegression(C=1 / (penalty * known.sum()), **EXACT)
            theirs.fit(standard(x)[known], labels[known, k])
            expected = theirs.predict_proba(standard(x))[:, 1]
            assert np.abs(probabilities(fit.logits(x))[:, k] - expected).max() < 1e-5


def test_problems_that_are_solved_side_by_side_are_those_solved_alone() -> None:
    x, labels, target = data(80, 20, 3)
    turned = Turned(x)
    together = fit_labels(turned, labels, PENALTIES)
    for place, penalty in enumerate(PENALTIES):
        for k in range(3):
            alone = fit_labels(turned, labels[:, [k]], (penalty,))[0]
            assert np.abs(alone.logits(x)[:, 0] - together[place].logits(x)[:, k]).max() < 1e-3
    alone = fit_classes(turned, target, 3, (1e-2,))[0]
    assert np.abs(alone.logits(x) - fit_classes(turned, target, 3, PENALTIES)[1].logits(x)).max() < 1e-4


def test_two_classes_are_one_label() -> None:
    x, _, target = data(60, 10, 2)
    classes = fit_classes(Turned(x), target, 2, (0.1,))[0]
    label = fit_labels(Turned(x), (target == 1).astype(np.float64)[:, None], (0.1,))[0]
    assert np.array_equal(classes.weight, label.weight)
    assert np.allclose(
        probabilities(classes.logits(x), classes=2)[:, 1], probabilities(label.logits(x))[:, 0]
    )


def test_scores_do_not_depend_on_the_unit_of_a_feature_and_a_constant_one_says_nothing() -> None:
    x, labels, _ = data(90, 10, 2)
    plain = fit_labels(Turned(x), labels, (1e-2,))[0].logits(x)
    scaled = x * np.logspace(-6, 6, 10) - 1000
    assert np.abs(fit_labels(Turned(scaled), labels, (1e-2,))[0].logits(scaled) - plain).max() < 1e-4
    more = np.concatenate([x, np.full((90, 3), 7.3)], axis=1)
    assert np.abs(fit_labels(Turned(more), labels, (1e-2,))[0].logits(more) - plain).max() < 1e-4


def test_a_label_of_one_kind_gives_no_wild_numbers() -> None:
    x, labels, _ = data(50, 10, 2)
    labels[:, 0] = 1.0
    fit: Linear = fit_labels(Turned(x), labels, (1e-4,))[0]
    assert np.isfinite(fit.logits(x)).all()
    assert probabilities(fit.logits(x))[:, 0].min() > 0.999
