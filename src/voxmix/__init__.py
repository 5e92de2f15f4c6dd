"""voxmix: how much of each 3D medical imaging domain belongs in a pretraining budget.

Names below are loaded when first used, so that importing voxmix costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Domain": "voxmix.domain",
    "PAPER_DOMAINS": "voxmix.domain",
    "Mixture": "voxmix.mixture",
    "MeasurementTable": "voxmix.measurement",
    "RunSpec": "voxmix.design",
    "StudyDesign": "voxmix.design",
    "fit": "voxmix.law",
    "FittedLaw": "voxmix.law",
    "allocate": "voxmix.allocation",
    "Allocation": "voxmix.allocation",
    "Study": "voxmix.study",
    "ScoreTable": "voxmix.scores",
    "compare": "voxmix.scores",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'voxmix' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
