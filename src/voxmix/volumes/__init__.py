"""From the files of scanners and archives to prepared arrays: manifest, reading, preparing.

Names below are loaded when first used: nibabel, SimpleITK and SciPy cost a second to import. The function
that prepares is ``voxmix.volumes.preparing.prepare.prepare``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix.volumes.intensity import IntensityRule as IntensityRule
    from voxmix.volumes.manifest import Manifest as Manifest
    from voxmix.volumes.manifest import SetAside as SetAside
    from voxmix.volumes.manifest import VolumeRecord as VolumeRecord
    from voxmix.volumes.preparing.cache import PreparedCache as PreparedCache
    from voxmix.volumes.preparing.cache import PreparedVolume as PreparedVolume
    from voxmix.volumes.preparing.prepare import Preparation as Preparation
    from voxmix.volumes.reading.read import read_volume as read_volume
    from voxmix.volumes.recipe import Recipe as Recipe

_PUBLIC = {
    "VolumeRecord": "manifest",
    "Manifest": "manifest",
    "SetAside": "manifest",
    "IntensityRule": "intensity",
    "Recipe": "recipe",
    "PreparedCache": "preparing.cache",
    "PreparedVolume": "preparing.cache",
    "Preparation": "preparing.prepare",
    "read_volume": "reading.read",
}

__all__ = list(_PUBLIC)

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix.volumes' has no attribute {name!r}")
        return getattr(import_module(f"voxmix.volumes.{_PUBLIC[name]}"), name)
