"""Prepared volumes as what encoders learn from: whole volumes (three axes), or axial slices of them (two axes)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from voxmix._io import digest, naming_damage, read_versioned, write_json
from voxmix.encoder_runs import Item
from voxmix.errors import InputError
from voxmix.run_settings import at_least
from voxmix.volumes.grids.geometry import Box
from voxmix.volumes.manifest import Split
from voxmix.volumes.preparing.cache import PreparedCache, PreparedVolume
from voxmix.volumes.preparing.storage import Scratch
from voxmix.volumes.recipe import Recipe

KIND = "slices of prepared volumes"
FORMAT = 1
_NO_LABELS: Mapping[str, int] = MappingProxyType({})
_DARK = 0.05
"""Values up to it are air in a CT window and noise around a head in MR."""
_MIN_EDGE = 16
"""Slices of fewer pixels along an edge are of a slab that another scan direction left; as films, none is so small."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeItem:
    """A volume, or one slice of it: an :class:`~voxmix.encoder_runs.Item` without report and labels.

    Attributes:
        key: digest of domain and volume, and for a slice of its place.
        person: the pseudonym of the volume's subject.
        shape: of what comes from the file; padding has no part in it.
        volume: the prepared volume.
        place: of a slice along the third axis of the prepared array; None for a whole volume.
    """

    key: str
    domain: str
    person: str
    split: Split
    shape: tuple[int, ...]
    volume: PreparedVolume
    place: int | None = None

    @property
    def has_text(self) -> bool:
        """Never: reports of volumes are not read."""
        return False

    @property
    def labels(self) -> Mapping[str, int]:
        """None is known."""
        return _NO_LABELS


class _Reportless:
    """What sources without reports and labels have in common."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def tokenizer(self) -> str:
        """There are no texts."""
        return ""

    def tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Refuse: volumes have no reports.

        Raises:
            InputError: always.
        """
        raise InputError(_NO_REPORTS)

    def label_tokens(self, item: Item) -> Int[np.ndarray, " token"]:
        """Refuse: volumes have no labels.

        Raises:
            InputError: always.
        """
        raise InputError(_NO_REPORTS)


_NO_REPORTS = (
    "prepared volumes have no reports or labels (3D volumes with reports are not read today); take an objective that does "
    "without, e.g. dino or mae"
)


