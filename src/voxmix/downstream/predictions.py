"""Predictions to look at: NIfTI over the original image, and slices next to image and reference for the report.

A slice shows a patient: it is kept only where pictures are allowed. Neither holds a name: a case is known by the
digest of its image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16

from voxmix._io import atomic_path
from voxmix.datasets.task import Task
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.inference import CasePrediction, reference_labels
from voxmix.downstream.protocol import Protocol
from voxmix.errors import InputError
from voxmix.runs.files import MONTAGE_FILE, PREDICTIONS_FOLDER
from voxmix.volumes.preparing.inverse import write_prediction

_PICTURES = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PredictedSlice:
    """One axial slice of a test case: image in [0, 1], label maps of reference and prediction."""

    case: str
    image: Float[np.ndarray, "x y"]
    reference: UInt8[np.ndarray, "x y"]
    prediction: UInt8[np.ndarray, "x y"]


def label_map(labels: Shaped[np.ndarray, "..."]) -> UInt8[np.ndarray, "x y z"]:
    """Return a label map of masks (class, x, y, z), the first class as 1; a label map is returned as it is.

    Where masks overlap the later class is seen: give the inner regions last, as in whole tumor, tumor core,
    enhancing tumor.

    Raises:
        InputError: neither a label map nor masks.
    """
    if labels.ndim == 3:
        return labels.astype(np.uint8)
    if labels.ndim != 4:
        raise InputError(f"labels have shape {labels.shape}, expected (x, y, z) or (class, x, y, z)")
    seen = np.zeros(labels.shape[1:], dtype=np.uint8)
    for number, mask in enumerate(labels, start=1):
        seen[mask > 0] = number
    return seen


def predicted_slice(
    case: str,
    image: Shaped[np.ndarray, "x y z"],
    reference: Shaped[np.ndarray, "..."],
    prediction: Shaped[np.ndarray, "..."],
) -> PredictedSlice:
    """Return the axial slice where the reference is largest, the middle one where it is empty.

    The slice does not depend on the prediction, so that those of different initializations can stand side by side.

    Raises:
        InputError: shapes that do not agree.
    """
    truth, found = label_map(reference), label_map(prediction)
    if not image.shape == truth.shape == found.shape:
        raise InputError(
            f"image {image.shape}, reference {truth.shape} and prediction {found.shape} differ in shape"
        )
    area = (truth > 0).sum(axis=(0, 1))
    z = int(area.argmax()) if area.any() else image.shape[2] // 2
    return PredictedSlice(
        case=case,
        image=np.clip(np.asarray(image[:, :, z], dtype=np.float32), 0, 1),
        reference=truth[:, :, z],
        prediction=found[:, :, z],
    )


def save_montage(folder: Path, slices: Sequence[PredictedSlice], *, classes: Sequence[str]) -> None:
    """Write slices as arrays, for the report; ``classes`` are the names of labels 0, 1, ..."""
    arrays: dict[str, np.ndarray] = {
        "cases": np.array([item.case for item in slices]),
        "classes": np.array(list(classes)),
    }
    for number, item in enumerate(slices):
        arrays[f"{number}/image"] = item.image.astype(np.float16)
        arrays[f"{number}/reference"] = item.reference
        arrays[f"{number}/prediction"] = item.prediction
    with atomic_path(folder / MONTAGE_FILE) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def file_values(task: Task) -> UInt8[np.ndarray, " label"] | UInt16[np.ndarray, " label"]:
    """Return the value in the data set's own label maps of labels 0, 1, ... of :func:`label_map`.

    Of regions that lie in each other, the value that a region has and those after it have not.
    """
    groups = [[int(value) for value in values] for values in task.classes.values()]
    if not task.regions:
        return _small([group[0] for group in groups])
    own = []
    for number, group in enumerate(groups):
        later = {value for other in groups[number + 1 :] for value in other}
        own.append(next((value for value in group if value not in later), group[0]))
    return _small([0, *own])


def _small(values: list[int]) -> UInt8[np.ndarray, " label"] | UInt16[np.ndarray, " label"]:
    return np.array(values, dtype=np.uint8 if max(values) <= 255 else np.uint16)


@dataclass(kw_only=True, slots=True)
class PredictionKeeper:
    """Called with every test case's prediction, keeps what was asked for in a run's folder.

    With ``nifti`` every prediction goes to ``predictions/<case>.nii.gz``, on the grid of the original file and
    with the values of the data set's own label maps; with ``pictures`` slices of the first cases go to
    a montage for the report.
    """

    folder: Path
    protocol: Protocol
    nifti: bool = False
    pictures: bool = True
    _slices: list[PredictedSlice] = field(default_factory=list)

    def __call__(self, found: CasePrediction, cases: CaseSet) -> None:
        """Keep one prediction; those of a classification are in the result already."""
        if found.labels is None:
            return
        case, task = found.case, self.protocol.task
        if self.nifti:
            values = file_values(task)[label_map(found.labels)]
            path = self.folder / PREDICTIONS_FOLDER / f"{case.name}.nii.gz"
            write_prediction(values, cases.cache.geometry(case.volume), path)
        if self.pictures and len(self._slices) < _PICTURES:
            reference = reference_labels(cases, case, self.protocol)
            self._slices.append(predicted_slice(case.name, cases.image(case), reference, found.labels))
            outside = ("background",) if task.regions else ()
            save_montage(self.folder, self._slices, classes=(*outside, *cases.classes))
