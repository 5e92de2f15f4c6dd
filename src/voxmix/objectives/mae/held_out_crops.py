"""The fixed crops and fixed masks on which every run of a study is measured."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from voxmix._io import atomic_path, canonical_json, digest, naming_full_disk
from voxmix._random import stream
from voxmix.encoders.patches import token_count, visible_count
from voxmix.errors import InputError
from voxmix.grid import Grid
from voxmix.objectives.mae.padding import existing_in_patches, settled_masks
from voxmix.run_settings import EvaluationSettings, ModelSettings
from voxmix.training.crop_places import box_of, corner_of, span_of
from voxmix.training.crops import check_fits
from voxmix.training.draws import counted_uniforms
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume

_FORMAT = 1
_CANDIDATES = 8  # places tried per crop
_ENOUGH_FOREGROUND = 0.25  # share of voxels that ends the search


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationSet:
    """Fixed crops and masks of every domain's validation volumes; the same for every run of a study.

    Attributes:
        domains: targets, in the order of the cache.
        crops: (crop, x, y, z), float16 in [0, 1].
        foreground: voxels that are not air, (crop, x, y, z).
        domain: target per crop, index into ``domains``.
        volume: number of the volume per crop.
        order: patches of each crop in the order of its mask, (crop, token); the first ``visible`` are seen.
        visible: patches that are seen.
        span: where what exists of each crop begins and ends, (crop, 2, 3), the rest being padding; None where no volume
            of the cache is padded.
        made_from: what the set depends on; :attr:`digest` is its digest.
    """

    domains: tuple[str, ...]
    crops: Float[Tensor, "crop *edge"]
    foreground: Bool[Tensor, "crop *edge"]
    domain: Int[Tensor, " crop"]
    volume: Int[Tensor, " crop"]
    order: Int[Tensor, "crop token"]
    visible: int
    made_from: str
    span: Int[Tensor, "crop 2 axis"] | None = None

    @property
    def digest(self) -> str:
        """Digest of the cache, the settings and the algorithm's version: equal sets, equal losses."""
        return digest(self.made_from)

    @classmethod
    def build(
        cls, cache: PreparedCache, *, model: ModelSettings, evaluation: EvaluationSettings
    ) -> "EvaluationSet":
        """Return the set of a prepared cache; deterministic, and independent of any mixture.

        Crops are spread evenly over a domain's validation volumes; each takes the first of eight random
        places with a quarter of foreground, or the best of them.

        Raises:
            InputError: a domain has no validation volume, or a volume is smaller than the crop.
        """
        crops, masks, spans, domain, volume = [], [], [], [], []
        seen = 0
        for d, name in enumerate(cache.domains):
            volumes = tuple(cache.select(name, "validation"))
            if not volumes:
                raise InputError(
                    f"{name} has no validation volume, so no loss can be measured on it; add volumes of at "
                    f"least two subjects of {name}, or leave the domain out, and prepare again"
                )
            check_fits(volumes, model.grid.crop)
            for number in range(evaluation.crops_per_domain):
                which = number % len(volumes)
                rng = stream(evaluation.seed, "evaluation", name, number)
                crop, mask, span = _choose_crop(cache, volumes[which], model.grid.crop, rng)
                crops.append(crop)
                masks.append(mask)
                spans.append(span)
                domain.append(d)
                volume.append(seen + which)
            seen += len(volumes)
        u = counted_uniforms(evaluation.seed, 0, len(crops), columns=token_count(model))
        order, padded = np.argsort(u, axis=1, kind="stable"), any(v.box for v in cache.volumes)
        if padded:
            order = settled_masks(order, visible_count(model), np.stack(spans), model.grid)
        return cls(
            domains=tuple(cache.domains),
            crops=torch.from_numpy(np.stack(crops)),
            foreground=torch.from_numpy(np.stack(masks)),
            domain=torch.tensor(domain),
            volume=torch.tensor(volume),
            order=torch.from_numpy(order),
            visible=visible_count(model),
            made_from=made_from(cache, model=model, evaluation=evaluation),
            span=torch.from_numpy(np.stack(spans)) if padded else None,
        )

    def exists(
        self, rows: Int[Tensor, " crop"], patches: Int[Tensor, "crop patch"], grid: Grid
    ) -> Float[Tensor, "crop patch voxel"]:
        """Return 1 for the voxels of some patches of the crops ``rows`` that exist, else 0."""
        assert self.span is not None
        span = self.span[rows].to(patches.device)
        return existing_in_patches(span, patches, grid)

    def save(self, path: Path) -> None:
        """Write the set as one safetensors file, atomically."""
        names = ("crops", "foreground", "domain", "volume", "order", "span")
        tensors = {n: getattr(self, n).contiguous() for n in names if getattr(self, n) is not None}
        header = {
            "kind": "evaluation set",
            "domains": canonical_json(list(self.domains)),
            "visible": str(self.visible),
            "made_from": self.made_from,
        }
        with naming_full_disk(path.parent), atomic_path(path) as temporary:
            temporary.write_bytes(_in_one_order(safetensors.torch.save(tensors, metadata=header)))

    @classmethod
    def load(cls, path: Path) -> "EvaluationSet":
        """Return the set that :meth:`save` wrote.

        Raises:
            InputError: no such file, or another kind of file.
        """
        with _opened(path) as (file, header):
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return cls(
            domains=tuple(json.loads(header["domains"])),
            visible=int(header["visible"]),
            made_from=header["made_from"],
            **tensors,
        )


