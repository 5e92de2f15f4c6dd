"""What a network says of whole images, and how that scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from voxmix._optional import require
from voxmix.datasets.task import IGNORED, Part
from voxmix.downstream.cases import Case, CaseSet
from voxmix.downstream.metrics import classification_scores, segmentation_scores
from voxmix.downstream.protocol import Protocol
from voxmix.downstream.transforms import centered, to_regions


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CasePrediction:
    """What the network says of one case.

    Segmentation: ``labels`` is a label map (uint8), or with regions one mask each. Classification:
    ``probability`` of each class.
    """

    case: Case
    labels: Shaped[np.ndarray, "..."] | None = None
    probability: tuple[float, ...] | None = None


SavePrediction = Callable[[CasePrediction, CaseSet], None]


@torch.no_grad()
def window_logits(
    network: nn.Module, image: Float[Tensor, "*edge"], protocol: Protocol, *, overlap: float
) -> Float[Tensor, "class *edge"]:
    """Return logits of a whole image: windows of the encoder's crop, averaged where they overlap (MONAI)."""
    inferers = require("monai.inferers", extra="train")
    logits: Tensor = inferers.sliding_window_inference(
        image[None, None],
        roi_size=protocol.model.grid.crop,
        sw_batch_size=protocol.settings.window_batch,
        predictor=network,
        overlap=overlap,
    )
    return logits[0]


def predict(
    network: nn.Module, cases: CaseSet, case: Case, protocol: Protocol, *, overlap: float
) -> CasePrediction:
    """Return the prediction for one case, on the prepared grid (the paper's choice, A.2)."""
    device = next(network.parameters()).device
    image = cases.image(case)
    if protocol.task.kind == "classification":
        view = torch.from_numpy(centered(image, protocol.model.grid.crop).astype(np.float32)).to(device)
        with torch.no_grad():
            probability = network(view[None, None])[0].double().softmax(dim=0)
        return CasePrediction(case=case, probability=tuple(probability.tolist()))
    voxels = torch.from_numpy(np.asarray(image).astype(np.float32)).to(device)
    logits = window_logits(network, voxels, protocol, overlap=overlap)
    found = logits > 0 if protocol.task.regions else logits.argmax(dim=0)
    return CasePrediction(case=case, labels=found.to(torch.uint8).cpu().numpy())


def reference_labels(cases: CaseSet, case: Case, protocol: Protocol) -> Shaped[np.ndarray, "..."]:
    """Return what a prediction of the case is held against: its label map, or with regions one mask each.

    What is ignored is background here; :func:`ignored_voxels` says where it is.
    """
    labels: np.ndarray = np.ascontiguousarray(cases.labels(case))
    if protocol.task.ignore:
        labels = np.where(labels == IGNORED, 0, labels).astype(labels.dtype)
    if not protocol.task.regions:
        return labels
    masks: np.ndarray = to_regions(torch.from_numpy(labels)[None], protocol)[0].to(torch.uint8).numpy()
    return masks


def ignored_voxels(cases: CaseSet, case: Case) -> Bool[np.ndarray, "x y z"] | None:
    """Return where nobody knows the label of a case, None where the task ignores nothing."""
    return np.asarray(cases.labels(case)) == IGNORED if cases.task.ignore else None


def score(
    prediction: CasePrediction, cases: CaseSet, protocol: Protocol, *, surface: bool = False
) -> dict[str, Any]:
    """Return one row of ``cases`` in a result: the case's digests, its domain, and its scores or probabilities."""
    case, task = prediction.case, protocol.task
    row: dict[str, Any] = {"case": case.name, "subject": case.volume.subject, "domain": case.volume.domain}
    if prediction.labels is None:
        return {**row, "truth": case.target, "probability": list(prediction.probability or ())}
    scores = segmentation_scores(
        prediction.labels,
        reference_labels(cases, case, protocol),
        case.volume.spacing_mm,
        cases.classes,
        sigmoid=task.regions,
        surface=surface,
        background=task.score_background,
        ignored=ignored_voxels(cases, case),
    )
    return {**row, "scores": scores}


def scored(
    network: nn.Module,
    cases: CaseSet,
    part: Part,
    protocol: Protocol,
    *,
    overlap: float,
    surface: bool = False,
    save: SavePrediction | None = None,
) -> list[dict[str, Any]]:
    """Return one row per case of a part; ``save`` gets every prediction."""
    rows = []
    for case in cases.part(part):
        found = predict(network, cases, case, protocol, overlap=overlap)
        rows.append(score(found, cases, protocol, surface=surface))
        if save is not None:
            save(found, cases)
    return rows


def mean_score(rows: list[dict[str, Any]]) -> float | None:
    """Return the mean Dice over cases and their classes, or the accuracy; None where nothing can be scored."""
    if not rows:
        return None
    if "scores" not in rows[0]:
        truth = np.array([row["truth"] for row in rows])
        return classification_scores(truth, np.array([row["probability"] for row in rows]))["accuracy"]
    means = [
        float(np.mean(known))
        for row in rows
        if (known := [value for value in row["scores"]["dice"].values() if value is not None])
    ]
    return float(np.mean(means)) if means else None
