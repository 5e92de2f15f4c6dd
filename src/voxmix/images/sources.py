"""What a folder of prepared images or volumes gives to learn from."""

from pathlib import Path
from typing import Literal

from voxmix._io import read_mapping, with_remedy
from voxmix.encoder_runs import Source
from voxmix.errors import InputError
from voxmix.images.cache import KIND as IMAGES
from voxmix.images.cache import REMEDY, ImageCache
from voxmix.volumes.preparing.cache import INDEX, PreparedCache
from voxmix.volumes.preparing.cache import KIND as VOLUMES
from voxmix.volumes.preparing.source import SliceSettings, SliceSource, VolumeSource


def kind_of_folder(root: Path) -> object:
    """Return what the index of a folder says that it holds, prepared images or volumes; None without an index.

    Raises:
        InputError: its index is damaged.
    """
    if not (root / INDEX).exists():
        return None
    with with_remedy(REMEDY):
        return read_mapping(root / INDEX).get("kind")


def open_source(root: Path, *, axes: Literal[2, 3] = 2, slices: SliceSettings | None = None) -> Source:
    """Return the source in a folder that prepare has made, for a network of so many axes.

    Images serve two axes. Volumes serve three, and two by their axial slices.

    Args:
        slices: which slices of volumes are images.

    Raises:
        InputError: nothing prepared there, or images for a network of three axes.
    """
    path = root / INDEX
    if not path.exists():
        raise InputError(f"no prepared images or volumes in {root}; run prepare first")
    kind = kind_of_folder(root)
    if kind == IMAGES:
        if axes == 3:
            raise InputError(
                f"images cannot serve a 3D study, and {root} holds prepared images; set axes to 2 in the backbone, or "
                "prepare volumes"
            )
        return ImageCache.open(root)
    if kind == VOLUMES:
        cache = PreparedCache.open(root)
        return VolumeSource(cache) if axes == 3 else SliceSource(cache, slices or SliceSettings())
    raise InputError(
        f"{path} should hold voxmix {IMAGES} or {VOLUMES}, found {kind!r}; give the folder that prepare made, or {REMEDY}"
    )
