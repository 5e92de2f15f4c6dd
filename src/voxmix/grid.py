"""Grid: a crop that is cut into patches, along 2 axes (an image) or 3 (a volume)."""

import math
from dataclasses import dataclass

from voxmix.errors import InputError

AXES = (2, 3)


@dataclass(frozen=True, slots=True)
class Grid:
    """A crop and its patches, in voxels along each axis; every number that follows from them.

    >>> Grid.of(96, 16).patches
    216
    >>> Grid.of((224, 224), 16).cells
    (14, 14)

    Attributes:
        crop: edges of a crop, in voxels.
        patch: edges of a patch (one token), in voxels; each divides the crop's.

    Raises:
        InputError: neither 2 nor 3 axes, edges of different axes, an edge below 1, or a crop that is no whole number of
            patches.
    """

    crop: tuple[int, ...]
    patch: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.crop) not in AXES or len(self.patch) != len(self.crop):
            raise InputError(
                f"crop and patch need an edge for each of 2 or 3 axes, got crop {list(self.crop)} and patch "
                f"{list(self.patch)}"
            )
        for name, edges in (("crop", self.crop), ("patch", self.patch)):
            if min(edges) < 1:
                raise InputError(
                    f"{name} must be at least 1 voxel along every axis, got {edges_in_words(edges)}"
                )
        if any(long % short for long, short in zip(self.crop, self.patch, strict=True)):
            raise InputError(
                f"crop must be a multiple of patch, got crop {edges_in_words(self.crop)} and patch {edges_in_words(self.patch)}"
            )

    @classmethod
    def of(cls, crop: int | tuple[int, ...], patch: int | tuple[int, ...], *, axes: int = 3) -> "Grid":
        """Return the grid of these edges; one number stands for every axis, of which there are ``axes``.

        Where one of the two has an edge per axis, their number is that of the axes.
        """
        for edges in (crop, patch):
            axes = axes if isinstance(edges, int) else len(edges)
        return cls(*((edges,) * axes if isinstance(edges, int) else tuple(edges) for edges in (crop, patch)))

    @property
    def axes(self) -> int:
        """Number of axes: 2 or 3."""
        return len(self.crop)

    @property
    def cells(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return tuple(long // short for long, short in zip(self.crop, self.patch, strict=True))

    @property
    def patches(self) -> int:
        """Number of patches of a crop: its tokens."""
        return math.prod(self.cells)

    @property
    def crop_voxels(self) -> int:
        """Voxels of a crop."""
        return math.prod(self.crop)

    @property
    def patch_voxels(self) -> int:
        """Voxels of a patch."""
        return math.prod(self.patch)


def edge_of(cells: int, axes: int) -> int:
    """Return the edge of the square or cube of so many cells, 0 where there is none."""
    edge = round(cells ** (1 / axes))
    return edge if edge**axes == cells else 0


def edges_in_words(edges: tuple[int, ...]) -> str:
    """Return edges for a sentence: one number where all are equal."""
    return str(edges[0]) if len(set(edges)) == 1 else str(list(edges))
