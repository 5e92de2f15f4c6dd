"""Scores of one prediction: Dice and surface distance per class by MONAI, accuracy and AUC by torchmetrics.

Empty classes, the policy of nnU-Net: a class that neither prediction nor reference holds has no score (None:
not scored, and counted as such); one that is predicted where the reference has none is a false alarm and
scores Dice 0. MONAI's own default would leave the false alarm out, and the challenge of BraTS gives 1 to a
class that both lack. A surface distance needs both surfaces: it is None where either is missing.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_auroc

from voxmix._optional import require
from voxmix.errors import InputError

_monai = require("monai.metrics", extra="train")

Array = np.ndarray | Tensor
Scores = dict[str, dict[str, float | None]]


def segmentation_scores(
    prediction: Array,
    reference: Array,
    spacing_mm: float | Sequence[float],
    classes: Sequence[str],
    sigmoid: bool = False,
    surface: bool = False,
    *,
    background: bool = False,
    ignored: Array | None = None,
) -> Scores:
    """Return Dice, and if wanted the average symmetric surface distance, of every class of one case.

    ``Dice = 2 |P and R| / (|P| + |R|)``. The surface distance is the mean, over the border voxels of both,
    of the distance to the other's nearest border voxel.

    Args:
        prediction, reference: label maps (x, y, z) of whole numbers; with ``sigmoid`` one mask of 0 and 1
            per class, (class, x, y, z). A first axis of one is dropped from a label map.
        spacing_mm: edge of a voxel, or its three edges.
        classes: name of label 0 (the background), 1, ...; with ``sigmoid`` the name of every mask.
        sigmoid: whether classes may overlap, each with its mask.
        surface: whether to measure surface distances, which takes longer.
        background: whether label 0 is scored too, as the paper does for AMOS (table 7).
        ignored: voxels (x, y, z) that nobody knows: they are of no class, in neither.

    Returns:
        ``{"dice": {class: value or None}}``, with ``"surface_distance_mm"`` beside it if wanted.

    Raises:
        InputError: shapes that do not agree, or a value that is no label of a class.
    """
    names = list(classes)
    predicted = _masks(prediction, names, sigmoid=sigmoid, what="prediction")
    given = _masks(reference, names, sigmoid=sigmoid, what="reference")
    if predicted.shape != given.shape:
        raise InputError(
            f"prediction has shape {tuple(predicted.shape[1:])}, reference {tuple(given.shape[1:])}; "
            "score them on one grid"
        )
    if ignored is not None:
        known = ~torch.as_tensor(ignored, dtype=torch.bool)
        predicted, given = predicted & known, given & known
    if not sigmoid and not background:
        names, predicted, given = names[1:], predicted[1:], given[1:]
    in_prediction, in_reference = (masks.flatten(1).any(dim=1) for masks in (predicted, given))
    dice = _monai.compute_dice(predicted[None], given[None], include_background=True, ignore_empty=False)[0]
    scores: Scores = {"dice": _named(names, dice, known=in_prediction | in_reference)}
    if surface:
        both = in_prediction & in_reference
        distance = torch.full((len(names),), torch.nan)
        if both.any():
            distance[both] = _surface_distance(predicted[both], given[both], spacing_mm).to(distance)
        scores["surface_distance_mm"] = _named(names, distance, known=both)
    return scores


def classification_scores(truth: Array, probability: Array) -> dict[str, float | None]:
    """Return accuracy, balanced accuracy and AUC of a set of cases.

    Balanced accuracy is the mean over the classes that occur of the share of their cases that were found. AUC
    is one against the rest, the plain mean over the classes that some cases have and others have not;
    torchmetrics would count a class without cases as 0.

    Args:
        truth: class per case, whole numbers from 0, (case,).
        probability: (case, class).

    Returns:
        ``accuracy``, ``balanced_accuracy`` and ``auc``; ``auc`` is None where only one class occurs.

    Raises:
        InputError: no case, shapes that do not agree, a class without a column, or values that are no
            probabilities.
    """
    labels, values = torch.as_tensor(truth).long(), torch.as_tensor(probability).double()
    if values.ndim != 2 or labels.shape != values.shape[:1] or not len(labels):
        raise InputError(
            f"truth has shape {tuple(labels.shape)} and probability {tuple(values.shape)}; expected (case,) and "
            "(case, class) with at least one case"
        )
    count = values.shape[1]
    if int(labels.min()) < 0 or int(labels.max()) >= count:
        raise InputError(
            f"classes {int(labels.min())} to {int(labels.max())} occur, probability has {count} columns; "
            "number the classes from 0"
        )
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError("a probability is not between 0 and 1; give those after softmax")
    occurs = torch.bincount(labels, minlength=count) > 0
    found = multiclass_accuracy(values, labels, num_classes=count, average=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No (positive|negative) samples")  # left out below
        areas = multiclass_auroc(values, labels, num_classes=count, average=None)
    several = int(occurs.sum()) > 1
    return {
        "accuracy": float(multiclass_accuracy(values, labels, num_classes=count, average="micro")),
        "balanced_accuracy": float(found[occurs].mean()),
        "auc": float(areas[occurs].mean()) if several else None,
    }


def _masks(values: Array, names: list[str], *, sigmoid: bool, what: str) -> Tensor:
    """Return one mask per class, (class, x, y, z)."""
    given = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if sigmoid:
        if given.ndim != 4 or len(given) != len(names):
            raise InputError(
                f"{what} has shape {given.shape}, expected ({len(names)}, x, y, z): a mask per class"
            )
        if not np.isin(given, (0, 1)).all():
            raise InputError(f"{what} has other values than 0 and 1; threshold it first")
        return torch.from_numpy(given.astype(bool))
    if given.ndim == 4 and len(given) == 1:
        given = given[0]
    if given.ndim != 3:
        raise InputError(f"{what} has shape {given.shape}, expected (x, y, z): a label map")
    labels = range(len(names))
    unknown = ~np.isin(given, labels)
    if unknown.any():
        raise InputError(
            f"{what} holds the value {given[unknown][0]:g}; the labels are 0 to {len(names) - 1} ({names})"
        )
    return torch.from_numpy(np.stack([given == label for label in labels]))


def _surface_distance(a: Tensor, b: Tensor, spacing_mm: float | Sequence[float]) -> Tensor:
    """Return the average symmetric surface distance per class, in mm."""
    spacing = [float(edge) for edge in np.broadcast_to(np.asarray(spacing_mm), 3)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy")  # MONAI 1.6 warns of itself
        found: Tensor = _monai.compute_average_surface_distance(
            a[None], b[None], include_background=True, symmetric=True, spacing=spacing
        )
    return found[0]


def _named(names: list[str], values: Tensor, *, known: Tensor) -> dict[str, float | None]:
    return {
        name: float(value) if there else None for name, value, there in zip(names, values, known, strict=True)
    }
