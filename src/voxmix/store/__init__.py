"""Runs and studies on disk; opens without SciPy or torch."""

from voxmix.store.config import (
    STRATEGIES,
    AllocationSettings,
    DataSettings,
    FitSettings,
    PhantomSettings,
    StudyConfig,
)
from voxmix.store.provenance import cores, provenance
from voxmix.store.runs import RunResult, is_finished, measurements, read_run
from voxmix.store.study import Study

__all__ = [
    "STRATEGIES",
    "AllocationSettings",
    "DataSettings",
    "FitSettings",
    "PhantomSettings",
    "RunResult",
    "Study",
    "StudyConfig",
    "cores",
    "is_finished",
    "measurements",
    "provenance",
    "read_run",
]
