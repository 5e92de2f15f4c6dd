"""Runs and studies on disk; opens without SciPy or torch."""

from voxmix.store import presets
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
from voxmix.store.settings import checked, parse_yaml
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
    "checked",
    "cores",
    "is_finished",
    "measurements",
    "parse_yaml",
    "presets",
    "provenance",
    "read_run",
]