@dataclass(frozen=True)  # no slots: what is computed is kept
class VolumeSource(_Reportless):
    """The volumes of a cache: a :class:`~voxmix.encoder_runs.Source` of three axes.

    A volume is what comes from its file, without the padding that crops may need. Volumes differ in shape; the part that a
    view shows (``views.area``, of the whole volume) is resized to the edge of the network.
    """

    cache: PreparedCache

    @property
    def axes(self) -> int:
        """Three."""
        return 3

    @property
    def digest(self) -> str:
        """That of the cache."""
        return self.cache.digest

    @property
    def pictures(self) -> str:
        """That of the cache: volumes have no texts."""
        return self.digest

    @property
    def recipe(self) -> Recipe:
        """How the volumes were prepared; it stands in the card of a run."""
        return self.cache.recipe

    @cached_property
    def items(self) -> tuple[VolumeItem, ...]:
        """The volumes, in the order of the cache."""
        return tuple(
            _item(volume, shape=_box(volume)[1], key=[volume.domain, volume.key])
            for volume in self.cache.volumes
        )

    @cached_property
    def _own(self) -> dict[str, VolumeItem]:
        return {item.key: item for item in self.items}

    def array(self, item: Item) -> Float16[np.ndarray, "x y z"]:
        """Return the voxels of an item in [0, 1]: right, anterior, superior, without padding.

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        volume = self._own[item.key].volume
        return _window(self.cache, volume, *_box(volume))


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceSettings:
    """Which axial slices of a volume are images.

    Raises:
        InputError: a distance below 1, or a share outside [0, 1].
    """

    every: int = 4
    """Distance of slices, in voxels of the prepared volume: 4 is 6 mm at the usual 1.5 mm."""
    filled: float = 0.05
    """Least share of a slice's pixels that is brighter than air; others are blank and left out."""

    def __post_init__(self) -> None:
        at_least(self, "every", 1)
        if not 0 <= self.filled <= 1:
            raise InputError(f"filled must lie in [0, 1], got {self.filled}")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-like data, with what else decides which slices there are."""
        return {"every": self.every, "filled": self.filled, "dark": _DARK, "edge": _MIN_EDGE}


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceRecipe:
    """How slices were made, for the card of a run."""

    volumes: Recipe
    slices: SliceSettings

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {**self.volumes.as_dict(), "slices": self.slices.as_dict()}


@dataclass(frozen=True)  # no slots: what is computed is kept
class SliceSource(_Reportless):
    """Axial slices of the volumes of a cache: a :class:`~voxmix.encoder_runs.Source` of two axes.

    Slices of a person have the volume's pseudonym and split, so that no subset cuts a person. Rows go from the front of the
    body to its back, columns from its right side to its left, as radiologists look at it. Which slices are blank is found
    once, by reading every volume, and kept in the cache (``slices/``) where it can be written.
    """

    cache: PreparedCache
    slices: SliceSettings = SliceSettings()

    @property
    def axes(self) -> int:
        """Two."""
        return 2

    @cached_property
    def digest(self) -> str:
        """Digest of the cache's and of which slices are taken."""
        return digest({"volumes": self.cache.digest, "slices": self.slices.as_dict()})

    @property
    def pictures(self) -> str:
        """The same: volumes have no texts."""
        return self.digest

    @property
    def recipe(self) -> SliceRecipe:
        """How volumes and slices were prepared; it stands in the card of a run."""
        return SliceRecipe(volumes=self.cache.recipe, slices=self.slices)

    @cached_property
    def items(self) -> tuple[VolumeItem, ...]:
        """The slices, volume by volume in the order of the cache, from below upwards.

        Raises:
            InputError: no volume has a slice that is not blank.
            VoxmixError: a file is gone or damaged; preparing again makes it.
        """
        places = self._places()
        if not any(places):
            raise InputError(
                f"none of the {len(places)} volumes in {self.cache.root} has an axial slice of at least {_MIN_EDGE} x "
                f"{_MIN_EDGE} pixels of which {self.slices.filled:.0%} are not air; lower the share, or give other volumes"
            )
        return tuple(
            _item(volume, shape=_box(volume)[1][1::-1], key=[volume.domain, volume.key, place], place=place)
            for volume, mine in zip(self.cache.volumes, places, strict=True)
            for place in mine
        )

    @property
    def empty(self) -> int:
        """Volumes that have no slice."""
        return len(self.cache.volumes) - len({(item.domain, item.volume.key) for item in self.items})

    @cached_property
    def _own(self) -> dict[str, VolumeItem]:
        return {item.key: item for item in self.items}

    def array(self, item: Item) -> Float16[np.ndarray, "row column"]:
        """Return the pixels of a slice in [0, 1].

        The rows of its volume that hold it are read, which is most of the file; it stays in the page cache.

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        own = self._own[item.key]
        assert own.place is not None
        (x, y, _), (right, front, _) = _box(own.volume)
        plane = _window(self.cache, own.volume, (x, y, own.place), (right, front, 1))[:, :, 0]
        return np.ascontiguousarray(plane[::-1, ::-1].T)

    def _places(self) -> list[list[int]]:
        """Return the places of the slices of each volume, from the cache where they were found before."""
        path = self.cache.root / "slices" / f"{self.digest}.json"
        if path.exists():
            with naming_damage(path, remedy="remove it: it will be made again"):
                value = read_versioned(path, kind=KIND, version=FORMAT)
                found = [[int(place) for place in mine] for mine in value["places"]]
                if len(found) != len(self.cache.volumes):
                    raise ValueError(f"{len(found)} volumes, expected {len(self.cache.volumes)}")
                return found
        found = [self._slices_of(volume) for volume in self.cache.volumes]
        if os.access(self.cache.root, os.W_OK):
            path.parent.mkdir(exist_ok=True)
            write_json(path, {"kind": KIND, "format": FORMAT, "places": found})
        return found

    def _slices_of(self, volume: PreparedVolume) -> list[int]:
        corner, size = _box(volume)
        if min(size[:2]) < _MIN_EDGE:
            return []
        first = (size[2] - 1) % self.slices.every // 2  # as far from the lowest as from the highest
        slices = _window(self.cache, volume, corner, size)[:, :, first :: self.slices.every]
        bright = (slices > _DARK).mean(axis=(0, 1))
        kept = np.flatnonzero(bright >= self.slices.filled)
        return [corner[2] + first + self.slices.every * int(k) for k in kept]


def _item(
    volume: PreparedVolume, *, shape: tuple[int, ...], key: list[Any], place: int | None = None
) -> VolumeItem:
    return VolumeItem(
        key=digest(key),
        domain=volume.domain,
        person=volume.subject,
        split=volume.split,
        shape=shape,
        volume=volume,
        place=place,
    )


def _box(volume: PreparedVolume) -> Box:
    return volume.box or ((0, 0, 0), volume.shape)


def _window(
    cache: PreparedCache, volume: PreparedVolume, corner: tuple[int, ...], size: tuple[int, ...]
) -> Float16[np.ndarray, "x y z"]:
    """Return a box of a volume in memory of its own."""
    found: np.ndarray = cache.stored(volume).window(corner, size, Scratch())
    return found
