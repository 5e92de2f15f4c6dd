"""Predictions to look at: one slice of a case beside its image and reference, kept for the report.

A slice shows a patient: nothing is kept unless pictures are allowed, and no name is kept with it, only the
case's digest. Whole predictions go back to the original grid with
:func:`voxmix.volumes.inverse.write_prediction`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from voxmix._io import atomic_path
from voxmix.errors import InputError

MONTAGE = "montage.npz"


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
    """Write ``montage.npz`` for the report; ``classes`` are the names of labels 0, 1, ..."""
    arrays: dict[str, np.ndarray] = {
        "cases": np.array([item.case for item in slices]),
        "classes": np.array(list(classes)),
    }
    for number, item in enumerate(slices):
        arrays[f"{number}/image"] = item.image.astype(np.float16)
        arrays[f"{number}/reference"] = item.reference
        arrays[f"{number}/prediction"] = item.prediction
    with atomic_path(folder / MONTAGE) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
