"""From the files of scanners and archives to prepared arrays: manifest, reading, preparing.

Names below are loaded when first used: nibabel, SimpleITK and SciPy cost a second to import. The function
that prepares is ``voxmix.volumes.preparing.prepare.prepare``.
"""

from importlib import import_module
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'voxmix.volumes' has no attribute {name!r}")
    return getattr(import_module(f"voxmix.volumes.{_PUBLIC[name]}"), name)