def made_from(cache: PreparedCache, *, model: ModelSettings, evaluation: EvaluationSettings) -> str:
    """Return what the set of a prepared cache depends on, as :attr:`EvaluationSet.made_from` says it: no volume is read."""
    return canonical_json(
        {
            "format": _FORMAT,
            "cache": cache.digest,
            "crop": model.crop,
            "patch": model.patch,
            "mask_ratio": model.mask_ratio,
            "crops_per_domain": evaluation.crops_per_domain,
            "seed": evaluation.seed,
        }
    )


def stored_made_from(path: Path) -> str:
    """Return what a stored set depends on; only the file's header is read.

    Raises:
        InputError: no such file, a part of one, or another kind of file.
    """
    with _opened(path) as (_, header):
        return str(header.get("made_from", ""))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open a stored set and its header.

    Raises:
        InputError: no such file, or another kind of file.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("kind") != "evaluation set":
                raise InputError(
                    f"{path} holds no evaluation set; give the file that EvaluationSet.save wrote"
                )
            yield file, header
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is not an evaluation set ({error}); build it again") from None


def _in_one_order(stored: bytes) -> bytes:
    """Return a safetensors file with its header sorted: the library orders metadata anew in every process."""
    size = int.from_bytes(stored[:8], "little")
    header = canonical_json(json.loads(stored[8 : 8 + size])).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + stored[8 + size :]


def foreground_of(array: np.ndarray) -> np.ndarray:
    """Return which voxels lie more than 5% of the way from the lowest value to the 99th percentile.

    Prepared volumes hold air at their lowest value, whatever the modality; preparation cuts at the same line.
    """
    low, high = float(array.min()), float(np.percentile(array, 99))
    return np.asarray(array) > low + 0.05 * (high - low)


def _choose_crop(
    cache: PreparedCache, volume: PreparedVolume, crop: tuple[int, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a crop, its foreground, and where what exists of it begins and ends."""
    array = np.asarray(cache.array(volume))
    first, end = (np.array(corner) for corner in box_of(volume))
    real, body = _box(first, end), np.zeros(array.shape, dtype=bool)
    body[real] = foreground_of(array[real])
    best, best_share = np.zeros(len(crop), dtype=np.int64), -1.0
    for place in rng.random((_CANDIDATES, len(crop))):
        corner = corner_of(place, np.array(array.shape), crop, first=first, end=end)
        inside = _box(np.maximum(corner, first), np.minimum(corner + crop, end))
        share = float(body[inside].mean())
        if share > best_share:
            best, best_share = corner, share
        if share >= _ENOUGH_FOREGROUND:
            break
    window = _box(best, best + crop)
    span = span_of(best, crop, first=first, end=end)
    return np.array(array[window]), np.array(body[window]), span


def _box(first: Int[np.ndarray, " axis"], end: Int[np.ndarray, " axis"]) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(first.tolist(), end.tolist(), strict=True))
