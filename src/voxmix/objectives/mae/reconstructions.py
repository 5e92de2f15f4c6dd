"""What a model makes of a held-out crop of every domain: slices as arrays, and a picture to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw

from voxmix._io import atomic_path
from voxmix.encoders.autoencoder import Autoencoder
from voxmix.encoders.patches import patchify, unpatchify
from voxmix.objectives.mae.held_out_crops import EvaluationSet
from voxmix.objectives.mae.held_out_losses import own_adapters, reconstruct
from voxmix.objectives.mae.padding import existing_voxels
from voxmix.runs.files import SLICES_FILE, picture_file

_SHOWN = ("original", "masked", "reconstructed")
_TILE = 256  # pixels, about
_GAP = 6
_HEADER = 20  # pixels above the columns for their names
_HIDDEN = (64, 96, 160)  # blue: no gray can be told from air or tissue in every modality


def save_reconstructions(
    model: Autoencoder,
    evaluation: EvaluationSet,
    folder: Path,
    *,
    adapters: Sequence[str],
    drawn: Mapping[str, int] | None = None,
) -> None:
    """Write a picture of every domain and, for the report, central slices as arrays into a run's folder.

    A picture has a column for the crop as it is, with its hidden patches blue, and with those reconstructed; its
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
            slices[f"{d}/{name}"] = np.nan_to_num(planes_of(cube)[0]).astype(np.float16)
        with atomic_path(folder / picture_file(domain)) as path:
            _picture(list(cubes.values())).save(path, "PNG", optimize=True)
    with atomic_path(folder / SLICES_FILE) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **slices)


def _cubes(
    model: Autoencoder, evaluation: EvaluationSet, row: torch.Tensor, served: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a crop, the same with hidden voxels NaN, and with hidden voxels reconstructed; padding stays as it is."""
    grid = model.settings.grid
    predicted, _, _ = reconstruct(model, evaluation, row, served)
    hidden = evaluation.order[row[0], evaluation.visible :]
    original = evaluation.crops[row].float()
    masked, rebuilt = patchify(original, grid), patchify(original, grid)
    masked[0, hidden] = torch.nan
    rebuilt[0, hidden] = predicted[0].cpu().clamp(0, 1)
    if evaluation.span is not None:
        exists = existing_voxels(evaluation.span[row], grid).float()
        padding = patchify(exists, grid) == 0
        plain = patchify(original, grid)
        masked, rebuilt = (torch.where(padding, plain, changed) for changed in (masked, rebuilt))
    return original[0].numpy(), unpatchify(masked, grid)[0].numpy(), unpatchify(rebuilt, grid)[0].numpy()


def planes_of(crop: Float[np.ndarray, "*edge"]) -> tuple[Float[np.ndarray, "row column"], ...]:
    """Return the axial, coronal and sagittal slice through the center of a volume's crop; of an image, the image."""
    if crop.ndim == 2:
        return (crop,)
    x, y, z = (edge // 2 for edge in crop.shape)
    return crop[:, :, z], crop[:, y, :], crop[x, :, :]


def _picture(columns: Sequence[Float[np.ndarray, "*edge"]]) -> Image.Image:
    """Return the columns under their names; gray from the lowest value of the original to its 99.5th percentile."""
    original, edge = columns[0], max(columns[0].shape)
    low, high = float(original.min()), float(np.percentile(original, 99.5))
    zoom, rows = max(_TILE // edge, 1), len(planes_of(original))
    step = zoom * edge + _GAP
    sheet = Image.new("RGB", (len(columns) * step - _GAP, _HEADER + rows * step - _GAP), color="white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, crop) in enumerate(zip(_SHOWN, columns, strict=True)):
        draw.text((column * step + 2, 4), name, fill="black")
        for row, plane in enumerate(planes_of(crop)):
            tile = _tile(np.rot90(plane), low=low, high=max(high, low + 1e-3))
            size = (zoom * tile.width, zoom * tile.height)
            sheet.paste(tile.resize(size, Image.Resampling.NEAREST), (column * step, _HEADER + row * step))
    return sheet


def _tile(values: Float[np.ndarray, "row column"], *, low: float, high: float) -> Image.Image:
    grays = np.round(np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    colors = np.repeat(grays[:, :, None], 3, axis=2)
    colors[np.isnan(values)] = _HIDDEN
    return Image.fromarray(colors)
