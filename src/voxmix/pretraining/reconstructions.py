"""What a model makes of a held-out crop of every domain: slices as arrays, and a picture to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from voxmix._io import atomic_path
from voxmix.pretraining.build import Autoencoder
from voxmix.pretraining.evaluate import EvaluationSet
from voxmix.pretraining.losses import own_adapters, reconstruct
from voxmix.pretraining.masking import patchify, unpatchify

SLICES_FILE = "pictures.npz"
_SHOWN = ("original", "masked", "reconstructed")
_TILE = 256  # pixels, about
_GAP = 6
_HIDDEN_GRAY = 90  # between air and tissue, so that hidden patches are not taken for air


def save_reconstructions(
    model: Autoencoder,
    evaluation: EvaluationSet,
    folder: Path,
    *,
    adapters: Sequence[str],
    drawn: Mapping[str, int] | None = None,
) -> None:
    """Write ``picture-<domain>.png`` and, for the report, central slices as ``pictures.npz`` into a run's folder.

    A picture has a column for the crop as it is, with its hidden patches gray, and with those reconstructed; its
    rows are the axial, coronal and sagittal slice through the crop's center (right of the picture: patient's
    right, or anterior in the sagittal row; up: anterior, or superior). The crop is the domain's with most
    foreground, so that there is something to see.
    """
    slices: dict[str, np.ndarray] = {"domains": np.array(evaluation.domains)}
    served = own_adapters(evaluation.domains, adapters, drawn)
    content = evaluation.foreground.flatten(1).sum(dim=1)
    for d, domain in enumerate(evaluation.domains):
        mine = torch.where(evaluation.domain == d)[0]
        row = mine[content[mine].argmax()].view(1)
        cubes = dict(zip(_SHOWN, _cubes(model, evaluation, row, served), strict=True))
        for name, cube in cubes.items():
            slices[f"{d}/{name}"] = np.nan_to_num(cube)[:, :, cube.shape[2] // 2].astype(np.float16)
        with atomic_path(folder / f"picture-{domain}.png") as path:
            _picture(list(cubes.values())).save(path, "PNG", optimize=True)
    with atomic_path(folder / SLICES_FILE) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **slices)


def _cubes(
    model: Autoencoder, evaluation: EvaluationSet, row: torch.Tensor, served: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a crop, the same with hidden voxels NaN, and with hidden voxels reconstructed."""
    patch = model.settings.patch
    predicted, _, _ = reconstruct(model, evaluation, row, served)
    hidden = evaluation.order[row[0], evaluation.visible :]
    original = evaluation.crops[row].float()
    masked, rebuilt = patchify(original, patch), patchify(original, patch)
    masked[0, hidden] = torch.nan
    rebuilt[0, hidden] = predicted[0].cpu().clamp(0, 1)
    return original[0].numpy(), unpatchify(masked, patch)[0].numpy(), unpatchify(rebuilt, patch)[0].numpy()


def _picture(columns: Sequence[Float[np.ndarray, "x y z"]]) -> Image.Image:
    edge = columns[0].shape[0]
    zoom = max(_TILE // edge, 1)
    step = zoom * edge + _GAP
    sheet = Image.new("L", (len(columns) * step - _GAP, 3 * step - _GAP), color=255)
    for column, cube in enumerate(columns):
        middle = edge // 2
        for row, plane in enumerate((cube[:, :, middle], cube[:, middle, :], cube[middle, :, :])):
            upright = np.rot90(plane)
            grays = np.where(np.isnan(upright), _HIDDEN_GRAY, np.clip(upright, 0, 1) * 255)
            tile = Image.fromarray(np.round(grays).astype(np.uint8))
            sheet.paste(
                tile.resize((zoom * edge, zoom * edge), Image.Resampling.NEAREST), (column * step, row * step)
            )
    return sheet
