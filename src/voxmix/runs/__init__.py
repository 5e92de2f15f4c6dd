"""What any run leaves on disk; opens without SciPy or torch."""

from voxmix._limits import cores
from voxmix.runs.provenance import provenance
from voxmix.runs.results import RunResult, is_finished, measurements, read_run

__all__ = ["RunResult", "cores", "is_finished", "measurements", "provenance", "read_run"]
