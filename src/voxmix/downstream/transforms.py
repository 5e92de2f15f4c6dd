"""From cases to batches of crops: which case, where, how turned; a pure function of (seed, draw).

The place follows the policy of MONAI's ``RandCropByPosNegLabeld`` (a labeled voxel at the center with
probability pos / (pos + neg), else one of background, moved so that the crop lies inside), and MONAI's own
function moves it. The random numbers come from a counter instead of a generator with a history, as in
pretraining: resuming needs one integer, and every initialization sees the same crops at the same seed. Rotation,
scaling and shift are one batched operation on the device.
"""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from voxmix._optional import require
from voxmix.datasets.task import IGNORED
from voxmix.downstream.cases import CaseSet
from voxmix.downstream.protocol import Protocol
from voxmix.errors import InputError
from voxmix.grid import edges_in_words
from voxmix.training.draws import counted_uniforms, volume_order
from voxmix.training.transfer import send

_COLUMNS = 12  # random numbers per draw: kind of center, center, background tries, shift, affine
_TRIES = 64
_KEPT = 256  # cases whose voxels stay in memory


def check_room(cases: CaseSet, crop: tuple[int, ...]) -> None:
    """Check that every image can hold a crop.

    Raises:
        InputError: names the smallest that cannot.
    """
    shapes = [case.volume.shape for case in cases.cases]
    small = [shape for shape in shapes if any(long < edge for long, edge in zip(shape, crop, strict=True))]
    if small:
        worst = min(small, key=min)
        raise InputError(
            f"the encoder's crop is {edges_in_words(crop)} voxels, an image of task {cases.task.name} has shape {tuple(worst)}; set "
            f"recipe.min_shape to at least {edges_in_words(crop)} and prepare again"
        )


