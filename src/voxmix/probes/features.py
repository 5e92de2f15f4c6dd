"""Features of frozen encoders: computed once for each encoder and image, kept as npy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int
from torch import Tensor

from voxmix._io import naming_full_disk
from voxmix._progress import ProgressCallback, silent
from voxmix.compute import Device
from voxmix.encoders.backbone import Backbone
from voxmix.errors import VoxmixError
from voxmix.probes.data import ProbeCase, ProbeData
from voxmix.probes.device import device_of, on_device
from voxmix.probes.encoder import LoadedEncoder, check_fits
from voxmix.probes.pixels import Frame, fitted, fitted_tiles, tiles_of
from voxmix.probes.segments import Segments

_BATCH_NUMBERS = 1_500_000
"""Pixels of a batch: about 30 images of 224 px, one volume of 96 voxels' edge."""
_KEPT_ROWS = 4096
"""Images after which rows are written: what is lost when a process dies."""
_HELD_BYTES = 256 * 2**20
"""Features after which rows are written, if that is earlier: tokens of all patches are megabytes an image."""
_MOST_LAYERS = 64
VERSION = 1
"""Raised whenever the same encoder and images give other features than before."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FeatureSet:
    """Features of cases, in the order of the data's.

    Attributes:
        cls: of the class token after each of the last layers, the topmost last.
        mean: mean of the patches, the same.
        tokens: of every patch, where they were asked for.
    """

    cls: Float32[np.ndarray, "case layer width"]
    mean: Float32[np.ndarray, "case layer width"]
    tokens: Float16[np.ndarray, "case layer token width"] | None = None

    def take(self, places: np.ndarray) -> "FeatureSet":
        """Return the features of some cases."""
        tokens = None if self.tokens is None else self.tokens[places]
        return FeatureSet(cls=self.cls[places], mean=self.mean[places], tokens=tokens)

    @property
    def pooled(self) -> Float32[np.ndarray, "case feature"]:
        """Class token beside mean of patches of the topmost layer: what linear heads and neighbors see."""
        return np.concatenate([self.cls[:, -1], self.mean[:, -1]], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TileMaps:
    """Features as images, of the tiles that together show each case.

    Attributes:
        levels: of each tile, the finest first: one of a ViT, one per stage of a DaViT.
        case: which case of the data each tile belongs to; in their order.
        frames: of the tiles of each case.
    """

    levels: Sequence[Float16[np.ndarray, "tile _ ..."]]
    case: Int[np.ndarray, " tile"]
    frames: Sequence[Sequence[Frame]]

    def tiles(self, case: int) -> Int[np.ndarray, " some"]:
        """Return the tiles of a case."""
        found: np.ndarray = np.flatnonzero(self.case == case)
        return found


class FeatureStore:
    """Features on disk, below ``folder/<encoder>/``, by image: tasks on the same images share them.

    Attributes:
        folder: of all.
        device: where encoders compute. Features are float32 on any, and belong to the encoder: no digest holds the device.
        computed: images that were sent through an encoder by this store.
    """

    def __init__(self, folder: Path, *, device: Device = "cpu", index: int | None = None) -> None:
        """Open the store; nothing is read yet.

        Args:
            index: of the GPU, where there are several.

        Raises:
            InputError: no such device here.
        """
        self.folder = folder
        self.device = device_of(device, index=index)
        self.computed = 0
        self._open: dict[Path, Segments] = {}

    def features(
        self,
        encoder: LoadedEncoder,
        data: ProbeData,
        *,
        layers: int = 1,
        patches: bool = False,
        progress: ProgressCallback = silent,
    ) -> FeatureSet:
        """Return the features of the last ``layers`` layers of every case: fewer where the backbone has fewer.

        Raises:
            InputError: images that this encoder cannot take, see :func:`voxmix.probes.encoder.check_fits`.
            VoxmixError: a file of images is damaged, features are not finite, or the disk is full.
        """
        check_fits(encoder, data)
        count = most_layers(encoder, layers)
        root = self.folder / encoder.digest
        keys = [case.case for case in data.cases]
        kinds = ("pooled", "tokens") if patches else ("pooled",)
        stored = [self._layered(root, kind, count, most_layers(encoder, _MOST_LAYERS)) for kind in kinds]
        left = {key for each in stored for key in each.missing(keys)}
        if left:
            into = [each.own for each in stored]
            arrays = _layer_arrays(count, patches)

            def middle(case: ProbeCase) -> _View:
                image = fitted(data.pixels(case), encoder.contract, native=encoder.native)
                return [case.case], image[None]

            self._compute(encoder, data, left, middle, arrays, into, progress)
        both, *tokens = [each.rows(keys) for each in stored]
        return FeatureSet(cls=both[:, 0], mean=both[:, 1], tokens=tokens[0] if tokens else None)

    def maps(
        self, encoder: LoadedEncoder, data: ProbeData, *, progress: ProgressCallback = silent
    ) -> TileMaps:
        """Return features as images of the tiles of every case: together they show the whole of it, not its middle alone.

        Raises:
            InputError, VoxmixError: as :meth:`features`.
        """
        check_fits(encoder, data)
        contract, native = encoder.contract, encoder.native
        frames = {case.case: tiles_of(_shape(data, case), contract, native=native) for case in data.cases}
        keys = {name: _tile_keys(name, len(tiles)) for name, tiles in frames.items()}
        with torch.no_grad():
            blank = torch.zeros(1, 1, *(contract.image,) * encoder.axes)
            count = len(encoder.backbone.map(blank))
        root = self.folder / encoder.digest
        levels = [self._segments(root / f"map{level}-v{VERSION}") for level in range(count)]
        every = [key for case in data.cases for key in keys[case.case]]
        lacking = {key for level in levels for key in level.missing(every)}
        if lacking:
            left = {name for name, own in keys.items() if lacking & set(own)}

            def tiles(case: ProbeCase) -> _View:
                return keys[case.case], fitted_tiles(data.pixels(case), frames[case.case], contract)

            self._compute(encoder, data, left, tiles, _map_arrays, levels, progress)
        return TileMaps(
            levels=[level.rows(every) for level in levels],
            case=np.repeat(np.arange(len(data.cases)), [len(keys[case.case]) for case in data.cases]),
            frames=[frames[case.case] for case in data.cases],
        )

    def _layered(self, root: Path, kind: str, count: int, most: int) -> "_Layered":
        folders = {depth: root / f"{kind}-{depth}-v{VERSION}" for depth in range(count, most + 1)}
        return _Layered(
            own=self._segments(folders[count]),
            deeper=[
                self._segments(folders[depth])
                for depth in range(count + 1, most + 1)
                if folders[depth].is_dir()
            ],
            count=count,
            axis=2 if kind == "pooled" else 1,
        )

    def _segments(self, folder: Path) -> Segments:
        if folder not in self._open:
            self._open[folder] = Segments(folder)
        return self._open[folder]

    def _compute(
        self,
        encoder: LoadedEncoder,
        data: ProbeData,
        left: set[str],
        views: Callable[[ProbeCase], "_View"],
        arrays: "_Arrays",
        into: Sequence[Segments],
        progress: ProgressCallback,
    ) -> None:
        cases = list({case.case: case for case in data.cases if case.case in left}.values())
        size = encoder.contract.image**encoder.axes
        batch = max(1, min(256, _BATCH_NUMBERS // size))
        with naming_full_disk(self.folder), on_device(encoder.backbone, self.device) as backbone:
            done, held = 0, 0
            keys: list[str] = []
            found: list[list[np.ndarray]] = []
            for few in _parts(cases, batch):
                seen = [views(case) for case in few]
                keys += [key for own, _ in seen for key in own]
                pixels = torch.from_numpy(np.concatenate([images for _, images in seen])).unsqueeze(1)
                new = [arrays(backbone, part.to(self.device)) for part in torch.split(pixels, batch)]
                found += new
                held += sum(array.nbytes for each in new for array in each)
                done += len(few)
                self.computed += len(few)
                progress(done, len(cases))
                if done == len(cases) or len(keys) >= _KEPT_ROWS or held >= _HELD_BYTES:
                    _write(into, keys, found, task=data.name)
                    keys, found, held = [], [], 0


def _write(
    into: Sequence[Segments], keys: Sequence[str], found: Sequence[list[np.ndarray]], *, task: str
) -> None:
    """Write the rows of some keys.

    Raises:
        VoxmixError: a number is not finite.
    """
    for segments, parts in zip(into, zip(*found, strict=True), strict=True):
        rows = np.concatenate(parts)
        if not np.isfinite(rows).all():
            raise VoxmixError(
                f"features of task {task} are not finite; the encoder's weights are damaged or its training diverged: leave it "
                "out, or train it again"
            )
        segments.add(keys, rows)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Layered:
    """Rows of so many layers: their own files, and those of more layers, whose last ones are the same."""

    own: Segments
    deeper: Sequence[Segments]
    count: int
    axis: int

    def missing(self, keys: Sequence[str]) -> list[str]:
        left = self.own.missing(keys)
        for each in self.deeper:
            left = each.missing(left)
        return left

    def rows(self, keys: Sequence[str]) -> np.ndarray:
        if not self.own.missing(keys):
            return self.own.rows(keys)
        found: list[np.ndarray] = []
        for key in keys:
            holder = next(each for each in (self.own, *self.deeper) if not each.missing([key]))
            row = holder.rows([key])[0]
            axis = self.axis - 1
            found.append(np.take(row, range(row.shape[axis] - self.count, row.shape[axis]), axis=axis))
        return np.stack(found)


_View = tuple[list[str], np.ndarray]
"""What an encoder sees of a case: a key and an image for each row."""

_Arrays = Callable[[Backbone, Tensor], list[np.ndarray]]
"""From a frozen encoder and a batch of images to the rows of each kind, on the CPU."""


def _shape(data: ProbeData, case: ProbeCase) -> tuple[int, ...]:
    """Return the shape of a case's image; by its item where that says it, else by reading it."""
    known = getattr(case.item, "shape", None)
    return tuple(known) if known is not None else data.pixels(case).shape


