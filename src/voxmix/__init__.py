"""voxmix: how much of each 3D medical imaging domain belongs in a pretraining budget.

Names below are loaded when first used, so that importing voxmix costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxmix import plots as plots
    from voxmix.allocation import Allocation as Allocation
    from voxmix.allocation import allocate as allocate
    from voxmix.allocation.path import path as path
    from voxmix.allocation.plan import plan as plan
    from voxmix.allocation.structure import structure as structure
    from voxmix.allocation.suggest import suggest as suggest
    from voxmix.design import RunSpec as RunSpec
    from voxmix.design import StudyDesign as StudyDesign
    from voxmix.domain import PAPER_DOMAINS as PAPER_DOMAINS
    from voxmix.domain import Domain as Domain
    from voxmix.law import FittedLaw as FittedLaw
    from voxmix.law.fit import fit as fit
    from voxmix.measurement import MeasurementTable as MeasurementTable
    from voxmix.mixture import Mixture as Mixture
    from voxmix.scores import ScoreTable as ScoreTable
    from voxmix.scores.compare import compare as compare
    from voxmix.study import Study as Study
    from voxmix.study import run_study as run_study

__version__ = "0.1.0"

_PUBLIC = {
    "Domain": "voxmix.domain",
    "PAPER_DOMAINS": "voxmix.domain",
    "Mixture": "voxmix.mixture",
    "MeasurementTable": "voxmix.measurement",
    "RunSpec": "voxmix.design",
    "StudyDesign": "voxmix.design",
    "fit": "voxmix.law.fit",
    "FittedLaw": "voxmix.law",
    "allocate": "voxmix.allocation",
    "path": "voxmix.allocation.path",
    "plan": "voxmix.allocation.plan",
    "structure": "voxmix.allocation.structure",
    "suggest": "voxmix.allocation.suggest",
    "Allocation": "voxmix.allocation",
    "Study": "voxmix.study",
    "run_study": "voxmix.study",
    "ScoreTable": "voxmix.scores",
    "compare": "voxmix.scores.compare",
}

__all__ = ["__version__", "plots", *_PUBLIC]

if not TYPE_CHECKING:  # a type checker then names a misspelled name

    def __getattr__(name: str) -> Any:
        if name == "plots":
            return import_module("voxmix.plots")
        if name not in _PUBLIC:
            raise AttributeError(f"module 'voxmix' has no attribute {name!r}")
        return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