class CropSource:
    """Gives the batch of any draws of a run."""

    def __init__(self, cases: CaseSet, protocol: Protocol, *, seed: int) -> None:
        self.cases = cases
        self.protocol = protocol
        self.seed = seed
        self.train = cases.part("train")
        check_room(cases, protocol.model.grid.crop)
        samples = protocol.task.samples
        visits = -(-protocol.settings.draws // samples)
        self._order = volume_order(
            visits, len(self.train), domain=f"finetune {protocol.task.name}", seed=seed
        )
        self._voxels = lru_cache(maxsize=_KEPT)(self._read)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return image, labels and places of labeled voxels of a training case."""
        case = self.train[index]
        if self.protocol.task.kind == "classification":
            return centered(self.cases.image(case), self.protocol.model.grid.crop), np.zeros(0), np.zeros(0)
        labels = np.asarray(self.cases.labels(case))
        inside = np.flatnonzero((labels > 0) & (labels != IGNORED))
        return np.asarray(self.cases.image(case)), labels, inside

    def batch(
        self, start: int, stop: int
    ) -> tuple[Float[Tensor, "draw 1 *edge"], Shaped[Tensor, "draw ..."]]:
        """Return images and labels (classification: classes) of draws ``start`` to ``stop``, not yet changed."""
        numbers = self.numbers(start, stop)
        images: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        for row, draw in enumerate(range(start, stop)):
            index = int(self._order[draw // self.protocol.task.samples])
            image, label, inside = self._voxels(index)
            if self.protocol.task.kind == "classification":
                images.append(image.astype(np.float32))
                labels.append(np.array(self.train[index].target))
                continue
            window = self._window(numbers[row], label, inside, draw)
            images.append(image[window].astype(np.float32))
            labels.append(label[window])
        return torch.from_numpy(np.stack(images)).unsqueeze(1), torch.from_numpy(np.stack(labels))

    def numbers(self, start: int, stop: int) -> Float[np.ndarray, "draw number"]:
        """Return the uniform numbers of some draws."""
        return counted_uniforms(self.seed, start, stop, columns=_COLUMNS)

    def _window(
        self, u: Float[np.ndarray, " number"], labels: np.ndarray, inside: np.ndarray, draw: int
    ) -> tuple[slice, ...]:
        task, crop = self.protocol.task, self.protocol.model.grid.crop
        wants_label = u[0] * (task.pos + task.neg) < task.pos
        if wants_label and len(inside):
            place = int(inside[int(u[1] * len(inside))])
        else:
            place = _background(labels, u, draw, seed=self.seed)
        utils = require("monai.transforms.utils", extra="train")
        center = [int(c) for c in np.unravel_index(place, labels.shape)]
        inside = utils.correct_crop_centers(center, crop, labels.shape)
        low = [middle - edge // 2 for middle, edge in zip(inside, crop, strict=True)]
        return tuple(slice(a, a + edge) for a, edge in zip(low, crop, strict=True))


def _background(labels: np.ndarray, u: Float[np.ndarray, " number"], draw: int, *, seed: int) -> int:
    """Return the place of a background voxel, uniformly; any voxel where there is nearly none."""
    flat = labels.reshape(-1)
    first = int(u[2] * flat.size)
    if flat[first] == 0:
        return first
    more = np.random.Generator(np.random.Philox(key=[seed & ((1 << 64) - 1), draw])).random(_TRIES)
    places = (more * flat.size).astype(np.int64)
    free = np.flatnonzero(flat[places] == 0)
    return int(places[free[0]]) if len(free) else first


def centered(image: np.ndarray, crop: tuple[int, ...]) -> np.ndarray:
    """Return the ``crop`` about the middle of an image that is at least as large."""
    low = [(long - edge) // 2 for long, edge in zip(image.shape, crop, strict=True)]
    return np.asarray(image[tuple(slice(a, a + edge) for a, edge in zip(low, crop, strict=True))])


def change(
    images: Float[Tensor, "draw 1 *edge"],
    labels: Shaped[Tensor, "draw ..."],
    numbers: Float[np.ndarray, "draw number"],
    protocol: Protocol,
) -> tuple[Float[Tensor, "draw 1 *edge"], Shaped[Tensor, "draw ..."]]:
    """Return shifted, rotated and scaled crops; labels go the same way by nearest neighbor.

    What comes from outside a crop is its mirror image, MONAI's default.
    """
    settings = protocol.settings
    u = send({"u": numbers[:, 4:].astype(np.float32)}, images.device)["u"]
    offset = torch.where(u[:, 0] < settings.shift_probability, settings.shift * (2 * u[:, 1] - 1), 0.0)
    axes = images.ndim - 2
    images = images + offset.view(-1, 1, *(1,) * axes)
    turned = u[:, 2] < settings.affine_probability
    if not (settings.rotation or settings.scale) or not bool(turned.any()):
        return images, labels
    angle = torch.where(turned, math.radians(settings.rotation) * (2 * u[:, 3] - 1), 0.0)
    zoom = torch.where(turned.unsqueeze(1), 1 + settings.scale * (2 * u[:, 4:7] - 1), 1.0)
    # grid_sample counts axes from the last: the long axis z, where there is one, comes first, then y and x.
    x, y = axes - 1, axes - 2
    matrix = torch.zeros(len(images), axes, axes + 1, device=images.device)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    if axes == 3:
        matrix[:, 0, 0] = zoom[:, 2]
    matrix[:, y, y], matrix[:, y, x] = cosine * zoom[:, 1], -sine * zoom[:, 0]
    matrix[:, x, y], matrix[:, x, x] = sine * zoom[:, 1], cosine * zoom[:, 0]
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    images = grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if labels.ndim > 1:
        moved = grid_sample(
            labels.unsqueeze(1).float(), grid, mode="nearest", padding_mode="reflection", align_corners=False
        )
        labels = moved.squeeze(1).to(labels.dtype)
    return images, labels


def to_regions(
    labels: Integer[Tensor, "draw *edge"], protocol: Protocol
) -> Float[Tensor, "draw region *edge"]:
    """Return one mask per overlapping class; after cropping, as cropping needs one label per voxel."""
    masks = []
    codes = protocol.task.codes
    for values in protocol.task.classes.values():
        wanted = torch.tensor([codes[int(v)] for v in values], device=labels.device, dtype=labels.dtype)
        masks.append(torch.isin(labels, wanted))
    return torch.stack(masks, dim=1).float()
