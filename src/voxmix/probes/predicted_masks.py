"""predicted_masks.npz: where a head found the masks of a few held-out images, for the report; readable without torch."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from voxmix._io import atomic_path, naming_damage
from voxmix.errors import InputError
from voxmix.probes.data import ProbeCase, ProbeData

PREDICTED_FILE = "predicted_masks.npz"
SHOWN = 3
"""Held-out images that are shown of a task."""

Masks = Mapping[str, Bool[np.ndarray, "row column"]]


def shown_cases(data: ProbeData) -> tuple[ProbeCase, ...]:
    """Return the held-out images that are shown of a task, chosen by what is known of them and never by a score.

    Those with most labels, or of kind masks most masks with a pixel; among equals those with the first digests.
    """
    cases = data.part("test")
    if data.task.kind == "masks":
        present = {case.case: sum(bool(mask.any()) for mask in data.masks(case).values()) for case in cases}
    else:
        present = {case.case: sum(case.labels.values()) for case in cases}
    return tuple(sorted(cases, key=lambda case: (-present[case.case], case.case))[:SHOWN])


def write_predicted(path: Path, predicted: Mapping[str, Masks]) -> None:
    """Write case to mask to its pixels, each a bit. Cases are known by digests."""
    arrays: dict[str, np.ndarray] = {
        "cases": np.array(list(predicted)),
        "names": np.array(list(next(iter(predicted.values()), {}))),
    }
    for number, masks in enumerate(predicted.values()):
        stacked = np.stack(list(masks.values()))
        arrays[f"shape-{number}"] = np.array(stacked.shape)
        arrays[f"bits-{number}"] = np.packbits(stacked)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_predicted(path: Path) -> dict[str, dict[str, Bool[np.ndarray, "row column"]]]:
    """Return case to mask to its pixels, as :func:`write_predicted` wrote them; empty where there is no such file.

    Raises:
        InputError: the file is damaged.
    """
    remedy = "remove its folder and run voxmix probe, which makes it again"
    if not path.is_file():
        return {}
    try:
        content = io.BytesIO(path.read_bytes())  # numpy leaves a damaged file of its own open
        with naming_damage(path, remedy=remedy), np.load(content, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["names"]]
            found = {}
            for number, case in enumerate(arrays["cases"].tolist()):
                shape = tuple(int(edge) for edge in arrays[f"shape-{number}"])
                bits = np.unpackbits(arrays[f"bits-{number}"], count=int(np.prod(shape)))
                found[str(case)] = dict(zip(names, bits.reshape(shape).astype(np.bool_), strict=True))
            return found
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); {remedy}") from None