def _tile_keys(case: str, count: int) -> list[str]:
    return [case] if count == 1 else [f"{case}.{place}of{count}" for place in range(count)]


def most_layers(encoder: LoadedEncoder, asked: int) -> int:
    """Return how many of the last layers an encoder gives, at most as many as asked for."""
    settings = encoder.backbone.settings
    depth = getattr(settings, "depths", (getattr(settings, "depth", 1),))[-1]
    return min(asked, int(depth))


def _parts(cases: Sequence, size: int) -> Iterator[Sequence]:  # type: ignore[type-arg]
    for first in range(0, len(cases), size):
        yield cases[first : first + size]


def _layer_arrays(layers: int, patches: bool) -> _Arrays:
    def arrays(backbone: Backbone, pixels: Float[Tensor, "batch 1 *edge"]) -> list[np.ndarray]:
        with torch.no_grad():
            found = backbone.layers(pixels, last=layers)
            cls = torch.stack([each.cls for each in found], dim=1)
            mean = torch.stack([each.patches.mean(dim=1) for each in found], dim=1)
            pooled = torch.stack([cls, mean], dim=1).float().cpu().numpy()
            if not patches:
                return [pooled]
            return [pooled, torch.stack([each.patches for each in found], dim=1).half().cpu().numpy()]

    return arrays


def _map_arrays(backbone: Backbone, pixels: Float[Tensor, "batch 1 *edge"]) -> list[np.ndarray]:
    with torch.no_grad():
        return [level.half().cpu().numpy() for level in backbone.map(pixels)]
