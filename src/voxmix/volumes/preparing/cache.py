"""The prepared volumes on disk: one float16 array per volume, one index, shared by all processes.

    <root>/index.json            what belongs to the cache, its recipe, what was set aside; written last
    <root>/index-<digest>.npz    the volumes that it names, in columns (:mod:`voxmix.volumes.preparing.index_file`)
    <root>/volumes/<key>.npy     float16 (x, y, z) in [0, 1]; key = digest of the file's bytes and the recipe
                                 (<key>.b2nd when compressed by blosc2)
    <root>/volumes/<key>.json    its geometry; an array without this file is not finished
    <root>/labels/<key>.npy      label map on the same grid

Nothing in it holds a path or a header's text. Subjects stand in the index only as salted digests; the salt and the
map lie elsewhere (:mod:`voxmix.volumes.preparing.private_lists`). Where no map can be kept, the salt is ``<root>/salt``: who has
it and a list of names can find out which names are in the cache, so leave it out when the rest is passed on.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, UInt

from voxmix._io import canonical_json, digest, naming_damage
from voxmix.errors import InputError, VoxmixError
from voxmix.volumes.auditing.fitness import Fitness, judge_columns
from voxmix.volumes.grids.geometry import Geometry, Shape
from voxmix.volumes.manifest import Split
from voxmix.volumes.preparing import index_file
from voxmix.volumes.preparing.index_file import INDEX as INDEX
from voxmix.volumes.preparing.index_file import KIND as KIND
from voxmix.volumes.preparing.prepared_volume import PreparedVolume as PreparedVolume
from voxmix.volumes.preparing.storage import StoredArray, open_array, read_array
from voxmix.volumes.preparing.volume_columns import VolumeColumns
from voxmix.volumes.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedCache:
    """The volumes of one study, prepared: a root folder and what its index says.

    Every process reads the same files, and none holds more than it reads. ``volumes`` is a sequence that makes its volumes
    when they are asked for.
    """

    root: Path
    volumes: Sequence[PreparedVolume]
    recipe: Recipe
    set_aside: tuple[dict[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.volumes, VolumeColumns):
            object.__setattr__(self, "volumes", VolumeColumns(self.volumes))

    @property
    def columns(self) -> VolumeColumns:
        """The volumes, for what is asked of many of them at once."""
        assert isinstance(self.volumes, VolumeColumns)
        return self.volumes

    def __repr__(self) -> str:
        """Say what is in it: the volumes themselves would fill pages."""
        counts = ", ".join(f"{domain} {count}" for domain, count in self.counts().items())
        return f"PreparedCache({self.root}: {len(self.volumes)} volumes at {self.recipe.spacing_mm:g} mm: {counts})"

    @classmethod
    def open(cls, root: Path) -> "PreparedCache":
        """Return the cache that :func:`voxmix.volumes.preparing.prepare.prepare` left in ``root``.

        Raises:
            InputError: no finished cache there.
        """
        if not (root / INDEX).exists():
            raise InputError(f"no prepared volumes in {root}; run prepare first")
        value, volumes = index_file.read_index(root)
        with naming_damage(root / INDEX, remedy=index_file.REMEDY):
            cache = cls(
                root=root,
                volumes=volumes,
                recipe=Recipe.from_dict(value["recipe"]),
                set_aside=tuple(_aside_of(item) for item in value["set_aside"]),
            )
            boxed = value["format"] != index_file.FORMER or all("box" in item for item in value["volumes"])
        return cache if boxed else replace(cache, volumes=tuple(cache._with_box(v) for v in volumes))

    def write_index(self) -> None:
        """Write the index, last of all: by one process, while any number read the former one."""
        about = {"recipe": self.recipe.as_dict(), "set_aside": list(self.set_aside)}
        index_file.write_index(self.root, self.columns, about)

    def as_dict(self) -> dict[str, Any]:
        """Return the cache as JSON-like data: the one file that the index of an earlier voxmix is, which is read as before."""
        return {
            "kind": KIND,
            "format": index_file.FORMER,
            "digest": self.digest,
            "recipe": self.recipe.as_dict(),
            "volumes": [volume.as_dict() for volume in self.volumes],
            "set_aside": list(self.set_aside),
        }

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains, sorted."""
        return tuple(sorted(self.columns.sides))

    @property
    def digest(self) -> str:
        """Digest of the volumes' content, their recipe and their split.

        The same files, split and recipe give the same digest on every machine, wherever they lie and
        whatever the salt. Labels have no part in it: no voxel of an image depends on them. A volume with padding
        says which of its voxels exist: losses count those alone, which an earlier voxmix did not, so that runs of
        both are never taken for the same.
        """
        return self.columns.digest

    def counts(self, split: Split | None = None) -> dict[str, int]:
        """Return domain to number of volumes, of one side or (None) of all."""
        sides = self.columns.sides
        return {
            name: sum(sides[name].values()) if split is None else sides[name][split] for name in self.domains
        }

    def fitness(self, *, crop: int | None = None) -> tuple[Fitness, ...]:
        """Return how fit every domain is for training: see :func:`voxmix.volumes.auditing.fitness.judge_columns`."""
        return judge_columns(self.columns.fills(), recipe=self.recipe, crop=crop)

    def select(self, domain: str, split: Split) -> tuple[PreparedVolume, ...]:
        """Return the volumes of one domain on one side, ordered by key: the order of every machine.

        Raises:
            InputError: no such domain.
        """
        if domain not in self.domains:
            raise InputError(f"no domain {domain!r} in the cache; it has {list(self.domains)}")
        return self.columns.take(self.columns.rows(domain, split))

    def array(self, volume: PreparedVolume) -> Float16[np.ndarray, "x y z"]:
        """Return the voxels in [0, 1], read-only: a memory map, or decompressed where stored by blosc2.

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        return self._read(volume.file, volume.shape)

    def stored(self, volume: PreparedVolume, *, mapped: bool = False) -> StoredArray:
        """Return the volume's file, for reading windows of it; ``mapped`` where files stay in the page cache.

        Raises:
            VoxmixError: the file is gone or damaged; preparing again makes it.
        """
        array = open_array(self.root / volume.file, mapped=mapped)
        if array.shape != volume.shape:
            raise self._damaged(volume.file)
        return array

    def labels(self, volume: PreparedVolume) -> UInt[np.ndarray, "x y z"] | None:
        """Return the label map on the grid of the image, or None."""
        return None if volume.label is None else self._read(volume.label, volume.shape)

    def geometry(self, volume: PreparedVolume) -> Geometry:
        """Return what was done to the volume's grid."""
        path = (self.root / volume.file).with_suffix(".json")
        try:
            return Geometry.from_dict(json.loads(path.read_text(encoding="utf-8"))["geometry"])
        except (OSError, ValueError, KeyError, TypeError):
            raise self._damaged(volume.file) from None

    def _with_box(self, volume: PreparedVolume) -> PreparedVolume:
        """Return a volume of an index that does not know boxes yet; one without a side file has no padding."""
        try:
            return replace(volume, box=self.geometry(volume).box)
        except VoxmixError:
            return volume

    def _read(self, file: str, shape: Shape) -> np.ndarray:
        array = read_array(self.root / file)
        if array.shape != shape:
            raise self._damaged(file)
        return array

    def _damaged(self, file: str) -> VoxmixError:
        return VoxmixError(f"{file} is missing or damaged in {self.root}; prepare again to make it")


def _aside_of(item: dict[str, Any]) -> dict[str, str]:
    return {**item, "domain": str(item["domain"]), "reason": str(item["reason"])}


def volume_key(file: str, recipe: str) -> str:
    """Return the name of a prepared array: digest of the file's bytes and of what the recipe does to it."""
    return digest({"file": file, "recipe": recipe})


def subject_digest(salt: str, subject: str) -> str:
    """Return the name under which a subject is stored."""
    return digest(canonical_json([salt, subject]))
